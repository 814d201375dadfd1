"""Single elements of nftables sets, asked for over nfnetlink: in the time of one question, however many others there are.

What is here knows the sets of reconciler.kinds.layout and no others, and answers in the shape that reconciler.kernel.ruleset has for a
listing of all, so that the same decoder reads both.

Sources: linux/netfilter/nf_tables.h, net/netfilter/nf_tables_api.c (nft_get_set_elem), libnftnl udata.h.
"""

from __future__ import annotations

import errno
import socket as sockets
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from reconciler.kernel import wire
from reconciler.kernel.meter import Meter
from reconciler.kernel.netlink import Family, NetlinkError, Socket
from reconciler.kinds.layout import BRIDGE_SETS, SETS, SetLayout

_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
GETSETELEM, NEWSETELEM, DELSETELEM = _SUBSYSTEM | 13, _SUBSYSTEM | 12, _SUBSYSTEM | 14
FAMILIES = {"inet": 1, "bridge": 7}  # NFPROTO_INET, NFPROTO_BRIDGE
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3
_LIST_ELEMENT = 1
_KEY, _DATA, _FLAGS, _USERDATA = 1, 2, 3, 6
_VALUE, _VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_VERDICTS = {0: "drop", 1: "accept", -3: "jump", -4: "goto"}
_NESTED = 0x8000
_COMMENT = 0  # NFTNL_UDATA_SET_ELEM_COMMENT

LAYOUTS: Mapping[str, Mapping[str, SetLayout]] = {
    family: {item.name: item for item in sets if not item.flags}
    for family, sets in (("inet", SETS), ("bridge", BRIDGE_SETS))
}
"""By family: the sets whose elements can be told one by one. Of intervals the kernel stores ends, and what has a timeout goes by
itself."""

_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_PROTOCOL_NAMES = {number: name for name, number in _PROTOCOLS.items()}

_ANSWERS = Family(wire.NETLINK_NETFILTER, lambda kind: "NFT_MSG_GETSETELEM", lambda kind: kind != GETSETELEM)


def listing(meter: Meter, table: str, elements: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[Mapping[str, Any]]:
    """Those of `elements`, (set, key), that are in `table` (as `inet filter`), each as the listing of a set with one element.

    Raises NetlinkError when the kernel does not say.
    """
    family, _, name = table.partition(" ")
    with Socket(meter, _ANSWERS) as socket:
        for set_name, match in elements:
            layout = LAYOUTS[family][set_name]
            try:
                chunk = socket.ask(GETSETELEM, _question(FAMILIES[family], name, layout, match))
            except NetlinkError as error:
                if error.errno == errno.ENOENT:
                    continue
                raise
            data, at, end = chunk
            for key, value, comment in decoded(data, at + 4, end, layout):
                yield _object(family, name, layout, key, value, comment)


def _question(family: int, table: str, layout: SetLayout, match: tuple[str, ...]) -> bytes:
    key = wire.attribute(_VALUE, packed(layout.type, match))
    element = wire.attribute(_LIST_ELEMENT | _NESTED, wire.attribute(_KEY | _NESTED, key))
    return (
        bytes((family, 0, 0, 0))
        + wire.attribute(LIST_TABLE, table.encode() + b"\0")
        + wire.attribute(LIST_SET, layout.name.encode() + b"\0")
        + wire.attribute(LIST_ELEMENTS | _NESTED, element)
    )


def decoded(
    data: bytes, at: int, end: int, layout: SetLayout
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], str]]:
    """(key, data, comment) of each element in the attributes data[at:end] of a message about elements of a set of this layout."""
    elements = wire.pick(data, at, end, (LIST_ELEMENTS,)).get(LIST_ELEMENTS, b"")
    for _, element in wire.attributes(elements):
        found = wire.pick(element, 0, len(element), (_KEY, _DATA, _USERDATA))
        key = _inner(found.get(_KEY, b""), _VALUE)
        yield unpacked(layout.type, key), _target(layout, found.get(_DATA, b"")), _comment(found.get(_USERDATA, b""))


def _inner(nested: bytes, kind: int) -> bytes:
    return wire.pick(nested, 0, len(nested), (kind,)).get(kind, b"")


def _target(layout: SetLayout, data: bytes) -> tuple[str, ...]:
    if not layout.data or not data:
        return ()
    if layout.data == ("verdict",):
        verdict = _inner(data, _VERDICT)
        code = int.from_bytes(_inner(verdict, _VERDICT_CODE), "big", signed=True)
        chain = wire.text(_inner(verdict, _VERDICT_CHAIN))
        word = _VERDICTS.get(code, str(code))
        return (f"{word} {chain}" if chain else word,)
    return unpacked(layout.data, _inner(data, _VALUE))


def _comment(userdata: bytes) -> str:
    """The comment in a row of (type, length, value), a byte each for the first two."""
    at = 0
    while at + 2 <= len(userdata):
        kind, size = userdata[at], userdata[at + 1]
        if kind == _COMMENT:
            return wire.text(userdata[at + 2 : at + 2 + size])
        at += 2 + size
    return ""


def _object(
    family: str, table: str, layout: SetLayout, key: tuple[str, ...], data: tuple[str, ...], comment: str
) -> Mapping[str, Any]:
    """What a listing would have (reconciler.kernel.ruleset)."""
    body = {
        "family": family,
        "name": layout.name,
        "table": table,
        "type": list(layout.type),
        "elem": [(key, data, comment)],
    }
    return {"map": {**body, "map": list(layout.data)}} if layout.data else {"set": body}


# --- keys ------------------------------------------------------------------------------------------------------------

_SIZES = {"ipv4_addr": 4, "ipv6_addr": 16, "inet_proto": 1, "inet_service": 2, "ifname": 16, "ether_addr": 6}


def packed(types: tuple[str, ...], parts: tuple[str, ...]) -> bytes:
    """The value of these types as the kernel holds it: in network order, each part of several filled up to a register of 4 bytes."""
    values = [_packed(type, part) for type, part in zip(types, parts, strict=True)]
    return values[0] if len(values) == 1 else b"".join(value + bytes(-len(value) % 4) for value in values)


def _packed(type: str, part: str) -> bytes:
    match type:
        case "ipv4_addr" | "ipv6_addr":
            return ip_address(part).packed
        case "inet_proto":
            return bytes((_PROTOCOLS[part] if part in _PROTOCOLS else int(part),))
        case "inet_service":
            return int(part).to_bytes(2, "big")
        case "ether_addr":
            return bytes.fromhex(part.replace(":", ""))
        case "ifname":
            return part.encode(errors="surrogateescape").ljust(16, b"\0")
    raise ValueError(f"{type} is no type of ours")


def unpacked(types: tuple[str, ...], value: bytes) -> tuple[str, ...]:
    """The parts of a value of these types."""
    parts, at = [], 0
    for type in types:
        size = _SIZES[type]
        parts.append(_unpacked(type, value[at : at + size]))
        at += size + -size % 4
    return tuple(parts)


def _unpacked(type: str, value: bytes) -> str:
    match type:
        case "ipv4_addr":
            return sockets.inet_ntop(sockets.AF_INET, value)
        case "ipv6_addr":
            return str(ip_address(value))
        case "inet_proto":
            return _PROTOCOL_NAMES.get(value[0], str(value[0]))
        case "ether_addr":
            return value.hex(":")
        case "inet_service":
            return str(int.from_bytes(value, "big"))
    return wire.text(value)
