"""State → what can be reached in it, and what is not known of that."""

from __future__ import annotations

import enum
import functools
import itertools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import NamedTuple

from reconciler.core.messages import HOST, IPAddress, IPNetwork
from reconciler.core.resource import Key, Level, Origin, State
from reconciler.exposure.reach import (
    ANY,
    ANYWHERE,
    BEHIND,
    ICMP,
    LAYER_2,
    OF_BRIDGE,
    OTHER_BRIDGES,
    OUTSIDE,
    THIS_HOST,
    WHOLE,
    Reach,
    joined,
    order,
    row,
    rows,
)
from reconciler.host_rules import IPV4_FORWARDING, IPV6_FORWARDING
from reconciler.kinds import Address, Bridge, BridgePort, Chain, Element, Sysctl, Tap, Veth
from reconciler.kinds.layout import PUBLISHING
from reconciler.kinds.nftables import skeleton

ALWAYS_UNKNOWN = (
    "other nftables and iptables tables: they may drop what is let through here, or translate it",
    "routes: who has none to an address does not reach it, whatever is let through",
    "which addresses the host has: a port on one that it has not is listed all the same",
    "what listens: a port that leads to a container is listed also if nothing answers there",
    "the host's own services, which are not published here, and what others hung on these bridges",
)
"""What a State says nothing of."""

_TO_ROUTED = frozenset({OUTSIDE, OTHER_BRIDGES})
"""Who may ask containers of a routed bridge at their own addresses, for what is open to all."""


OPENING: Mapping[str, int] = {"open4": 4, "open_range4": 4, "open6": 6, "open_range6": 6}
"""The sets of what is open at the containers' own addresses, with the version of IP."""


def exposure(state: State, owner: str) -> tuple[Reach, ...]:
    """All that can be reached by what `owner` has in `state`, desired or found: sorted, with adjacent ports of one line of the file
    made one range."""
    return tuple(sorted(ways(state, owner), key=order))


def ways(state: State, owner: str) -> Iterator[Reach]:
    """The same in any order, for those who sort what comes of it."""
    site = _Site.of(state, owner)
    published = list(_published(site))
    return _merged(itertools.chain(published, _opened(site, published), _inside(site)))


_NOWHERE = Origin()


class _Member(NamedTuple):
    """A container's interface on a bridge. `addresses` is None where nobody sees inside."""

    bridge: str
    container: str
    addresses: tuple[IPAddress, ...] | None
    link: str
    position: str


class _Mode(enum.Enum):
    NAT = enum.auto()
    ROUTED = enum.auto()
    ISOLATED = enum.auto()
    BRIDGED = enum.auto()


@dataclass(frozen=True, slots=True)
class _Site:
    """What a State holds, sorted by what is asked here."""

    elements: Mapping[str, Sequence[Element]]
    """By set."""
    modes: Mapping[str, _Mode]
    """By bridge."""
    networks: Mapping[str, Sequence[IPNetwork]]
    """Those that the host has an address in, by bridge."""
    members: Sequence[_Member]
    origins: Mapping[Key, Origin]

    @classmethod
    def of(cls, state: State, owner: str) -> _Site:
        elements: defaultdict[str, list[Element]] = defaultdict(list)
        inside: defaultdict[tuple[str, str], list[IPAddress]] = defaultdict(list)
        networks: defaultdict[str, list[IPNetwork]] = defaultdict(list)
        bridges, links, ports = dict[str, None](), dict[str, Veth | Tap](), list[BridgePort]()
        for item in state.resources.values():
            if isinstance(item, Address):
                # Whoever gave it.
                inside[item.namespace, item.link].append(item.address.ip)
                if item.namespace == HOST:
                    networks[item.link].append(item.address.network)
            elif isinstance(item, BridgePort):
                ports.append(item)
            elif item.owner != owner:
                continue
            elif isinstance(item, Element):
                elements[item.set].append(item)
            elif isinstance(item, Bridge):
                bridges[item.name] = None
            elif isinstance(item, Veth | Tap):
                links[item.name] = item
        names = functools.cache(lambda: _names(elements))  # the file mostly says it
        members = []
        for port in ports:
            link = links.get(port.link)
            if link is None or port.bridge not in bridges:
                continue  # an uplink, or somebody else's
            end = link.peer if isinstance(link, Veth) else None
            addresses = tuple(inside[end]) if end else None
            origin = state.origins.get(port.key, _NOWHERE)
            by_comment = (name for address in addresses or () if (name := names().get((port.bridge, str(address)))))
            name = origin.container or next(by_comment, end[0] if end else port.link)
            members.append(_Member(port.bridge, name, addresses, port.link, origin.position))
        return cls(elements, _modes(elements, bridges), networks, members, state.origins)

    def position(self, element: Element) -> str:
        """Where in the file `element` comes from."""
        return self.origins.get(element.key, _NOWHERE).position

    def host_reaches(self, bridge: str, address: IPAddress) -> bool:
        """Whether the host has an address next to `address`."""
        return any(address in network for network in self.networks.get(bridge, ()))

    def open_within(self) -> Set[str]:
        """The bridges whose containers reach each other."""
        return {item.match[0] for item in self.elements["within"] if item.data == ("accept",)}


def _modes(elements: Mapping[str, Sequence[Element]], bridges: Iterable[str]) -> dict[str, _Mode]:
    isolated = {item.match[0] for item in elements["isolated"]}
    arrive = {
        item.match[0]: _Mode.ROUTED if item.data == ("goto only_open",) else _Mode.NAT for item in elements["arrive"]
    }
    return {name: _Mode.ISOLATED if name in isolated else arrive.get(name, _Mode.BRIDGED) for name in bridges}


def _names(elements: Mapping[str, Sequence[Element]]) -> dict[tuple[str, str], str]:
    """What the comments call the containers, by bridge and address."""
    found = {}
    for name, items in elements.items():
        for item in items:
            bridge, slash, container = item.comment.partition("/")
            if slash:
                found[bridge, item.data[0] if name in PUBLISHING else item.match[0]] = container
    return found


def _published(site: _Site) -> Iterator[Reach]:
    """The published ports. Single ports are looked up before ranges (`publish` in the layout), so of a range there is what single ports
    on the same address leave of it."""
    singles: defaultdict[tuple[int, str | None, str], list[_Spot]] = defaultdict(list)
    ranges = []
    for name, kind in PUBLISHING.items():
        for item in site.elements[name]:
            *address, protocol, asked = item.match
            found = _leading(site, item, kind.version, address[0] if address else None, protocol, ports_of(asked))
            if kind.ranges:
                ranges.append(found)
            else:
                singles[found.version, found.address, protocol].append(_Spot(*found.ports, ""))
                yield found
    for spots in singles.values():
        spots.sort()
    for found in ranges:
        for first, last, spot in _cut(found.ports, singles[found.version, found.address, found.protocol]):
            if spot is None:
                yield found.part(first, last)


def _leading(
    site: _Site, item: Element, version: int, address: str | None, protocol: str, ports: tuple[int, int]
) -> Reach:
    """What an element of a publishing map lets in."""
    bridge, _, container = item.comment.partition("/")
    first = int(item.data[1]) if len(item.data) > 1 else ports[0]
    return Reach(
        _askers(address), version, address, protocol, ports, bridge, container, item.data[0], first, site.position(item)
    )


@functools.lru_cache(maxsize=1024)
def _askers(address: str | None) -> frozenset[str]:
    """Who reaches what is published on `address`. What is on a loopback address is kept from all others: in `raw`, and in
    `only_published`."""
    return frozenset({THIS_HOST}) if address is not None and ip_address(address).is_loopback else ANYWHERE


def _opened(site: _Site, published: Iterable[Reach]) -> Iterator[Reach]:
    """What of routed bridges can be asked for at the containers' own addresses. One element may stand for several `published` ports:
    each of them has its own line."""
    if not any(site.elements.get(name) for name in OPENING):
        return
    lines: defaultdict[tuple[str, str], list[_Spot]] = defaultdict(list)
    for item in published:
        first, last = item.target_ports
        lines[item.target, item.protocol].append(_Spot(first, last, item.position))
    for spots in lines.values():
        spots.sort()
    for name, version in OPENING.items():
        for element in site.elements[name]:
            bridge, _, container = element.comment.partition("/")
            address, protocol, asked = element.match
            for first, last, spot in _cut(ports_of(asked), lines[address, protocol]):
                position = spot.position if spot else site.position(element)
                ports = first, last
                yield Reach(_TO_ROUTED, version, address, protocol, ports, bridge, container, address, first, position)


def _inside(site: _Site) -> Iterator[Reach]:
    """Who reaches the containers' own addresses with no port published: the host, their like, the layer-2 network; of routed bridges,
    everybody by ICMP."""
    open_within = site.open_within()
    for bridge, container, addresses, link, position in site.members:
        mode = site.modes[bridge]
        neighbours = set()
        if mode is _Mode.BRIDGED:
            neighbours.add(f"{LAYER_2}{bridge}")
        elif bridge in open_within:
            neighbours.add(f"{OF_BRIDGE}{bridge}")
        if addresses is None:
            versions = {network.version for network in site.networks.get(bridge, ())}
            known = [(f"{BEHIND}{link}", version, version in versions) for version in sorted(versions) or (4, 6)]
        else:
            known = [(str(item), item.version, site.host_reaches(bridge, item)) for item in addresses]
        for address, version, by_host in known:
            nearby = neighbours | {THIS_HOST} if by_host else neighbours
            whole = Reach(frozenset(nearby), version, address, ANY, WHOLE[ANY], bridge, container, address, 0, position)
            if nearby:
                yield whole
            if mode is _Mode.ROUTED:
                yield replace(whole, sources=_TO_ROUTED, protocol=ICMP, ports=WHOLE[ICMP])


class _Spot(NamedTuple):
    """Ports that something is to be known of."""

    first: int
    last: int
    position: str


def _cut(ports: tuple[int, int], spots: Sequence[_Spot]) -> Iterator[tuple[int, int, _Spot | None]]:
    """`ports` cut where `spots` begin and end: (first, last, the spot that is there). The spots are sorted, and none begins before
    `ports` and ends in them; where they overlap, the first counts."""
    first, last = ports
    for place in range(bisect_left(spots, _Spot(first, 0, "")), len(spots)):
        spot = spots[place]
        if spot.first > last:
            break
        if first < spot.first:
            yield first, spot.first - 1, None
        if first <= min(spot.last, last):
            yield max(first, spot.first), min(spot.last, last), spot
            first = min(spot.last, last) + 1
    if first <= last:
        yield first, last, None


def ports_of(text: str) -> tuple[int, int]:
    """The first and the last port, as an element spells them."""
    if "-" not in text:
        return (port := int(text)), port
    first, _, last = text.partition("-")
    return int(first), int(last)


def _merged(reaches: Iterable[Reach]) -> Iterator[Reach]:
    """`reaches` with those made one that differ by nothing but ports which touch or overlap."""
    for alike in rows(reaches, lambda item: item, row):
        if len(alike) == 1:
            yield alike[0]
            continue
        alike.sort(key=lambda item: item.ports)
        for ports, item in joined((item.ports, item) for item in alike):
            yield item if item.ports == ports else item.part(*ports)


# --- what is not known -----------------------------------------------------------------------------------------------


def unknowns(state: State, owner: str) -> tuple[str, ...]:
    """What stands between this exposure and the truth, as sentences with no full stop: what `state` gives cause to doubt, and what no
    State says anything of."""
    warnings = (note.text for note in state.notes if note.level is Level.WARNING)
    return (
        *warnings,
        *_strange_chains(state, owner),
        *_not_forwarding(state),
        *_layer_2(state, owner),
        *ALWAYS_UNKNOWN,
    )


def _strange_chains(state: State, owner: str) -> Iterator[str]:
    tables = {item.table for item in state.resources.values() if isinstance(item, Element) and item.owner == owner}
    for table in sorted(tables):
        for wanted in skeleton(owner, table):
            found = state.resources.get(wanted.key)
            if isinstance(wanted, Chain) and found != wanted:
                yield f"chain {wanted.name} of table {table} is not as it should be: what it lets through is computed as if it were"


def _not_forwarding(state: State) -> Iterator[str]:
    for name in (IPV4_FORWARDING, IPV6_FORWARDING):
        setting = state.resources.get(Key("sysctl", HOST, name))
        if isinstance(setting, Sysctl) and setting.value == "0":
            yield f"{name} is 0: nothing from another host or container is let through, although it is listed"


def _layer_2(state: State, owner: str) -> Iterator[str]:
    for name, mode in _Site.of(state, owner).modes.items():
        if mode is _Mode.BRIDGED:
            yield f"{LAYER_2}{name}: who is on that network or finds a way there, and what it lets through"
