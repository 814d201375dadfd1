"""Netlink requests as bytes, by the grammar of reconciler.kernel.grammar and, for what is not in there, of pyroute2."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any, TypeAlias

from reconciler.core.messages import Attributes, Index, NamespaceFd, Netlink, Value
from reconciler.kernel import wire
from reconciler.kernel.grammar import GRAMMARS, Grammar, Nested
from reconciler.kernel.netlink import Message

Resolve: TypeAlias = Callable[[Index | NamespaceFd], int]
"""Gives the number behind a name."""

Pack: TypeAlias = Callable[[Any], bytes]

_NAMES = (Index, NamespaceFd)
_TYPES = {
    "RTM_NEWLINK": 16,
    "RTM_DELLINK": 17,
    "RTM_SETLINK": 19,
    "RTM_NEWADDR": 20,
    "RTM_DELADDR": 21,
    "RTM_NEWROUTE": 24,
    "RTM_DELROUTE": 25,
}


def _text(value: str | bytes) -> bytes:
    return (value.encode(errors="surrogateescape") if isinstance(value, str) else value) + b"\0"


def _hardware_address(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _ip_address(value: str) -> bytes:
    return ip_address(value).packed


_ATOMS: dict[str, Pack] = {
    "uint8": struct.Struct("=B").pack,
    "uint16": struct.Struct("=H").pack,
    "uint32": struct.Struct("=I").pack,
    "uint64": struct.Struct("=Q").pack,
    "int32": struct.Struct("=i").pack,
    "be16": struct.Struct(">H").pack,
    "be32": struct.Struct(">I").pack,
    "netns_fd": struct.Struct("=I").pack,
    "flag": lambda value: b"",
    "asciiz": _text,
    "l2addr": _hardware_address,
    "ipaddr": _ip_address,
    "ip4addr": _ip_address,
    "ip6addr": _ip_address,
    "target": _ip_address,
}


def encode(request: Netlink, resolve: Resolve) -> Message:
    """The message for `request`.

    KeyError or TypeError: the request is none that can be encoded, which is our mistake.
    """
    kind = _TYPES[request.type]
    flags = 0
    for flag in request.flags:
        flags |= wire.MODIFIERS[flag]
    about = request.type[len("RTM_NEW") :]
    fields, attributes = _by_name(request) if about == "LINK" else (request.header, request.attributes)
    header = {name: resolve(value) if isinstance(value, _NAMES) else value for name, value in fields}
    try:
        body = _body(GRAMMARS[about], header, attributes, resolve)
    except _Unknown:
        body = _body(_all_of_rtnetlink()[about], header, attributes, resolve)
    return Message(kind, flags, body)


class _Unknown(KeyError):
    """The grammar at hand has no such attribute."""


def _all_of_rtnetlink() -> Mapping[str, Grammar]:
    from reconciler.kernel import grammar_of_pyroute2

    return grammar_of_pyroute2.GRAMMARS


def _by_name(request: Netlink) -> tuple[tuple[tuple[str, Value], ...], Attributes]:
    """Leave it to the kernel to find the link that a message goes to (rtnetlink.c, rtnl_dev_get).

    Without an index IFLA_IFNAME says which one is meant; with one it is the new name. So a link can be made
    and set up in one datagram.
    """
    index = dict(request.header).get("index")
    if not isinstance(index, Index) or any(name == "IFLA_IFNAME" for name, _ in request.attributes.items):
        return request.header, request.attributes
    header = tuple((name, value) for name, value in request.header if name != "index")
    return header, Attributes((("IFLA_IFNAME", index.name), *request.attributes.items))


def _body(grammar: Grammar, fields: Mapping[str, Any], attributes: Attributes, resolve: Resolve) -> bytes:
    pieces = [_header(grammar.header, grammar.fields, fields)]
    for name, value in attributes.items:
        found = grammar.attributes.get(name)
        if found is None:
            raise _Unknown(name)
        number, form = found
        if isinstance(value, Attributes):
            payload = _nested(name, form, value, attributes, resolve)
        else:
            payload = _plain(name, form, resolve(value) if isinstance(value, _NAMES) else value)
        pieces.append(wire.attribute(number, payload))
    return b"".join(pieces)


def _header(layout: str, names: tuple[str, ...], fields: Mapping[str, Any]) -> bytes:
    values = [0] * len(names)
    for name, value in fields.items():
        try:
            values[names.index(name)] = value
        except ValueError:
            raise KeyError(name) from None
    return struct.pack(layout, *values)


def _nested(name: str, form: str | Nested, value: Attributes, among: Attributes, resolve: Resolve) -> bytes:
    if isinstance(form, str):
        raise TypeError(f"{name} holds no attributes")
    inner = form(_kind(among))
    if inner is None:
        raise _Unknown(name)
    return _body(inner, {}, value, resolve)


def _kind(among: Attributes) -> str:
    """What the attributes nested beside depend on."""
    found = dict(among.items)
    return str(found.get("IFLA_INFO_SLAVE_KIND", found.get("IFLA_INFO_KIND", "")))


def _plain(name: str, form: str | Nested, value: Any) -> bytes:
    pack = _ATOMS.get(form) if isinstance(form, str) else None
    if isinstance(value, bytes) and pack is not _text:
        return value
    if pack is None:
        raise TypeError(f"{name} cannot be given as {value!r}")
    return pack(value)


def link_names(attributes: Attributes) -> Iterable[str]:
    """All values of IFLA_IFNAME in a message, that of a veth's peer too: names that it makes or changes."""
    for name, value in attributes.items:
        if isinstance(value, Attributes):
            yield from link_names(value)
        elif name == "IFLA_IFNAME" and isinstance(value, str):
            yield value
