"""What is needed of links, addresses and routes, out of the kernel's dumps.

Partial on purpose: of a link's fifty attributes ten are looked at, which takes a fifteenth of the time of
a full decoder. Numbers are those of linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h, linux/if_tun.h.
Indexes stay indexes here; reconciler.kernel.observation turns them into names.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import NamedTuple

from reconciler.core.messages import AddressRecord, IPAddress, IPInterface, IPNetwork, PortRecord, RouteRecord
from reconciler.kernel import wire
from reconciler.kernel.netlink import Chunk

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_EXT_MASK, IFLA_LINK_NETNSID = 18, 20, 29, 37
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BR_STP_STATE, IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED, IFLA_TUN_TYPE = 5, 4, 33, 3
IFA_ADDRESS, IFA_LOCAL, IFA_CACHEINFO, IFA_PROTO = 1, 2, 6, 11
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_TABLE, RTA_VIA = 1, 4, 5, 6, 15, 18
_IFF_UP = 1
_IFF_TAP = 2
_RTEXT_FILTER_SKIP_STATS = 8
_RTM_F_CLONED = 0x200
_MAIN = 254
_AF_INET, _AF_INET6 = 2, 10

_pick_link = wire.Picker(
    16,
    (IFLA_IFNAME,),
    (IFLA_ADDRESS,),
    (IFLA_MTU,),
    (IFLA_LINK,),
    (IFLA_MASTER,),
    (IFLA_IFALIAS,),
    (IFLA_LINK_NETNSID,),
    (IFLA_LINKINFO, IFLA_INFO_KIND),
    (IFLA_LINKINFO, IFLA_INFO_DATA),
    (IFLA_LINKINFO, IFLA_INFO_SLAVE_KIND),
    (IFLA_LINKINFO, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_MODE),
    (IFLA_LINKINFO, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_ISOLATED),
)
_pick_address = wire.Picker(8, (IFA_LOCAL,), (IFA_ADDRESS,), (IFA_PROTO,))
_pick_route = wire.Picker(12, (RTA_DST,), (RTA_OIF,), (RTA_GATEWAY,), (RTA_PRIORITY,), (RTA_TABLE,), (RTA_VIA,))
_CACHEINFO = wire.ATTRIBUTE.pack(20, IFA_CACHEINFO)

ALL_LINKS = wire.IFINFO.pack(0, 0, 0, 0, 0) + wire.attribute(
    IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS.to_bytes(4, sys.byteorder)
)
"""The request for all links, without their counters."""
ALL_ADDRESSES = wire.IFADDR.pack(0, 0, 0, 0, 0)
MAIN_ROUTES = wire.RTMSG.pack(0, 0, 0, 0, _MAIN, 0, 0, 0, 0)
"""The request for the main table's routes.

Kernels before 4.20 send those of all tables (no NETLINK_GET_STRICT_CHK).
"""


def link_called(name: str) -> bytes:
    """The request for the one link `name`."""
    return wire.IFINFO.pack(0, 0, 0, 0, 0) + wire.attribute(IFLA_IFNAME, name.encode(errors="surrogateescape") + b"\0")


def link_at(index: int) -> bytes:
    """The request for the one link of that index."""
    return wire.IFINFO.pack(0, 0, index, 0, 0)


def addresses_of(index: int) -> bytes:
    """The request for the addresses of one link. Kernels before 4.20 send those of all."""
    return wire.IFADDR.pack(0, 0, 0, 0, index)


def routes_by(index: int) -> bytes:
    """The request for the main table's routes out of one link. Kernels before 4.20 send all."""
    return MAIN_ROUTES + wire.attribute(RTA_OIF, index.to_bytes(4, sys.byteorder))


@dataclass(slots=True)
class RawLink:
    """A link as the kernel has it, with indexes for names. Not to be changed: two namespaces may share one.

    `nsid` is None where the peer is in the same namespace.
    """

    index: int
    name: str
    kind: str
    mac: str | None
    mtu: int
    up: bool
    alias: str | None
    master: int
    link: int
    nsid: int | None
    port: PortRecord | None = None
    stp: bool | None = None
    tap: bool = False


def link(chunk: Chunk) -> RawLink:
    """Decode one RTM_NEWLINK."""
    data, at, end = chunk
    return _link(data[at:end])


# `lo` is the same in a thousand namespaces, and at a second look nearly everything is as it was.
@functools.lru_cache(maxsize=1 << 14)
def _link(data: bytes) -> RawLink:
    _, _, index, flags, _ = wire.IFINFO.unpack_from(data)
    name, mac, mtu, link, master, alias, nsid, kind, info, slave_kind, mode, isolated = _pick_link(data)
    return RawLink(
        index=index,
        name=wire.text(name),
        kind=wire.text(kind),
        mac=mac.hex(":") if mac else None,
        mtu=wire.number(mtu),
        up=bool(flags & _IFF_UP),
        alias=wire.text(alias) if alias else None,
        master=wire.number(master),
        link=wire.number(link),
        nsid=int.from_bytes(nsid, sys.byteorder, signed=True) if nsid else None,
        port=_port(mode == b"\1", isolated == b"\1") if slave_kind == b"bridge\0" else None,
        stp=_of_kind(info, IFLA_BR_STP_STATE) != 0 if kind == b"bridge\0" else None,
        tap=_of_kind(info, IFLA_TUN_TYPE) == _IFF_TAP if kind == b"tun\0" else False,
    )


def _of_kind(info: bytes, number: int) -> int:
    """An attribute of a link's kind; each kind has numbers of its own."""
    return wire.number(wire.pick(info, 0, len(info), (number,)).get(number, b""))


@functools.cache
def _port(hairpin: bool, isolated: bool) -> PortRecord:
    return PortRecord(hairpin, isolated)


def address(chunk: Chunk, name: Callable[[int], str | None]) -> AddressRecord | None:
    """Decode one RTM_NEWADDR; None if its link is gone meanwhile.

    IFA_LOCAL is the own address, and IFA_ADDRESS on point-to-point links that of the other end
    (linux/if_addr.h). IPv6 has IFA_ADDRESS alone but for those.
    """
    data, at, end = chunk
    found = _address(_without_times(data[at:end]))
    where = name(found.link)
    if found.address is None or where is None:
        return None
    return AddressRecord(where, found.address, found.scope, found.protocol)


def _without_times(data: bytes) -> bytes:
    """`data` without the attribute that says when it came and how long it lasts, which makes equal addresses unlike."""
    if data[0] == _AF_INET6 and data[28:32] == _CACHEINFO:  # behind the one address (inet6_fill_ifaddr)
        return data[:28] + data[48:]
    if data[0] == _AF_INET and data[-20:-16] == _CACHEINFO:  # the last of all (inet_fill_ifaddr)
        return data[:-20]
    return data


class _RawAddress(NamedTuple):
    link: int
    address: IPInterface | None
    scope: int
    protocol: int | None


@functools.lru_cache(maxsize=1 << 14)
def _address(data: bytes) -> _RawAddress:
    _, length, _, scope, index = wire.IFADDR.unpack_from(data)
    local, address, protocol = _pick_address(data)
    packed = local or address
    return _RawAddress(
        index, ip_interface(packed, length) if packed else None, scope, protocol[0] if protocol else None
    )


def route(chunk: Chunk, name: Callable[[int], str | None]) -> RouteRecord | None:
    """Decode one RTM_NEWROUTE; None if it is not of the main table, or a cache entry."""
    data, at, end = chunk
    found = _route(data[at:end])
    if found is None:
        return None
    index, one = found
    # What `replace` would do, in a fifth of its time.
    return RouteRecord(one.destination, one.via, name(index), one.metric, one.protocol, one.type) if index else one


@functools.lru_cache(maxsize=1 << 14)
def _route(data: bytes) -> tuple[int, RouteRecord] | None:
    """(index of the outgoing link, 0 for none; the rest)."""
    family, length, _, _, table, protocol, _, kind, flags = wire.RTMSG.unpack_from(data)
    destination, oif, gateway, priority, wide_table, via = _pick_route(data)
    table = wire.number(wide_table) if wide_table else table
    if table != _MAIN or flags & _RTM_F_CLONED or family not in (_AF_INET, _AF_INET6):
        return None
    if via and not gateway:  # one of the other family: struct rtvia, 2 bytes and the address
        gateway = via[2:]
    return wire.number(oif), RouteRecord(
        destination=ip_network(destination or bytes(4 if family == _AF_INET else 16), length),
        via=ip_address(gateway) if gateway else None,
        link=None,
        metric=wire.number(priority),
        protocol=protocol,
        type=kind,
    )


# Building these takes longer than all the rest, and a thousand containers share most of them.


@functools.lru_cache(maxsize=4096)
def ip_address(packed: bytes) -> IPAddress:
    """The address of 4 or 16 bytes."""
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


@functools.lru_cache(maxsize=4096)
def ip_interface(packed: bytes, length: int) -> IPInterface:
    """An address with its prefix length."""
    return IPv4Interface((packed, length)) if len(packed) == 4 else IPv6Interface((packed, length))


@functools.lru_cache(maxsize=4096)
def ip_network(packed: bytes, length: int) -> IPNetwork:
    """A destination with its prefix length."""
    return IPv4Network((packed, length)) if len(packed) == 4 else IPv6Network((packed, length))


def forget() -> None:
    """Empties the caches, which hold some kilobytes a link."""
    for cache in (_link, _address, _route, ip_address, ip_interface, ip_network):
        cache.cache_clear()
