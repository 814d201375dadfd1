"""A Plan: inert steps, in the order in which they are to be done, and what was found besides.

A step knows what was before and what is to be after. That makes a plan invertible: rollback is `plan.inverse()`, run by
the same executor. The order is not stored but derived (`arrange`), for a plan and for its inverse alike.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from reconciler.core.messages import FlushConntrack, Netlink, Request
from reconciler.core.resource import Difference, Key, Note, Origin, Resource, Stage


class Action(enum.StrEnum):
    """What a step does."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Step:
    """One change. `before` is None for a creation, `after` for a deletion.

    An `implied` deletion sends nothing: the kernel does it along with the deletion of what the thing is inside of.
    """

    before: Resource | None
    after: Resource | None
    differences: tuple[Difference, ...] = ()
    reason: str = ""
    origin: Origin = Origin()
    implied: bool = False
    action: Action = field(init=False, compare=False)
    """What this does, which follows from before and after."""
    subject: Resource = field(init=False, compare=False, repr=False)
    """The resource that this is about: as it is to be, or as it was if it goes."""
    key: Key = field(init=False, compare=False, repr=False)
    """The key of what is changed."""

    def __post_init__(self) -> None:
        # Asked for a dozen times by whatever looks at a plan.
        subject = self.after or self.before
        assert subject is not None
        create_or_update = Action.CREATE if self.before is None else Action.UPDATE
        object.__setattr__(self, "subject", subject)
        object.__setattr__(self, "key", subject.key)
        object.__setattr__(self, "action", Action.DELETE if self.after is None else create_or_update)

    @property
    def disruptive(self) -> bool:
        """Whether traffic that flows now is interrupted."""
        if self.action is Action.UPDATE:
            # What is put up carries nothing until then.
            return any(
                item.field in self.subject.disruptive and (item.field, item.after) != ("up", True)
                for item in self.differences
            )
        return self.action is Action.DELETE

    @property
    def stage(self) -> Stage:
        """When this is to be done."""
        return self.subject.create_stage() if self.after is not None else self.subject.delete_stage()

    def requests(self) -> Iterator[Request]:
        """What is sent to the kernel for this step."""
        if self.after is None:
            assert self.before is not None
            return iter(()) if self.implied else self.before.delete()
        return self.after.create() if self.before is None else self.after.update(self.before)

    def inverse(self) -> Step:
        """The step that undoes this one."""
        turned = tuple(Difference(name, after, before) for name, before, after in self.differences)
        return Step(self.after, self.before, turned, f"undoes: {self.reason}" if self.reason else "", self.origin)


class Conflict(NamedTuple):
    """A foreign thing that stands where ours should be."""

    desired: Resource
    found: Resource
    origin: Origin = Origin()

    def __str__(self) -> str:
        whose = f"belongs to the owner {self.found.owner!r}" if self.found.owner else "was not made by reconcile"
        place = f" (wanted by {self.origin.position})" if self.origin.position else ""
        return f"{self.found.label} is in the way: it {whose}{place}"


class Pending(NamedTuple):
    """Something wanted that waits for `missing`, which is not ours to make."""

    resource: Resource
    missing: Key
    origin: Origin = Origin()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to bring the found state to the desired one.

    `basis` names where the found state came from; only a plan on `live` may be applied. `foreign` is what sits on things of
    ours without carrying our mark. `managed` is how many things of ours there were, which the delete limit needs.
    """

    owner: str
    steps: tuple[Step, ...] = ()
    basis: str = "live"
    conflicts: tuple[Conflict, ...] = ()
    pending: tuple[Pending, ...] = ()
    foreign: tuple[Resource, ...] = ()
    notes: tuple[Note, ...] = ()
    managed: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps and not self.conflicts

    def count(self, action: Action) -> int:
        """The number of steps of that action."""
        return sum(1 for step in self.steps if step.action is action)

    def inverse(self) -> Plan:
        """The plan that brings back what was before this one."""
        back = [step.inverse() for step in reversed(self.steps) if step.action is Action.DELETE]
        rest = [step.inverse() for step in self.steps if step.action is not Action.DELETE]
        return replace(self, steps=arrange([*back, *rest]))


class Schedule(NamedTuple):
    """The requests of a plan in the order of sending; `steps[i]` is the position of the step that request i belongs to."""

    requests: tuple[Request, ...] = ()
    steps: tuple[int, ...] = ()


_STAGE_OF_TRANSACTION = {Stage.DISARM: Stage.EXPOSE, Stage.GUARD: Stage.WITHDRAW}
"""Stages that share one nftables transaction with the one named."""


def schedule(steps: Iterable[Step]) -> Schedule:
    """The requests of `steps`, in order, with those that are late at the end of their stage.

    Flushes of conntrack are: a flow must be forgotten after the rule that made it has changed, and nftables requests must be
    adjacent to become one transaction, which is what makes a change of many ports all or nothing.
    """
    requests: list[tuple[Request, int]] = []
    late: list[tuple[Request, int]] = []
    current: Stage | None = None
    for position, step in enumerate(steps):
        stage = step.stage
        stage = _STAGE_OF_TRANSACTION.get(stage, stage)
        if stage != current:
            requests += late
            late, current = [], stage
        for request in step.requests():
            (late if _is_late(request) else requests).append((request, position))
    requests += late
    return Schedule(tuple(item for item, _ in requests), tuple(position for _, position in requests))


def _is_late(request: Request) -> bool:
    return request.late if isinstance(request, Netlink) else isinstance(request, FlushConntrack)


def arrange(steps: Iterable[Step]) -> tuple[Step, ...]:
    """`steps`, given in the order of creation, in the order of doing, with the deletions marked that the kernel does by itself.

    Within a stage: what is inside comes after what it is inside of, and before it when things are deleted; the host comes before
    the containers' namespaces, and each namespace is dealt with in one go, since entering one costs more than a request.
    """
    given = list(steps)
    coming = {step.key for step in given if step.after is not None}
    going = {step.key for step in given if step.after is None}
    crowds = {step.after.crowd() for step in given if step.after is not None} - {None}
    places: dict[str, int] = {"": 0}
    for step in given:
        places.setdefault(step.key.namespace, len(places))

    ranks = {step.key: step.subject.rank for step in given if step.action is Action.CREATE}
    numbers = {step.key: number for number, step in enumerate(given) if step.after is not None}

    def order(step: Step) -> tuple[int, ...]:
        item = step.subject
        place = places[item.key.namespace]
        if step.after is not None:
            ahead = item.follows() if step.action is Action.CREATE else None
            ahead = ahead if ahead in ranks else item.key
            return item.create_stage(), place, ranks.get(ahead, item.rank), numbers[ahead], item.rank
        stage = item.delete_stage()
        if item.key in coming or item.crowd() in crowds:
            # The old one makes room for the new, also where deletions come last otherwise.
            stage = {Stage.TIDY: Stage.CLEAR, Stage.DISARM: Stage.GUARD}.get(stage, stage)
            return stage, -place, -item.rank - 1_000
        return stage, -place, -item.rank

    # Of one rank, too, what was named later (a chain that jumps to an earlier one) goes earlier.
    deletions = [_with_implied(step, going) for step in reversed(given) if step.after is None]
    rest = [step for step in given if step.after is not None]
    return tuple(sorted([*deletions, *rest], key=order))


def _with_implied(step: Step, going: set[Key]) -> Step:
    """The deletion `step`, marked if it comes by itself."""
    item = step.subject
    implied = item.cascades and not item.withdrawn() and any(key in going for key in item.inside())
    return step if implied == step.implied else Step(item, None, step.differences, step.reason, step.origin, implied)


class Counts(NamedTuple):
    """How many things a plan creates, updates and deletes."""

    create: int = 0
    update: int = 0
    delete: int = 0
    pending: int = 0

    @classmethod
    def of(cls, plan: Plan) -> Counts:
        """The counts of `plan`."""
        create, update, delete = (plan.count(action) for action in Action)
        return cls(create, update, delete, len(plan.pending))
