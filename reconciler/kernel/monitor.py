"""What the kernel tells by itself when something changes: rtnetlink and nftables notifications, of all network namespaces.

They are hints. What is in them is not believed, but tells where to look; one that was lost (ENOBUFS) means that anything may have
changed. One socket hears all namespaces that the host has a number for (NETLINK_LISTEN_ALL_NSID), and it has one for every
namespace with the far end of a veth pair.

Sources: rtnetlink(7), netlink(7), linux/rtnetlink.h (RTNLGRP_*), linux/netfilter/nfnetlink.h (NFNLGRP_NFTABLES), nf_tables.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping

from reconciler.core.messages import HOST
from reconciler.errors import PlatformError
from reconciler.kernel import decode, elements, wire
from reconciler.kernel.decode import RawLink
from reconciler.kernel.meter import Meter
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netlink import Socket
from reconciler.kinds import places
from reconciler.kinds.marks import owner_of
from reconciler.kinds.places import Place

_SOL_NETLINK = 270
_ADD_MEMBERSHIP, _LISTEN_ALL_NSID = 1, 8
_SO_RCVBUFFORCE = 33
_BUFFER = 8 << 20
_RECEIVE = 64 << 10

# RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE, _IPV4_NETCONF, _IPV6_NETCONF
_GROUPS = (1, 5, 7, 9, 11, 24, 25)
_NFNLGRP_NFTABLES = 7
_LINKS, _ADDRESSES, _ROUTES, _NETCONF = (16, 17), (20, 21), (24, 25), (80, 81)
_AF_BRIDGE = 7
_SUBSYSTEM, _NEWGEN = 10, 15
_TABLE_NAME = 1  # NFTA_TABLE_NAME, and of chains, rules, sets and elements the attribute that names their table
_FAMILIES = {number: name for name, number in elements.FAMILIES.items()}
_NETNSA_NSID, _NETNSA_FD = 1, 3

EVERYTHING = Place("everything")
"""Anything may have changed."""


class Monitor:
    """The notifications that concern `tables` (as `inet filter`) and the links of the network namespace that the thread is in, and of
    `numbered` others. Raises PlatformError where it may not listen."""

    def __init__(self, tables: frozenset[str]) -> None:
        self._tables = tables
        self._names: Mapping[int, str] = {}
        self._links: dict[int, RawLink] = {}
        self._aliases: dict[str, str] = {}
        self._changed: set[Place] = set()
        try:
            self._route = _listen(wire.NETLINK_ROUTE, _GROUPS)
            self._nftables = _listen(wire.NETLINK_NETFILTER, (_NFNLGRP_NFTABLES,))
            self._route.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        except PermissionError as error:
            why = f"{error.strerror}: it needs CAP_NET_ADMIN and CAP_NET_BROADCAST"
            raise PlatformError(f"may not listen to the kernel's notifications ({why})") from error

    def close(self) -> None:
        """Stop listening."""
        self._route.close()
        self._nftables.close()

    def descriptors(self) -> tuple[int, int]:
        """What can be waited for: readable when there is something to `read`."""
        return self._route.fileno(), self._nftables.fileno()

    def know(self, links: Iterable[RawLink]) -> None:
        """The host's links, and no names of namespaces."""
        known, self._links = self._links, {link.index: link for link in links}
        if known:
            # What changed since the notifications were last read: when they are, they will seem to tell nothing new.
            changed = (link for index, link in self._links.items() if known.get(index) != link)
            self._changed |= {places.link(link.name) for link in changed}
        self._aliases = {link.name: link.alias for link in self._links.values() if link.alias}
        self._names = {}

    def learn(self, numbers: Mapping[int, str]) -> None:
        """More names of namespaces, by the host's numbers for them."""
        self._names = {**self._names, **numbers}

    def owner_at(self, place: Place) -> str | None:
        """Whose mark is on what is at `place`, if that is a link of the host: it may have come, or got this name, since the last look."""
        return owner_of(self._aliases.get(place.name)) if place.sort == "link" else None

    def read(self) -> frozenset[Place]:
        """Where something happened since it was read last. Never waits."""
        found, self._changed = self._changed, set()
        for receive in (self._read_route, self._read_nftables):
            try:
                for some in receive():
                    found |= some
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found.add(EVERYTHING)
        return frozenset(found)

    # --- rtnetlink ---

    def _read_route(self) -> Iterator[set[Place]]:
        for data, ancillary in _datagrams(self._route):
            number = _number(ancillary)
            for kind, at, end in _messages(data):
                yield set(self._of_route(number, kind, data, at, end))

    def _of_route(self, number: int | None, kind: int, data: bytes, at: int, end: int) -> Iterator[Place]:
        if _comes_by_itself(kind, data, at, end):
            return
        if number is not None:
            # A namespace that has no name here is none of ours: what we make, or are to look into, has been numbered.
            name = self._names.get(number)
            if name is not None:
                yield places.netns(name)
        elif kind in _LINKS:
            yield from self._of_link(kind, data, at, end)
        elif kind in _ADDRESSES:
            yield from self._link_at(wire.IFADDR.unpack_from(data, at)[4])
        elif kind in _ROUTES:
            out = wire.pick(data, at + 12, end, (decode.RTA_OIF,)).get(decode.RTA_OIF)
            yield from self._link_at(wire.number(out)) if out else ()
        elif kind in _NETCONF:
            yield places.SETTINGS

    def _of_link(self, kind: int, data: bytes, at: int, end: int) -> Iterator[Place]:
        index = wire.IFINFO.unpack_from(data, at)[2]
        before = self._links.get(index)
        if data[at] == _AF_BRIDGE:
            # Of a port, as its bridge has it; it says less of the link.
            yield from self._link_at(index)
            return
        now = decode.link((data, at, end))
        if kind == wire.RTM_NEWLINK and now == before:
            return  # a carrier, a counter, a queue
        self._links[index] = now
        yield places.link(now.name)
        # One that was renamed has left the name that it had.
        if before is not None:
            self._aliases.pop(before.name, None)
            yield places.link(before.name)
        if kind == wire.RTM_DELLINK:
            del self._links[index]
        elif now.alias:
            self._aliases[now.name] = now.alias

    def _link_at(self, index: int) -> Iterator[Place]:
        found = self._links.get(index)
        if found is not None:
            yield places.link(found.name)

    # --- nftables ---

    def _read_nftables(self) -> Iterator[set[Place]]:
        for data, _ in _datagrams(self._nftables):
            for kind, at, end in _messages(data):
                if kind >> 8 == _SUBSYSTEM and kind & 0xFF != _NEWGEN:
                    yield set(self._of_nftables(kind, data, at, end))

    def _of_nftables(self, kind: int, data: bytes, at: int, end: int) -> Iterator[Place]:
        family = _FAMILIES.get(data[at], "")
        attributes = at + 4
        named = wire.pick(data, attributes, end, (_TABLE_NAME, elements.LIST_SET))
        table = f"{family} {wire.text(named.get(_TABLE_NAME, b''))}"
        if table not in self._tables:
            return
        if kind not in (elements.NEWSETELEM, elements.DELSETELEM):
            yield places.table(table)
            return
        name = wire.text(named.get(elements.LIST_SET, b""))
        layout = elements.LAYOUTS[family].get(name)
        if layout is None:
            # Of intervals and of what goes by itself no single one can be told; the latter nobody wants to be there.
            if not name.startswith("retired"):
                yield places.table(table)
            return
        for match, _, _ in elements.decoded(data, attributes, end, layout):
            yield places.element(table, name, match)


def _comes_by_itself(kind: int, data: bytes, at: int, end: int) -> bool:
    """Whether this is of an IPv6 link-local address or its route, which every link has and no file speaks of."""
    if kind in _ADDRESSES:
        wanted, body = decode.IFA_ADDRESS, at + 8
    elif kind in _ROUTES:
        wanted, body = decode.RTA_DST, at + 12
    else:
        return False
    address = wire.pick(data, body, end, (wanted,)).get(wanted, b"")
    return data[at] == socket.AF_INET6 and (address[:2] == b"\xfe\x80" or address[:1] == b"\xff")


def _listen(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        opened.bind((0, 0))
        for group in groups:
            opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        try:
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        except OSError:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    except BaseException:
        opened.close()
        raise
    return opened


def _datagrams(opened: socket.socket) -> Iterator[tuple[bytes, list[tuple[int, int, bytes]]]]:
    """What is there, with its ancillary data. Raises OSError with ENOBUFS if some were lost."""
    while True:
        try:
            data, ancillary, _, sender = opened.recvmsg(_RECEIVE, 64)
        except BlockingIOError:
            return
        if sender[0] == 0:  # from the kernel
            yield data, ancillary


def _messages(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(type, start and end of the body) of each message."""
    at, end = 0, len(data)
    while at + 16 <= end:
        size, kind, _, _, _ = wire.HEADER.unpack_from(data, at)
        if size < 16:
            return
        yield kind, at + 16, min(at + size, end)
        at += (size + 3) & ~3


def _number(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The host's number for the namespace that a message is from; None for the host itself."""
    for level, kind, value in ancillary:
        if (level, kind) == (_SOL_NETLINK, _LISTEN_ALL_NSID):
            return int.from_bytes(value[:4], sys.byteorder, signed=True)
    return None


def numbers(meter: Meter, namespaces: Namespaces, names: frozenset[str]) -> dict[int, str]:
    """The host's numbers for the namespaces `names`, as far as they are there and have one (RTM_GETNSID). Raises OSError."""
    found = {}
    with Socket(meter) as asking:
        for name in sorted(names - {HOST}):
            try:
                opened = namespaces.open(name)
            except FileNotFoundError:
                continue
            try:
                body = bytes(4) + wire.attribute(_NETNSA_FD, struct.pack("=I", opened))
                data, at, end = asking.ask(wire.RTM_GETNSID, body)
            finally:
                os.close(opened)
            value = wire.pick(data, at + 4, end, (_NETNSA_NSID,)).get(_NETNSA_NSID, b"\xff" * 4)
            number = int.from_bytes(value, sys.byteorder, signed=True)
            if number >= 0:
                found[number] = name
    return found
