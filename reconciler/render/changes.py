"""A Plan's steps as a reader counts them: a deletion and a creation of one key are one replacement."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from reconciler.core.plan import Action, Plan, Step
from reconciler.core.resource import Difference, Key, Origin, Resource, differences
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.layout import PUBLISHING
from reconciler.kinds.nftables import Element
from reconciler.render.places import Place, Places, short_position, split_position
from reconciler.render.ports import Numbers, Published, numbers


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
    """One thing that changes. `along` is what goes, or is made anew, only because this is.

    Published ports that come, or that go, are one Change for all that may share a line: `ports`. It is about the first of them, and its
    origin is the earliest.
    """

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
    ports: Mapping[Numbers, Sequence[Step]] = field(default_factory=dict, compare=False)
    """The steps of each port, one for IPv4 and one for IPv6. There may be ten thousand of them, so there is no Change for each."""

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
    """The changes of `plan`, folded: what only follows from another one stands in its `along`, ports that come or go in their crowd."""
    going = {step.key: step for step in plan.steps if step.action is Action.DELETE}
    anew = {step.key for step in plan.steps if step.action is Action.CREATE and step.key in going} if going else set()
    crowds, singles = _Crowds(places), []
    for step in plan.steps:
        if anew and step.key in anew:
            if step.action is Action.CREATE:
                singles.append(_change(step, going[step.key], places))
        elif not crowds.take(step):
            singles.append(_change(step, None, places))
    return *_folded(singles, plan.owner), *crowds.changes()


class _Likeness(NamedTuple):
    """What ports that share a line have in common."""

    sign: Sign
    place: Place
    address: IPv4Address | IPv6Address | None
    protocol: str
    where: str
    """`FILE:LINE`, or of what goes the reason."""


_NOWHERE = Place()


class _Crowds:
    """The published ports that come or go, gathered by what a line can say of many at once."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._crowds: dict[_Likeness, dict[Numbers, list[Step]]] = {}
        self._spelled: dict[tuple[object, ...], dict[Numbers, list[Step]] | None] = {}
        """The same by how it is spelled, which is quick to look up. None: none of these stands in a crowd."""

    def take(self, step: Step) -> bool:
        """Whether `step` is of a port that comes or goes, which then stands in its crowd."""
        element, origin = step.subject, step.origin
        if step.action is Action.UPDATE or not isinstance(element, Element) or element.set not in PUBLISHING:
            return False
        port = numbers(element)
        if port is None:
            return False
        place: tuple[str, str] = (origin.bridge, origin.container)
        if place == _NOWHERE:
            place = self._places.place(element)
        line, _, _ = origin.position.rpartition(":")
        spelled = (step.after is None, step.reason, line, place, element.match[:-1], element.data[0])
        try:
            crowd = self._spelled[spelled]
        except KeyError:
            crowd = self._spelled[spelled] = self._of(step, Place(*place))
        if crowd is None:
            return False
        crowd.setdefault(port, []).append(step)
        return True

    def _of(self, step: Step, place: Place) -> dict[Numbers, list[Step]] | None:
        published = Published.of(step.subject) if isinstance(step.subject, Element) else None
        if published is None or place == _NOWHERE:
            return None
        where = short_position(step.origin.position) if step.action is Action.CREATE else step.reason
        likeness = _Likeness(SIGNS[step.action], place, published.address, published.protocol, where)
        return self._crowds.setdefault(likeness, {})

    def changes(self) -> Iterator[Change]:
        """A Change for each crowd."""
        for (sign, place, *_), ports in self._crowds.items():
            first = next(iter(ports.values()))[0]
            position = _earliest(sign, [step.origin.position for steps in ports.values() for step in steps])
            origin = Origin(position, place.bridge, place.container)
            yield Change(sign, first.before, first.after, place, reason=first.reason, origin=origin, ports=ports)


def _earliest(sign: Sign, positions: Sequence[str]) -> str:
    if sign is Sign.CREATE:
        # They are of one line, and the shorter number is the smaller one.
        return min(positions, key=lambda position: (len(position), position))
    return min(filter(None, positions), key=split_position, default="")


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
