"""Netlink's framing: headers and attributes as bytes (netlink(7), rtnetlink(7), linux/netlink.h).

All is in host byte order and padded to 4 bytes. Numbers are those of the kernel's headers.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Container, Iterator

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_ACK_TLVS = 0x200
NLM_F_CAPPED = 0x100
MODIFIERS = {"replace": 0x100, "excl": 0x200, "create": 0x400, "append": 0x800}

NLMSGERR_ATTR_MSG = 1

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_GETADDR = 22
RTM_GETROUTE = 26
RTM_GETNSID = 90

_OBJECTS = {16: "LINK", 20: "ADDR", 24: "ROUTE", 28: "NEIGH", 32: "RULE", 88: "NSID"}
_VERBS = ("NEW", "DEL", "GET", "SET")

HEADER = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""
ATTRIBUTE = struct.Struct("=HH")
"""nlattr: length, type."""
IFINFO = struct.Struct("=BxHiII")
"""ifinfomsg: family, type, index, flags, change."""
IFADDR = struct.Struct("=BBBBI")
"""ifaddrmsg: family, prefix length, flags, scope, index."""
RTMSG = struct.Struct("=8BI")
"""rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags."""

_KIND = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER


def rtnetlink_name(kind: int) -> str:
    """The name that linux/rtnetlink.h gives to the message type `kind`."""
    return f"RTM_{_VERBS[kind & 3]}{_OBJECTS.get(kind & ~3, kind & ~3)}"


def rtnetlink_writes(kind: int) -> bool:
    """Whether the type does more than read.

    The two low bits are the verb: NEW, DEL, GET, SET (rtnetlink_rcv_msg).
    """
    return kind & 3 != 2


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded."""
    size = 4 + len(payload)
    return ATTRIBUTE.pack(size, kind) + payload + b"\0" * (-size % 4)


def pick(data: bytes, at: int, end: int, wanted: Container[int]) -> dict[int, bytes]:
    """The payloads of those attributes in data[at:end] whose type is `wanted`; the rest costs hardly
    anything."""
    found = {}
    unpack = ATTRIBUTE.unpack_from
    end -= 3
    while at < end:
        size, kind = unpack(data, at)
        kind &= _KIND
        if kind in wanted:
            found[kind] = data[at + 4 : at + size]
        at += (size + 3) & ~3 or 4
    return found


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each attribute in `data`, of which several may have one type."""
    at, end = 0, len(data) - 3
    while at < end:
        size, kind = ATTRIBUTE.unpack_from(data, at)
        yield kind & _KIND, data[at + 4 : at + size]
        at += (size + 3) & ~3 or 4


def text(payload: bytes) -> str:
    """A NUL-terminated string. Interface names and aliases may be any bytes."""
    return payload.rstrip(b"\0").decode(errors="surrogateescape")


def number(payload: bytes) -> int:
    """An unsigned number of 1, 2, 4 or 8 bytes in host order."""
    return int.from_bytes(payload, sys.byteorder)
