"""What can be claimed once: host ports, and in a namespace or on a bridge routes, settings and MACs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from reconciler.core.messages import IPAddress, IPNetwork
from reconciler.manifest.document import (
    Attach,
    Bridge,
    Container,
    Port,
    Route,
)
from reconciler.manifest.position import Position
from reconciler.manifest.work import Resolver, gateway_of, hosts_of
from reconciler.manifest.yaml import Path

_DEFAULT_METRIC_IPV6 = 1024
"""IP6_RT_PRIO_USER of linux/ipv6_route.h: what a route of IPv6 has that names no metric. IPv4's is 0."""


MAX_SINGLE_PORTS = 65_536
"""Of ranges that lead to other numbers every port is an element of its own. Three lines of a file could ask for millions of them."""


class _Claim(NamedTuple):
    """A range of ports of one protocol on one host address (None: all of the family)."""

    first: int
    last: int
    position: Position
    bridge: Bridge
    container: Container
    place: int
    """Among the container's ports."""
    host_ip: IPAddress | None


def check_claims(work: Resolver, bridges: tuple[Bridge, ...]) -> None:
    """No two claims on one host address, port and protocol; a claim on all addresses is one on each."""
    for (protocol, _), found in _claims(bridges).items():
        for one, other in _collisions(found):
            earlier, later = sorted((one, other), key=lambda claim: claim.position)
            work.problem(_path(work, later), _collision(earlier, later, protocol))
    crowded = _first_too_many(bridges)
    if crowded is not None:
        what = f"from here on more than {MAX_SINGLE_PORTS} ports lead to other numbers, one by one"
        work.problem(_path(work, crowded), f"{what} (a range that keeps its numbers counts as one)")


def agree(bridges: tuple[Bridge, ...]) -> bool:
    """Whether `check_claims` would find nothing."""
    collide = any(True for found in _claims(bridges).values() for _ in _collisions(found))
    return not collide and _first_too_many(bridges) is None


def _claims(bridges: tuple[Bridge, ...]) -> dict[tuple[str, int], list[_Claim]]:
    """All claims, by protocol and version of IP."""
    claims: defaultdict[tuple[str, int], list[_Claim]] = defaultdict(list)
    for bridge in bridges:
        for container in bridge.containers:
            own = _versions(container)
            for place, port in enumerate(container.ports):
                claim = _claim(bridge, container, place, port)
                for version in own if port.host_ip is None else {port.host_ip.version}:
                    claims[port.protocol, version].append(claim)
    return claims


def _claim(bridge: Bridge, container: Container, place: int, port: Port) -> _Claim:
    host = None if port.host_ip is None or port.host_ip.is_unspecified else port.host_ip
    first, last = port.published
    return _Claim(first, last, port.position, bridge, container, place, host)


def _first_too_many(bridges: tuple[Bridge, ...]) -> _Claim | None:
    """The port from which on the ranges that lead to other numbers are too many, if they are."""
    count = 0
    for bridge in bridges:
        for container in bridge.containers:
            own = len(_versions(container))
            for place, port in enumerate(container.ports):
                first, last = port.published
                if first != port.target[0]:
                    count += (last - first + 1) * (own if port.host_ip is None else 1)
                    if count > MAX_SINGLE_PORTS:
                        return _claim(bridge, container, place, port)
    return None


def _path(work: Resolver, claim: _Claim) -> Path:
    """Where the file has it."""
    *_, path = islice(_port_paths(work, claim.bridge, claim.container), claim.place + 1)
    return path


def _port_paths(work: Resolver, bridge: Bridge, container: Container) -> Iterator[Path]:
    """The path of each of the container's ports: one in the file can be several, on several host addresses."""
    model = work.model.bridges[bridge.name]
    versions = _versions(container)
    for place, port in enumerate(model.containers[container.name].ports if container.ports else ()):
        path: Path = ("bridges", bridge.name, "containers", container.name, "ports", place)
        yield from [path] * len(hosts_of(port, model.host_ip, versions))


def _versions(container: Container) -> set[int]:
    return {address.version for address in container.addresses}


def _collisions(claims: list[_Claim]) -> Iterator[tuple[_Claim, _Claim]]:
    """Pairs that overlap: for each claim one before it, if there is one.

    By their first port, a claim overlaps some earlier one if it overlaps the one that reaches farthest: of its own address,
    and of all addresses; one on all addresses, of any.
    """
    farthest: dict[IPAddress | None, _Claim] = {}
    of_any: _Claim | None = None
    for claim in sorted(claims, key=itemgetter(0, 1, 2)):
        rivals = (farthest.get(claim.host_ip), farthest.get(None) if claim.host_ip else of_any)
        for rival in rivals:
            if rival is not None and rival.last >= claim.first:
                yield rival, claim
        if rivals[0] is None or claim.last > rivals[0].last:
            farthest[claim.host_ip] = claim
        if of_any is None or claim.last > of_any.last:
            of_any = claim


def _collision(earlier: _Claim, later: _Claim, protocol: str) -> str:
    first, last = max(earlier.first, later.first), min(earlier.last, later.last)
    ports = str(first) if first == last else f"{first}-{last}"
    host = later.host_ip or earlier.host_ip
    on = f" on {host}" if host else ""
    where = earlier.position.seen_from(later.position)
    what = f"the host's port {ports}/{protocol}{on} is published by {earlier.container.name} already, {where}"
    return f"{what} (publish one of them on another port or address)"


# --- what namespaces and bridges have once ---------------------------------------------------------------------------


def check_routes(work: Resolver, bridges: tuple[Bridge, ...]) -> None:
    """A namespace has one route to a destination of one metric, whichever of its interfaces it goes by."""
    seen: dict[tuple[Attach, IPNetwork, int], Position] = {}
    for bridge in bridges:
        for container in bridge.containers:
            for place, route in enumerate(container.routes):
                path: Path = ("bridges", bridge.name, "containers", container.name, "routes", place)
                metric = route.metric or _default_metric(route.to.version)
                first = seen.setdefault((container.attach, route.to, metric), route.position)
                if first is not route.position:
                    where = first.seen_from(route.position)
                    work.problem(path, f"there is a route to {route.to} of this metric already, {where} (keep one)")
                elif route.to.prefixlen == 0 and metric == _default_metric(route.to.version):
                    check_default_route(work, container, route, path)


def _default_metric(version: int) -> int:
    return _DEFAULT_METRIC_IPV6 if version == 6 else 0


def check_default_route(work: Resolver, container: Container, route: Route, path: Path) -> None:
    """Whether the route is another one than the bridge's gateway makes."""
    if container.attach not in work.default_routes:
        return
    bridge, name = work.default_routes[container.attach]
    gateway = gateway_of(work.model.bridges[bridge], route.to.version)
    if gateway is not None:
        what = f"{route.to} goes by the gateway {gateway.ip} of {bridge} already"
        work.problem(path, f"{what} (give this a metric, or {name} at {bridge} `default_route: false`)")


def check_sysctls(work: Resolver) -> None:
    """A namespace has one value of each setting."""
    seen: dict[tuple[Attach, str], tuple[str, Path]] = {}
    for inner in work.inners:
        for name, value in inner.container.sysctls.items():
            path = (*inner.path, "sysctls", name)
            first, where = seen.setdefault((work.attaches[inner.key], name), (value, path))
            if first != value:
                place = work.first(work.at(where), path)
                work.problem(path, f"{name} is {first} in the same namespace already, {place} (give it one value)")


def check_macs(work: Resolver) -> None:
    """No two interfaces at one bridge have the same MAC."""
    for name, bridge in work.model.bridges.items():
        seen: dict[str, Position] = {}
        given: list[tuple[str | None, Path]] = [(bridge.mac, ("bridges", name, "mac"))]
        given += [(inner.mac, ("bridges", name, "containers", one, "mac")) for one, inner in bridge.containers.items()]
        for mac, path in given:
            if mac is not None and seen.setdefault(mac, work.at(path)) != work.at(path):
                where = work.first(seen[mac], path)
                work.problem(path, f"the MAC {mac} is at {name} already, {where} (give each its own)")
