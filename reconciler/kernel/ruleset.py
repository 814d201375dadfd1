"""What nftables tables consist of, read from the kernel itself (linux/netfilter/nf_tables.h).

libnftables lists ten thousand elements in 0.2 s, as JSON that then has to be read; to read them here takes a tenth of that. What comes out
is in the shape of libnftables-json(5), as far as anybody here looks at it: rules are their comments, and elements stand in
short, as (match, data, comment), each a tuple of strings in canonical spelling.

A look is repeated until no transaction came between its dumps, which the generation id tells.

Weak spot: types are told by libnftables' numbers (enum datatypes in its datatype.h), which the kernel only keeps for it. One that is not
in `_TYPES` is called `typeN` and its values are told in hexadecimal; our own tables have none.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from ipaddress import IPv6Address
from typing import Any, NamedTuple, TypeAlias, TypeVar

from reconciler.core.messages import ForwardChain
from reconciler.errors import PlatformError, RefusedError
from reconciler.kernel import wire
from reconciler.kernel.meter import Meter
from reconciler.kernel.netlink import Chunk, Family, NetlinkError, Socket
from reconciler.kinds.marks import owner_of_table

_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_GETTABLE, _GETCHAIN, _GETRULE, _GETSET, _GETSETELEM, _GETGEN = (_SUBSYSTEM | kind for kind in (1, 4, 7, 10, 13, 16))
_QUESTIONS = {
    _GETTABLE: "GETTABLE",
    _GETCHAIN: "GETCHAIN",
    _GETRULE: "GETRULE",
    _GETSET: "GETSET",
    _GETSETELEM: "GETSETELEM",
    _GETGEN: "GETGEN",
}
NFTABLES = Family(
    wire.NETLINK_NETFILTER,
    lambda kind: f"NFT_MSG_{_QUESTIONS.get(kind, kind & 0xFF)}",
    lambda kind: kind not in _QUESTIONS,
)
_NFGENMSG = struct.Struct(">BBH")  # family, version, resource
_TRIES = 12

_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_NUMBERS = {name: number for number, name in _FAMILIES.items()}
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_HOOKS_BY_FAMILY = {"arp": ("input", "output", "forward"), "netdev": ("ingress", "egress")}

_GENERATION_ID = 1
_TABLE_NAME = 1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 4, 7
_EXPRESSION_NAME, _EXPRESSION_DATA, _IMMEDIATE_DATA = 1, 2, 2
_SAYING_NOTHING = frozenset({"counter", "log"})
"""Expressions that decide nothing."""
_SET_TABLE, _SET_NAME, _SET_FLAGS, _SET_KEY_TYPE, _SET_DATA_TYPE = 1, 2, 3, 4, 6
_ELEMENTS = 3
_ELEMENT_KEY, _ELEMENT_DATA, _ELEMENT_FLAGS, _ELEMENT_USERDATA, _ELEMENT_KEY_END = 1, 2, 3, 6, 10
_DATA_VALUE, _DATA_VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_COMMENT = 0  # NFTNL_UDATA_RULE_COMMENT, NFTNL_UDATA_SET_ELEM_COMMENT

_ANONYMOUS, _INTERVAL, _MAP, _TIMEOUT, _CONCATENATION = 0x1, 0x4, 0x8, 0x10, 0x80
_FLAGS = {0x2: "constant", _INTERVAL: "interval", _TIMEOUT: "timeout", 0x20: "dynamic"}
_INTERVAL_END = 0x1
_VERDICT = 0xFFFFFF00
_VERDICTS = {0: "drop", 1: "accept", -1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return"}
_TYPE_BITS = 6

_T = TypeVar("_T")
_Element: TypeAlias = tuple[tuple[str, ...], tuple[str, ...], str]
"""(match, data, comment)."""


class _Type(NamedTuple):
    """A type of values: its name, its size in bytes (0: all there is), and how a value is spelled."""

    name: str
    size: int
    spell: Callable[[bytes], str]


# Containers have a thousand ports, and a thousand containers one port, so what elements are made of comes again and again.
@functools.lru_cache(maxsize=1 << 14)
def _ipv4(value: bytes) -> str:
    return ".".join(map(str, value))


_PROTOCOLS = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    33: "dccp",
    50: "esp",
    51: "ah",
    58: "ipv6-icmp",
    132: "sctp",
    136: "udplite",
}

_TYPES = {
    7: _Type("ipv4_addr", 4, _ipv4),
    8: _Type("ipv6_addr", 16, lambda value: str(IPv6Address(value))),
    9: _Type("ether_addr", 6, lambda value: value.hex(":")),
    12: _Type("inet_proto", 1, lambda value: _PROTOCOLS.get(value[0], str(value[0]))),
    13: _Type("inet_service", 2, lambda value: str(int.from_bytes(value, "big"))),
    41: _Type("ifname", 16, wire.text),
}


class _Layout(NamedTuple):
    """How the elements of a set are laid out, and what they are called."""

    key: tuple[int, ...]
    data: tuple[int, ...]


def generation(meter: Meter) -> int:
    """The number of the ruleset's state: every transaction of anybody, on any table, makes it another one.

    Raises PlatformError.
    """
    with _Opened(meter) as socket:
        return _generation(socket)


def tables(meter: Meter, names: Iterable[str]) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """The objects of those of the tables `names` (as `inet filter`) that there are.

    Raises PlatformError when not allowed to look, RefusedError when it changes too often to be seen.
    """
    wanted = tuple(names)
    with _Opened(meter) as socket:
        return _unchanged(
            socket, lambda: {name: found for name in wanted if (found := _table(socket, name)) is not None}
        )


def forward_chains(meter: Meter) -> tuple[ForwardChain, ...]:
    """The base chains of the forward hook, of all tables. Of those that are not ours the last rule is looked at.

    Raises as `tables`.
    """
    with _Opened(meter) as socket:
        return _unchanged(socket, lambda: tuple(_forward_chains(socket)))


class _Opened:
    """A socket, whose refusals are told as such."""

    def __init__(self, meter: Meter) -> None:
        try:
            self._socket = Socket(meter, NFTABLES)
        except OSError as error:
            raise _told(error) from error

    def __enter__(self) -> Socket:
        return self._socket

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._socket.close()
        if isinstance(error, OSError):
            raise _told(error) from error


def _told(error: OSError) -> PlatformError | RefusedError:
    """What is raised for `error`: the kernel's own refusal is the system's fault, anything else may pass."""
    if not isinstance(error, NetlinkError):
        return RefusedError(f"nftables cannot be looked at: {error.strerror or error}")
    if error.errno == errno.EPERM:
        advice = "it needs CAP_NET_ADMIN; run with sudo, or try `reconcile sandbox`"
    else:
        advice = "is the kernel's nf_tables module there?"
    return PlatformError(f"nftables cannot be read ({error.strerror}): {advice}")


def _generation(socket: Socket) -> int:
    data, at, end = socket.ask(_GETGEN, _NFGENMSG.pack(0, 0, 0))
    return int.from_bytes(wire.pick(data, at + 4, end, (_GENERATION_ID,))[_GENERATION_ID], "big")


def _unchanged(socket: Socket, look: Callable[[], _T]) -> _T:
    """What `look` sees while nobody changes anything."""
    before = _generation(socket)
    for _ in range(_TRIES):
        try:
            seen = look()
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
            seen = None  # something went while we looked at it
        after = _generation(socket)
        if seen is not None and after == before:
            return seen
        before = after
    raise RefusedError(
        f"nftables' tables were changed during each of {_TRIES} looks: try again when whoever does that has calmed down"
    )


def _dump(socket: Socket, kind: int, family: int, *attributes: tuple[int, str]) -> list[Chunk]:
    body = b"".join(wire.attribute(number, os.fsencode(text) + b"\0") for number, text in attributes)
    return socket.dump(kind, _NFGENMSG.pack(family, 0, 0) + body)


def _table(socket: Socket, name: str) -> tuple[Mapping[str, Any], ...] | None:
    family, _, table = name.rpartition(" ")
    family = family or "ip"  # as nft takes a name without one
    number = _NUMBERS[family]
    try:
        socket.ask(_GETTABLE, _NFGENMSG.pack(number, 0, 0) + wire.attribute(_TABLE_NAME, os.fsencode(table) + b"\0"))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    sets = (_set(socket, number, chunk) for chunk in _dump(socket, _GETSET, number, (_SET_TABLE, table)))
    all_chains = map(_chain, _dump(socket, _GETCHAIN, number))
    rules = map(_rule, _dump(socket, _GETRULE, number, (_RULE_TABLE, table)))
    return (
        {"table": {"family": family, "name": table}},
        *(item for item in sets if item is not None),
        *({"chain": item} for item in all_chains if item["table"] == table),
        *({"rule": item} for item in rules if item["table"] == table),
    )


def _forward_chains(socket: Socket) -> Iterator[ForwardChain]:
    chains = list(map(_chain, _dump(socket, _GETCHAIN, 0)))
    names = {chain["name"] for chain in chains}
    for chain in chains:
        if chain.get("hook") == "forward":
            family, table, name = (str(chain[part]) for part in ("family", "table", "name"))
            word = _last_word(socket, family, table, name) if owner_of_table(table) is None else ""
            yield ForwardChain(family, table, name, word or str(chain["policy"]), _manager(table, name, names))


def _manager(table: str, name: str, names: Set[str]) -> str:
    """Who made a chain of the forward hook, by the names that only that one gives; `names` are those of all chains."""
    if table == "firewalld":
        return "firewalld"
    if (table, name) != ("filter", "FORWARD"):
        return ""
    return "docker" if "DOCKER-USER" in names else "ufw" if "ufw-user-forward" in names else ""


def _last_word(socket: Socket, family: str, table: str, chain: str) -> str:
    """drop or reject, if the last rule of a base chain does so with whatever comes to it; else ""."""
    rules = _dump(socket, _GETRULE, _NUMBERS[family], (_RULE_TABLE, table), (_RULE_CHAIN, chain))
    last: dict[int, bytes] = {}
    for chunk in rules:
        found = _found(chunk, _RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS)
        if (wire.text(found[_RULE_TABLE]), wire.text(found[_RULE_CHAIN])) == (table, chain):
            last = found
    statements = list(filter(None, map(_statement, _list(last.get(_RULE_EXPRESSIONS, b"")))))
    return statements[0] if statements in (["drop"], ["reject"]) else ""


def _statement(raw: bytes) -> str:
    """What an expression of a rule does, in a word; "" if it decides nothing."""
    found = wire.pick(raw, 0, len(raw), (_EXPRESSION_NAME, _EXPRESSION_DATA))
    name = wire.text(found.get(_EXPRESSION_NAME, b""))
    if name in _SAYING_NOTHING:
        return ""
    data = found.get(_EXPRESSION_DATA, b"")
    inner = wire.pick(data, 0, len(data), (_IMMEDIATE_DATA,)).get(_IMMEDIATE_DATA, b"") if name == "immediate" else b""
    return (_verdict(*_pick_verdict(inner)) or name) if inner else name


def _found(chunk: Chunk, *wanted: int) -> dict[int, bytes]:
    data, at, end = chunk
    return wire.pick(data, at + 4, end, wanted)


def _big(payload: bytes) -> int:
    return int.from_bytes(payload, "big", signed=False)


def _chain(chunk: Chunk) -> Mapping[str, Any]:
    found = _found(chunk, _CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE)
    family = _FAMILIES.get(chunk[0][chunk[1]], "")
    chain: dict[str, Any] = {
        "family": family,
        "table": wire.text(found[_CHAIN_TABLE]),
        "name": wire.text(found[_CHAIN_NAME]),
    }
    if _CHAIN_HOOK in found:
        hook = wire.pick(found[_CHAIN_HOOK], 0, len(found[_CHAIN_HOOK]), (_HOOK_NUMBER, _HOOK_PRIORITY))
        names = _HOOKS_BY_FAMILY.get(family, _HOOKS)
        number = _big(hook[_HOOK_NUMBER])
        chain |= {
            "type": wire.text(found.get(_CHAIN_TYPE, b"")),
            "hook": names[number] if number < len(names) else str(number),
            "prio": int.from_bytes(hook[_HOOK_PRIORITY], "big", signed=True),
            "policy": "drop" if _big(found.get(_CHAIN_POLICY, b"\1")) == 0 else "accept",
        }
    return chain


def _rule(chunk: Chunk) -> Mapping[str, Any]:
    found = _found(chunk, _RULE_TABLE, _RULE_CHAIN, _RULE_USERDATA)
    return {
        "table": wire.text(found[_RULE_TABLE]),
        "chain": wire.text(found[_RULE_CHAIN]),
        "comment": _comment(found.get(_RULE_USERDATA, b"")),
    }


@functools.lru_cache(maxsize=1 << 14)
def _comment(userdata: bytes) -> str:
    """The comment in userdata, which is pieces of type, length (a byte each) and value."""
    at = 0
    while at + 2 <= len(userdata):
        kind, size = userdata[at], userdata[at + 1]
        if kind == _COMMENT:
            return userdata[at + 2 : at + 2 + size].rstrip(b"\0").decode(errors="replace")
        at += 2 + size
    return ""


# --- sets ------------------------------------------------------------------------------------------------------------


def _set(socket: Socket, family: int, chunk: Chunk) -> Mapping[str, Any] | None:
    """A named set or map; None for one that stands inside of a rule."""
    found = _found(chunk, _SET_TABLE, _SET_NAME, _SET_FLAGS, _SET_KEY_TYPE, _SET_DATA_TYPE)
    flags = _big(found.get(_SET_FLAGS, b""))
    if flags & _ANONYMOUS:
        return None
    table, name = wire.text(found[_SET_TABLE]), wire.text(found[_SET_NAME])
    layout = _Layout(_types(_big(found.get(_SET_KEY_TYPE, b""))), _types(_big(found.get(_SET_DATA_TYPE, b""))))
    body: dict[str, Any] = {
        "family": _FAMILIES[family],
        "table": table,
        "name": name,
        "type": [_name(number) for number in layout.key],
        "flags": [flag for bit, flag in _FLAGS.items() if flags & bit],
    }
    if flags & _MAP:
        body["map"] = [_name(number) for number in layout.data]
    if not flags & _TIMEOUT:  # those go by themselves
        raw = _raw_elements(_dump(socket, _GETSETELEM, family, (1, table), (2, name)))
        one_interval = flags & _INTERVAL and not flags & _CONCATENATION and len(layout.key) == 1
        body["elem"] = _intervals(layout, raw) if one_interval else [_element(layout, item) for item in raw]
    return {"map" if flags & _MAP else "set": body}


def _types(number: int) -> tuple[int, ...]:
    """The types that a concatenation consists of, each six bits of its number."""
    if number in (0, _VERDICT):
        return (number,) if number else ()
    numbers: list[int] = []
    while number:
        numbers.insert(0, number & (1 << _TYPE_BITS) - 1)
        number >>= _TYPE_BITS
    return tuple(numbers)


def _name(number: int) -> str:
    return "verdict" if number == _VERDICT else _TYPES[number].name if number in _TYPES else f"type{number}"


def _raw_elements(chunks: list[Chunk]) -> Iterator[bytes]:
    """The attributes of each element."""
    for chunk in chunks:
        yield from _list(_found(chunk, _ELEMENTS).get(_ELEMENTS, b""))


def _list(listed: bytes) -> Iterator[bytes]:
    """The items of a list (NFTA_LIST_ELEM)."""
    unpack = wire.ATTRIBUTE.unpack_from
    at, end = 0, len(listed)
    while at + 4 <= end:
        size = unpack(listed, at)[0]
        yield listed[at + 4 : at + size]
        at += (size + 3) & ~3 or 4


# The same bytes are the same element: a second look, of ten thousand of which one has changed, takes next to nothing.
@functools.lru_cache(maxsize=1 << 16)
def _element(layout: _Layout, raw: bytes) -> _Element:
    """(match, data, comment) of an element, of an interval of concatenations field by field."""
    key, key_end, data, code, chain, userdata = _pick_element(raw)
    match = _fields(layout.key, key)
    if key_end:
        ends = _fields(layout.key, key_end)
        match = tuple(first if first == last else f"{first}-{last}" for first, last in zip(match, ends, strict=True))
    if layout.data == (_VERDICT,):
        return match, (_verdict(code, chain),), _comment(userdata)
    return match, _fields(layout.data, data) if data else (), _comment(userdata)


def forget() -> None:
    """Empties the caches of elements and of what they are made of."""
    for cache in (_element, _ipv4, _comment):
        cache.cache_clear()


_pick_element = wire.Picker(
    0,
    (_ELEMENT_KEY, _DATA_VALUE),
    (_ELEMENT_KEY_END, _DATA_VALUE),
    (_ELEMENT_DATA, _DATA_VALUE),
    (_ELEMENT_DATA, _DATA_VERDICT, _VERDICT_CODE),
    (_ELEMENT_DATA, _DATA_VERDICT, _VERDICT_CHAIN),
    (_ELEMENT_USERDATA,),
)
_pick_end = wire.Picker(0, (_ELEMENT_KEY, _DATA_VALUE), (_ELEMENT_FLAGS,))
_pick_verdict = wire.Picker(0, (_DATA_VERDICT, _VERDICT_CODE), (_DATA_VERDICT, _VERDICT_CHAIN))


def _verdict(code: bytes, chain: bytes) -> str:
    """`accept`, `goto x`; "" if it is none."""
    if not code:
        return ""
    number = int.from_bytes(code, "big", signed=True)
    word = _VERDICTS.get(number, str(number))
    return f"{word} {wire.text(chain)}" if chain else word


def _fields(types: tuple[int, ...], value: bytes) -> tuple[str, ...]:
    """The values in a concatenation: each begins at a multiple of four bytes."""
    result: list[str] = []
    at = 0
    for number in types:
        kind = _TYPES.get(number)
        if kind is None:  # its size is not known, nor where the next begins
            return (*result, value[at:].hex())
        result.append(kind.spell(value[at : at + kind.size]))
        at += (kind.size + 3) & ~3
    return tuple(result)


def _intervals(layout: _Layout, raw: Iterator[bytes]) -> list[_Element]:
    """Elements of a set of intervals, of which the kernel keeps both ends apart: where one begins, and behind its last value."""
    ends: list[tuple[int, bool, bytes]] = []
    size = 0
    for item in raw:
        key, flags = _pick_end(item)
        size = len(key)
        closes = bool(_big(flags) & _INTERVAL_END)
        ends.append((_big(key), not closes, item))
    result: list[_Element] = []
    start: tuple[int, bytes] | None = None
    for value, opens, item in [*sorted(ends, key=lambda end: end[:2]), (1 << 8 * size, False, b"")]:
        if start is not None:
            _, data, comment = _element(layout, start[1])
            result.append(((_interval(layout.key[0], start[0], value - 1, size),), data, comment))
        start = (value, item) if opens else None
    return result


def _interval(kind: int, first: int, last: int, size: int) -> str:
    """An interval as nft has it: one value, a network, or a range."""
    low, high = (_fields((kind,), value.to_bytes(size, "big"))[0] for value in (first, last))
    if first == last:
        return low
    length = (last - first).bit_length()
    is_network = last - first == (1 << length) - 1 and first >> length << length == first
    if is_network and _name(kind) in ("ipv4_addr", "ipv6_addr"):
        return f"{low}/{8 * size - length}"
    return f"{low}-{high}"
