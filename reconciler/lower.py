"""Document → desired State, one function per noun of the file.

Here a word of the file becomes kernel objects; what the words do to packets is said in docs/file.md, and which rules do it in
reconciler.kinds.layout.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from reconciler.core.messages import HOST, IPAddress
from reconciler.core.resource import Key, Level, Note, Origin, Resource, State
from reconciler.host_rules import IPV4_FORWARDING, IPV6_FORWARDING
from reconciler.kinds import Address, Bridge, BridgePort, Element, Netns, Peer, Route, Sysctl, Tap, Veth
from reconciler.kinds.links import link_key
from reconciler.kinds.marks import table_name
from reconciler.kinds.nftables import skeleton
from reconciler.kinds.route import canonical_metric
from reconciler.kinds.sysctl import route_localnet
from reconciler.manifest.document import Attach, Container, Docker, Document, Mode, Pid, Podman, Port
from reconciler.manifest.document import Bridge as BridgeNode
from reconciler.manifest.document import Tap as TapAttach

COMMENT_LIMIT = 100
"""Bytes of an element's comment. nftables keeps 128 at most, with its own terminator."""


@dataclass(slots=True)
class _Lowering:
    """The state under construction."""

    owner: str
    host_id: str
    resources: dict[Key, Resource] = field(default_factory=dict)
    origins: dict[Key, Origin] = field(default_factory=dict)

    table: str = field(init=False)
    bridge_table: str = field(init=False)

    def __post_init__(self) -> None:
        self.table, self.bridge_table = table_name(self.owner), table_name(self.owner, "bridge")

    def add(self, origin: Origin, *resources: Resource) -> None:
        for resource in resources:
            if resource.key not in self.resources:
                self.resources[resource.key] = resource
                self.origins[resource.key] = origin

    def element(
        self,
        origin: Origin,
        set: str,
        *match: object,
        data: tuple[object, ...] = (),
        comment: str = "",
        table: str | None = None,
    ) -> None:
        self.add(
            origin,
            Element(
                owner=self.owner,
                table=table or self.table,
                set=set,
                match=tuple(map(str, match)),
                data=tuple(map(str, data)),
                comment=_comment(comment),
            ),
        )


def lower(document: Document, host_id: str = "") -> State:
    """What `document` asks of the kernel.

    `host_id` tells this host from others; it goes into the MACs of bridges, which would otherwise be the same on two
    hosts of one LAN.
    """
    work = _Lowering(document.name, host_id)
    forwarding(work, document)
    if document.bridges:
        work.add(Origin(), *skeleton(work.owner, work.table))
    if any(map(_keeps_apart, document.bridges)):
        work.add(Origin(), *skeleton(work.owner, work.bridge_table))
    for bridge in document.bridges:
        lower_bridge(work, bridge)
    for bridge in document.bridges:
        for container in bridge.containers:
            lower_container(work, bridge, container)
            lower_ports(work, bridge, container)
    notes = tuple(Note(Level.INFO, note.message, str(note.position)) for note in document.notes)
    return State(work.resources, work.origins, notes, str(document.position or ""))


def with_ports(state: State, before: Document, after: Document) -> State:
    """What `after` asks of the kernel, if `before` asks for `state` (or that and what a host adds to it), and both differ in
    published ports alone. Bridges and containers that are the very same in both are passed over."""
    old, new = _Lowering(before.name, ""), _Lowering(after.name, "")
    for one, other in zip(before.bridges, after.bridges, strict=True):
        if one is not other:
            for was, becomes in zip(one.containers, other.containers, strict=True):
                if was is not becomes:
                    lower_ports(old, one, was)
                    lower_ports(new, other, becomes)
    resources = {key: item for key, item in state.resources.items() if key not in old.resources} | new.resources
    origins = {key: item for key, item in state.origins.items() if key not in old.resources} | new.origins
    return replace(state, resources=resources, origins=origins)


# --- the host --------------------------------------------------------------------------------------------------------


def forwarding(work: _Lowering, document: Document) -> None:
    """A host that forwards for its containers must forward; which families, the bridges' addresses say."""
    for version, name in ((4, IPV4_FORWARDING), (6, IPV6_FORWARDING)):
        for bridge in document.bridges:
            if bridge.mode in (Mode.NAT, Mode.ROUTED) and bridge.gateway(version):
                work.add(_origin(bridge), Sysctl(namespace=HOST, name=name, value="1"))


# --- bridges ---------------------------------------------------------------------------------------------------------


def lower_bridge(work: _Lowering, bridge: BridgeNode) -> None:
    """The bridge, its addresses, its uplinks, and what the firewall has to know of it."""
    origin = _origin(bridge)
    work.add(
        origin,
        Bridge(
            owner=work.owner,
            name=bridge.name,
            mtu=bridge.mtu,
            mac=bridge_mac(work, bridge) if _keeps_apart(bridge) else bridge.mac,
            stp=bridge.stp,
            uplinks=tuple(sorted(bridge.uplinks)),
            birth_mac=bridge_mac(work, bridge),
        ),
    )
    for address in bridge.addresses:
        work.add(origin, Address(owner=work.owner, namespace=HOST, link=bridge.name, address=address))
    for uplink in bridge.uplinks:
        work.add(origin, BridgePort(owner=work.owner, link=uplink, bridge=bridge.name, up=True))
    if bridge.mode is not Mode.BRIDGED:
        guard_bridge(work, bridge)


def guard_bridge(work: _Lowering, bridge: BridgeNode) -> None:
    """The elements that make up the bridge's mode."""
    origin, name = _origin(bridge), bridge.name
    work.element(origin, "bridges", name, comment=name)
    if bridge.mode is Mode.ISOLATED:
        work.element(origin, "isolated", name, comment=name)
        work.element(origin, "within", name, name, data=("accept" if bridge.icc else "drop",), comment=name)
        return
    arrive = "goto only_published" if bridge.mode is Mode.NAT else "goto only_open"
    work.element(origin, "arrive", name, data=(arrive,), comment=name)
    within = "accept" if bridge.icc else "goto only_published"
    work.element(origin, "within", name, name, data=(within,), comment=name)
    if bridge.gateway(4):
        # On this bridge alone, and nowhere else.
        work.add(origin, Sysctl(namespace=HOST, name=route_localnet(name), value="1"))
    for address in bridge.addresses:
        network, version = address.network, address.version
        work.element(origin, f"inside{version}", network, comment=name)
        if bridge.mode is Mode.NAT:
            work.element(origin, f"nat{version}", network, comment=name)
            for source in bridge.snat:
                if source.version == version:
                    work.element(origin, f"snat{version}", network, data=(source,), comment=name)


# --- containers ------------------------------------------------------------------------------------------------------


def lower_container(work: _Lowering, bridge: BridgeNode, container: Container) -> None:
    """The container's link, its place on the bridge, what is inside of it, and its published ports."""
    origin = _origin(bridge, container)
    if isinstance(container.attach, TapAttach):
        link = lower_tap(work, bridge, container, container.attach.interface)
    else:
        link = host_link_name(work.owner, bridge.name, container.name)
        lower_veth(work, bridge, container, link)
    nat = bridge.mode in (Mode.NAT, Mode.ROUTED)
    isolated = bridge.mode is Mode.ISOLATED and not bridge.icc
    work.add(
        origin,
        BridgePort(owner=work.owner, link=link, bridge=bridge.name, hairpin=nat, isolated=isolated),
    )
    if _keeps_apart(bridge):
        comment = f"{bridge.name}/{container.name}"
        work.element(origin, "private_ports", link, comment=comment, table=work.bridge_table)
        gateway = bridge_mac(work, bridge)
        work.element(origin, "private", link, gateway, comment=comment, table=work.bridge_table)
    if bridge.mode is Mode.BRIDGED:
        for address in container.addresses:
            work.element(origin, f"bridged{address.version}", address.ip, comment=f"{bridge.name}/{container.name}")


def lower_tap(work: _Lowering, bridge: BridgeNode, container: Container, name: str) -> str:
    """The TAP device; what is inside of the machine is not ours. Returns its name."""
    mac = derived_mac("tap", work.owner, bridge.name, container.name)
    tap = Tap(owner=work.owner, name=name, mtu=container.mtu or bridge.mtu, birth_mac=mac)
    work.add(_origin(bridge, container), tap)
    return name


def lower_veth(work: _Lowering, bridge: BridgeNode, container: Container, link: str) -> None:
    """The namespace, the pair, and all that is in the container."""
    origin = _origin(bridge, container)
    namespace = namespace_of(container.attach)
    if not isinstance(container.attach, Pid | Docker | Podman):
        work.add(origin, Netns(owner=work.owner, name=namespace, loopback=True))
    mtu = container.mtu or bridge.mtu
    peer = Peer(
        owner=work.owner,
        namespace=namespace,
        name=container.interface,
        host=link,
        mac=container.mac or derived_mac(work.owner, bridge.name, container.name),
        mtu=mtu,
    )
    birth_mac = derived_mac("host end", work.owner, bridge.name, container.name)
    veth = Veth(owner=work.owner, name=link, peer=(namespace, container.interface), mtu=mtu, birth_mac=birth_mac)
    work.add(origin, veth, peer)
    for name, value in container.sysctls:
        work.add(origin, Sysctl(namespace=namespace, name=name, value=value))
    if isinstance(container.attach, Pid | Docker | Podman) and any(item.version == 6 for item in container.addresses):
        # Docker turns IPv6 off in a namespace that it gives no IPv6 address to (libnetwork, sandbox.go): ours would be refused.
        name = f"net.ipv6.conf.{container.interface.replace('.', '/')}.disable_ipv6"
        work.add(origin, Sysctl(namespace=namespace, name=name, value="0"))
    for address in container.addresses:
        work.add(origin, Address(owner=work.owner, namespace=namespace, link=container.interface, address=address))
    work.add(origin, *routes(work, bridge, container, namespace))


_EVERYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


def routes(work: _Lowering, bridge: BridgeNode, container: Container, namespace: str) -> Iterator[Route]:
    """The default routes, if they are this interface's, and those of the file."""
    versions = {address.version for address in container.addresses}
    if container.default_route:
        for version in sorted(versions):
            gateway = bridge.gateway(version)
            if gateway is not None:
                yield Route(
                    owner=work.owner,
                    namespace=namespace,
                    destination=_EVERYWHERE[version],
                    metric=canonical_metric(version, None),
                    link=container.interface,
                    via=gateway.ip,
                )
    for route in container.routes:
        yield Route(
            owner=work.owner,
            namespace=namespace,
            destination=route.to,
            metric=canonical_metric(route.to.version, route.metric),
            link=container.interface,
            via=route.via or "on-link",
        )


def namespace_of(attach: Attach) -> str:
    """How a Snapshot calls the network namespace of a container attached like this."""
    match attach:
        case Pid(pid):
            return f"pid:{pid}"
        case Docker(name):
            return f"docker:{name}"
        case Podman(name):
            return f"podman:{name}"
        case TapAttach():
            raise AssertionError("the inside of a virtual machine is not ours")
    return attach.name


# --- published ports -------------------------------------------------------------------------------------------------


def lower_ports(work: _Lowering, bridge: BridgeNode, container: Container) -> None:
    """The container's published ports, and on a routed bridge what of them can be reached on its own addresses."""
    comment, opens_on = _comment(f"{bridge.name}/{container.name}"), (_opens_on(bridge, container),)
    targets = _targets(container)
    for port in container.ports:
        origin = _origin(bridge, container, port)
        for element in published(work, targets, port, comment, opens_on):
            work.add(origin, element)
    if bridge.mode is Mode.ROUTED:
        open_targets(work, bridge, container)


def _opens_on(bridge: BridgeNode, container: Container) -> Key:
    """A port opens only when what it leads to is there."""
    if isinstance(container.attach, TapAttach):
        return Key("port", HOST, container.attach.interface)
    return link_key(namespace_of(container.attach), container.interface)


def published(
    work: _Lowering, targets: Mapping[int, IPAddress], port: Port, comment: str, opens_on: tuple[Key, ...]
) -> Iterator[Element]:
    """The elements of one published port: one per family for a port, or for a range that keeps its numbers; else one per port."""
    address = () if port.host_ip is None or port.host_ip.is_unspecified else (str(port.host_ip),)
    prefix = "by_address" if address else "by_any"
    for version, target in _led_to(targets, port):
        led_to = _spelled(target)
        for ranges, first, data in _spans(port):
            yield Element(
                owner=work.owner,
                table=work.table,
                set=f"{prefix}_range{version}" if ranges else f"{prefix}{version}",
                match=(*address, port.protocol, first),
                data=(led_to, *data),
                comment=comment,
                waits_for=opens_on,
            )


@functools.lru_cache(maxsize=1024)  # a container has a thousand ports
def _spelled(address: IPAddress) -> str:
    return str(address)


def _targets(container: Container) -> dict[int, IPAddress]:
    """The address that the container's ports lead to in each family: the first it has."""
    found: dict[int, IPAddress] = {}
    for address in container.addresses:
        found.setdefault(address.version, address.ip)
    return dict(sorted(found.items()))


def _led_to(targets: Mapping[int, IPAddress], port: Port) -> Iterable[tuple[int, IPAddress]]:
    """Those of `targets` in the families that the port is published in."""
    if port.host_ip is None:
        return targets.items()
    return [(version, target) for version, target in targets.items() if version == port.host_ip.version]


def _spans(port: Port) -> Iterable[tuple[bool, str, tuple[str, ...]]]:
    """(is it a range, the published number or range, the container's number if it is not the same)."""
    (first, last), (target, _) = port.published, port.target
    if first == last:
        return ((False, str(first), (str(target),)),)
    if first == target:
        return ((True, f"{first}-{last}", ()),)
    return ((False, str(first + offset), (str(target + offset),)) for offset in range(last - first + 1))


def open_targets(work: _Lowering, bridge: BridgeNode, container: Container) -> None:
    """What can be reached on the container's own addresses: its published ports, by its own number."""
    spans: defaultdict[tuple[IPAddress, str], list[tuple[int, int]]] = defaultdict(list)
    origins: dict[tuple[IPAddress, str], Origin] = {}
    targets = _targets(container)
    for port in container.ports:
        for _, address in _led_to(targets, port):
            spans[address, port.protocol].append(port.target)
            origins.setdefault((address, port.protocol), _origin(bridge, container, port))
    comment = f"{bridge.name}/{container.name}"
    for (address, protocol), found in spans.items():
        origin = origins[address, protocol]
        for first, last in merged(found):
            one = first == last
            name = f"{'open' if one else 'open_range'}{address.version}"
            ports = str(first) if one else f"{first}-{last}"
            work.element(origin, name, address, protocol, ports, comment=comment)


def merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """`spans` with those that overlap or touch made one: the kernel refuses intervals that overlap."""
    current: tuple[int, int] | None = None
    for first, last in sorted(spans):
        if current is not None and first <= current[1] + 1:
            current = current[0], max(current[1], last)
        else:
            if current is not None:
                yield current
            current = first, last
    if current is not None:
        yield current


def _keeps_apart(bridge: BridgeNode) -> bool:
    """Whether containers are kept from each other and still reach each other's published ports, which the port flag cannot do."""
    return not bridge.icc and bridge.mode in (Mode.NAT, Mode.ROUTED)


# --- names -----------------------------------------------------------------------------------------------------------


def _origin(bridge: BridgeNode, container: Container | None = None, port: Port | None = None) -> Origin:
    node = port or container or bridge
    return Origin(str(node.position), bridge.name, container.name if container else "")


def _comment(text: str) -> str:
    return text.encode()[:COMMENT_LIMIT].decode(errors="ignore")


def _digest(*names: str) -> bytes:
    return hashlib.sha256("\0".join(names).encode()).digest()


def derived_mac(*names: str) -> str:
    """A MAC that is the same whenever the names are: neighbours' ARP entries outlive a restart. Locally administered, unicast."""
    digest = _digest("mac", *names)
    return bytes(((digest[0] & 0xFC) | 0x02, *digest[1:6])).hex(":")


def bridge_mac(work: _Lowering, bridge: BridgeNode) -> str:
    """The MAC that a bridge is born with: the host is part of it, since two hosts of one LAN may have files alike."""
    return bridge.mac or derived_mac(work.host_id, work.owner, bridge.name)


def host_link_name(owner: str, bridge: str, container: str) -> str:
    """The host's end of the container's pair: as much of the container's name as there is room for, and a digest of all names.

    15 bytes (IFNAMSIZ) for eight of the name, a dash and six hexadecimal digits.
    """
    return f"{container[:8]}-{_digest('veth', owner, bridge, container).hex()[:6]}"
