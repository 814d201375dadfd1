"""When to do what: debouncing, and holding back what fails or is fought over.

Pure: every call is told the time, in seconds of a steady clock.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.core.resource import Key
from reconciler.kinds.places import Place

_PAST = float("inf")


@dataclass(frozen=True, slots=True)
class Rates:
    """Times in seconds."""

    debounce: float = 0.005
    """So long is waited for more events of the kernel, which come in swarms; at most ten times that."""
    file_debounce: float = 0.05
    """The same for files: an editor writes several."""
    full: float = 300.0
    """After so long without one, everything is looked at."""
    poll: float = 30.0
    """After so long the files are read, events or not."""
    first_retry: float = 1.0
    """What failed is tried again after this, then after twice as long, and so on up to `last_retry`."""
    last_retry: float = 300.0
    quarrel: int = 5
    """What had to be healed so often within `quarrel_time` is fought over, and held back like a failure."""
    quarrel_time: float = 60.0


class Task(enum.Enum):
    """What to do next."""

    READ = "read the files"
    FULL = "look at everything"
    MEND = "look at some places"


@dataclass(slots=True)
class Hold:
    """Something that is held back."""

    until: float
    """Infinite once it is to be tried again: then it is held no longer, but remembered."""
    tries: int
    why: str
    fought: bool = False
    """Somebody else keeps changing it."""


@dataclass
class Pace:
    """What is due, and what is to be left alone meanwhile. `jitter` gives a factor, around 1, for how long to hold back."""

    rates: Rates = Rates()
    jitter: Callable[[], float] = lambda: 1.0
    places: set[Place] = field(default_factory=set)
    """Where something happened that was not looked at yet."""
    holds: dict[Key, Hold] = field(default_factory=dict)
    _due: dict[Task, float] = field(default_factory=dict)
    _since: dict[Task, float] = field(default_factory=dict)
    _later: list[tuple[float, Place]] = field(default_factory=list)
    _healed: dict[Key, deque[float]] = field(default_factory=dict)
    _full_tries: int = 0

    # --- what happens ---

    def hint(self, now: float, places: Iterable[Place]) -> None:
        """Something happened at `places`."""
        new = set(places)
        if new:
            self.places |= new
            self._debounce(Task.MEND, now, self.rates.debounce)

    def hint_later(self, when: float, place: Place) -> None:
        """Something may happen at `place` that is not told: to be looked at then, too."""
        self._later.append((when, place))

    def hint_files(self, now: float) -> None:
        """Something happened to the files."""
        self._debounce(Task.READ, now, self.rates.file_debounce)

    def hint_everything(self, now: float) -> None:
        """Anything may have happened."""
        self._debounce(Task.FULL, now, self.rates.debounce)

    def _debounce(self, task: Task, now: float, pause: float) -> None:
        since = self._since.setdefault(task, now)
        self._due[task] = min(now + pause, since + 10 * pause)

    # --- what is due ---

    def wait(self, now: float) -> float | None:
        """Seconds until something is due; None if nothing is."""
        times = [*self._due.values(), *(when for when, _ in self._later)]
        times += [hold.until for hold in self.holds.values() if hold.until != _PAST]
        return max(0.0, min(times) - now) if times else None

    def take(self, now: float) -> Task | None:
        """What is due by now, the widest first. It counts as begun."""
        for when, place in tuple(self._later):
            if when <= now:
                self._later.remove((when, place))
                self.places.add(place)
                self.at(now, Task.MEND)
        if any(hold.until <= now for hold in self.holds.values()):
            # The hold stays known, so that it grows if it fails again.
            for hold in self.holds.values():
                if hold.until <= now:
                    hold.until = _PAST
            self.at(now, Task.FULL)
        self._put_off(now)
        for task in Task:
            if self._due.get(task, float("inf")) <= now:
                del self._due[task]
                self._since.pop(task, None)
                if task is not Task.MEND:
                    self._periodic(task, now)
                return task
        return None

    def _put_off(self, now: float) -> None:
        """A look at everything that is due comes after files that are being written: by them, what waited may be wanted no more. There
        are directories in which something is always written, so it waits no longer than a file may take."""
        if Task.READ in self._since and self._due.get(Task.FULL, float("inf")) <= now < self._due[Task.READ]:
            since = self._since.setdefault(Task.FULL, now)
            self._due[Task.FULL] = min(self._due[Task.READ], since + 10 * self.rates.file_debounce)
            if Task.MEND in self._due:
                # It is part of that.
                self._due[Task.MEND] = max(self._due[Task.MEND], self._due[Task.FULL])

    def _periodic(self, task: Task, now: float) -> None:
        if task is Task.READ:
            self._due[Task.READ] = now + self.rates.poll
        else:
            # What was to be looked at in part is seen now.
            self._due.pop(Task.MEND, None)
            self._since.pop(Task.MEND, None)
            self.places.clear()
            self._due[Task.FULL] = now + self.rates.full * self.jitter()

    def at(self, when: float, task: Task) -> None:
        """`task` is due then at the latest."""
        self._due[task] = min(when, self._due.get(task, when))

    # --- what came of it ---

    def held(self, now: float) -> set[Key]:
        """What is to be left alone by now."""
        return {key for key, hold in self.holds.items() if now < hold.until < _PAST}

    def failed(self, now: float, failures: Mapping[Key, str]) -> dict[Key, float]:
        """These could not be done. Returns in how many seconds each is tried again."""
        return {key: self._hold(now, key, why, fought=False) for key, why in failures.items()}

    def begin_anew(self) -> None:
        """There is a new wish: what failed of the old one may well work now."""
        self.holds = {key: hold for key, hold in self.holds.items() if hold.fought}

    def settled(self, now: float, failures: Iterable[Key] = (), keys: Iterable[Key] | None = None) -> None:
        """All, or all of `keys`, is as it should be, but for `failures`: what was held for having failed is forgotten."""
        kept = set(failures)
        for key, hold in tuple(self.holds.items()):
            quiet = not hold.fought or now - self._last_heal(key) > self.rates.quarrel_time
            if key not in kept and hold.until == _PAST and quiet and (keys is None or key in set(keys)):
                del self.holds[key]

    def release(self, keys: Iterable[Key]) -> None:
        """What stood in the way of these has gone."""
        for key in keys:
            self.holds.pop(key, None)

    def healed(self, now: float, keys: Iterable[Key]) -> dict[Key, float]:
        """These had to be healed. Returns those that somebody else keeps changing, and for how many seconds they are left alone."""
        fought = {}
        for key in keys:
            times = self._healed.setdefault(key, deque(maxlen=self.rates.quarrel))
            times.append(now)
            # After a truce, the first time is ours, and the second one says that it goes on.
            enough = 2 if key in self.holds and self.holds[key].fought else self.rates.quarrel
            if len(times) >= enough and now - times[-enough] <= self.rates.quarrel_time:
                times.clear()
                fought[key] = self._hold(now, key, "something else keeps changing it", fought=True)
        for key in [key for key in self._healed if now - self._last_heal(key) > 2 * self.rates.quarrel_time]:
            if key not in self.holds:
                del self._healed[key]
        return fought

    def excuse(self, keys: Iterable[Key]) -> None:
        """These wait for something that has gone, such as a container that was restarted: to heal them afterwards is no quarrel."""
        for key in keys:
            self._healed.pop(key, None)

    def _last_heal(self, key: Key) -> float:
        times = self._healed.get(key)
        return times[-1] if times else float("-inf")

    def could_not_look(self, now: float) -> float:
        """A full look failed as a whole. Returns in how many seconds it is tried again."""
        pause = self._pause(self._full_tries)
        self._full_tries += 1
        self._due[Task.FULL] = now + pause
        return pause

    def looked(self) -> None:
        """A full look went well."""
        self._full_tries = 0

    def _hold(self, now: float, key: Key, why: str, *, fought: bool) -> float:
        tries = self.holds[key].tries if key in self.holds else 0
        # Who fights does so again at once; a failure may well be over in a moment.
        pause = self._pause(tries + 3 if fought else tries)
        self.holds[key] = Hold(now + pause, tries + 1, why, fought)
        return pause

    def _pause(self, tries: int) -> float:
        # Bounded before it is raised to a power: an agent runs for years.
        return min(self.rates.first_retry * 2.0 ** min(tries, 30), self.rates.last_retry) * self.jitter()
