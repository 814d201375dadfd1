"""Two states side by side, for people: what is there, what the file asks for, and how each thing is marked for it.

What carries no mark of ours is `foreign`. Held against a file, what it asks for is `missing`, or `waits` for something that is
not ours to make; what is otherwise `differs`, and what is ours and in no file is `not in the file`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from reconciler.core.messages import HOST
from reconciler.core.resource import UNKNOWN, Difference, Key, Resource, State, differences
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.links import link_key
from reconciler.kinds.netns import Netns
from reconciler.kinds.nftables import Element
from reconciler.kinds.sysctl import Sysctl
from reconciler.render import words
from reconciler.render.places import Place, Places
from reconciler.render.ports import Published


class Kind(enum.StrEnum):
    """What a mark says, in a word that may stand alone."""

    MISSING = "missing"
    WAITS = "waits"
    DIFFERS = "differs"
    EXTRA = "not in the file"
    FOREIGN = "foreign"
    OTHERS = "of another owner"


class Mark(NamedTuple):
    """What is to be said of a thing. `text` begins with the word and may go on: `differs: mtu 1400, should be 1500`."""

    kind: Kind
    text: str


Marks = tuple[Mark, ...]

MISSING = Mark(Kind.MISSING, "missing")
FOREIGN = Mark(Kind.FOREIGN, "foreign")
EXTRA = Mark(Kind.EXTRA, "not in the file")
ABSENT = frozenset({Kind.MISSING, Kind.WAITS})
"""What is in the file and not on the host."""


def mode(state: State, bridge: str) -> str:
    """The bridge's mode, by how the firewall treats it: nat, routed, isolated, bridged; "" if it does not
    say."""
    elements = (item for item in state.resources.values() if isinstance(item, Element))
    link = state.resources.get(link_key(HOST, bridge))
    return words.mode(elements, bridge) or ("bridged" if isinstance(link, Bridge) and link.uplinks else "")


class Comparison:
    """What `found` has and what `desired` (None: no file) asks for, by the place where it belongs.

    `pending` says of each thing that waits for something that is not ours to make, what that is.
    """

    def __init__(
        self, found: State, desired: State | None, owner: str, pending: Mapping[Key, Key] | None = None
    ) -> None:
        self.owner = owner
        self.compared = desired is not None
        self.states = (found, desired or State())
        self._found = found.resources
        self._desired = self.states[1].resources
        self._origins = self.states[1].origins
        self._pending = pending or {}
        origins = (*self._origins.values(), *found.origins.values())
        self._order = {name: place for place, name in enumerate(dict.fromkeys(item.container for item in origins))}
        self.places = Places.of_states(self.states[1], found)
        missing = {key: item for key, item in self._desired.items() if key not in self._found}
        self.all: dict[Key, Resource] = {**self._found, **missing}
        self.by_place: dict[Place, list[Resource]] = {}
        for key, item in self.all.items():
            origin = self._origins.get(key)
            place = self.places.place(item, origin) if origin else self.places.place(item)
            place = Place() if is_of_host(item) else place
            self.by_place.setdefault(place, []).append(item)

    def bridges(self) -> list[str]:
        """The names of all bridges: those of the file in its order, then ours, then the foreign ones."""
        items = [item for item in self.all.values() if isinstance(item, Bridge)]
        wanted = {key: index for index, key in enumerate(self._desired)}
        last = len(wanted)
        items.sort(key=lambda item: (item.owner != self.owner, wanted.get(item.key, last), item.name))
        return [item.name for item in items]

    def containers(self, bridge: str) -> list[str]:
        """The names of the containers on `bridge`: those of a file in its order, then the others."""
        names = {place.container for place in self.by_place if place.bridge == bridge and place.container}
        return sorted(names, key=lambda name: (self._order.get(name, len(self._order)), name))

    def loose(self) -> list[Resource]:
        """What hangs on no bridge: settings, the firewall."""
        return [item for place, items in self.by_place.items() if not place.bridge for item in items]

    def mode(self, bridge: str) -> str:
        """The mode that the bridge has, else the one it is to have."""
        return mode(self.states[0], bridge) or mode(self.states[1], bridge)

    def mode_marks(self, bridge: str) -> Iterator[Mark]:
        """That the mode is not the one that it should be."""
        is_now, wanted = mode(self.states[0], bridge), mode(self.states[1], bridge)
        if is_now and wanted and is_now != wanted:
            yield Mark(Kind.DIFFERS, f"differs: mode {is_now}, should be {wanted}")

    # --- marks

    def marks(self, item: Resource) -> Marks:
        """What is to be said of `item`; nothing if it is as it should be."""
        if item.key not in self._found:
            waits_for = self._pending.get(item.key)
            return (Mark(Kind.WAITS, f"waits for {words.key_name(waits_for)}") if waits_for else MISSING,)
        marks = []
        wanted = self._desired.get(item.key)
        foreign = item.owner is None and not isinstance(item, Netns) and item.removable
        if foreign:
            marks.append(FOREIGN)
        elif item.owner not in (None, UNKNOWN, self.owner):
            marks.append(Mark(Kind.OTHERS, f"of the owner {item.owner}"))
        elif self.compared and wanted is None and item.owner == self.owner:
            marks.append(EXTRA)
        if wanted is not None and (drift := self._drift(wanted, item)):
            marks.append(Mark(Kind.DIFFERS, f"differs: {drift}"))
        return tuple(marks)

    def whole_marks(self, ends: Sequence[Resource]) -> Marks:
        """The marks of an interface: those of its ends, each once."""
        marks = dict.fromkeys(mark for item in ends for mark in self.marks(item))
        waiting = next((mark for mark in marks if mark.kind is Kind.WAITS), None)
        if waiting is not None and not any(item.key in self._found for item in ends):
            return (waiting,)
        if MISSING in marks and any(item.key in self._found for item in ends):
            del marks[MISSING]
            gone = dict.fromkeys(words.noun(item) for item in ends if item.key not in self._found)
            marks[Mark(Kind.MISSING, f"missing: {', '.join(gone)}")] = None
        return tuple(marks)

    def rest(self, items: Iterable[Resource], told: Marks) -> Iterator[tuple[str, Marks]]:
        """(name, marks) of things that need no word as long as they are as they should be, and are not; what guards is
        summed up. `told` is what has been said of what they are in."""
        guards: dict[Marks, list[Resource]] = {}
        for item in items:
            marks = untold(self.marks(item), told)
            if not marks or is_port(item) or not self._counts(item):
                continue
            if item.key.space.startswith("nft "):
                guards.setdefault(marks, []).append(item)
            else:
                yield f"{words.noun(item)} {words.name(item)}", marks
        for marks, parts in guards.items():
            text = words.thing(parts[0]) if len(parts) == 1 else words.tally(parts)
            yield f"firewall: {text}", marks

    def _counts(self, item: Resource) -> bool:
        """Whether the file asks for `item`, or it is a part of ours that nobody asks for."""
        return item.key in self._desired or (self.compared and item.owner == self.owner and item.removable)

    def _drift(self, wanted: Resource, item: Resource) -> str:
        if type(wanted) is not type(item):
            return f"is a {words.noun(item)}, should be a {words.noun(wanted)}"
        if isinstance(item, Element) and isinstance(wanted, Element):
            there, should = Published.of(item), Published.of(wanted)
            if there and should and there.inside != should.inside:
                return f"leads to {there.inside}, should lead to {should.inside}"
        return "; ".join(words.drift(part) for part in differences(wanted, item) if _tells(part))


def untold(marks: Marks, told: Marks) -> Marks:
    """`marks` without those that are said already. What is inside of something missing goes without saying, whatever it is
    missing for."""
    silent = ABSENT if any(mark == MISSING or mark.kind is Kind.WAITS for mark in told) else frozenset[Kind]()
    return tuple(mark for mark in marks if mark not in told and mark.kind not in silent)


def is_of_host(item: Resource) -> bool:
    """The firewall and settings of the whole host, whichever bridge asks for them."""
    if isinstance(item, Sysctl):
        return item.namespace == HOST and not item.inside()
    return item.key.space.startswith("nft ") and not is_port(item)


def is_port(item: Resource) -> bool:
    """Whether `item` publishes something."""
    return isinstance(item, Element) and Published.of(item) is not None


def _tells(part: Difference) -> bool:
    return part.field != "owner"
