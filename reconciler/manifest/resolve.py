"""The model → the Document: what is left out is filled in, and what only shows when two values are held together is checked.

Every check notes its problems and goes on, so that all errors come at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_interface

from reconciler.core.messages import IPAddress, IPInterface, IPNetwork
from reconciler.manifest.document import (
    Attach,
    Bridge,
    Container,
    Docker,
    Document,
    Mode,
    Netns,
    Note,
    Pid,
    Podman,
    Port,
    Route,
    Tap,
)
from reconciler.manifest.files import Merged
from reconciler.manifest.model import AttachModel, BridgeModel, ContainerModel, FileModel, PortText
from reconciler.manifest.position import Position, Problem
from reconciler.manifest.yaml import Path

_DEFAULT_OWNER = "default"
_MIN_MTU_IPV6 = 1280
_MAX_PROBED = 1 << 20
"""How many addresses of a subnet are tried before it counts as full."""


@dataclass(slots=True)
class _Resolver:
    """The work under way: the model, places, problems, and what is known so far."""

    model: FileModel
    merged: Merged
    notes: list[Note] = field(default_factory=list)
    taken: dict[IPAddress, str] = field(default_factory=dict)
    """Addresses in use, and what for."""

    def problem(self, path: Path, message: str) -> None:
        self.merged.tree.problems.append(Problem(self.at(path), message))

    def at(self, path: Path) -> Position:
        return self.merged.tree.position(path)

    def key(self, path: Path) -> Position:
        return self.merged.tree.key_position(path)


def resolve(model: FileModel, merged: Merged) -> Document:
    """The Document of `model`. Problems are added to `merged.tree`; with any, the Document is not to be used."""
    work = _Resolver(model, merged)
    for name, bridge in model.bridges.items():
        check_bridge(work, name, bridge)
    check_subnets(work)
    check_host_links(work)
    attaches = resolve_attaches(work)
    take_addresses(work)
    interfaces, defaults = name_interfaces(work, attaches), choose_default_routes(work)
    bridges = tuple(
        resolve_bridge(work, name, bridge, attaches, interfaces, defaults) for name, bridge in model.bridges.items()
    )
    check_claims(work, bridges)
    check_insides(work, bridges)
    owner = model.name or _DEFAULT_OWNER
    return Document(owner, bridges, tuple(merged.sources), not model.bridges, tuple(work.notes))


def containers(work: _Resolver) -> Iterator[tuple[str, BridgeModel, str, ContainerModel, Path]]:
    """(bridge's name, bridge, container's name, container, path) of every container, in the order of the file."""
    for name, bridge in work.model.bridges.items():
        for inner, container in bridge.containers.items():
            yield name, bridge, inner, container, ("bridges", name, "containers", inner)


# --- bridges ---------------------------------------------------------------------------------------------------------


def check_bridge(work: _Resolver, name: str, bridge: BridgeModel) -> None:
    """What a mode demands and forbids, and the bridge's addresses by themselves."""
    path: Path = ("bridges", name)
    if bridge.mode in ("nat", "routed") and not bridge.addresses:
        message = f"{name} is {bridge.mode} and has no address (add `addresses: [10.88.0.1/24]`)"
        work.merged.tree.problems.append(Problem(work.key(path), message))
    if bridge.mode != "bridged" and bridge.uplinks:
        work.problem((*path, "uplinks"), f"{name} is {bridge.mode}, and only a bridged bridge has uplinks (write `mode: bridged`, or remove them)")
    if bridge.mode != "nat" and bridge.snat:
        work.problem((*path, "snat"), f"{name} is {bridge.mode}, and only a nat bridge translates sources (remove `snat`)")
    if not bridge.icc and bridge.mode == "bridged":
        work.problem((*path, "icc"), f"{name} is bridged, and what passes at layer 2 is not ours to keep apart (remove `icc`)")
    versions = {address.version for address in bridge.addresses}
    for address in bridge.snat:
        if bridge.addresses and address.version not in versions:
            work.problem((*path, "snat"), f"{address} is IPv{address.version}, and {name} has no address of that family (remove it)")
    for place, address in enumerate(bridge.addresses):
        check_subnet(work, (*path, "addresses", place), address)
    check_mtu(work, path, bridge.mtu, 6 in versions)


def check_mtu(work: _Resolver, path: Path, mtu: int | None, has_ipv6: bool) -> None:
    """IPv6 is switched off by the kernel on a link with less than 1280 (RFC 8200)."""
    if mtu is not None and has_ipv6 and mtu < _MIN_MTU_IPV6:
        work.problem((*path, "mtu"), f"an MTU of {mtu} is too small for IPv6 (write 1280 or more)")


def check_subnet(work: _Resolver, path: Path, address: IPInterface) -> None:
    """Whether a subnet can be a bridge's, and the address the bridge's own."""
    network = address.network
    for bad, what in (
        (network.is_loopback, "the loopback network"),
        (network.is_multicast, "for multicast"),
        (network.network_address.is_unspecified, "the unspecified network"),
        (network.is_link_local, "link-local, which every interface has by itself"),
        (network.version == 4 and network.is_reserved, "reserved"),
    ):
        if bad:
            work.problem(path, f"{network} cannot be a bridge's subnet: it is {what} (use a private one, as 10.88.0.1/24 or fd00:88::1/64)")
            return
    if _is_edge(address.ip, network):
        work.problem(path, f"{address.ip} is the {_edge(address.ip, network)} address of {network} (use {network[1]}/{network.prefixlen})")


def _is_edge(address: IPAddress, network: IPNetwork) -> bool:
    if network.version == 6:
        return network.prefixlen < 127 and address == network.network_address
    return network.prefixlen < 31 and address in (network.network_address, network.broadcast_address)


def _edge(address: IPAddress, network: IPNetwork) -> str:
    return "network" if address == network.network_address else "broadcast"


def check_subnets(work: _Resolver) -> None:
    """No two bridges have subnets that overlap; sorted, only neighbours can."""
    found = [
        (address.network, name, ("bridges", name, "addresses", place))
        for name, bridge in work.model.bridges.items()
        for place, address in enumerate(bridge.addresses)
    ]
    for version in (4, 6):
        nets = sorted((item for item in found if item[0].version == version), key=lambda item: (int(item[0][0]), item[0].prefixlen))
        widest = None
        for item in nets:
            if widest is not None and item[0][0] <= widest[0][-1]:
                same = item[0] == widest[0]
                if item[1] != widest[1] or not same:
                    what = f"{item[0]} overlaps {widest[0]}"
                    place = work.at(widest[2])
                    later, earlier = (item, place) if work.at(item[2]) > place else (widest, work.at(item[2]))
                    work.problem(later[2], f"{what}, in line {earlier.line} of {earlier.file} (give each bridge a subnet of its own)")
            if widest is None or item[0][-1] > widest[0][-1]:
                widest = item


def check_host_links(work: _Resolver) -> None:
    """Interfaces of the host: each name once, as a bridge, an uplink or a TAP device."""
    seen: dict[str, Position] = {}

    def claim(name: str, place: Position, what: str) -> None:
        if name in seen:
            first = seen[name]
            message = f"the host's interface {name} is used twice, first in line {first.line} of {first.file} ({what})"
            work.merged.tree.problems.append(Problem(place, message))
        else:
            seen[name] = place

    for name, bridge in work.model.bridges.items():
        claim(name, work.key(("bridges", name)), "rename one of them")
        for place, uplink in enumerate(bridge.uplinks):
            claim(uplink, work.at(("bridges", name, "uplinks", place)), "an interface is a port of one bridge")
    for _, _, _, container, path in containers(work):
        if container.attach is not None and container.attach.tap is not None:
            claim(container.attach.tap, work.at((*path, "attach", "tap")), "give each TAP device a name of its own")


# --- attachments -----------------------------------------------------------------------------------------------------


def resolve_attaches(work: _Resolver) -> dict[str, Attach]:
    """How each container is attached. One under two bridges says it once, or twice alike."""
    given: dict[str, tuple[Attach, Path]] = {}
    for _, _, name, container, path in containers(work):
        if container.attach is None:
            continue
        attach = one_attach(work, container.attach, (*path, "attach"))
        if attach is None:
            continue
        if name in given and given[name][0] != attach:
            first = work.at(given[name][1])
            work.problem((*path, "attach"), f"{name} is attached in another way in line {first.line} of {first.file} (one container is attached in one way)")
        given.setdefault(name, (attach, (*path, "attach")))
    result: dict[str, Attach] = {name: attach for name, (attach, _) in given.items()}
    for _, _, name, _, path in containers(work):
        if name not in result:
            result[name] = Netns(name)
    check_taps(work, result)
    return result


def one_attach(work: _Resolver, attach: AttachModel, path: Path) -> Attach | None:
    """The one of five ways that is given."""
    made = {"netns": Netns, "pid": Pid, "docker": Docker, "podman": Podman, "tap": Tap}
    given = [(key, value) for key in made if (value := getattr(attach, key)) is not None]
    if len(given) != 1:
        work.problem(path, f"attach has {len(given) or 'no'} key{'s' * (len(given) > 1)} (exactly one of netns, pid, docker, podman, tap)")
        return None
    key, value = given[0]
    kind: type[Attach] = made[key]  # type: ignore[assignment]
    return kind(value)


_INSIDE = ("interface", "mac", "mtu", "routes", "sysctls", "default_route")


def check_taps(work: _Resolver, attaches: dict[str, Attach]) -> None:
    """What is inside of a virtual machine is not ours to set."""
    seen: dict[str, Path] = {}
    for _, _, name, container, path in containers(work):
        if not isinstance(attaches[name], Tap):
            continue
        for key in _INSIDE:
            if key != "mtu" and key in container.model_fields_set:
                work.merged.tree.problems.append(
                    Problem(work.key((*path, key)), f"{key} is inside of the virtual machine {name}, which is not ours (set it in there)")
                )
        if name in seen:
            work.merged.tree.problems.append(
                Problem(work.key(path), f"the virtual machine {name} has one TAP device, and it is on another bridge already (give each a name of its own)")
            )
        seen[name] = path


# --- addresses -------------------------------------------------------------------------------------------------------


def take_addresses(work: _Resolver) -> None:
    """Notes which addresses are spoken for, and whether each is where it can be."""
    for name, bridge in work.model.bridges.items():
        for place, address in enumerate(bridge.addresses):
            take(work, address.ip, f"{name} itself", ("bridges", name, "addresses", place))
    for bridge_name, bridge, name, container, path in containers(work):
        for place, given in enumerate(container.addresses or ()):
            here = (*path, "addresses", place)
            network = next((item.network for item in bridge.addresses if given.ip in item.network), None)
            if network is None and bridge.addresses:
                subnets = ", ".join(str(item.network) for item in bridge.addresses)
                work.problem(here, f"{given.ip} is not in a subnet of {bridge_name} (take one of {subnets})")
                continue
            if network is None and given.prefix is None:
                work.problem(here, f"{given.ip} needs a prefix length, since {bridge_name} has no address to take it from (write {given.ip}/24)")
                continue
            if network is not None and given.prefix not in (None, network.prefixlen):
                work.problem(here, f"{given.ip}/{given.prefix} is in the subnet {network} of {bridge_name} (leave the prefix length out)")
            if network is not None and _is_edge(given.ip, network):
                work.problem(here, f"{given.ip} is the {_edge(given.ip, network)} address of {network} (take another)")
            take(work, given.ip, name, here)


def take(work: _Resolver, address: IPAddress, who: str, path: Path) -> None:
    """One address, one place."""
    if address in work.taken:
        whose = work.taken[address]
        work.problem(path, f"{address} is used twice: {'it is an address of ' if whose.endswith(' itself') else 'by '}{whose.removesuffix(' itself')} too (take another)")
    else:
        work.taken[address] = who


def addresses_of(
    work: _Resolver, bridge_name: str, bridge: BridgeModel, name: str, container: ContainerModel, path: Path, attach: Attach
) -> tuple[tuple[IPInterface, ...], bool]:
    """(addresses with their prefix lengths, whether they were picked by us)."""
    if container.addresses is not None or bridge.mode == "bridged" or isinstance(attach, Tap):
        return tuple(_complete(bridge, given.ip, given.prefix) for given in container.addresses or ()), False
    picked = []
    for version in (4, 6):
        gateway = next((item for item in bridge.addresses if item.version == version), None)
        if gateway is None:
            continue
        free = _lowest_free(work, gateway.network)
        if free is None:
            work.merged.tree.problems.append(
                Problem(work.key(path), f"{gateway.network} of {bridge_name} has no address left for {name} (give the bridge a larger subnet)")
            )
            continue
        work.taken[free] = name
        picked.append(_complete(bridge, free, None))
        text = f"{name} gets {free}, picked by its place in the file (write it down to keep it when the file changes)"
        work.notes.append(Note(work.key(path), text))
    return tuple(picked), bool(picked)


def _complete(bridge: BridgeModel, address: IPAddress, prefix: int | None) -> IPInterface:
    network = next((item.network for item in bridge.addresses if address in item.network), None)
    length = network.prefixlen if network is not None else prefix
    return ip_interface((address, length if length is not None else address.max_prefixlen))


def _lowest_free(work: _Resolver, network: IPNetwork) -> IPAddress | None:
    first = int(network.network_address)
    for offset in range(1, min(network.num_addresses, _MAX_PROBED)):
        address = type(network.network_address)(first + offset)
        if address not in work.taken and not _is_edge(address, network):
            return address
    return None


# --- interfaces and routes -------------------------------------------------------------------------------------------


def name_interfaces(work: _Resolver, attaches: dict[str, Attach]) -> dict[tuple[str, str], str]:
    """(bridge, container) → the interface's name inside: eth0 on the first bridge, eth1 on the second…"""
    result: dict[tuple[str, str], str] = {}
    used: defaultdict[Attach, dict[str, tuple[str, Path]]] = defaultdict(dict)
    counts: defaultdict[str, int] = defaultdict(int)
    for bridge, _, name, container, path in containers(work):
        interface = container.interface or f"eth{counts[name]}"
        counts[name] += 1
        attach = attaches[name]
        if not isinstance(attach, Tap):
            if interface in used[attach]:
                other, first = used[attach][interface]
                work.merged.tree.problems.append(
                    Problem(
                        work.key(path),
                        f"{name} has the interface {interface} in the same namespace as {other} in line {work.key(first).line} of "
                        f"{work.key(first).file} (give one of them `interface`)",
                    )
                )
            used[attach].setdefault(interface, (name, path))
        result[bridge, name] = interface
    return result


def choose_default_routes(work: _Resolver) -> dict[str, str]:
    """Container → the bridge that has its default route: the one that says so, else the first that has a gateway."""
    chosen: dict[str, tuple[str, Path]] = {}
    for bridge_name, bridge, name, container, path in containers(work):
        if not container.default_route:
            continue
        here = (*path, "default_route")
        if bridge.mode not in ("nat", "routed"):
            work.problem(here, f"{bridge_name} is {bridge.mode}, so it has no gateway to route by (remove `default_route`)")
        elif name in chosen:
            first = work.at(chosen[name][1])
            work.problem(here, f"{name} has its default route by {chosen[name][0]} already, in line {first.line} of {first.file} (keep one)")
        else:
            chosen[name] = bridge_name, here
    result = {name: bridge for name, (bridge, _) in chosen.items()}
    for bridge_name, bridge, name, container, _ in containers(work):
        if bridge.mode in ("nat", "routed") and bridge.addresses and container.default_route is not False:
            result.setdefault(name, bridge_name)
    return result


# --- putting together ------------------------------------------------------------------------------------------------


def resolve_bridge(
    work: _Resolver,
    name: str,
    bridge: BridgeModel,
    attaches: dict[str, Attach],
    interfaces: dict[tuple[str, str], str],
    defaults: dict[str, str],
) -> Bridge:
    """The bridge with all that hangs on it."""
    inner = tuple(
        resolve_container(work, name, bridge, one, model, attaches[one], interfaces[name, one], defaults.get(one) == name)
        for one, model in bridge.containers.items()
    )
    return Bridge(
        name=name,
        mode=Mode(bridge.mode),
        addresses=tuple(bridge.addresses),
        mtu=bridge.mtu,
        mac=bridge.mac,
        stp=bridge.stp,
        uplinks=tuple(bridge.uplinks),
        icc=bridge.icc,
        host_ips=tuple(bridge.host_ip),
        snat=tuple(bridge.snat),
        containers=inner,
        position=work.key(("bridges", name)),
    )


def resolve_container(
    work: _Resolver,
    bridge_name: str,
    bridge: BridgeModel,
    name: str,
    container: ContainerModel,
    attach: Attach,
    interface: str,
    default_route: bool,
) -> Container:
    """The container on this bridge."""
    path: Path = ("bridges", bridge_name, "containers", name)
    addresses, allocated = addresses_of(work, bridge_name, bridge, name, container, path, attach)
    check_mtu(work, path, container.mtu, any(address.version == 6 for address in addresses))
    return Container(
        name=name,
        bridge=bridge_name,
        attach=attach,
        addresses=addresses,
        allocated=allocated,
        mac=container.mac,
        mtu=container.mtu,
        interface=interface,
        default_route=default_route,
        routes=tuple(resolve_routes(work, container, addresses, default_route, path)),
        sysctls=tuple(container.sysctls.items()),
        ports=tuple(resolve_ports(work, bridge_name, bridge, name, container, addresses, path)),
        position=work.key(path),
    )


def resolve_routes(
    work: _Resolver, container: ContainerModel, addresses: tuple[IPInterface, ...], default_route: bool, path: Path
) -> Iterator[Route]:
    """The container's own routes, each by a gateway that it can reach."""
    seen: set[tuple[IPNetwork, int]] = set()
    for place, route in enumerate(container.routes):
        here = (*path, "routes", place)
        if route.via is not None and route.via.version != route.to.version:
            work.problem(here, f"the route to {route.to} goes by {route.via}, which is of the other family (take a gateway of IPv{route.to.version})")
        elif route.via is not None and not any(route.via in address.network for address in addresses):
            work.problem(here, f"the gateway {route.via} is in no subnet of this interface (take one that it can reach)")
        if route.to.version not in {address.version for address in addresses}:
            work.problem(here, f"there is no IPv{route.to.version} address here for a route to {route.to} (add one, or remove the route)")
        if default_route and route.to.prefixlen == 0 and not route.metric:
            work.problem(here, "the bridge's gateway is the default route already (remove this, give it a metric, or write `default_route: false`)")
        key = route.to, route.metric or (1024 if route.to.version == 6 else 0)
        if key in seen:
            work.problem(here, f"there is a route to {route.to} of this metric already (keep one)")
        seen.add(key)
        yield Route(route.to, route.via, route.metric, work.at(here))


def resolve_ports(
    work: _Resolver,
    bridge_name: str,
    bridge: BridgeModel,
    name: str,
    container: ContainerModel,
    addresses: tuple[IPInterface, ...],
    path: Path,
) -> Iterator[Port]:
    """The published ports, with the bridge's host address where they name none."""
    if container.ports and bridge.mode in ("isolated", "bridged"):
        why = "nothing gets in" if bridge.mode == "isolated" else "it is reached at its own address"
        work.merged.tree.problems.append(
            Problem(work.key((*path, "ports")), f"{bridge_name} is {bridge.mode}, so no port of {name} can be published: {why} (remove `ports`)")
        )
        return
    versions = {address.version for address in addresses}
    for place, port in enumerate(container.ports):
        here = (*path, "ports", place)
        if not addresses:
            work.problem(here, f"{name} has no address for the port to lead to (give it `addresses`)")
        elif port.host_ip is not None and port.host_ip.version not in versions:
            family = port.host_ip.version
            work.problem(here, f"{port.host_ip} is IPv{family}, and {name} has no IPv{family} address (give it one, or publish on another)")
        yield from spread(port, bridge, versions, work.at(here))


def spread(port: PortText, bridge: BridgeModel, versions: set[int], place: Position) -> Iterator[Port]:
    """The port on each of the bridge's default host addresses, if it names none itself."""
    hosts: list[IPAddress | None] = [port.host_ip]
    if port.host_ip is None and bridge.host_ip:
        hosts = [address for address in bridge.host_ip if address.version in versions]
    for host in hosts:
        yield Port(host, port.published, port.target, port.protocol, place)


# --- claims ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class _Claim:
    """A range of ports of one protocol on one host address (None: all of the family)."""

    first: int
    last: int
    position: Position
    container: str
    host_ip: IPAddress | None = field(compare=False)


def check_claims(work: _Resolver, bridges: tuple[Bridge, ...]) -> None:
    """No two claims on one host address, port and protocol; a claim on all addresses is one on each."""
    claims: defaultdict[tuple[str, int], list[_Claim]] = defaultdict(list)
    for bridge in bridges:
        for container in bridge.containers:
            versions = {address.version for address in container.addresses}
            for port in container.ports:
                for version in versions if port.host_ip is None else {port.host_ip.version}:
                    host = None if port.host_ip is None or port.host_ip.is_unspecified else port.host_ip
                    claims[port.protocol, version].append(_Claim(*port.published, port.position, container.name, host))
    told: set[tuple[Position, Position]] = set()
    for (protocol, _), found in claims.items():
        for one, other in _collisions(found):
            earlier, later = sorted((one, other), key=lambda claim: claim.position)
            if (earlier.position, later.position) not in told:
                told.add((earlier.position, later.position))
                work.merged.tree.problems.append(Problem(later.position, _collision(earlier, later, protocol)))


def _collisions(claims: list[_Claim]) -> Iterator[tuple[_Claim, _Claim]]:
    """Pairs that overlap: swept once over all claims for those on all addresses, and once per address."""
    by_host: defaultdict[IPAddress | None, list[_Claim]] = defaultdict(list)
    for claim in claims:
        by_host[claim.host_ip].append(claim)
    everywhere = by_host.pop(None, [])
    yield from _sweep(everywhere)
    for own in by_host.values():
        yield from _sweep(own)
    if everywhere and by_host:
        mixed = [*everywhere, *(claim for own in by_host.values() for claim in own)]
        for one, other in _sweep(mixed):
            if (one.host_ip is None) != (other.host_ip is None):
                yield one, other


def _sweep(claims: list[_Claim]) -> Iterator[tuple[_Claim, _Claim]]:
    open_claims: list[_Claim] = []
    for claim in sorted(claims):
        open_claims = [one for one in open_claims if one.last >= claim.first]
        for one in open_claims[:8]:
            yield one, claim
        open_claims.append(claim)


def _collision(earlier: _Claim, later: _Claim, protocol: str) -> str:
    first, last = max(earlier.first, later.first), min(earlier.last, later.last)
    ports = str(first) if first == last else f"{first}-{last}"
    where = later.host_ip or earlier.host_ip
    on = f"on {where}" if where else "on all addresses"
    return (
        f"the host's port {ports}/{protocol} {on} is published by {earlier.container} already, in line {earlier.position.line} of "
        f"{earlier.position.file} (publish one of them on another port or address)"
    )


def check_insides(work: _Resolver, bridges: tuple[Bridge, ...]) -> None:
    """What two interfaces of one bridge or one container cannot both have."""
    macs: dict[tuple[str, str], Position] = {}
    for bridge in bridges:
        given = [(bridge.mac, ("bridges", bridge.name, "mac"))]
        given += [(one.mac, ("bridges", bridge.name, "containers", one.name, "mac")) for one in bridge.containers]
        for mac, path in given:
            if mac is None:
                continue
            if (bridge.name, mac) in macs:
                first = macs[bridge.name, mac]
                work.problem(path, f"the MAC {mac} is on {bridge.name} already, in line {first.line} of {first.file} (give each its own)")
            macs.setdefault((bridge.name, mac), work.at(path))
