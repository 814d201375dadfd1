"""What exposure computes from a file is what sockets reach: all of it, and of a grid around it nothing else.

The files are random, but always the same ones: a seed each. In each are bridges of all modes, with what a file can say of them drawn
anew. Everyone has every route that they could wish for.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import product
from random import Random
from typing import Any

import pytest

from reconciler.exposure import Reach, exposure
from reconciler.exposure.reach import (
    ANY,
    CONTAINERS,
    LAYER_2,
    OF_BRIDGE,
    OTHER_BRIDGES,
    OUTSIDE,
    THIS_HOST,
)
from reconciler.kinds.marks import DEFAULT_OWNER
from tests.packets.conftest import set_bridge_netfilter
from tests.packets.site import Site, desired
from tests.packets.world import DROP_PATIENCE, PATIENCE, Namespace, Outcome, Probe, Protocol, World, probe_many

HOSTS = {4: ("10.99.0.1", "10.99.0.4"), 6: ("fd99::1", "fd99::4")}
LOOPBACK = {4: ("127.0.0.1", "127.0.0.2", "127.0.0.53"), 6: ("::1",)}
UNPUBLISHED = 7
FOR_SERVERS = 1024
"""So many files are left to the servers."""

NAT, ROUTED, ISOLATED, BRIDGED = "nat", "routed", "isolated", "bridged"


def document(random: Random) -> dict[str, Any]:
    """A file with two containers on each of five bridges."""
    numbers = iter(range(8000, 9000, 20))
    host_ips = [None, None, "0.0.0.0", "::", "127.0.0.1", "127.0.0.2", *HOSTS[4], *HOSTS[6]]

    def bridge(number: int, mode: str, versions: Iterable[int], with_address: bool = True) -> dict[str, Any]:
        subnets = [f"10.{number}.0.%s/24" if version == 4 else f"fd00:{number}::%s/64" for version in versions]
        if mode == BRIDGED:
            subnets = [item.replace("fd00:98::", "fd98::") for item in subnets]
        made: dict[str, Any] = {"mode": mode, "icc": random.random() < 0.5 or mode == BRIDGED}
        made["addresses"] = [item % 1 for item in subnets] if with_address else []
        if mode == BRIDGED:
            del made["icc"]
            made["uplinks"] = ["eth1"]
        if mode in (NAT, ROUTED) and random.random() < 0.4:
            made["host_ip"] = [HOSTS[version][1] for version in versions]
        made["containers"] = {
            f"c{number}-{last}": {"addresses": [item % last for item in subnets]} for last in (10, 11)
        }
        if mode in (ISOLATED, BRIDGED) and with_address:
            gateways = [address.partition("/")[0] for address in made["addresses"]]
            routes = [{"to": "::/0" if ":" in item else "0.0.0.0/0", "via": item} for item in gateways]
            for container in made["containers"].values():
                container["routes"] = routes
        if mode in (NAT, ROUTED):
            for container in made["containers"].values():
                container["ports"] = [port for _ in range(3) for port in ports(versions)]
        return made

    def ports(versions: Iterable[int]) -> Iterator[dict[str, Any]]:
        first, protocol = next(numbers), random.choice(["tcp", "udp"])
        host_ip = random.choice([item for item in host_ips if item is None or ip_address(item).version in versions])
        length = random.choice([0, 0, 0, 3])
        target = first if random.random() < 0.4 else random.choice([80, 443, first + 1])
        port: dict[str, Any] = {
            "published": _span(first, length),
            "target": _span(target, length),
            "protocol": protocol,
        }
        yield port | ({"host_ip": host_ip} if host_ip else {})
        if host_ip == HOSTS[4][0]:
            # The same number leads elsewhere on the other address.
            yield port | {"host_ip": HOSTS[4][1], "target": _span(target + 10, length)}

    def some() -> list[int]:
        return random.choice([[4], [6], [4, 6]])

    bridges = {
        "br-n": bridge(88, NAT, [4, 6]),
        "br-o": bridge(89, random.choice([NAT, ROUTED]), some()),
        "br-r": bridge(90, ROUTED, some()),
        "br-i": bridge(91, ISOLATED, some(), random.random() < 0.5),
        "br-b": bridge(98, BRIDGED, [4, 6], random.random() < 0.5),
    }
    # One of them is always as the other is not.
    bridges["br-o"]["icc"] = not bridges["br-n"]["icc"]
    return {"version": 1, "bridges": bridges}


def _span(first: int, length: int) -> str:
    return f"{first}-{first + length}" if length else str(first)


@dataclass(frozen=True)
class Asker:
    """Someone who asks, and from where that is."""

    namespace: Namespace
    sources: frozenset[str]
    versions: frozenset[int]
    bridge: str = ""
    own: frozenset[str] = frozenset()
    """Its addresses, if it is a container: itself it reaches with no network."""

    def sources_of(self, reach: Reach) -> frozenset[str]:
        """Which of the `sources` of `reach` this one is."""
        elsewhere = {OTHER_BRIDGES} if CONTAINERS in self.sources and self.bridge != reach.bridge else set()
        return (self.sources | elsewhere) & reach.sources


def end_of(reaches: Sequence[Reach], asker: Asker, address: str, protocol: str, port: int) -> Reach | None:
    """What `reaches` say of one question, read off them without any help of the program."""
    at = ip_address(address)
    theirs = [
        item
        for item in reaches
        if item.version == at.version
        and (item.protocol == ANY or (item.protocol == protocol and item.ports[0] <= port <= item.ports[1]))
    ]
    exact = [item for item in theirs if item.address == address]
    containers = {item.address for item in reaches if item.protocol == ANY}
    if not exact and address not in (*containers, "127.0.0.53", "::1"):
        local = asker.sources == {THIS_HOST} or not at.is_loopback
        exact = [item for item in theirs if item.address is None and local]
    found = [item for item in exact if asker.sources_of(item)]
    assert len({(item.container, item.target, item.target_first - item.ports[0]) for item in found}) <= 1
    return found[0] if found else None


def askers(world: World, site: Site, file: dict[str, Any]) -> Iterator[Asker]:
    """Everyone, but the one who asks for 127.0.0.1 from outside."""
    both = frozenset({4, 6})
    yield Asker(world.host, frozenset({THIS_HOST}), both)
    yield Asker(world.lan, frozenset({OUTSIDE}), both)
    for name, bridge in file["bridges"].items():
        layer_2 = frozenset({f"{LAYER_2}{name}"})
        within = frozenset({f"{OF_BRIDGE}{name}"})
        routed = bridge["mode"] != BRIDGED or bridge["addresses"]
        sources = {
            BRIDGED: layer_2 | {OUTSIDE} if routed else layer_2,
            ISOLATED: within,
        }.get(bridge["mode"], within | {CONTAINERS})
        for container, body in bridge["containers"].items():
            own = frozenset(address.partition("/")[0] for address in body["addresses"])
            versions = frozenset(ip_address(address).version for address in own)
            yield Asker(site.container(container), sources, versions, name, own)
        if bridge["mode"] == BRIDGED:
            yield Asker(world.office, sources, both, name)


def questions(
    reaches: Sequence[Reach], everyone: Sequence[Asker], file: dict[str, Any]
) -> Iterator[tuple[Asker, Protocol, str, int]]:
    """The grid: all ports where something begins or ends, and those beside them, at all addresses there are."""
    edges = {(item.protocol, edge) for item in reaches for edge in beside(item.ports) if item.protocol in PROTOCOLS}
    inside = {item.address: (item.bridge, item.version) for item in reaches if item.protocol == ANY and item.address}
    gateways = [address.partition("/")[0] for address in file["bridges"]["br-n"]["addresses"]]
    for asker in everyone:
        unknown = asker.bridge == "br-b" and OUTSIDE not in asker.sources  # no way to anybody but its like
        for version in asker.versions if not unknown else ():
            own = LOOPBACK[version] if asker.sources == {THIS_HOST} else ()
            gateway = tuple(item for item in gateways if ip_address(item).version == version)
            for address, (protocol, port) in product((*HOSTS[version], *own, *gateway), edges):
                yield asker, protocol, address, port
        for address, (bridge, version) in inside.items():
            # Whether the LAN finds a way to a bridged container is not known to the program.
            if version not in asker.versions or (bridge == "br-b" and asker.sources == {OUTSIDE}):
                continue
            if (unknown and bridge != "br-b") or address in asker.own:
                continue
            yield asker, "icmp", address, 0
            for port, protocol in product(served(reaches, address), PROTOCOLS):
                yield asker, protocol, address, port


PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp")


def beside(ports: tuple[int, int]) -> Iterator[int]:
    """The edges, and what is next to them."""
    first, last = ports
    yield from {first - 1, first, last, last + 1}


def served(reaches: Iterable[Reach], address: str) -> set[int]:
    """On what the container at `address` answers."""
    ends = (item.target_ports for item in reaches if item.target == address and item.protocol in ("tcp", "udp"))
    return {UNPUBLISHED, *(port for first, last in ends for port in range(first, last + 2))}


def serve(site: Site, reaches: Sequence[Reach]) -> None:
    """Servers in all containers."""
    for address, container in sorted({(item.target, item.container) for item in reaches}):
        for protocol, port in product(PROTOCOLS, sorted(served(reaches, address))):
            site.container(container).serve(protocol, address, port)


def give_routes(world: World) -> None:
    """To everywhere, by the host."""
    for namespace in (world.lan, world.neighbour, world.gateway):
        namespace.ip(
            *(f"route add 10.{number}.0.0/24 via 10.99.0.1" for number in (88, 89, 90, 91)),
            *(f"route add fd00:{number}::/64 via fd99::1" for number in (88, 89, 90, 91)),
        )
    world.office.ip("route add default via 10.98.0.1", "route add default via fd98::1")
    world.neighbour.route_loopback_to("10.99.0.1")


@pytest.fixture
def at_once() -> Iterator[int]:
    """How many probes may be under way at once: for as many as may be, the wait for what is dropped is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 4096
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(most, 4096)), hard))
    yield max(300, min(most, 4096) - FOR_SERVERS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_computed_is_what_is_reached(world: World, site: Site, at_once: int, seed: int) -> None:
    set_bridge_netfilter(world.host, 0 if seed < 2 else 1)
    file = document(Random(seed))
    text = json.dumps(file)
    site.apply(text)
    reaches = exposure(desired(text), DEFAULT_OWNER)
    give_routes(world)
    serve(site, reaches)
    everyone = list(askers(world, site, file))
    asked = list(dict.fromkeys(questions(reaches, everyone, file)))
    attacker = Asker(world.neighbour, frozenset({OUTSIDE}), frozenset({4}))
    on_loopback = {port for item in reaches if item.version == 4 and not item.direct for port in item.ports}
    asked += [(attacker, protocol, "127.0.0.1", port) for protocol, port in product(PROTOCOLS, on_loopback)]

    confirmed = set()
    wrong = []
    for place in range(0, len(asked), at_once):
        some = asked[place : place + at_once]
        ends = [end_of(reaches, asker, address, protocol, port) for asker, protocol, address, port in some]
        probes = [
            Probe(asker.namespace, protocol, address, port, timeout=PATIENCE if end else DROP_PATIENCE)
            for (asker, protocol, address, port), end in zip(some, ends, strict=True)
        ]
        for (asker, protocol, *_), probe, end, answer in zip(some, probes, ends, probe_many(probes), strict=True):
            expected = "" if end is None else "pong" if protocol == "icmp" else end.container
            got = answer.server or ("pong" if answer.outcome is Outcome.REACHED else "")
            if got != expected:
                wrong.append(f"{probe}: computed {expected or 'nobody'}, got {answer}")
            elif end is not None:
                confirmed |= {(end, source) for source in asker.sources_of(end)}
    assert wrong == []
    told = {(item, source) for item in reaches for source in item.sources}
    assert told - confirmed == set(), "told, and not tried"
