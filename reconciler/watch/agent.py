"""The agent: one thread that waits, finds out what is due (reconciler.watch.pace), does it, and tells how it went.

Events say where to look and are not believed. What happened at a few places is looked at and mended there (reconciler.watch.mirror);
whatever is more than that is left to a full look, by the same functions that a single run uses.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler import confirm, host_rules, keep_going, management, reconcile
from reconciler.core import guards
from reconciler.core.messages import IPAddress, Scope, Snapshot
from reconciler.core.plan import Plan, Step
from reconciler.core.planner import Policy
from reconciler.core.resource import Key, State
from reconciler.errors import (
    GuardError,
    LockedError,
    ManifestError,
    PlatformError,
    ReconcileError,
    RolledBackError,
)
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.lock import Lock
from reconciler.kernel.monitor import EVERYTHING, Monitor
from reconciler.kernel.namespaces import DIRECTORY
from reconciler.kinds import decode, places
from reconciler.kinds.marks import tables
from reconciler.kinds.places import Place
from reconciler.lower import lower, with_ports
from reconciler.runtimes.containers import Containers
from reconciler.runtimes.events import Event, Kind
from reconciler.watch import control
from reconciler.watch.log import Log
from reconciler.watch.mirror import Mirror, described, is_small
from reconciler.watch.notify import Notifier
from reconciler.watch.pace import Pace, Rates, Task
from reconciler.watch.served import OUTCOMES, Tally
from reconciler.watch.served import Kind as Shown
from reconciler.watch.showing import Moment, Showing, conditions
from reconciler.watch.source import Source, Text, Wish, revised
from reconciler.watch.source import wish as read_whole
from reconciler.watch.status import Change, Condition, Health, Held, Status, judge
from reconciler.watch.triggers import RUNTIMES, Bell, Directories, Engines, Processes, Signals

_REMEMBERED = 50
"""Changes that are told."""
_LOCKED_PAUSE = 0.5
_CONFIRM_LOOK = 5.0
_SOURCE = "the source"
"""Told among paths, none of which is that."""
_FEW = 100
"""Places at which a new revision is done by itself; with more, to look at everything is as fast."""
_SETTLE = 2.0
"""Seconds after which everything is looked at when a new revision was done at some places."""
_NAMESPACE_LATER = (0.05, 0.25, 1.0)
"""Seconds after a name appeared under /run/netns: the namespace is mounted over it a moment later, which nobody tells."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the agent works."""

    host_id: str
    policy: Policy = Policy()
    heal: bool = True
    """False: what differs is told and left as it is."""
    atomic: bool = False
    """A new revision is done whole or not at all; otherwise what can be done of it is."""
    max_deletes: int | None = None
    allow_empty: bool = False
    protect: tuple[IPAddress, ...] = ()
    """Of ways that no revision may cut."""
    rates: Rates = Rates()
    listen: tuple[str, int] | None = None
    """Where the page and the metrics are served."""
    names: tuple[str, ...] = ()
    """By which names readers may ask for it, besides addresses and localhost."""


class _Listening:
    """The kernel, for looks at everything: what was heard before such a look is seen by it, and forgotten."""

    def __init__(self, kernel: LiveKernel, monitor: Monitor) -> None:
        self._kernel = kernel
        self._monitor = monitor
        self.submit = kernel.submit

    def observe(self, scope: Scope) -> Snapshot:
        self._monitor.read()
        return self._kernel.observe(scope)


@dataclass
class Known:
    """What the agent knows."""

    wish: Wish | None = None
    """The last good one, which the host is kept at."""
    coming: Wish | None = None
    """A new one that was not done yet."""
    whole: Wish | None = None
    """The last good one that was read as a whole."""
    refused: str = ""
    """The revision that was tried and taken back, or refused by a guard: it is not tried again by itself."""
    refusal: str = ""
    """That, and why, in a sentence."""
    conflicts: frozenset[Key] = frozenset()
    """What something foreign stands in the way of."""
    mirror: Mirror | None = None
    mirrored: str = ""
    """The revision that `mirror` has as what is wanted. It is that of `wish`, or of one that waits, or was refused meanwhile."""
    drift: dict[Key, str] = field(default_factory=dict)
    pending: dict[Key, Key] = field(default_factory=dict)
    """By what waits: what for."""
    condition: Condition = Condition()


class Agent:
    """Keeps one owner's things as `source` says. `run` returns when it is told to stop."""

    def __init__(
        self,
        source: Source,
        options: Options,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        notify: Notifier | None = None,
    ) -> None:
        self._source = source
        self._options = options
        self._log = log
        self._clock = clock
        self._notify = notify or Notifier()
        self._pace = Pace(options.rates, jitter=lambda: random.uniform(0.8, 1.2))
        self._known = Known()
        self._started = time.time()
        self._since = self._started
        self._last_look: float | None = None
        self._changes: deque[Change] = deque(maxlen=_REMEMBERED)
        self._counts: Counter[str] = Counter()
        self._health = judge(self._known.condition)
        self._lock = threading.Lock()
        self._said: list[str] = []
        self._engine_events: list[Event] = []
        self._showing = Showing(self._moment)
        self._shown: tuple[object, ...] = ()
        self._tally = Tally()
        self._flips: dict[Shown, tuple[bool, float]] = {}
        self._alive = 0.0
        self._reloading = False

    # --- what others see (from any thread) ---

    def status(self) -> Status:
        """How it goes."""
        health, reason = self._health
        wish = self._known.wish
        return Status(
            owner=self._owner,
            health=health,
            reason=reason,
            since=self._since,
            revision=wish.revision if wish else "",
            source=str(self._source),
            started=self._started,
            last_look=self._last_look,
            condition=self._known.condition,
            conditions={
                kind.value: Held(holds, self._flips.get(kind, (holds, self._started))[1], reason)
                for kind, (holds, reason) in conditions(self._known.condition).items()
            },
            changes=tuple(self._changes),
            counts=dict(self._counts),
        )

    def _moment(self) -> Moment:
        """In a thread of the server's."""
        stale_after = 2 * self._options.rates.full + 60
        tally = replace(self._tally, requests=self._kernel.written)
        return Moment(self.status(), self._known.mirror, tally, stale_after)

    # --- the loop ---

    def run(self) -> None:
        """Works until SIGTERM or SIGINT, and leaves the network as it is. Raises ReconcileError if it cannot begin."""
        self._owner = self._first_owner()
        with contextlib.ExitStack() as stack:
            self._begin(stack)
            self._log("info", "started", f"keeping {self._owner!r} as {self._source} says", heal=self._options.heal)
            while not self._signals.stop:
                self._turn()
                self._tell()
            self._notify.stopping()
            self._log("info", "stopped", "the network stays as it is")

    def _begin(self, stack: contextlib.ExitStack) -> None:
        own = stack.enter_context(self._alone())
        # One that remembers which processes the containers are, also while their engine is silent.
        self._kernel = stack.enter_context(LiveKernel(containers=Containers()))
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._bell = Bell()
        stack.callback(self._bell.close)
        self._signals = Signals(self._bell)
        stack.callback(self._signals.close)
        self._monitor = self._kernel.monitor(tables(self._owner))
        stack.callback(self._monitor.close)
        self._kernel.acquaint(self._monitor, frozenset())
        self._door = control.Door(self._owner)
        stack.callback(self._door.close)
        self._directories = Directories(self._something_at)
        stack.callback(self._directories.close)
        self._processes = Processes()
        self._engines = Engines(self._container)
        stack.callback(self._engines.close)
        stack.callback(self._processes.close)
        self._beside = own.path.parent
        for descriptor in self._monitor.descriptors():
            self._selector.register(descriptor, selectors.EVENT_READ, self._heard_kernel)
        self._selector.register(self._bell, selectors.EVENT_READ, self._heard_bell)
        self._selector.register(self._door, selectors.EVENT_READ, self._asked)
        if self._options.listen is not None:
            self._serve(stack, self._options.listen)
        self._watch_directories()
        stack.callback(self._source.close)
        self._source.start(lambda: self._something_at([_SOURCE]))
        now = self._clock()
        self._pace.at(now, Task.READ)
        self._pace.at(now, Task.FULL)

    def _alone(self) -> Lock:
        """Held as long as the agent runs. Raises LockedError if there is another one."""
        own = Lock(f"{self._owner}@agent")
        try:
            own.acquire()
        except LockedError as error:
            raise LockedError(f"an agent keeps {self._owner!r} here already: {error}") from None
        return own

    def _serve(self, stack: contextlib.ExitStack, address: tuple[str, int]) -> None:
        from reconciler.watch.server import Server

        try:
            server = stack.enter_context(Server(self._showing, address, self._options.names))
        except OSError as error:
            raise PlatformError(f"cannot listen at {address[0]} port {address[1]}: {error.strerror}") from error
        self._log("info", "serving", server.url)

    def _first_owner(self) -> str:
        """An agent begins with a good file, be it an earlier one: whose things it keeps stands in it. Raises ReconcileError."""
        try:
            wish = self._with_bridges(read_whole(self._source.text()))
        except ReconcileError:
            good = self._source.good()
            if good is None:
                raise
            wish = self._with_bridges(read_whole(good))
        self._known.coming = wish
        self._seen = wish.revision
        return wish.document.name

    def _with_bridges(self, wish: Wish) -> Wish:
        """Raises GuardError if there are none, and that is not allowed."""
        if not self._options.allow_empty:
            guards.refuse_empty(len(wish.document.bridges), str(self._source))
        return wish

    def _turn(self) -> None:
        """Waits until something is due, and does it."""
        for key, _ in self._selector.select(self._wait()):
            key.data()
        task = self._pace.take(self._clock())
        if task is Task.READ:
            self._read()
        elif task is Task.FULL:
            self._full()
        elif task is Task.MEND:
            self._mend()

    def _wait(self) -> float | None:
        waits = [self._pace.wait(self._clock())]
        if self._notify.interval is not None:
            waits.append(max(0.0, self._alive + self._notify.interval - self._clock()))
        return min((wait for wait in waits if wait is not None), default=None)

    # --- events ---

    def _heard_kernel(self) -> None:
        heard = self._monitor.read()
        if EVERYTHING in heard:
            self._overrun()
            self._pace.hint_everything(self._clock())
        self._pace.hint(self._clock(), self._concerning(heard))

    def _overrun(self) -> None:
        self._log("warning", "overrun", "some of the kernel's notifications were lost: looking at everything")

    def _concerning(self, heard: Iterable[Place]) -> set[Place]:
        """Those places that are any matter of ours. Before the first look all of them are, and seen by it."""
        mirror = self._known.mirror
        if mirror is None:
            return set()
        ours = self._owner
        return {place for place in heard if mirror.concerns(place) or self._monitor.owner_at(place) == ours}

    def _something_at(self, paths: Iterable[str]) -> None:
        """In the thread of the watcher."""
        with self._lock:
            self._said += paths
        self._bell.ring()

    def _container(self, event: Event) -> None:
        """In the thread that listens to an engine."""
        with self._lock:
            self._engine_events.append(event)
        self._bell.ring()

    def _heard_engine(self, event: Event, now: float) -> None:
        if event.kind is Kind.LOST:
            self._log("debug", "engine", f"{event.runtime} came or went: looking at everything")
            self._pace.hint_everything(now)
        else:
            place, mirror = places.netns(event.namespace), self._known.mirror
            self._pace.hint(now, self._concerning([place]))
            if mirror is not None:
                # However often it restarts: what is made for it anew nobody fights over.
                self._pace.excuse(mirror.at(mirror.around([place])))

    def _heard_bell(self) -> None:
        self._bell.silence()
        now = self._clock()
        if self._signals.look:
            self._signals.look = False
            self._log("info", "asked", "to look at everything (SIGHUP)")
            self._notify.reloading()
            self._reloading = True
            self._known.refused = self._seen = ""
            self._pace.holds.clear()
            self._source.refresh()
            self._pace.at(now, Task.READ)
            self._pace.at(now, Task.FULL)
        with self._lock:
            said, self._said = self._said, []
            events, self._engine_events = self._engine_events, []
        for event in events:
            self._heard_engine(event, now)
        paths, own = set(map(Path, said)), {Path(DIRECTORY), self._beside, confirm.directory()}
        if paths & own:
            # What happened in them is told by its name; they themselves may have gone, and come again.
            self._watch_directories()
        for path in paths - own:
            if path.parent == Path(DIRECTORY):
                place = places.netns(path.name)
                if self._concerning([place]):
                    self._pace.hint(now, [place])
                    for pause in _NAMESPACE_LATER:
                        self._pace.hint_later(now + pause, place)
            elif path.parent == self._beside:
                if path == control.suspension_file(self._owner):
                    self._pace.at(now, Task.FULL)
            elif path.parent == confirm.directory():
                if path.name.startswith("pending-"):
                    self._pace.hint_everything(now)
            else:
                self._pace.hint_files(now)

    def _asked(self) -> None:
        self._door.answer(self.status().json())

    def _ended(self, descriptor: int) -> None:
        """A process that a namespace is named after is gone."""
        self._selector.unregister(descriptor)
        pid = self._processes.pid(descriptor)
        if pid is not None:
            self._pace.hint(self._clock(), [places.netns(f"pid:{pid}")])

    # --- reading ---

    def _read(self) -> None:
        """Takes up a new revision, if there is one."""
        self._watch_directories()
        trouble = self._source.trouble()
        if trouble and trouble != self._known.condition.away:
            self._log("warning", "away", trouble)
        self._condition(away=trouble)
        try:
            # What cannot be read now may be the same as before when it is there again.
            seen, self._seen = self._seen, ""
            self._seen = revision = self._source.revision()
            if revision == seen:
                return
            text = self._source.text()
            # It may be another one than a moment ago; and then the same as before, a moment later.
            self._seen = text.revision
            wish = self._with_bridges(self._understood(text))
            if wish.document.name != self._owner:
                raise ReconcileError(
                    f"the file names another owner, {wish.document.name!r}: restart the agent if that is meant "
                    f"(and take what {self._owner!r} has away before, by `reconcile down --name {self._owner}`)"
                )
        except ReconcileError as error:
            self._invalid(error)
            self._waits_no_more()
            return
        self._condition(invalid="")
        current = self._known.wish
        if current is not None and wish.revision == current.revision:
            self._follows(wish)
            self._waits_no_more()
        elif wish.revision == self._known.refused:
            self._condition(refused=self._known.refusal)
            self._waits_no_more()
        else:
            self._known.coming = wish
            if not self._advance(wish):
                self._pace.at(self._clock(), Task.FULL)

    def _waits_no_more(self) -> None:
        """One that waits (for the end of a suspension) is not what the source says any more. What an agent begins with stays."""
        if self._known.wish is not None and self._known.coming is not None:
            self._known.coming = None
            # What is told differs from that one.
            self._pace.at(self._clock(), Task.FULL)

    def _understood(self, text: Text) -> Wish:
        """What `text` asks for. Raises ManifestError."""
        last = self._known.wish
        quickly = revised(last, text) if last is not None else None
        return quickly or read_whole(text)

    def _invalid(self, error: ReconcileError) -> None:
        problems = len(error.problems) - 1 if isinstance(error, ManifestError) else 0
        text = str(error).partition("\n")[0] + (f" (and {problems} more)" if problems else "")
        if text != self._known.condition.invalid:
            self._log("error", "invalid", text)
            self._remember("invalid", text)
        self._condition(invalid=text)

    def _watch_directories(self) -> None:
        wanted = {*self._source.directories(), self._beside, Path(DIRECTORY), confirm.directory()}
        lost = self._directories.lost()
        self._directories.watch(frozenset(wanted) - lost)
        failed = self._directories.watch(frozenset(path for path in wanted if path.is_dir()))
        if failed:
            self._log("debug", "unwatched", f"looking from time to time at {', '.join(map(str, sorted(failed)))}")

    # --- a new revision, at some places ---

    def _advance(self, wish: Wish) -> bool:
        """Does a new revision at the few places where it differs from the last one. False: that takes a look at everything.

        It is followed by one in any case, at leisure: by then, what was read in part is read as a whole.
        """
        mirror, last = self._known.mirror, self._known.wish
        if mirror is None or last is None or self._known.mirrored != last.revision:
            return False
        # What is to be done whole or not at all, ways to protect, and what is held back are matters of the whole.
        if self._options.atomic or self._options.protect or self._pace.holds or self._known.condition.cannot_look:
            return False
        if wish.whole:
            desired = host_rules.complete_like(lower(wish.document, self._options.host_id), mirror.desired)
        else:
            desired = with_ports(mirror.desired, last.document, wish.document)
        around = mirror.around(mirror.unlike(desired))
        if len(around) > _FEW or any(place.sort in ("table", "settings") for place in around):
            return False
        try:
            with Lock(self._owner):
                return self._advance_at(wish, mirror, desired, around)
        except ReconcileError as error:
            self._log("debug", "later", f"looking at everything, since it could not be done in part: {error}")
            return False

    def _advance_at(self, wish: Wish, mirror: Mirror, desired: State, around: frozenset[Place]) -> bool:
        began = self._clock()
        if self._only_looks() or self._known.drift or confirm.last_rolled_back(self._owner):
            return False
        with contextlib.ExitStack() as otherwise:
            otherwise.callback(mirror.want, mirror.desired)
            mirror.want(desired)
            self._look_at(mirror, around)
            plan = mirror.plan(around)
            # A share is one of all that is there.
            guards.refuse_many_deletes(replace(plan, managed=mirror.managed), self._options.max_deletes)
            if not is_small(plan):
                return False
            otherwise.pop_all()
        self._known.mirrored = wish.revision
        done, settled = self._do(mirror, around, plan)
        if not settled:
            return False
        self._note_pending(mirror, around, plan)
        self._applied(wish, len(done), (self._clock() - began) * 1e3)
        self._keep_at(wish)
        self._pace.at(self._clock() + _SETTLE, Task.FULL)
        return True

    def _applied(self, wish: Wish, changes: int, took: float) -> None:
        self._counts["applies"] += 1
        text = f"revision {wish.revision}: {changes} changes"
        self._log("info", "applied", text, revision=wish.revision, changes=changes, ms=took)
        self._remember("applied", text, took)

    def _as_a_whole(self, wish: Wish) -> Wish:
        """`wish`, read as a whole if it was not."""
        if wish.whole:
            return wish
        try:
            whole = read_whole(wish.text)
        except ManifestError as error:
            # Not to be, by the law of `revise`; if it is, what heals is still the last good file.
            self._invalid(error)
            whole = self._known.whole or wish
        if wish is self._known.coming:
            self._known.coming = whole
        else:
            self._known.wish = whole
        return whole

    # --- everything ---

    def _full(self) -> None:
        """Looks at everything, and does what is to be done."""
        wish = self._known.coming or self._known.wish
        if wish is not None:
            wish = self._as_a_whole(wish)
        began = self._clock()
        try:
            with Lock(self._owner):
                self._roll_back_overdue()
                if wish is None:
                    # What it began with was refused, so there is nothing to hold the host against.
                    self._only_looks()
                else:
                    self._everything(wish, _Listening(self._kernel, self._monitor))
        except LockedError:
            self._pace.at(self._clock() + _LOCKED_PAUSE, Task.FULL)
            return
        except ReconcileError as error:
            pause = self._pace.could_not_look(self._clock())
            self._tally = self._tally.observed(failed=True)
            self._log("error", "failed", str(error), again=pause)
            self._condition(cannot_look=str(error).partition("\n")[0])
            self._reloaded()
            return
        self._pace.looked()
        self._condition(looked=True, cannot_look="")
        self._tally = self._tally.observed()
        self._last_look = time.time()
        self._counts["looks"] += 1
        self._log("debug", "looked", "at everything", ms=(self._clock() - began) * 1e3)
        self._reloaded()

    def _reloaded(self) -> None:
        """Everything was looked at anew: the service manager waits for that if it was told of a reload (sd_notify(3))."""
        if self._reloading:
            self._reloading = False
            health, reason = judge(self._known.condition)
            self._notify.ready(f"{health.value}: {reason}")

    def _everything(self, wish: Wish, kernel: reconcile.Kernel) -> None:
        began, only_looks = self._clock(), self._only_looks()
        desired = lower(wish.document, self._options.host_id)
        plan, view = reconcile.plan(kernel, desired, self._owner, self._options.policy)
        if only_looks:
            self._drifted(described(plan))
            if not self._options.heal:
                self._keep_at(wish)
            self._follows(wish)
            self._adopt(wish, plan, view)
            return
        if self._is_outdated(wish):
            # Which of the two was told first, that it may be done or that it is another now, is chance.
            self._pace.hint_files(self._clock())
            self._pace.at(self._clock(), Task.FULL)
            return
        self._drifted({})
        done: tuple[Step, ...] = ()
        if wish is self._known.coming:
            refusal = self._refusal(kernel, desired, plan, view)
            if refusal is not None:
                self._turn_down(wish, refusal)
                return
            self._pace.begin_anew()
            if self._options.atomic:
                # It is done; what is left to do is what has happened since.
                done = plan.steps
                plan, view = reconcile.plan(kernel, desired, self._owner, self._options.policy)
        held = self._pace.held(self._clock())
        result = keep_going.apply(kernel, desired, plan, self._options.policy, leave=held)
        done += result.done
        self._fail(dict(result.failures))
        self._pace.settled(self._clock(), [*result.failures, *held])
        took = (self._clock() - began) * 1e3
        if wish is self._known.coming:
            self._applied(wish, len(done), took)
        elif done:
            self._healed(done, took)
        self._keep_at(wish)
        self._adopt(wish, result.left, result.view)

    def _is_outdated(self, wish: Wish) -> bool:
        """Whether `wish` has waited, and the source says something else by now."""
        if wish is not self._known.coming or self._known.mirrored != wish.revision or self._known.wish is None:
            return False
        try:
            return self._source.revision() != wish.revision
        except ReconcileError:
            return True

    def _refusal(
        self, kernel: reconcile.Kernel, desired: State, plan: Plan, view: reconcile.View
    ) -> ReconcileError | None:
        """Why a new revision is not to be done; if it is to be done whole or not at all, that is tried here."""
        try:
            undone = confirm.last_rolled_back(self._owner)
            if undone is not None and undone.revision == confirm.revision(desired):
                raise GuardError(f"just this was applied before, and rolled back ({undone.why})")
            guards.refuse_many_deletes(plan, self._options.max_deletes)
            self._refuse_cutoff(plan, view.snapshot)
            if self._options.atomic:
                reconcile.apply(kernel, desired, plan, view.found, self._options.policy)
        except ReconcileError as error:
            return error
        return None

    def _refuse_cutoff(self, plan: Plan, snapshot: Snapshot) -> None:
        """Raises GuardError if `plan` cuts a way that is to be protected. One that is not there now is cut by nothing."""
        for address in self._options.protect:
            way = management.way_of(address, snapshot)
            cuts = management.cuts(way, snapshot, plan) if way is not None else ()
            if way is not None and cuts:
                raise GuardError(f"it cuts {way.name}: {'; '.join(cuts)}")

    def _turn_down(self, wish: Wish, error: ReconcileError) -> None:
        """The revision is left alone from now on, and the host kept at the last good one."""
        how = "rolled back" if isinstance(error, RolledBackError) else "refused"
        text = f"revision {wish.revision} was {how}: {error}".partition("\n")[0]
        self._known.refused, self._known.refusal = wish.revision, text
        self._known.coming = None
        self._log("error", "refused", text, revision=wish.revision)
        self._remember(how, text)
        self._counts["refusals"] += 1
        self._condition(refused=text)
        if self._known.wish is None:
            self._known.coming = self._good_before(wish)
        self._pace.at(self._clock(), Task.FULL)

    def _good_before(self, refused: Wish) -> Wish | None:
        """What the source remembers from before this agent was started, which began with one that is refused."""
        with contextlib.suppress(ReconcileError):
            text = self._source.good()
            if text is not None and text.revision != refused.revision:
                wish = self._with_bridges(read_whole(text))
                return wish if wish.document.name == self._owner else None
        return None

    def _keep_at(self, wish: Wish) -> None:
        """`wish` was let pass: it is what the host is kept at."""
        if wish is self._known.coming:
            self._source.taken(wish.text)
        self._known.wish, self._known.coming = wish, None
        self._follows(wish)

    def _follows(self, wish: Wish) -> None:
        """If `wish` is what the source says, nothing that it says is refused. Until that is known, what was told holds."""
        if wish.revision == self._seen:
            self._condition(refused="")

    def _adopt(self, wish: Wish, plan: Plan, view: reconcile.View) -> None:
        """What is known now, after a look at everything with regard to `wish`."""
        if self._known.wish is not None and self._known.wish.whole:
            self._known.whole = self._known.wish
        self._known.conflicts = frozenset(item.desired.key for item in plan.conflicts)
        self._known.mirror = Mirror(view.desired, view.found, self._owner, self._options.policy)
        self._known.mirrored = wish.revision
        self._known.pending = {item.resource.key: item.missing for item in plan.pending}
        self._pace.excuse(self._known.pending)
        namespaces = reconcile.scope_of(view.desired, self._owner).namespaces
        self._kernel.acquaint(self._monitor, namespaces)
        self._watch_processes(namespaces)
        self._kernel.forget()
        self._engines.listen({name.partition(":")[0] for name in namespaces} & RUNTIMES)
        self._condition(
            drift=tuple(self._known.drift.values()),
            pending=_names(self._known.pending.values()),
        )

    def _watch_processes(self, namespaces: frozenset[str]) -> None:
        pids = {int(name[4:]) for name in namespaces if name.startswith("pid:") and name[4:].isdigit()}
        new, gone = self._processes.watch(frozenset(pids))
        for descriptor in gone:
            with contextlib.suppress(KeyError):
                self._selector.unregister(descriptor)
        for descriptor in new:
            self._selector.register(descriptor, selectors.EVENT_READ, lambda known=descriptor: self._ended(known))

    # --- some places ---

    def _mend(self) -> None:
        """Looks where something happened, and mends it there."""
        mirror, heard = self._known.mirror, frozenset(self._pace.places)
        self._pace.places.clear()
        if mirror is None or any(place.sort == "table" for place in heard):
            self._pace.at(self._clock(), Task.FULL)
            return
        try:
            with Lock(self._owner):
                whole = self._mend_at(mirror, mirror.around(heard))
        except LockedError:
            # Somebody else is at work, most likely on the very things that we were told of.
            self._pace.hint(self._clock() + _LOCKED_PAUSE, heard)
            return
        except ReconcileError as error:
            self._log("warning", "failed", str(error))
            whole = False
        if not whole:
            self._pace.at(self._clock(), Task.FULL)

    def _mend_at(self, mirror: Mirror, around: frozenset[Place]) -> bool:
        """Returns False if that takes a full look."""
        began, before = self._clock(), mirror.keys(around)
        self._look_at(mirror, around)
        plan = mirror.plan(around)
        self._note_pending(mirror, around, plan)
        cleared = self._known.conflicts & mirror.keys(around) - {item.desired.key for item in plan.conflicts}
        if cleared:
            # With what was in the way, what was left out for it is elsewhere: the guards of a bridge, its ports.
            self._known.conflicts -= cleared
            self._pace.release(cleared)
            return False
        if self._only_looks():
            seen = before | mirror.keys(around)
            drift = {key: text for key, text in self._known.drift.items() if key not in seen}
            self._drifted(drift | described(plan))
            return True
        todo = keep_going.without(plan, self._pace.held(self._clock()))
        if not todo.steps:
            return True
        if self._known.wish is None or self._known.mirrored != self._known.wish.revision:
            # What differs, differs from what nobody has let pass yet.
            return False
        if self._known.drift:
            # What was only told so far, here and elsewhere, is to be healed from now on.
            return False
        if not is_small(plan):
            return False
        done, settled = self._do(mirror, around, todo)
        if done:
            self._healed(done, (self._clock() - began) * 1e3)
        return settled

    def _do(self, mirror: Mirror, around: frozenset[Place], todo: Plan) -> tuple[Sequence[Step], bool]:
        """Does `todo`, and looks there again. Returns what was done, and whether nothing is left to do."""
        if not todo.steps:
            return (), True
        done, failures = keep_going.perform(self._kernel, todo.steps)
        if failures:
            # A full look tells whether that is so still, and what else is not as it should be.
            return (), False
        # What we did ourselves is seen by the look that follows; what others did elsewhere is not.
        heard = self._monitor.read()
        again = around | mirror.touched(todo)
        self._pace.hint(self._clock(), self._concerning(heard - again))
        self._kernel.acquaint(self._monitor, frozenset(p.name for p in again if p.sort == "netns"), links=False)
        self._look_at(mirror, again)
        if EVERYTHING in heard:
            self._overrun()
            return done, False
        return done, not keep_going.without(mirror.plan(again), self._pace.held(self._clock())).steps

    def _look_at(self, mirror: Mirror, where: frozenset[Place]) -> None:
        mirror.refresh(where, decode(self._kernel.observe(mirror.scope(where))))

    def _note_pending(self, mirror: Mirror, around: frozenset[Place], plan: Plan) -> None:
        keys = mirror.keys(around)
        self._known.pending = {key: root for key, root in self._known.pending.items() if key not in keys}
        self._known.pending |= {item.resource.key: item.missing for item in plan.pending}
        self._pace.excuse(item.resource.key for item in plan.pending)
        self._condition(pending=_names(self._known.pending.values()))

    # --- what came of it ---

    def _healed(self, steps: Iterable[Step], took: float) -> None:
        labels = list(described(Plan(self._owner, tuple(steps))).values())
        text = _listed(labels)
        self._log("info", "healed", text, changes=len(labels), ms=took)
        self._remember("healed", text, took)
        self._counts["heals"] += 1
        for key, pause in self._pace.healed(self._clock(), {step.key for step in steps}).items():
            self._log("warning", "fought", f"something else keeps changing {key}: leaving it alone", seconds=pause)
            self._remember("fought", f"{key}: something else keeps changing it")
            self._counts["quarrels"] += 1
        self._say_holds()

    def _fail(self, failures: dict[Key, str]) -> None:
        now = self._clock()
        for key, pause in self._pace.failed(now, failures).items():
            self._log("error", "failed", failures[key], again=pause)
            self._remember("failed", failures[key])
            self._counts["failures"] += 1
        self._say_holds()

    def _say_holds(self) -> None:
        self._condition(failures={str(key): hold.why for key, hold in self._pace.holds.items()})

    def _drifted(self, drift: dict[Key, str]) -> None:
        new = [text for key, text in drift.items() if key not in self._known.drift]
        if new:
            text = _listed(new)
            self._log("warning", "drifted", text, changes=len(new))
            self._remember("drifted", text)
        self._known.drift = drift
        self._condition(drift=tuple(drift.values()))

    def _only_looks(self) -> bool:
        """Whether nothing is to be changed for now. The lock is held: who suspends waits for it, and who applies something that awaits
        confirmation holds it meanwhile, so what is true now is true until it is given back."""
        now = time.time()
        suspended, until = control.suspension(self._owner, now)
        self._suspended(suspended, until, now)
        return self._awaits_confirmation() or bool(suspended) or not self._options.heal

    def _roll_back_overdue(self) -> None:
        """We are the next run: if what awaits confirmation is overdue, and has no timer any more to do it, we roll it back. The lock is
        held. Raises ReconcileError."""
        from reconciler import timer
        from reconciler.kernel import place

        journal = confirm.find(self._owner)
        if journal is None or journal.failure or not journal.due(place.boot_id(), place.now()) or timer.alive(journal):
            return
        why = timer.why(journal)
        confirm.roll_back(self._kernel, journal, why)
        text = f"what {journal.by} applied was rolled back ({why})"
        self._log("warning", "rolled-back", text)
        self._remember("rolled back", text)

    def _awaits_confirmation(self) -> bool:
        """Whether what was applied by hand awaits confirmation: until it is confirmed or rolled back, nothing is changed."""
        journal = confirm.find(self._owner)
        text = (
            "" if journal is None else f"what {journal.by} applied awaits confirmation (reconcile confirm, or rollback)"
        )
        if journal is not None:
            # The directory tells when it is gone; this is for a directory that cannot be watched.
            self._pace.at(self._clock() + _CONFIRM_LOOK, Task.FULL)
        if text and not self._known.condition.awaits_confirm:
            self._watch_directories()
        self._condition(awaits_confirm=text)
        return journal is not None

    def _suspended(self, why: str, until: float | None, now: float) -> None:
        if why != self._known.condition.suspended:
            event, text = ("suspended", why) if why else ("resumed", "what differs is healed again")
            self._log("info", event, text)
            self._remember(event, text)
        if until is not None:
            self._pace.at(self._clock() + until - now, Task.FULL)
        self._condition(suspended=why)

    def _condition(self, **changes: object) -> None:
        self._known.condition = replace(self._known.condition, **changes)  # type: ignore[arg-type]

    def _remember(self, kind: str, text: str, took: float | None = None) -> None:
        self._changes.append(Change(time.time(), kind, text, took))
        if kind == "healed" and took is not None:
            self._tally = self._tally.healed(took / 1e3)
        if kind in OUTCOMES:
            self._tally = self._tally.applied(kind)
        elif kind == "invalid":
            self._tally = self._tally.applied("refused")

    def _tell(self) -> None:
        """Tells everybody who wants to know, if there is news; and the service manager that we live."""
        now = self._clock()
        if self._notify.interval is not None and now - self._alive >= self._notify.interval:
            self._alive = now
            self._notify.alive()
        health = judge(self._known.condition)
        if health != self._health:
            if health[0] != self._health[0]:
                self._since = time.time()
            first = self._health[0].value == "Starting"
            self._health = health
            level = "warning" if health[0] is Health.DEGRADED else "info"
            self._log(level, "status", f"{health[0].value}: {health[1]}")
            (self._notify.ready if first else self._notify.status)(f"{health[0].value}: {health[1]}")
        self._show()

    def _show(self) -> None:
        """Tells readers of the page, if there is anything new for them."""
        now = time.time()
        for kind, (holds, _) in conditions(self._known.condition).items():
            if self._flips.get(kind, (None, 0.0))[0] is not holds:
                self._flips[kind] = (holds, now)
        if self._flips[Shown.SYNCED][0]:
            self._tally = self._tally.in_sync(now)
        last = self._changes[-1] if self._changes else None
        shown = (self._known.condition, self._known.mirror, last, self._last_look)
        if shown != self._shown:
            self._shown = shown
            self._showing.touch()


def _listed(texts: Sequence[str]) -> str:
    return "; ".join(texts[:4]) + (f"; and {len(texts) - 4} more" if len(texts) > 4 else "")


def _names(keys: Iterable[Key]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(key) for key in keys))
