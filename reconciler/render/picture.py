"""The network of a host as a picture, before anybody says where things stand: the host's own interfaces, bridges, what hangs on
them, what is published, and what is not as it should be.

Nothing is left out here. What is drawn of it, and where, is decided by reconciler.render.drawing; reconciler.render.mermaid and
reconciler.render.dot leave that to others. All text is cleaned of characters that cannot be seen (reconciler.render.terminal).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.core.messages import HOST
from reconciler.core.plan import Plan
from reconciler.core.resource import Key, Resource, State
from reconciler.kinds.address import Address
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.hostlink import HostLink
from reconciler.kinds.links import link_key
from reconciler.kinds.nftables import Element
from reconciler.kinds.peer import Peer
from reconciler.kinds.route import Route
from reconciler.kinds.tap import Tap
from reconciler.kinds.veth import Veth
from reconciler.render import words
from reconciler.render.comparison import FOREIGN, Comparison, Kind, Mark, Marks, untold
from reconciler.render.places import Place
from reconciler.render.ports import Published
from reconciler.render.terminal import clean
from reconciler.render.tree import ENDS, addresses_of, ends_of, port_kind

_COUNTED = {Kind.WAITS: "waiting", Kind.DIFFERS: "differing"}
"""The words for a number of them."""


@dataclass(frozen=True, slots=True)
class Label:
    """A few words, with what is to be said of what they name."""

    text: str
    marks: Marks = ()


@dataclass(frozen=True, slots=True)
class Port:
    """A published port: `8080/tcp` of the host leads to `80` of the container. The two families are one."""

    outside: str
    inside: str
    marks: Marks = ()


@dataclass(frozen=True, slots=True)
class Member:
    """What hangs on a bridge. `kind` is `container`, `vm`, or what else a port of the bridge may be: `veth`, `link`."""

    name: str
    kind: str
    interface: str = ""
    """Inside: `eth0`, `eth0 in blue`."""
    link: str = ""
    """The host's end: `web-c99429`, `vnet0`."""
    addresses: tuple[Label, ...] = ()
    ports: tuple[Port, ...] = ()
    notes: tuple[Label, ...] = ()
    """What else of it is not as it should be."""
    marks: Marks = ()
    also: tuple[str, ...] = ()
    """The other bridges that it hangs on."""

    @property
    def off(self) -> bool:
        """Whether anything of it is not as it should be."""
        parts: tuple[Member | Label | Port, ...] = (self, *self.addresses, *self.ports, *self.notes)
        return any(part.marks for part in parts)


@dataclass(frozen=True, slots=True)
class BridgePicture:
    """A bridge. `leaves` is how its containers get out: `masquerade`, `source 192.0.2.7`, or not at all."""

    name: str
    mode: str = ""
    addresses: tuple[Label, ...] = ()
    leaves: tuple[Label, ...] = ()
    uplinks: tuple[Label, ...] = ()
    members: tuple[Member, ...] = ()
    notes: tuple[Label, ...] = ()
    marks: Marks = ()

    @property
    def ports(self) -> int:
        """How many ports are published on it."""
        return sum(len(member.ports) for member in self.members)


@dataclass(frozen=True, slots=True)
class Picture:
    """A host. `interfaces` are its own, with their addresses; `compared` says whether it was held against a file."""

    owner: str
    host: str = ""
    compared: bool = False
    interfaces: tuple[Member, ...] = ()
    bridges: tuple[BridgePicture, ...] = ()
    notes: tuple[Label, ...] = field(default=())

    @property
    def summary(self) -> str:
        """`2 bridges, 3 containers, 1 virtual machine, 2 published ports; 1 missing, 2 differing`."""
        members = [member for bridge in self.bridges for member in bridge.members]
        machines = sum(member.kind == "vm" for member in members)
        parts = [
            words.counted(len(self.bridges), "bridge"),
            words.counted(len({member.name for member in members if member.kind == "container"}), "container"),
            *([words.counted(machines, "virtual machine")] if machines else ()),
            words.counted(sum(bridge.ports for bridge in self.bridges), "published port"),
        ]
        return ", ".join(parts) + f"; {self.verdict}"

    @property
    def verdict(self) -> str:
        """What is to be said of it as a whole: `as the file says`, or what is not, counted."""
        counts = dict.fromkeys(Kind, 0)
        for marks in self._marked():
            for kind in {mark.kind for mark in marks}:
                counts[kind] += 1
        told = [
            f"{number} {_COUNTED.get(kind, kind)}" for kind, number in counts.items() if number and kind not in _NEUTRAL
        ]
        if told:
            return ", ".join(told)
        return "as the file says" if self.compared else "held against no file"

    def _marked(self) -> Iterator[Marks]:
        """The marks of each thing."""
        parts: list[BridgePicture | Member | Label | Port] = [*self.notes]
        for bridge in self.bridges:
            parts += [bridge, *bridge.addresses, *bridge.leaves, *bridge.uplinks, *bridge.notes, *bridge.members]
            for member in bridge.members:
                parts += [*member.addresses, *member.ports, *member.notes]
        return (part.marks for part in parts)


_OUTWARD = frozenset({"", "vlan", "bond", "team"})
"""Kinds of link that lead out of the host; physical ones have none."""
_NEUTRAL = frozenset({Kind.FOREIGN, Kind.OTHERS})
"""What is there by right, and nobody's drift."""


def picture(found: State, desired: State | None, owner: str, *, plan: Plan | None = None, host: str = "") -> Picture:
    """The picture of `found`, held against `desired` if given. `plan` tells what waits for what is not ours; `host` is its name."""
    pending = {item.resource.key: item.missing for item in plan.pending} if plan else {}
    view = _View(found, desired, owner, pending)
    return Picture(
        owner=clean(owner),
        host=clean(host),
        compared=desired is not None,
        interfaces=tuple(view.interfaces()),
        bridges=tuple(map(view.bridge, view.names())),
        notes=tuple(view.labels(view.loose(), ())),
    )


class _View(Comparison):
    """Two states side by side, as parts of a picture."""

    def __init__(self, found: State, desired: State | None, owner: str, pending: Mapping[Key, Key]) -> None:
        super().__init__(found, desired, owner, pending)
        self._bridges_of: dict[str, list[str]] = {}
        for place in self.by_place:
            if place.container and place.bridge:
                self._bridges_of.setdefault(place.container, []).append(place.bridge)
        self._enslaved = {item.link: item.bridge for item in self.all.values() if isinstance(item, BridgePort)}

    def names(self) -> list[str]:
        """The names of all bridges, also of those in whose place there is something else."""
        return list(dict.fromkeys([*self.bridges(), *(place.bridge for place in self.by_place if place.bridge)]))

    def interfaces(self) -> Iterator[Member]:
        """The host's own links that have an address, or the way to the outside."""
        addresses: dict[str, list[Resource]] = {}
        for item in self.all.values():
            if isinstance(item, Address) and item.namespace == HOST:
                addresses.setdefault(item.link, []).append(item)
        bridges = {item.name for item in self.all.values() if isinstance(item, Bridge)}
        outward = {link for link, _ in self._ways_out()}
        for item in self.all.values():
            if not isinstance(item, HostLink | Veth | Tap) or item.name in self._enslaved or item.name in bridges:
                continue
            if item.name in addresses or item.name in outward:
                # They are not ours, and need not be: nothing is said of that.
                own = tuple(self._addresses(addresses.get(item.name, []), (FOREIGN,)))
                yield Member(clean(item.name), "interface", addresses=own)

    def bridge(self, name: str) -> BridgePicture:
        """One bridge, and all that hangs on it."""
        bridge = self.all.get(link_key(HOST, name))
        own = self.by_place.get(Place(name), [])
        marks = self.marks(bridge) if bridge is not None else (Mark(Kind.MISSING, "missing"),)
        ports = [item for item in own if isinstance(item, BridgePort)]
        uplinks = [item for item in ports if self._is_uplink(item)]
        others = (self._other(item, marks) for item in ports if item not in uplinks)
        told = (Bridge, BridgePort, Address)
        return BridgePicture(
            name=clean(name),
            mode=self.mode(name),
            addresses=tuple(self._addresses(own, marks)),
            leaves=tuple(self._leaves(name, marks)),
            uplinks=tuple(Label(clean(item.link), _cleaned(untold(self.marks(item), marks))) for item in uplinks),
            members=(*(self._member(Place(name, container)) for container in self.containers(name)), *others),
            notes=tuple(self.labels((item for item in own if not isinstance(item, told)), marks)),
            marks=_cleaned((*marks, *self.mode_marks(name))),
        )

    def labels(self, items: Iterable[Resource], told: Marks) -> Iterator[Label]:
        """What else is not as it should be."""
        return (Label(clean(text), _cleaned(marks)) for text, marks in self.rest(items, told))

    # --- what hangs on a bridge

    def _member(self, place: Place) -> Member:
        items = self.by_place[place]
        ends = ends_of(items)
        marks = self.whole_marks(ends)
        link = next(iter(ends), None)
        return Member(
            name=clean(place.container),
            kind="vm" if isinstance(link, Tap) else "container",
            interface=clean(_inside(link, place.container)),
            link=clean(_outside(ends)),
            addresses=tuple(self._addresses(items, marks)),
            ports=tuple(self._ports(items, marks)),
            notes=tuple(self.labels((item for item in items if not isinstance(item, (*ENDS, Address))), marks)),
            marks=_cleaned(marks),
            also=tuple(clean(name) for name in self._bridges_of[place.container] if name != place.bridge),
        )

    def _is_uplink(self, port: BridgePort) -> bool:
        """A port by which the bridge reaches the outside: what was taken for one, or of a foreign bridge, what may be one."""
        key = link_key(HOST, port.bridge)
        bridges = (state.resources.get(key) for state in self.states)
        if any(isinstance(bridge, Bridge) and port.link in bridge.uplinks for bridge in bridges):
            return True
        link = self.all.get(link_key(HOST, port.link))
        return isinstance(link, HostLink) and link.kind in _OUTWARD and port.owner is None

    def _other(self, port: BridgePort, told: Marks) -> Member:
        """A port that is of no container that we can see."""
        what = port_kind(port, self.all.get(link_key(HOST, port.link)))
        return Member(clean(port.link), clean(what) or "link", marks=_cleaned(untold(self.marks(port), told)))

    def _ports(self, items: Iterable[Resource], told: Marks) -> Iterator[Port]:
        found = ((Published.of(item), item) for item in items if isinstance(item, Element))
        pairs = [(published, item) for published, item in found if published is not None]
        pairs.sort(key=lambda pair: (pair[0].ports, pair[0].protocol, pair[0].address is not None, pair[0].host))
        lines: dict[Port, None] = {}
        for published, item in pairs:
            marks = _cleaned(untold(self.marks(item), told))
            lines[Port(clean(words.port_name(published)), str(published.target_ports), marks)] = None
        return iter(lines)

    def _addresses(self, items: Iterable[Resource], told: Marks) -> Iterator[Label]:
        for item in addresses_of(items):
            yield Label(str(item.address), _cleaned(untold(self.marks(item), told)))

    # --- the way out

    def _leaves(self, bridge: str, told: Marks) -> Iterator[Label]:
        """How packets from this bridge get out, by the elements that bear its name."""
        elements = [item for item in self.all.values() if isinstance(item, Element) and item.comment == bridge]
        sources = [item for item in elements if item.set in ("snat4", "snat6")]
        natted = [item for item in elements if item.set in ("nat4", "nat6")]
        for item in sources:
            yield Label(clean(f"source {' '.join(item.data)}"), untold(self.marks(item), told))
        if natted and not sources:
            link = next((name for name, _ in self._ways_out()), "")
            marks = dict.fromkeys(mark for item in natted for mark in untold(self.marks(item), told))
            yield Label(clean(f"masquerade, by {link}" if link else "masquerade"), _cleaned(tuple(marks)))

    def _ways_out(self) -> Iterator[tuple[str, Route]]:
        """The host's default routes, by their links."""
        for item in self.all.values():
            if isinstance(item, Route) and item.namespace == HOST and item.destination.prefixlen == 0:
                yield item.link, item


def _inside(link: Resource | None, container: str) -> str:
    """The interface as it is called inside."""
    if not isinstance(link, Peer):
        return ""
    return link.name + (f" in {link.namespace}" if link.namespace != container else "")


def _outside(ends: Sequence[Resource]) -> str:
    """The host's end of an interface."""
    for item in ends:
        match item:
            case Veth() | Tap():
                return item.name
            case Peer(host=str() as host):
                return host
            case BridgePort():
                return item.link
    return ""


def _cleaned(marks: Marks) -> Marks:
    return tuple(Mark(mark.kind, clean(mark.text)) for mark in marks)
