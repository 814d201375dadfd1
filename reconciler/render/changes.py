"""A Plan's steps as a reader counts them: a deletion and a creation of one key are one replacement."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from reconciler.core.plan import Action, Plan, Step
from reconciler.core.resource import Difference, Key, Origin, Resource, differences
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.nftables import Element
from reconciler.render.places import Place, Places
from reconciler.render.ports import Published


class Sign(enum.StrEnum):
    """What happens to the thing on a line."""

    CREATE = "+"
    UPDATE = "~"
    DELETE = "-"
    REPLACE = "±"
    OPEN = "?"
    """Nothing yet: foreign, waiting, in the way."""
    NONE = " "
    """Only named, because something happens below."""


SIGNS = {Action.CREATE: Sign.CREATE, Action.UPDATE: Sign.UPDATE, Action.DELETE: Sign.DELETE}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changes. `along` is what goes, or is made anew, only because this is."""

    sign: Sign
    before: Resource | None
    after: Resource | None
    place: Place
    differences: tuple[Difference, ...] = ()
    reason: str = ""
    origin: Origin = Origin()
    implied: bool = False
    disruptive: bool = False
    along: list[Change] = field(default_factory=list, compare=False)

    @property
    def subject(self) -> Resource:
        """As it is to be, or as it was if it goes."""
        subject = self.after or self.before
        assert subject is not None
        return subject

    @property
    def with_along(self) -> list[Resource]:
        """This and all that goes along with it."""
        return [self.subject, *(item.subject for item in self.along)]


def changes(plan: Plan, places: Places) -> tuple[Change, ...]:
    """The changes of `plan`, folded: what only follows from another one stands in its `along`."""
    going = {step.key: step for step in plan.steps if step.action is Action.DELETE}
    coming = {step.key for step in plan.steps if step.action is Action.CREATE}
    singles = [
        _change(step, going.get(step.key) if step.action is Action.CREATE else None, places)
        for step in plan.steps
        if step.action is not Action.DELETE or step.key not in coming
    ]
    return _folded(singles, plan.owner)


def _change(step: Step, gone: Step | None, places: Places) -> Change:
    place = places.place(step.subject, step.origin)
    if gone is None:
        return Change(
            SIGNS[step.action],
            step.before,
            step.after,
            place,
            step.differences,
            step.reason,
            step.origin,
            step.implied,
            step.disruptive,
        )
    assert step.after is not None
    assert gone.before is not None
    return Change(
        Sign.REPLACE,
        gone.before,
        step.after,
        place,
        differences(step.after, gone.before) if type(step.after) is type(gone.before) else (),
        gone.reason.removeprefix("replaced: "),
        step.origin,
        gone.implied,
        True,
    )


def _folded(singles: list[Change], owner: str) -> tuple[Change, ...]:
    going = {item.subject.key: item for item in singles if item.sign in (Sign.DELETE, Sign.REPLACE)}
    result = []
    for item in singles:
        root = _root(item, going)
        if root is item or not _goes_without_saying(item, root, owner):
            result.append(item)
        else:
            root.along.append(item)
    return tuple(result)


def _root(item: Change, going: dict[Key, Change]) -> Change:
    """What `item` goes, or is made anew, because of: of those with its sign the one nearest to the root."""
    seen: set[Key] = set()
    root = item
    while (item.implied or _comes_back_as_it_was(item)) and item.subject.key not in seen:
        seen.add(item.subject.key)
        outer = (item.before or item.subject).inside()
        item = next((going[key] for key in outer if key in going), item)
        root = item if item.sign is root.sign else root
    return root


def _comes_back_as_it_was(item: Change) -> bool:
    """Such a thing is only made anew because what it is inside of is."""
    same_kind = type(item.before) is type(item.after)
    return item.sign is Sign.REPLACE and same_kind and not item.differences


def _goes_without_saying(item: Change, root: Change, owner: str) -> bool:
    """Not so: what others put there, what comes back in another shape, a port that closes, an uplink given
    back."""
    if item.sign is Sign.REPLACE:
        return _comes_back_as_it_was(item)
    closes = isinstance(item.subject, Element) and Published.of(item.subject) is not None
    given_back = isinstance(item.subject, BridgePort) and isinstance(root.subject, Bridge)
    return item.subject.owner == owner and not closes and not given_back
