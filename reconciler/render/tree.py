"""The live tree of bridges, as `brctl show` would draw it if it knew of containers, addresses and published
ports.

What carries no mark of ours is `(foreign)`. Held against a file, what it asks for is `(missing)`, what is
otherwise `(differs: …)`, and what is ours and in no file `(not in the file)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from reconciler.core.messages import HOST
from reconciler.core.resource import Resource, State
from reconciler.kinds.address import Address
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.hostlink import HostLink
from reconciler.kinds.links import link_key
from reconciler.kinds.nftables import Element
from reconciler.kinds.peer import Peer
from reconciler.kinds.tap import Tap
from reconciler.kinds.veth import Veth
from reconciler.render import words
from reconciler.render.comparison import Comparison, Kind, Marks, untold
from reconciler.render.places import Place
from reconciler.render.ports import Published
from reconciler.render.terminal import Line, Span, Style, pad, paint, width

_GAP = "  "
ENDS = (Peer, Tap, Veth, BridgePort)
"""What a container's interface consists of, the most telling first."""
_STYLES = {
    Kind.MISSING: Style.RED,
    Kind.WAITS: Style.CYAN,
    Kind.DIFFERS: Style.YELLOW,
    Kind.EXTRA: Style.YELLOW,
    Kind.FOREIGN: Style.MAGENTA,
    Kind.OTHERS: Style.MAGENTA,
}


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


class _View(Comparison):
    """Two states side by side, as nodes."""

    def bridge(self, name: str) -> Node:
        """The tree below one bridge."""
        bridge = self.all[link_key(HOST, name)]
        own = self.by_place.get(Place(name), [])
        marks = self.marks(bridge)
        cells = (Span(name, Style.BOLD), Span(self.mode(name), Style.DIM), self._addresses(_on(name, own), marks))
        node = Node(cells, _spans((*marks, *self.mode_marks(name))))
        node.below.extend(self._container(Place(name, container)) for container in self.containers(name))
        node.below.extend(self._port(item, own, marks) for item in own if isinstance(item, BridgePort))
        told = (Bridge, BridgePort, Address)
        node.below.extend(self._rest((item for item in own if not isinstance(item, told)), marks))
        return node

    def host(self) -> Node:
        """What is not as it should be and hangs on no bridge: settings, the firewall."""
        return Node((Span("host", Style.BOLD),), (), list(self._rest(self.loose(), ())))

    # --- what hangs on a bridge

    def _container(self, place: Place) -> Node:
        items = self.by_place[place]
        ends = ends_of(items)
        marks = self.whole_marks(ends)
        interface = interface_of(next(iter(ends), None), place.container)
        cells = (Span(place.container, Style.BOLD), Span(interface), self._addresses(items, marks))
        node = Node(cells, _spans(marks))
        node.below.extend(self._ports(items, marks))
        node.below.extend(self._rest((item for item in items if not isinstance(item, (*ENDS, Address))), marks))
        return node

    def _port(self, port: BridgePort, items: Iterable[Resource], told: Marks) -> Node:
        """A port that is of no container: an uplink, or something foreign. It may have addresses of its own."""
        what = port_kind(port, self.all.get(link_key(HOST, port.link)))
        addresses = self._addresses(_on(port.link, items), told)
        cells = (Span(port.link), Span(what, Style.DIM), *([addresses] if addresses.text else []))
        return Node(cells, _spans(untold(self.marks(port), told)))

    def _ports(self, items: Iterable[Resource], told: Marks) -> Iterator[Node]:
        """What is published; the IPv4 and the IPv6 side of a port share a line."""
        lines: dict[tuple[str, Marks], None] = {}
        for item in items:
            published = Published.of(item) if isinstance(item, Element) else None
            if published is not None:
                text = f"{words.port_name(published)} → {published.target_ports}"
                lines[text, untold(self.marks(item), told)] = None
        yield from (Node((Span(text, Style.CYAN),), _spans(marks)) for text, marks in lines)

    def _rest(self, items: Iterable[Resource], told: Marks) -> Iterator[Node]:
        yield from (Node((Span(text),), _spans(marks)) for text, marks in self.rest(items, told))

    def _addresses(self, items: Iterable[Resource], told: Marks) -> Span:
        """All addresses among `items`, in one column."""
        parts = []
        for item in addresses_of(items):
            marks = " ".join(span.text for span in _spans(untold(self.marks(item), told)))
            parts.append(f"{item.address} {marks}".rstrip())
        return Span(", ".join(parts))


def ends_of(items: Iterable[Resource]) -> list[Resource]:
    """What the interface of a container consists of, the most telling first."""
    listed = list(items)
    return [item for kind in ENDS for item in listed if isinstance(item, kind)]


def interface_of(link: Resource | None, container: str) -> str:
    """How the interface `link` of `container` is called: `eth0 in blue (veth web-0a1b2c)`, `tap vnet0`."""
    if isinstance(link, Tap):
        return f"tap {link.name}"
    if not isinstance(link, Peer):
        return f"veth {link.name}" if isinstance(link, Veth) else ""
    inside = f" in {link.namespace}" if link.namespace != container else ""
    return f"{link.name}{inside}" + (f" (veth {link.host})" if link.host else "")


def port_kind(port: BridgePort, link: Resource | None) -> str:
    """What a bridge port of no container is: an uplink (also one that is not there), or what kind of link."""
    if link is None or isinstance(link, HostLink):
        return "uplink" if port.owner else (link.kind if link else "link")
    return words.noun(link)


def addresses_of(items: Iterable[Resource]) -> list[Address]:
    """The addresses among `items`, IPv4 first."""
    addresses = [item for item in items if isinstance(item, Address)]
    return sorted(addresses, key=lambda item: (item.address.version, item.address.ip.packed))


def _on(link: str, items: Iterable[Resource]) -> list[Address]:
    """The addresses among `items` that the host's `link` itself has."""
    return [item for item in items if isinstance(item, Address) and item.link == link]


def _spans(marks: Marks) -> tuple[Span, ...]:
    return tuple(Span(f"({mark.text})", _STYLES[mark.kind]) for mark in marks)


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
