"""The sandbox: the world around a host, small, in namespaces.

The calling process is to be in scratch namespaces (reconciler.scratch) and plays the host. Around it come a gateway, whose
bridge is the LAN, and a client on that LAN, each a network namespace. What the file names as uplinks, and host addresses that
it publishes on, are there too:

    sandbox-client ──┐
                     ├── lan (bridge of sandbox-gateway) ── eth0 of the host
    uplinks' far ends┘

The world is made with the same Requests as everything else, through the same transport.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from itertools import chain

from reconciler.core.messages import (
    HOST,
    Attributes,
    CreateNamespace,
    Index,
    IPAddress,
    IPInterface,
    IPNetwork,
    NamespaceFd,
    Netlink,
    Request,
    WriteSysctl,
)
from reconciler.errors import RefusedError
from reconciler.kernel.live import LiveKernel
from reconciler.kinds.address import AF_INET, AF_INET6, IFA_F_NODAD, RT_TABLE_MAIN, RTN_UNICAST
from reconciler.kinds.links import set_link
from reconciler.manifest.document import Document

GATEWAY, CLIENT = "sandbox-gateway", "sandbox-client"
_MARK = "sandbox"
_SUBNETS4 = tuple(map(IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))
_MORE4 = IPv4Network("198.18.0.0/15")
"""For documentation (RFC 5737), and for benchmarks (RFC 2544): the first that is not in use is the LAN."""
_SUBNETS6 = IPv6Network("2001:db8:5a::/48")


@dataclass(frozen=True, slots=True)
class World:
    """Where everything is. Addresses are (IPv4, IPv6)."""

    uplink: str
    gateway: tuple[IPInterface, IPInterface]
    host: tuple[IPInterface, IPInterface]
    client: tuple[IPInterface, IPInterface]
    others: tuple[IPAddress, ...]
    """Further addresses of the host, which the file publishes on or translates to."""


def world(
    document: Document,
    addresses: Collection[IPAddress] = (),
    networks: Collection[IPNetwork] = (),
    taken: Collection[str] = (),
) -> World:
    """The world for `document`: a LAN that its subnets leave free, and the host addresses and uplinks that it speaks of.

    Besides, the host has these `addresses`; the LAN keeps away from these `networks`, and the link into it does not get one of the names
    `taken`.
    """
    used = [address.network for bridge in document.bridges for address in bridge.addresses]
    used += networks
    others = tuple(dict.fromkeys([*_host_addresses(document), *addresses]))
    four = next(net for net in chain(_SUBNETS4, _MORE4.subnets(new_prefix=24)) if _is_free(net, used, others))
    six = next(net for net in _SUBNETS6.subnets(new_prefix=64) if _is_free(net, used, others))

    def at(number: int) -> tuple[IPInterface, IPInterface]:
        return ip_interface(f"{four[number]}/{four.prefixlen}"), ip_interface(f"{six[number]}/{six.prefixlen}")

    named = {*taken, *_uplinks(document)}
    own = next(name for name in ("eth0", "lan0", "sandbox0", "sandbox1") if name not in named)
    return World(own, at(1), at(2), at(3), others)


def _uplinks(document: Document) -> list[str]:
    return list(dict.fromkeys(name for bridge in document.bridges for name in bridge.uplinks))


def _is_free(lan: IPNetwork, used: Collection[IPNetwork], others: Collection[IPAddress]) -> bool:
    """Whether nobody else is in this LAN. A further address of the host may be, if it is not one of the three that we give."""
    given = {lan[1], lan[2], lan[3]}
    return given.isdisjoint(others) and not any(lan.version == one.version and lan.overlaps(one) for one in used)


def _host_addresses(document: Document) -> list[IPAddress]:
    bridges = {address.ip for bridge in document.bridges for address in bridge.addresses}
    spoken_of = [address for bridge in document.bridges for address in bridge.snat]
    spoken_of += [
        port.host_ip
        for bridge in document.bridges
        for container in bridge.containers
        for port in container.ports
        if port.host_ip is not None
    ]
    return [
        address
        for address in dict.fromkeys(spoken_of)
        if not (address.is_loopback or address.is_unspecified or address in bridges)
    ]


def requests(document: Document, around: World) -> Iterator[Request]:
    """What makes the world, in a fresh scratch namespace."""
    for namespace in (GATEWAY, CLIENT):
        yield CreateNamespace(namespace, _MARK)
    bridge = Attributes.of(IFLA_IFNAME="lan", IFLA_LINKINFO=Attributes.of(IFLA_INFO_KIND="bridge"))
    yield Netlink(GATEWAY, "RTM_NEWLINK", ("create", "excl"), (), bridge)
    yield from set_link(GATEWAY, "lan", up=True)
    yield from _cable(CLIENT, "eth0", "client")
    yield from _cable(HOST, around.uplink, "host")
    for number, name in enumerate(_uplinks(document)):
        yield from _cable(HOST, name, f"uplink{number}")
    for address in around.gateway:
        yield _address(GATEWAY, "lan", address)
    for address in around.client:
        yield _address(CLIENT, "eth0", address)
    for address in around.host:
        yield _address(HOST, around.uplink, address)
        yield _route(CLIENT, "eth0", None, address.ip)
        for one in document.bridges:
            for own in one.addresses:
                if own.version == address.version:
                    # Without it, what comes from a container whose address is kept would not be answered.
                    yield _route(GATEWAY, "lan", own.network, address.ip)
    for other in around.others:
        yield _address(HOST, around.uplink, ip_interface(other))
        yield _route(CLIENT, "eth0", ip_network(other), _of_version(around.host, other.version).ip)
        yield _route(GATEWAY, "lan", ip_network(other), _of_version(around.host, other.version).ip)
    for gateway in around.gateway:
        yield _route(HOST, around.uplink, None, gateway.ip)


def build(kernel: LiveKernel, wanted: Iterable[Request]) -> None:
    """Has `kernel` do what is `wanted`. Raises RefusedError."""
    outcome = kernel.submit(list(wanted))
    if outcome.failures:
        failure = outcome.failures[0]
        raise RefusedError(f"the outside world cannot be made: {failure.message} at {failure.request}")


def stand_in(namespace: str) -> str:
    """The name of what stands for a namespace that only others can make. No file can give it."""
    return f"stand-in:{namespace}"


def neighbour(address: IPInterface) -> Request:
    """What gives the client one more address."""
    return _address(CLIENT, "eth0", address)


def stranger(address: IPAddress) -> Request:
    """What gives the gateway an address that is somewhere outside: what the host knows no route to goes there."""
    return _address(GATEWAY, "lan", ip_interface(address))


def prompt(namespace: str) -> Iterator[Request]:
    """What switches off that the kernel waits before it uses an IPv6 link, or holds back the refusals it sends."""
    for name in ("net.ipv6.conf.all.accept_dad", "net.ipv6.conf.default.accept_dad"):
        yield WriteSysctl(namespace, name, "0")
    for name in ("net.ipv4.icmp_ratelimit", "net.ipv6.icmp.ratelimit"):
        yield WriteSysctl(namespace, name, "0")


def _of_version(pair: tuple[IPInterface, IPInterface], version: int) -> IPInterface:
    return pair[0] if version == 4 else pair[1]


def loose_link(name: str, number: int) -> Iterator[Request]:
    """A link of the host that leads nowhere: its far end, of that number, is at the gateway, and in no LAN."""
    return _cable(HOST, name, f"loose{number}", lan=False)


def _cable(namespace: str, name: str, port: str, *, lan: bool = True) -> Iterator[Request]:
    """A link in `namespace` that leads to `port` at the gateway, which is one of the LAN's."""
    peer = Attributes.of(IFLA_IFNAME=name, IFLA_NET_NS_FD=NamespaceFd(namespace))
    info = Attributes.of(IFLA_INFO_KIND="veth", IFLA_INFO_DATA=Attributes.of(VETH_INFO_PEER=peer))
    body = Attributes.of(IFLA_IFNAME=port, IFLA_LINKINFO=info)
    yield Netlink(GATEWAY, "RTM_NEWLINK", ("create", "excl"), (), body)
    yield from set_link(GATEWAY, port, up=True, IFLA_MASTER=Index("lan") if lan else None)
    yield from set_link(namespace, name, up=True)


def _address(namespace: str, link: str, address: IPInterface) -> Request:
    v6 = address.version == 6
    header = (
        ("family", AF_INET6 if v6 else AF_INET),
        ("prefixlen", address.network.prefixlen),
        ("index", Index(link)),
    )
    flags = IFA_F_NODAD if v6 else None
    body = Attributes.of(IFA_LOCAL=str(address.ip), IFA_ADDRESS=str(address.ip), IFA_FLAGS=flags)
    return Netlink(namespace, "RTM_NEWADDR", ("create", "excl"), header, body)


def _route(namespace: str, link: str, to: IPNetwork | None, via: IPAddress) -> Request:
    """To a network, or (None) everywhere."""
    header = (
        ("family", AF_INET if via.version == 4 else AF_INET6),
        ("dst_len", 0 if to is None else to.prefixlen),
        ("table", RT_TABLE_MAIN),
        ("proto", 4),  # RTPROT_STATIC
        ("type", RTN_UNICAST),
    )
    network = None if to is None else str(to.network_address)
    body = Attributes.of(RTA_DST=network, RTA_GATEWAY=str(via), RTA_OIF=Index(link))
    return Netlink(namespace, "RTM_NEWROUTE", ("create", "excl"), header, body)
