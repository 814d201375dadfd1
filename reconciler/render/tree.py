"""The live tree of bridges, as `brctl show` would draw it if it knew of containers, addresses and published
ports.

What carries no mark of ours is `(foreign)`. Held against a file, what it asks for is `(missing)`, what is
otherwise `(differs: …)`, and what is ours and in no file `(not in the file)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from reconciler.core.messages import HOST
from reconciler.core.resource import UNKNOWN, Difference, Key, Resource, State, differences
from reconciler.kinds.address import Address
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.hostlink import HostLink
from reconciler.kinds.links import link_key
from reconciler.kinds.netns import Netns
from reconciler.kinds.nftables import Element
from reconciler.kinds.peer import Peer
from reconciler.kinds.sysctl import Sysctl
from reconciler.kinds.tap import Tap
from reconciler.kinds.veth import Veth
from reconciler.render import words
from reconciler.render.places import Place, Places
from reconciler.render.ports import Published
from reconciler.render.terminal import Line, Span, Style, pad, paint, width

Marks = tuple[Span, ...]

_GAP = "  "
_ENDS = (Peer, Tap, Veth, BridgePort)
"""What a container's interface consists of, the most telling first."""


@dataclass(frozen=True, slots=True)
class Node:
    """A line of the tree: columns, marks behind them, and what hangs below."""

    cells: tuple[Span, ...]
    marks: tuple[Span, ...] = ()
    below: list[Node] = field(default_factory=list)


def tree(found: State, desired: State | None, owner: str, *, color: bool) -> str:
    """The bridges in `found`, those of `owner` first, and what hangs on them, one line each; held against
    `desired` if given.

    Ends in a newline; has escape sequences only if `color`.
    """
    view = _View(found, desired, owner)
    trees = [view.bridge(name) for name in view.bridges()]
    rest = view.host()
    if rest.below:
        trees.append(rest)
    if not trees:
        return "There are no bridges on this host.\n"
    return "\n".join("".join(f"{paint(line, color=color)}\n" for line in _drawn(node)) for node in trees)


def mode(state: State, bridge: str) -> str:
    """The bridge's mode, by how the firewall treats it: nat, routed, isolated, bridged; "" if it does not
    say."""
    elements = (item for item in state.resources.values() if isinstance(item, Element))
    link = state.resources.get(link_key(HOST, bridge))
    return words.mode(elements, bridge) or ("bridged" if isinstance(link, Bridge) and link.uplinks else "")


class _View:
    """Two states side by side."""

    def __init__(self, found: State, desired: State | None, owner: str) -> None:
        self._found = found.resources
        self._compared = desired is not None
        self._states = (found, desired or State())
        self._desired = self._states[1].resources
        self._owner = owner
        self._places = Places.of_states(self._states[1], found)
        self._all: dict[Key, Resource] = {**self._found, **self._missing()}
        self._by_place: dict[Place, list[Resource]] = {}
        for key, item in self._all.items():
            origin = self._states[1].origins.get(key)
            place = self._places.place(item, origin) if origin else self._places.place(item)
            place = Place() if _is_of_host(item) else place
            self._by_place.setdefault(place, []).append(item)

    def _missing(self) -> dict[Key, Resource]:
        return {key: item for key, item in self._desired.items() if key not in self._found}

    def bridges(self) -> list[str]:
        """The names of all bridges: those of the file in its order, then ours, then the foreign ones."""
        items = [item for item in self._all.values() if isinstance(item, Bridge)]
        wanted = {key: index for index, key in enumerate(self._desired)}
        last = len(wanted)
        items.sort(key=lambda item: (item.owner != self._owner, wanted.get(item.key, last), item.name))
        return [item.name for item in items]

    def bridge(self, name: str) -> Node:
        """The tree below one bridge."""
        bridge = self._all[link_key(HOST, name)]
        own = self._by_place.get(Place(name), [])
        marks = self._marks(bridge)
        mode = Span(self._mode(name), Style.DIM)
        cells = (Span(name, Style.BOLD), mode, self._addresses(own, marks))
        node = Node(cells, (*marks, *self._mode_mark(name)))
        containers = {place.container for place in self._by_place if place.bridge == name and place.container}
        node.below.extend(self._container(Place(name, container)) for container in self._ordered(containers))
        node.below.extend(self._port(item, marks) for item in own if isinstance(item, BridgePort))
        told = (Bridge, BridgePort, Address)
        node.below.extend(self._rest((item for item in own if not isinstance(item, told)), marks))
        return node

    def host(self) -> Node:
        """What is not as it should be and hangs on no bridge: settings, the firewall."""
        loose = [item for place, items in self._by_place.items() if not place.bridge for item in items]
        return Node((Span("host", Style.BOLD),), (), list(self._rest(loose, ())))

    def _mode(self, name: str) -> str:
        return mode(self._states[0], name) or mode(self._states[1], name)

    def _mode_mark(self, name: str) -> Iterator[Span]:
        is_now, wanted = mode(self._states[0], name), mode(self._states[1], name)
        if is_now and wanted and is_now != wanted:
            yield Span(f"(differs: mode {is_now}, should be {wanted})", Style.YELLOW)

    def _ordered(self, containers: Iterable[str]) -> list[str]:
        named = dict.fromkeys(origin.container for origin in self._states[1].origins.values())
        order = {name: index for index, name in enumerate(named)}
        return sorted(containers, key=lambda name: (order.get(name, len(order)), name))

    # --- what hangs on a bridge

    def _container(self, place: Place) -> Node:
        items = self._by_place[place]
        ends = [item for kind in _ENDS for item in items if isinstance(item, kind)]
        marks = self._whole_marks(ends)
        interface = self._interface(next(iter(ends), None), place)
        cells = (Span(place.container, Style.BOLD), Span(interface), self._addresses(items, marks))
        node = Node(cells, marks)
        node.below.extend(self._ports(items, marks))
        node.below.extend(self._rest((item for item in items if not isinstance(item, (*_ENDS, Address))), marks))
        return node

    def _interface(self, link: Resource | None, place: Place) -> str:
        if isinstance(link, Tap):
            return f"tap {link.name}"
        if not isinstance(link, Peer):
            return f"veth {link.name}" if isinstance(link, Veth) else ""
        inside = f" in {link.namespace}" if link.namespace != place.container else ""
        return f"{link.name}{inside}" + (f" (veth {link.host})" if link.host else "")

    def _port(self, port: BridgePort, told: Marks) -> Node:
        """A port that is of no container: an uplink, or something foreign."""
        link = self._all.get(link_key(HOST, port.link))
        what = words.noun(link) if link is not None else "link"
        if isinstance(link, HostLink):
            what = "uplink" if port.owner else link.kind
        return Node((Span(port.link), Span(what, Style.DIM)), _untold(self._marks(port), told))

    def _ports(self, items: Iterable[Resource], told: Marks) -> Iterator[Node]:
        """What is published; the IPv4 and the IPv6 side of a port share a line."""
        lines: dict[tuple[str, Marks], None] = {}
        for item in items:
            published = Published.of(item) if isinstance(item, Element) else None
            if published is not None:
                text = f"{words.port_name(published)} → {published.target_ports}"
                lines[text, _untold(self._marks(item), told)] = None
        yield from (Node((Span(text, Style.CYAN),), marks) for text, marks in lines)

    def _rest(self, items: Iterable[Resource], told: Marks) -> Iterator[Node]:
        """Things that have no line of their own as long as they are as they should be; what guards is summed
        up."""
        guards: dict[Marks, list[Resource]] = {}
        for item in items:
            marks = _untold(self._marks(item), told)
            if not marks or _is_port(item) or not self._counts(item):
                continue
            if item.key.space.startswith("nft "):
                guards.setdefault(marks, []).append(item)
            else:
                yield Node((Span(_in_place(item)),), marks)
        for marks, parts in guards.items():
            text = words.thing(parts[0]) if len(parts) == 1 else words.tally(parts)
            yield Node((Span(f"firewall: {text}"),), marks)

    # --- marks

    def _counts(self, item: Resource) -> bool:
        """Whether the file asks for `item`, or it is a part of ours that nobody asks for."""
        return item.key in self._desired or (self._compared and item.owner == self._owner and item.removable)

    def _addresses(self, items: Iterable[Resource], told: Marks) -> Span:
        """All addresses among `items`, in one column."""
        addresses = [item for item in items if isinstance(item, Address)]
        parts = []
        for item in sorted(addresses, key=lambda item: (item.address.version, item.address.ip.packed)):
            marks = " ".join(mark.text for mark in _untold(self._marks(item), told))
            parts.append(f"{item.address} {marks}".rstrip())
        return Span(", ".join(parts))

    def _marks(self, item: Resource) -> Marks:
        if item.key not in self._found:
            return (Span("(missing)", Style.RED),)
        marks = []
        wanted = self._desired.get(item.key)
        foreign = item.owner is None and not isinstance(item, Netns) and item.removable
        if foreign:
            marks.append(Span("(foreign)", Style.MAGENTA))
        elif item.owner not in (None, UNKNOWN, self._owner):
            marks.append(Span(f"(of the owner {item.owner})", Style.MAGENTA))
        elif self._compared and wanted is None and item.owner == self._owner:
            marks.append(Span("(not in the file)", Style.YELLOW))
        if wanted is not None and (drift := self._drift(wanted, item)):
            marks.append(Span(f"(differs: {drift})", Style.YELLOW))
        return tuple(marks)

    def _drift(self, wanted: Resource, item: Resource) -> str:
        if type(wanted) is not type(item):
            return f"is a {words.noun(item)}, should be a {words.noun(wanted)}"
        if isinstance(item, Element) and isinstance(wanted, Element):
            there, should = Published.of(item), Published.of(wanted)
            if there and should and there.inside != should.inside:
                return f"leads to {there.inside}, should lead to {should.inside}"
        return "; ".join(words.drift(part) for part in differences(wanted, item) if _tells(part))

    def _whole_marks(self, ends: Sequence[Resource]) -> Marks:
        """The marks of an interface: those of its ends, each once."""
        marks = dict.fromkeys(mark for item in ends for mark in self._marks(item))
        missing = Span("(missing)", Style.RED)
        if missing in marks and any(item.key in self._found for item in ends):
            del marks[missing]
            gone = dict.fromkeys(words.noun(item) for item in ends if item.key not in self._found)
            marks[Span(f"(missing: {', '.join(gone)})", Style.RED)] = None
        return tuple(marks)


def _untold(marks: Marks, told: Marks) -> Marks:
    """`marks` without those that stand a line above."""
    return tuple(mark for mark in marks if mark not in told)


def _in_place(item: Resource) -> str:
    """Noun and name of what stands below its container."""
    return f"{words.noun(item)} {words.name(item)}"


def _is_of_host(item: Resource) -> bool:
    """The firewall and settings of the whole host, whichever bridge asks for them."""
    if isinstance(item, Sysctl):
        return item.namespace == HOST and not item.inside()
    return item.key.space.startswith("nft ") and not _is_port(item)


def _tells(part: Difference) -> bool:
    return part.field != "owner"


def _is_port(item: Resource) -> bool:
    return isinstance(item, Element) and Published.of(item) is not None


# --- drawing ----------


def _drawn(root: Node) -> Iterator[Line]:
    yield _line("", "", root, [])
    yield from _branches(root, "")


def _branches(node: Node, before: str) -> Iterator[Line]:
    widths = _widths(node.below)
    for child in node.below:
        last = child is node.below[-1]
        yield _line(before, "└─ " if last else "├─ ", child, widths)
        yield from _branches(child, before + ("   " if last else "│  "))


def _widths(nodes: Iterable[Node]) -> list[int]:
    """The widths of the columns that siblings share; single cells stand for themselves."""
    result: list[int] = []
    for node in nodes:
        for index, cell in enumerate(node.cells if len(node.cells) > 1 else ()):
            result.extend([0] * (index + 1 - len(result)))
            result[index] = max(result[index], width(cell.text))
    return result


def _line(before: str, branch: str, node: Node, widths: list[int]) -> Line:
    spans = [Span(before + branch, Style.DIM)]
    aligned = widths if len(node.cells) > 1 else []
    cells = [cell for index, cell in enumerate(node.cells) if cell.text or sum(aligned[index : index + 1])]
    columns = [columns for columns in aligned if columns]
    for index, cell in enumerate(cells):
        columns_here = columns[index] if index < len(columns) else 0
        spans += [Span(pad(cell.text, columns_here), cell.style), Span(_GAP)]
    for mark in node.marks:
        spans += [mark, Span(_GAP)]
    return tuple(spans)
