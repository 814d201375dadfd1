"""Applying without undoing: what fails is left out with all that rests on it, the rest is finished, and every failure is told.

It is how an agent works, for which a fault in one container is no reason to take the other ones back; a single run works so
with `--keep-going`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler import reconcile
from reconciler.core.plan import Action, Plan, Step, schedule
from reconciler.core.planner import Policy
from reconciler.core.resource import Key, State
from reconciler.kinds import Bridge, Element, Sysctl
from reconciler.kinds.sysctl import route_localnet
from reconciler.reconcile import Kernel, Progress, View


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    `failures` tells, for each thing that could not be done, why (a sentence); `left` is the plan after it, `view` what that rests
    on, `done` are the steps that were done.
    """

    failures: Mapping[Key, str]
    left: Plan
    view: View
    done: tuple[Step, ...]


def apply(
    kernel: Kernel,
    desired: State,
    first: Plan,
    policy: Policy = Policy(),
    progress: Progress | None = None,
    leave: Iterable[Key] = (),
) -> Result:
    """Does of `first` what can be done, and looks again, until nothing is left but what failed.

    What is in the way (conflicts) counts as failed. `leave` is left alone from the start. What others were quicker to do away with is no
    failure: it is looked at again, and planned anew. Raises ReconcileError only when it cannot look.
    """
    failures, alone, done, todo = dict[Key, str](), set(leave), list[Step](), first
    for _ in range(reconcile.ROUNDS):
        failures |= {item.desired.key: str(item) for item in todo.conflicts}
        alone |= _of_foreign_bridges(todo)
        did, failed, passing = _perform(kernel, without(todo, {*failures, *alone}).steps, desired, progress)
        done += did
        failures |= {key: why for key, why in failed.items() if key not in passing}
        todo, view = reconcile.plan(kernel, desired, first.owner, policy)
        known = failures.keys() >= {item.desired.key for item in todo.conflicts}
        if known and not without(todo, {*failures, *alone}).steps:
            return Result(failures, todo, view, tuple(done))
    rest = without(todo, {*failures, *alone}).steps
    failures |= {step.key: f"{step.subject.label} does not come to rest: something keeps changing it" for step in rest}
    return Result(failures, todo, view, tuple(done))


def _of_foreign_bridges(plan: Plan) -> set[Key]:
    """What is to be set for bridges in whose place there are those of others: by its name or its subnet it would be theirs, too."""
    foreign = {item.desired.name for item in plan.conflicts if isinstance(item.desired, Bridge)}
    settings = set(map(route_localnet, foreign))
    return {
        step.key
        for step in plan.steps
        if (isinstance(step.subject, Element) and step.origin.bridge in foreign)
        or (isinstance(step.subject, Sysctl) and step.subject.name in settings)
    }


def perform(
    kernel: Kernel, steps: Sequence[Step], progress: Progress | None = None
) -> tuple[list[Step], dict[Key, str]]:
    """Does `steps`, and after one that fails those that do not rest on it.

    Returns the steps that were done, and why others could not be.
    """
    done, failures, _ = _perform(kernel, steps, State(), progress)
    return done, failures


def _perform(
    kernel: Kernel, steps: Sequence[Step], desired: State, progress: Progress | None
) -> tuple[list[Step], dict[Key, str], set[Key]]:
    """The same, and for which of the failures there may be no reason any more at the next look."""
    todo, done, failures, passing = tuple(steps), list[Step](), dict[Key, str](), set[Key]()
    while todo:
        plan = schedule(todo)
        outcome = reconcile.perform(kernel, todo, progress)
        if not outcome.failures:
            return [*done, *todo], failures, passing
        failure = outcome.failures[0]
        failed = todo[plan.steps[failure.position]]
        failures[failed.key] = reconcile.explain(failure, todo)
        if reconcile.may_pass(failure, todo, desired):
            passing.add(failed.key)
        # One datagram is worked off to its end, so what comes later may be done, and what is done in part is mended after the next look.
        whole = {number for position, number in enumerate(plan.steps) if position not in outcome.done}
        begun = {plan.steps[position] for position in outcome.done}
        done += [step for number, step in enumerate(todo) if number not in whole]
        rest = tuple(step for number, step in enumerate(todo) if number in whole and number not in begun)
        todo = _without(rest, {*failures})
    return done, failures, passing


def without(plan: Plan, keys: Iterable[Key]) -> Plan:
    """`plan` less the steps of `keys`, and those of what rests on them."""
    return replace(plan, steps=_without(plan.steps, set(keys)))


def _without(steps: Sequence[Step], keys: set[Key]) -> tuple[Step, ...]:
    if not keys:
        return tuple(steps)
    out = set(keys)
    # What is inside comes with the higher rank, whatever the order of doing.
    for step in sorted(steps, key=lambda step: step.subject.rank):
        outer = (*step.subject.inside(), *step.subject.needs())
        if step.action is not Action.DELETE and not out.isdisjoint(outer):
            out.add(step.key)
    return tuple(step for step in steps if step.key not in out)
