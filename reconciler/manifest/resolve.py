"""The model → the Document: what is left out is filled in, and what only shows when two values are held together is checked.

Every check notes its problems and goes on, so that all errors come at once. One value is told to be wrong once: the checks
run from the cause to the consequence, and what a second one finds at the same place is not said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from reconciler.core.messages import IPAddress, IPInterface, IPNetwork
from reconciler.manifest.claims import check_claims, check_macs, check_routes, check_sysctls
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
from reconciler.manifest.expect import resolve_expectations
from reconciler.manifest.files import Merged
from reconciler.manifest.model import AttachModel, BridgeModel, FileModel, RouteModel
from reconciler.manifest.position import Position
from reconciler.manifest.values import ContainerAddress, with_length
from reconciler.manifest.work import Inner, Resolver, Taken, gateway_of, hosts_of, inners_of
from reconciler.manifest.yaml import Path

_MIN_MTU_IPV6 = 1280
_MAX_ALIAS = 255
"""IFALIASZ of linux/if.h, less the end of the string: the alias is where a bridge says which uplinks it took."""


def resolve(model: FileModel, merged: Merged) -> Document:
    """The Document of `model`. Problems are added to `merged`; with any, the Document is not to be used."""
    subnets = [(own.network, name) for name, bridge in model.bridges.items() for own in bridge.addresses]
    work = Resolver(model, merged, subnets=subnets)
    for name, bridge in model.bridges.items():
        check_bridge(work, name, bridge)
    check_subnets(work)
    check_host_links(work)
    resolve_attaches(work)
    check_taps(work)
    take_addresses(work)
    check_host_ips(work)
    name_interfaces(work)
    choose_default_routes(work)
    bridges = tuple(resolve_bridge(work, name, bridge) for name, bridge in model.bridges.items())
    check_claims(work, bridges)
    check_routes(work, bridges)
    check_sysctls(work)
    check_macs(work)
    notes = tuple(work.notes)
    expectations = tuple(resolve_expectations(work, bridges))
    return Document(
        work.owner, bridges, tuple(merged.sources), not model.bridges, notes, expectations, _beginning(merged)
    )


def _beginning(merged: Merged) -> Position:
    assert isinstance(merged.root.value, dict)
    bridges = merged.root.value.get("bridges")
    return bridges.key if bridges is not None and bridges.key else merged.root.position


# --- bridges ---------------------------------------------------------------------------------------------------------


def check_bridge(work: Resolver, name: str, bridge: BridgeModel) -> None:
    """What a mode demands and forbids, and the bridge's addresses by themselves."""
    path: Path = ("bridges", name)
    if bridge.mode in ("nat", "routed") and not bridge.addresses:
        work.problem_of_key(path, f"{name} is {bridge.mode} and has no address (add `addresses: [10.88.0.1/24]`)")
    for key, message in _misplaced(name, bridge):
        work.problem((*path, key), message)
    versions: set[int] = {address.version for address in bridge.addresses}
    for address in bridge.snat:
        if bridge.addresses and address.version not in versions:
            what = f"{address} is IPv{address.version}, and {name} has no address of that family"
            work.problem((*path, "snat"), f"{what} (remove it)")
    for place, interface in enumerate(bridge.addresses):
        check_subnet(work, (*path, "addresses", place), interface)
    check_mtu(work, path, bridge.mtu, 6 in versions)
    if bridge.uplinks:
        check_alias(work, path, bridge)


def check_alias(work: Resolver, path: Path, bridge: BridgeModel) -> None:
    """Whether the bridge's alias, which lists its uplinks, has room for them."""
    # Not at the top: all kinds come with it, and few files have uplinks.
    from reconciler.kinds.marks import alias

    size = len(alias(work.owner, tuple(bridge.uplinks)).encode())
    if size > _MAX_ALIAS:
        what = f"the uplinks of {path[-1]} take {size} bytes of its alias, where the kernel has room for {_MAX_ALIAS}"
        work.problem((*path, "uplinks"), f"{what} (name fewer)")


def _misplaced(name: str, bridge: BridgeModel) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) of what the bridge's mode has no use for."""
    mode = bridge.mode
    if bridge.uplinks and mode != "bridged":
        yield (
            "uplinks",
            f"{name} is {mode}, and only a bridged bridge has uplinks (write `mode: bridged`, or remove them)",
        )
    if bridge.snat and mode != "nat":
        yield "snat", f"{name} is {mode}, and only a nat bridge translates sources (remove `snat`)"
    if bridge.host_ip and mode in ("isolated", "bridged"):
        yield "host_ip", f"{name} is {mode}, and publishes no ports (remove `host_ip`)"
    if not bridge.icc and mode == "bridged":
        yield "icc", f"{name} is bridged, and what passes at layer 2 is not ours to keep apart (remove `icc`)"


def check_mtu(work: Resolver, path: Path, mtu: int | None, has_ipv6: bool) -> None:
    """IPv6 is switched off by the kernel on a link with less than 1280 (RFC 8200, section 5)."""
    if mtu is not None and has_ipv6 and mtu < _MIN_MTU_IPV6:
        work.problem((*path, "mtu"), f"an MTU of {mtu} is too small for IPv6 (write 1280 or more)")


def check_subnet(work: Resolver, path: Path, address: IPInterface) -> None:
    """Whether a subnet can be a bridge's, and the address the bridge's own."""
    network = address.network
    what = _unusable(network)
    if what:
        work.problem(path, f"{network} cannot be a bridge's subnet: it is {what} (use a private one, as 10.88.0.1/24)")
    elif _is_edge(address.ip, network):
        edge = _edge(address.ip, network)
        work.problem(path, f"{address.ip} is the {edge} address of {network} (use {network[1]}/{network.prefixlen})")


def _unusable(value: IPNetwork | IPAddress) -> str:
    """What makes a subnet or an address useless for a bridge or a container; empty if nothing does."""
    first = value if not hasattr(value, "network_address") else value.network_address
    if value.is_loopback or first.is_loopback:
        return "loopback"
    if value.is_multicast or first.is_multicast:
        return "multicast"
    if first.is_unspecified or (first.version == 4 and int(first) >> 24 == 0):
        return "unspecified"
    if value.is_link_local:
        return "link-local, which an interface has by itself"
    if value.version == 4 and first.is_reserved:
        return "reserved"
    return ""


def _is_edge(address: IPAddress, network: IPNetwork) -> bool:
    """Whether `address` is no host's: the network's own, IPv4's broadcast, IPv6's anycast of all routers (RFC 4291, 2.6.1).

    /31 and /127 have neither (RFC 3021, RFC 6164).
    """
    if network.prefixlen >= network.max_prefixlen - 1:
        return False
    return address == network.network_address or (network.version == 4 and address == network.broadcast_address)


def _edge(address: IPAddress, network: IPNetwork) -> str:
    return "network" if address == network.network_address else "broadcast"


class _Subnet(NamedTuple):
    """A bridge's subnet, and where it is said."""

    network: IPNetwork
    bridge: str
    path: Path


def check_subnets(work: Resolver) -> None:
    """No two bridges have subnets that overlap. In order, each needs to be held only against the one that reaches farthest."""
    found = [
        _Subnet(address.network, name, ("bridges", name, "addresses", place))
        for name, bridge in work.model.bridges.items()
        for place, address in enumerate(bridge.addresses)
    ]
    for version in (4, 6):
        farthest: _Subnet | None = None
        of_family = (one for one in found if one.network.version == version)
        for one in sorted(of_family, key=lambda one: (int(one.network[0]), one.network.prefixlen)):
            if farthest is None or int(one.network[0]) > int(farthest.network[-1]):
                farthest = one
            elif one.bridge != farthest.bridge or one.network != farthest.network:
                tell_overlap(work, farthest, one)


def tell_overlap(work: Resolver, one: _Subnet, other: _Subnet) -> None:
    """Two addresses in one subnet of one bridge are no overlap; anything else is."""
    earlier, later = sorted((one, other), key=lambda subnet: work.at(subnet.path))
    where = work.first(work.at(earlier.path), later.path)
    own = "take another" if one.bridge == other.bridge else "give each bridge a subnet of its own"
    work.problem(later.path, f"{later.network} overlaps {earlier.network} of {earlier.bridge}, {where} ({own})")


def check_host_links(work: Resolver) -> None:
    """Interfaces of the host: each name once, as a bridge, an uplink or a TAP device."""
    seen: dict[str, Position] = {}
    for name, path, place, remedy in _host_links(work):
        if name in seen:
            where = seen[name].seen_from(place)
            message = f"the host's interface {name} is used twice, first in {where} ({remedy})"
            (work.problem if place == work.at(path) else work.problem_of_key)(path, message)
        seen.setdefault(name, place)


def _host_links(work: Resolver) -> Iterator[tuple[str, Path, Position, str]]:
    """(name, path, place, what to do if it is used twice), bridges first."""
    for name in work.model.bridges:
        path: Path = ("bridges", name)
        yield name, path, work.key(path), "rename one of them"
    for name, bridge in work.model.bridges.items():
        for place, uplink in enumerate(bridge.uplinks):
            path = ("bridges", name, "uplinks", place)
            yield uplink, path, work.at(path), "name it once"
    for inner in work.inners:
        attach = inner.container.attach
        if attach is not None and attach.tap is not None:
            path = (*inner.path, "attach", "tap")
            yield attach.tap, path, work.at(path), "give each TAP device a name of its own"


# --- attachments -----------------------------------------------------------------------------------------------------

_WAYS: dict[str, type[Netns] | type[Pid] | type[Docker] | type[Podman] | type[Tap]] = {
    "netns": Netns,
    "pid": Pid,
    "docker": Docker,
    "podman": Podman,
    "tap": Tap,
}


def resolve_attaches(work: Resolver) -> None:
    """How each container is attached. One under two bridges says it once, or twice alike; a machine has a TAP device on each."""
    own = {inner.key: attach for inner in work.inners if (attach := one_attach(work, inner))}
    shared: dict[str, tuple[Attach, Path]] = {}
    for inner in work.inners:
        if inner.key in own:
            shared.setdefault(inner.name, (own[inner.key], (*inner.path, "attach")))
    for inner in work.inners:
        attach, path = shared.get(inner.name, (Netns(inner.name), ()))
        work.attaches[inner.key] = own.get(inner.key, attach)
        if inner.key not in own and isinstance(attach, Tap):
            where = work.at(path).seen_from(work.key(inner.path))
            message = f"{inner.name} is a virtual machine, see {where} (give it a TAP device here too, by `attach`)"
            work.problem_of_key(inner.path, message)
        tell_other_way(work, inner, own.get(inner.key), attach, path)


def tell_other_way(work: Resolver, inner: Inner, own: Attach | None, first: Attach, path: Path) -> None:
    """One container is attached in one way."""
    both_taps = isinstance(own, Tap) and isinstance(first, Tap)
    if own is not None and own != first and not both_taps:
        here = (*inner.path, "attach")
        where = work.first(work.at(path), here)
        work.problem(here, f"{inner.name} is attached in another way in {where} (one container is attached in one way)")


def one_attach(work: Resolver, inner: Inner) -> Attach | None:
    """The one of five ways that is given, if `attach` is."""
    model: AttachModel | None = inner.container.attach
    if model is None:
        return None
    given = [kind(getattr(model, key)) for key, kind in _WAYS.items() if getattr(model, key) is not None]
    if len(given) == 1:
        return given[0]
    count = f"{len(given)} keys" if given else "no key"
    work.problem((*inner.path, "attach"), f"attach has {count} (write one of netns, pid, docker, podman and tap)")
    work.merged.blemished.add(inner.path)
    return None


_INSIDE = ("interface", "mac", "routes", "sysctls", "default_route")


def check_taps(work: Resolver) -> None:
    """What is inside of a virtual machine is not ours to set."""
    for inner in work.inners:
        for key in _INSIDE if isinstance(work.attaches[inner.key], Tap) else ():
            if key in inner.container.given:
                message = f"{key} is inside of the virtual machine {inner.name}, which is not ours (set it in there)"
                work.problem_of_key((*inner.path, key), message)


# --- addresses -------------------------------------------------------------------------------------------------------


def take_addresses(work: Resolver) -> None:
    """Notes which addresses are spoken for, and whether each is where it can be."""
    for name, bridge in work.model.bridges.items():
        for place, address in enumerate(bridge.addresses):
            take(work, address.ip, Taken(name, ("bridges", name, "addresses", place), True))
    for inner in work.inners:
        for place, given in enumerate(inner.container.addresses or ()):
            path = (*inner.path, "addresses", place)
            message = misplaced_address(work, inner, given)
            if message:
                work.problem(path, message)
            else:
                take(work, given.ip, Taken(inner.name, path, False))


def misplaced_address(work: Resolver, inner: Inner, given: ContainerAddress) -> str:
    """Why a container cannot have this address; empty if it can."""
    bridge, ip = inner.bridge_name, given.ip
    network = subnet_of(inner.bridge, ip)
    if network is None:
        return stray_address(work, inner, given)
    if given.prefix not in (None, network.prefixlen):
        return f"{ip}/{given.prefix} is in the subnet {network} of {bridge} (leave the prefix length out)"
    if _is_edge(ip, network):
        return f"{ip} is the {_edge(ip, network)} address of {network} (take another)"
    return ""


def stray_address(work: Resolver, inner: Inner, given: ContainerAddress) -> str:
    """Why a container cannot have this address, which no subnet of its bridge contains."""
    bridge, ip = inner.bridge_name, given.ip
    what = _unusable(ip)
    if what:
        return f"{ip} cannot be a container's address: it is {what} (take another)"
    if inner.bridge.addresses:
        subnets = ", ".join(dict.fromkeys(str(address.network) for address in inner.bridge.addresses))
        return f"{ip} is in no subnet of {bridge} (take an address in {subnets})"
    if given.prefix is None:
        length = 24 if ip.version == 4 else 64
        return f"{ip} needs a prefix length, since {bridge} has no address to take it from (write {ip}/{length})"
    for network, name in work.subnets if inner.bridge.mode == "bridged" else ():
        if ip in network:
            return f"{ip} is in the subnet {network} of {name} (take an address of the network behind {bridge})"
    return ""


def subnet_of(bridge: BridgeModel, address: IPAddress) -> IPNetwork | None:
    """The bridge's subnet that `address` is in."""
    for own in bridge.addresses:
        if address in own.network:
            return own.network
    return None


def take(work: Resolver, address: IPAddress, by: Taken) -> None:
    """One address, one place."""
    first = work.taken.setdefault(address, by)
    if first is not by:
        where = work.first(work.at(first.path), by.path)
        what = (
            f"is the address of {first.who} itself," if first.of_bridge else f"is used twice, first by {first.who} in"
        )
        work.problem(by.path, f"{address} {what} {where} (take another)")


def check_host_ips(work: Resolver) -> None:
    """Ports are published on addresses of the host, and a container's is none."""
    for name, bridge in work.model.bridges.items():
        for key, addresses in (("host_ip", bridge.host_ip), ("snat", bridge.snat)):
            for address in addresses:
                check_host_ip(work, address, ("bridges", name, key))
    for inner in work.inners:
        for place, port in enumerate(inner.container.ports):
            if port.host_ip is not None:
                check_host_ip(work, port.host_ip, (*inner.path, "ports", place))


def check_host_ip(work: Resolver, address: IPAddress, path: Path) -> None:
    """Whether no container has the address."""
    taken = work.taken.get(address)
    if taken is not None and not taken.of_bridge:
        work.problem(path, f"{address} is the address of {taken.who}, not of the host (name one of the host's own)")


def addresses_of(work: Resolver, inner: Inner) -> tuple[IPInterface, ...]:
    """The container's addresses with their prefix lengths; picked if the file leaves them out."""
    given = inner.container.addresses
    if given is not None:
        return tuple(_complete(inner.bridge, address) for address in given)
    if inner.bridge.mode == "bridged" or isinstance(work.attaches[inner.key], Tap):
        return ()
    return tuple(pick_addresses(work, inner))


def _complete(bridge: BridgeModel, given: ContainerAddress) -> IPInterface:
    if given.prefix is not None:
        return with_length(given.ip, given.prefix)
    network = subnet_of(bridge, given.ip)
    return with_length(given.ip, network.prefixlen if network else given.ip.max_prefixlen)


def pick_addresses(work: Resolver, inner: Inner) -> Iterator[IPInterface]:
    """The lowest free address of the bridge's first subnet of each family."""
    for version in (4, 6):
        gateway = gateway_of(inner.bridge, version)
        if gateway is None:
            continue
        network = gateway.network
        free = _lowest_free(work, network)
        if free is None:
            what = f"{network} of {inner.bridge_name} has no address left for {inner.name}"
            work.problem_of_key(inner.path, f"{what} (give the bridge a larger subnet)")
            continue
        work.taken[free] = Taken(inner.name, inner.path, False)
        text = f"{inner.name} gets {free}, picked by its place in the file (write it down to keep it when the file changes)"
        work.notes.append(Note(work.key(inner.path), text))
        yield with_length(free, network.prefixlen)


def _lowest_free(work: Resolver, network: IPNetwork) -> IPAddress | None:
    # Nothing is given back, so the search goes on where the last one ended.
    for offset in range(work.cursors.get(network, 0), network.num_addresses):
        address = network[offset]
        if address not in work.taken and not _is_edge(address, network):
            work.cursors[network] = offset
            return address
    work.cursors[network] = network.num_addresses
    return None


# --- interfaces and default routes -----------------------------------------------------------------------------------


def name_interfaces(work: Resolver) -> None:
    """Names the interfaces inside: eth0 on a container's first bridge, eth1 on its second… Namespaces may be shared."""
    used: dict[tuple[Attach, str], Inner] = {}
    counts: defaultdict[str, int] = defaultdict(int)
    for inner in work.inners:
        interface = inner.container.interface or f"eth{counts[inner.name]}"
        counts[inner.name] += 1
        work.interfaces[inner.key] = interface
        attach = work.attaches[inner.key]
        if isinstance(attach, Tap):
            continue
        first = used.setdefault((attach, interface), inner)
        if first is not inner:
            where = work.key(first.path).seen_from(work.key(inner.path))
            what = f"there is an interface {interface} in the namespace of {inner.name} already, {where}"
            work.problem_of_key(inner.path, f"{what} (give one of them another `interface`)")


def choose_default_routes(work: Resolver) -> None:
    """A namespace's default routes go by the interface that says so, else by the first one that has a gateway."""
    for inner in work.inners:
        if inner.container.default_route and not isinstance(work.attaches[inner.key], Tap):
            take_default_route(work, inner)
    for inner in work.inners:
        if inner.container.default_route is None and not _no_default_route(inner):
            work.default_routes.setdefault(work.attaches[inner.key], inner.key)


def take_default_route(work: Resolver, inner: Inner) -> None:
    """The interface says that it has the default route."""
    path = (*inner.path, "default_route")
    why_not = _no_default_route(inner)
    if why_not:
        work.problem(path, why_not)
        return
    bridge, name = work.default_routes.setdefault(work.attaches[inner.key], inner.key)
    if (bridge, name) != inner.key:
        where = work.first(work.at(("bridges", bridge, "containers", name, "default_route")), path)
        work.problem(path, f"{inner.name} has its default route by {bridge} already, {where} (keep one)")


def _no_default_route(inner: Inner) -> str:
    """Why there can be no default route by this bridge; empty if there can."""
    if inner.bridge.mode not in ("nat", "routed"):
        remedy = "write it below `routes`" if inner.bridge.mode == "bridged" else "remove `default_route`"
        return f"{inner.bridge_name} is {inner.bridge.mode}, and no gateway ({remedy})"
    if inner.container.addresses == ():
        return f"{inner.name} has no address here to route from (give it `addresses`)"
    return ""


# --- putting together ------------------------------------------------------------------------------------------------


def resolve_bridge(work: Resolver, name: str, bridge: BridgeModel) -> Bridge:
    """The bridge with all that hangs on it."""
    path: Path = ("bridges", name)
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
        containers=tuple(resolve_container(work, inner) for inner in inners_of(name, bridge)),
        position=work.key(path),
    )


def resolve_container(work: Resolver, inner: Inner) -> Container:
    """The container on this bridge."""
    container, attach = inner.container, work.attaches[inner.key]
    addresses = addresses_of(work, inner)
    check_mtu(work, inner.path, container.mtu, any(address.version == 6 for address in addresses))
    note_mtu(work, inner)
    return Container(
        name=inner.name,
        bridge=inner.bridge_name,
        attach=attach,
        addresses=addresses,
        allocated=container.addresses is None and bool(addresses),
        mac=container.mac,
        mtu=container.mtu,
        interface=work.interfaces[inner.key],
        default_route=not isinstance(attach, Tap) and work.default_routes.get(attach) == inner.key,
        routes=tuple(resolve_routes(work, inner, addresses)),
        sysctls=tuple(container.sysctls.items()),
        ports=tuple(resolve_ports(work, inner, addresses)),
        position=work.key(inner.path),
    )


def note_mtu(work: Resolver, inner: Inner) -> None:
    """What is larger than the bridge's MTU is lost on the way to a neighbour, without a word (is_skb_forwardable())."""
    mtu, limit = inner.container.mtu, inner.bridge.mtu
    if mtu is not None and limit is not None and mtu > limit:
        what = f"{inner.name} has an MTU of {mtu}, above the {limit} of {inner.bridge_name}"
        work.notes.append(Note(work.at((*inner.path, "mtu")), f"{what}: what is larger is lost (lower it)"))


def resolve_routes(work: Resolver, inner: Inner, addresses: tuple[IPInterface, ...]) -> Iterator[Route]:
    """The container's own routes, each by a gateway that it can reach."""
    if isinstance(work.attaches[inner.key], Tap):
        return
    for place, route in enumerate(inner.container.routes):
        path = (*inner.path, "routes", place)
        message = misplaced_route(route, addresses)
        if message:
            work.problem(path, message)
        yield Route(route.to, route.via, route.metric, work.at(path))


def misplaced_route(route: RouteModel, addresses: tuple[IPInterface, ...]) -> str:
    """Why a container with these addresses cannot have this route; empty if it can."""
    to, via = route.to, route.via
    if to.version not in {address.version for address in addresses}:
        return f"there is no IPv{to.version} address here for a route to {to} (add one, or remove the route)"
    if via is None:
        return ""
    if via.version != to.version:
        return f"the route to {to} goes by {via}, of the other family (take a gateway of IPv{to.version})"
    if any(via == address.ip for address in addresses):
        return f"the gateway {via} is this container itself (take a neighbour)"
    # The one address that is on every link of IPv6.
    if via.version == 6 and via.is_link_local:
        return ""
    if not any(via in address.network and not _is_edge(via, address.network) for address in addresses):
        return f"the gateway {via} is no neighbour of this interface (take one in its subnet)"
    return ""


def resolve_ports(work: Resolver, inner: Inner, addresses: tuple[IPInterface, ...]) -> Iterator[Port]:
    """The published ports, with the bridge's host address where they name none."""
    why_not = no_ports(inner.bridge.mode, inner.bridge_name, inner.name, addresses)
    if why_not:
        if inner.container.ports:
            work.problem_of_key((*inner.path, "ports"), why_not)
        return
    versions: set[int] = {address.version for address in addresses}
    positions = work.each_at((*inner.path, "ports"))
    for place, (port, position) in enumerate(zip(inner.container.ports, positions, strict=False)):
        hosts = hosts_of(port, inner.bridge.host_ip, versions)
        if not hosts:
            address = port.host_ip or inner.bridge.host_ip[0]
            what = f"{address} is IPv{address.version}, and {inner.name} has no address of that family"
            work.problem((*inner.path, "ports", place), f"{what} (give it one, or publish on another)")
        for host in hosts:
            yield Port(host, port.published, port.target, port.protocol, position)


def no_ports(mode: str, bridge: str, container: str, addresses: tuple[IPInterface, ...]) -> str:
    """Why no port of a container can be published; empty if one can."""
    if mode == "isolated":
        return f"{bridge} is isolated, so no port of {container} can be published (remove `ports`)"
    if mode == "bridged":
        return f"{bridge} is bridged, so {container} is reached at its own address (remove `ports`)"
    if not addresses:
        return f"{container} has no address for its ports to lead to (give it `addresses`)"
    return ""
