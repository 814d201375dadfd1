"""Observe, apply, verify, undo: where plans meet a kernel.

Events, flags and files are none of its business. It knows a Kernel by two verbs, and there are two of them: the live one
(reconciler.kernel.live) and the model (reconciler.kernel.model).
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import NamedTuple, NoReturn, Protocol, TypeVar

from reconciler import bounds, host_rules
from reconciler.core.messages import HOST, Failure, FlushConntrack, Outcome, Part, Request, Scope, Snapshot, by_process
from reconciler.core.plan import Action, Plan, Step, schedule
from reconciler.core.planner import Policy
from reconciler.core.planner import plan as make_plan
from reconciler.core.resource import Key, Resource, State
from reconciler.errors import ConflictError, PlatformError, ReconcileError, RefusedError, RolledBackError
from reconciler.kinds import Bridge, Chain, Netns, NetnsName, Sysctl, Veth, decode
from reconciler.kinds.marks import tables
from reconciler.kinds.sysctl import route_localnet

T = TypeVar("T")

ROUNDS = 3
"""How often apply and undo look again and mend, before they give up on reaching rest."""

Progress = Callable[[int, int], None]
"""Called with (requests done, requests in all)."""


class Kernel(Protocol):
    """A kernel, by what it shows and what it takes."""

    def observe(self, scope: Scope) -> Snapshot:
        """What is there now. Raises ReconcileError rather than answer in part."""
        ...

    def submit(self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None) -> Outcome:
        """Do `requests` in order, and stop after the first that fails."""
        ...


class View(NamedTuple):
    """What was found, and what the wish came to when looked at from there (reconciler.host_rules)."""

    found: State
    desired: State
    snapshot: Snapshot
    """What `found` was decoded from."""


def scope_of(desired: State, owner: str) -> Scope:
    """What has to be looked at to plan for `desired`."""
    keys = desired.resources
    named = {key.name if key.space == "netns" else key.namespace for key in keys} - {HOST}
    outer = {key.name for item in keys.values() for key in item.inside() if key.space == "netns"}
    sysctls = {(item.namespace, item.name) for item in keys.values() if isinstance(item, Sysctl)}
    return Scope(frozenset(named | outer), frozenset(sysctls) | bounds.settings(desired), tables(owner))


def observe(kernel: Kernel, desired: State, owner: str) -> Snapshot:
    """All that has to be known to plan for `desired`."""
    scope = scope_of(desired, owner)
    snapshot = kernel.observe(scope)
    more = host_rules.sysctls(desired, snapshot)
    if more - scope.sysctls:
        snapshot = kernel.observe(replace(scope, sysctls=scope.sysctls | more))
    return snapshot


def look(kernel: Kernel, desired: State, owner: str) -> View:
    """Observes, and completes the wish with what depends on the host it is for."""
    snapshot = observe(kernel, desired, owner)
    return View(decode(snapshot), host_rules.complete(desired, snapshot), snapshot)


def plan(kernel: Kernel, desired: State, owner: str, policy: Policy = Policy()) -> tuple[Plan, View]:
    """The plan from what is there to `desired`, and what it rests on."""
    view = look(kernel, desired, owner)
    return make_plan(view.desired, view.found, owner, policy), view


def apply(
    kernel: Kernel,
    desired: State,
    first: Plan,
    before: State,
    policy: Policy = Policy(),
    progress: Progress | None = None,
) -> int:
    """Performs `first`, then looks and mends until the plan is empty.

    `before` is the state that the plan rests on, to which everything is brought back if a step fails. Returns the number of
    requests sent. Raises ConflictError before anything is done, RolledBackError when a step failed and all is as before,
    RefusedError when not even that could be reached, or what was done cannot be looked at.
    """
    if first.conflicts:
        raise ConflictError("\n".join(map(str, first.conflicts)))
    settings = _settings_that_go(kernel, first)
    before = replace(before, resources={**settings, **before.resources})
    todo, sent, touched, owed = first, 0, set(settings), list[Request]()
    tried: list[tuple[Sequence[Step], Outcome]] = []

    def roll_back(why: str) -> NoReturn:
        # Only now: what came to be takes as long to find out as to plan.
        came = frozenset(key for steps, outcome in tried for key in made(steps, outcome))
        _roll_back(kernel, before, first.owner, why, touched, came)

    for _ in range(ROUNDS):
        outcome = perform(kernel, todo.steps, progress)
        sent += outcome.attempted
        # With a port its link, too: an uplink is set up.
        touched |= {key for step in todo.steps for key in (step.key, *step.subject.inside())}
        tried.append((todo.steps, outcome))
        why = explain(outcome.failures[0], todo.steps) if outcome.failures else ""
        if why and not may_pass(outcome.failures[0], todo.steps, desired):
            roll_back(why)
        owed += flushes_left(todo.steps, outcome)
        todo = _plan_again(kernel, desired, first.owner, policy)
        if todo.conflicts:
            # What came in between stands where ours should be: nothing to mend, and nothing to call done.
            roll_back(why or "\n".join(map(str, todo.conflicts)))
        if not todo.steps and owed:
            refused = kernel.submit(owed).failures
            if refused:
                roll_back(f"flows of ports that changed cannot be forgotten: {refused[0].message}")
        if not todo.steps:
            return sent
    labels = ", ".join(step.subject.label for step in todo.steps[:5])
    restless = f"it does not come to rest, something keeps changing: {labels}"
    return roll_back(f"{restless}\n{why}" if why else restless)


def _settings_that_go(kernel: Kernel, plan: Plan) -> Mapping[Key, Resource]:
    """What we set on bridges that the plan deletes. It goes with them, so a bridge that an undo makes again is to have it again."""
    going = (step.subject for step in plan.steps if step.action is Action.DELETE)
    names = frozenset((HOST, route_localnet(item.name)) for item in going if isinstance(item, Bridge))
    if not names:
        return {}
    found = decode(kernel.observe(Scope(sysctls=names, part=Part(settings=True)))).resources
    return {key: item for key, item in found.items() if isinstance(item, Sysctl)}


def _plan_again(kernel: Kernel, desired: State, owner: str, policy: Policy) -> Plan:
    """The plan from what is there after something was done. Raises RefusedError, which says so, if that is not to be seen."""
    try:
        return _insist(lambda: plan(kernel, desired, owner, policy)[0])
    except (RefusedError, PlatformError) as error:
        raise RefusedError(
            f"{error}\nThe plan was carried out as far as the kernel let it, but what came of it cannot be looked at, so it may be "
            "half done: run it again"
        ) from error


def _insist(look: Callable[[], T]) -> T:
    """What `look` returns. Once something was done, not to look is worse than to look again."""
    for _ in range(ROUNDS - 1):
        with contextlib.suppress(RefusedError, PlatformError):
            return look()
    return look()


_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})
_PASSING = frozenset({errno.EINTR, errno.EAGAIN, errno.ENOBUFS, errno.ERESTART})
"""Interrupted, an answer lost, another's transaction in between: whether it was done is to be looked at, and the next try may well do."""


def may_pass(failure: Failure, steps: Sequence[Step], desired: State) -> bool:
    """Whether what is left to do is not a matter of undoing but of looking again.

    The refusal is one that passes; or others were quicker: what was to be deleted has gone by itself, as the pair of a container
    that ended, or what was to be made or changed has gone with a container, which ended or was started again since we looked.
    """
    if isinstance(failure.request, FlushConntrack):
        return False  # no look shows which flows are still to be forgotten
    step = steps[schedule(steps).steps[failure.position]]
    if failure.errno in _PASSING:
        return True
    return failure.errno in _GONE and (step.action is Action.DELETE or _rests_on_process(step.subject, desired))


def _rests_on_process(resource: Resource, desired: State) -> bool:
    """Whether `resource` goes when a process of somebody else's does."""
    todo, seen = [resource], {resource.key}
    while todo:
        item = todo.pop()
        for key in (*item.inside(), *item.needs()):
            if key.space == "netns" and by_process(key.name):
                return True
            if key in desired.resources and key not in seen:
                seen.add(key)
                todo.append(desired.resources[key])
    return False


def flushes_left(steps: Sequence[Step], outcome: Outcome) -> Sequence[Request]:
    """What was to be forgotten of connection tracking behind a request that failed. If that one was done all the same, and only
    its answer is missing, no later plan speaks of it."""
    if not outcome.failures:
        return ()
    rest = schedule(steps).requests[outcome.failures[0].position :]
    return [request for request in rest if isinstance(request, FlushConntrack)]


def perform(kernel: Kernel, steps: Sequence[Step], progress: Progress | None = None) -> Outcome:
    """Sends what `steps` say. The positions in the Outcome are those of `schedule(steps).requests`."""
    requests = schedule(steps).requests
    if not requests:
        return Outcome(frozenset(), 0)
    total = len(requests)
    return kernel.submit(requests, None if progress is None else lambda done: progress(done, total))


def made(steps: Sequence[Step], outcome: Outcome) -> frozenset[Key]:
    """The keys of what came to be, in part at least. If its mark was not among what was done, only we know that it is ours."""
    positions = schedule(steps).steps
    done = (steps[positions[position]] for position in outcome.done | outcome.unknown)
    return frozenset(step.key for step in done if step.action is Action.CREATE)


def explain(failure: Failure, steps: Sequence[Step]) -> str:
    """The failure as a sentence that names the thing it is about, and where the file asks for it."""
    step = steps[schedule(steps).steps[failure.position]]
    place = f"{step.origin.position}: " if step.origin.position else ""
    name = errno.errorcode.get(failure.errno, "")
    said = failure.message + (f" ({name})" if name and name not in failure.message else "")
    return f"{place}cannot {step.action} {step.subject.label}: {said}"


def _roll_back(
    kernel: Kernel, before: State, owner: str, why: str, touched: Set[Key], made: Set[Key] = frozenset()
) -> NoReturn:
    """Raises: RolledBackError if the state before is reached, RefusedError if it is not."""
    try:
        undone = _undo(kernel, before, owner, touched, made)
    except ReconcileError as error:
        raise RefusedError(f"{why}\nand undoing it failed, so it is half done: {error}\n{_FINISH}") from error
    if undone.left:
        refusal = f" ({undone.refusal})" if undone.refusal else ""
        raise RefusedError(
            f"{why}\nand undoing it failed, so it is half done{refusal}. {_half_done(undone.left)}\n{_FINISH}"
        )
    said = f"{why}\nWhat had been done was undone: the host is as it was before."
    if undone.anew:
        said += (
            f"\nMade anew: the network namespace {', '.join(undone.anew)}. Settings (sysctls) inside that the file does not name are "
            "the kernel's own there, and processes that were inside are still in the old one."
        )
    raise RolledBackError(said)


_FINISH = "When the cause is gone, run it again: it goes on from what is there."


def _half_done(left: Sequence[Step]) -> str:
    """What is not as it was, a line each."""
    told = {Action.CREATE: "is not there any more", Action.UPDATE: "is changed", Action.DELETE: "is there and was not"}
    lines = []
    for step in left:
        fields = ", ".join(f"{item.field} is {item.before}, was {item.after}" for item in step.differences)
        lines.append(f"  {step.subject.label} {told[step.action]}" + (f": {fields}" if fields else ""))
    return "Not as it was before:\n" + "\n".join(lines)


def undo(
    kernel: Kernel, before: State, owner: str, touched: Set[Key] | None = None, made: Set[Key] = frozenset()
) -> tuple[Step, ...]:
    """Brings everything of `owner` back to the state `before`. Returns the steps that could not be done.

    The inverse is planned from what is there, not replayed from what was meant: after a failure the two are not the same. Of
    what is foreign only what we `touched` is brought back (None: all of it): the rest may have changed since by other hands.
    What we have `made` is ours, marked or not.
    """
    return _undo(kernel, before, owner, touched, made).left


class _Undone(NamedTuple):
    """What came of an undo: the steps that could not be done, why the last of them was refused, namespaces that had to be made anew."""

    left: tuple[Step, ...]
    refusal: str
    anew: tuple[str, ...]


def _undo(kernel: Kernel, before: State, owner: str, touched: Set[Key] | None, made: Set[Key]) -> _Undone:
    """Does what `undo` says."""
    worth = {key: item for key, item in before.resources.items() if not isinstance(item, NetnsName)}
    concerned = {key: item for key, item in worth.items() if touched is None or key in touched or item.owner == owner}
    as_it_is = {key for key, item in concerned.items() if cannot_be_made_again(item)}
    scope, refusal, anew = scope_of(State(concerned), owner), "", dict[str, None]()
    for tries_left in reversed(range(ROUNDS + 1)):
        found = decode(_insist(lambda: kernel.observe(scope)))
        seen = {
            key: replace(item, owner=owner) if key in made and item.owner is None else item
            for key, item in found.resources.items()
        }
        # What is there in the stead of something that cannot be made again is as good, and stays with all that rests on it.
        target = {key: item for key, item in concerned.items() if key not in as_it_is}
        target |= {key: seen[key] for key in as_it_is if key in seen}
        back = make_plan(State(target), replace(found, resources=seen), owner, Policy(adopt=True))
        if not back.steps:
            lost = (item for item in worth.values() if cannot_be_made_again(item))
            gone = tuple(Step(None, item) for item in lost if item.key not in found.resources)
            return _Undone(gone, "", tuple(anew))
        if tries_left:
            outcome = perform(kernel, back.steps)
            refusal = explain(outcome.failures[0], back.steps) if outcome.failures else refusal
            anew |= {step.subject.key.name: None for step in back.steps if _makes_namespace(step)}
    return _Undone(back.steps, refusal, tuple(anew))


def _makes_namespace(step: Step) -> bool:
    return step.action is Action.CREATE and isinstance(step.subject, Netns)


def cannot_be_made_again(item: object) -> bool:
    """A chain whose rules an older version wrote: what is there in its stead is newer, and stays. A veth into a namespace
    that no file names any more: what was inside of that was not seen."""
    if isinstance(item, Chain):
        return len(item.body) != len(item.rules)
    return isinstance(item, Veth) and item.peer is None
