"""Netlink requests as bytes.

Names, numbers and types of attributes are pyroute2's: its message classes are read as a schema, once per
class, and the bytes are packed here. Its own encode() gives the same bytes (tests/kernel/test_encode.py) at
some ten times the price: it makes an object per attribute. Importing pyroute2 takes 0.15 s, so this module
is imported when something is to be written and not before.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, TypeAlias

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from reconciler.core.messages import Attributes, Index, NamespaceFd, Netlink, Value
from reconciler.kernel import wire
from reconciler.kernel.netlink import Message

Resolve: TypeAlias = Callable[[Index | NamespaceFd], int]
"""Gives the number behind a name."""

Pack: TypeAlias = Callable[[Any], bytes]

_NAMES = (Index, NamespaceFd)
_TYPES = {
    "RTM_NEWLINK": (16, ifinfmsg),
    "RTM_DELLINK": (17, ifinfmsg),
    "RTM_SETLINK": (19, ifinfmsg),
    "RTM_NEWADDR": (20, ifaddrmsg),
    "RTM_DELADDR": (21, ifaddrmsg),
    "RTM_NEWROUTE": (24, rtmsg),
    "RTM_DELROUTE": (25, rtmsg),
}
_PYROUTE2_NAMES = {"ifi_type": "type"}


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
    kind, message_class = _TYPES[request.type]
    flags = wire.NLM_F_ACK
    for flag in request.flags:
        flags |= wire.MODIFIERS[flag]
    fields, attributes = request.header, request.attributes
    if message_class is ifinfmsg:
        fields, attributes = _by_name(request)
    header = {name: resolve(value) if isinstance(value, _NAMES) else value for name, value in fields}
    body = _header(message_class, header) + _attributes(message_class, attributes, resolve)
    return Message(kind, flags, body)


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


def _attributes(message_class: Any, attributes: Attributes, resolve: Resolve) -> bytes:
    schema = _schema(message_class)
    return b"".join([_attribute(*schema[name], name, value, resolve, attributes) for name, value in attributes.items])


def _attribute(
    number: int, pack: Pack | None, nested: Any, name: str, value: Value, resolve: Resolve, among: Attributes
) -> bytes:
    if isinstance(value, Attributes):
        inner = nested(among) if nested else None
        if inner is None:
            raise TypeError(f"{name} holds no attributes")
        return wire.attribute(number, _header(inner, {}) + _attributes(inner, value, resolve))
    if isinstance(value, Index | NamespaceFd):
        value = resolve(value)
    if isinstance(value, bytes) and (pack is None or pack is not _text):
        return wire.attribute(number, value)
    if pack is None:
        raise TypeError(f"{name} cannot be given as {value!r}")
    return wire.attribute(number, pack(value))


@functools.cache
def _layout(message_class: Any) -> tuple[struct.Struct, dict[str, int]]:
    """The fixed part of a message: its struct, and the position of each field in it."""
    fields = [(name, form) for name, form in message_class.fields if name != "value"]
    names = [_PYROUTE2_NAMES.get(name, name) for name, form in fields if form != "x"]
    layout = struct.Struct("=" + "".join(form for _, form in fields))
    return layout, {name: place for place, name in enumerate(names)}


def _header(message_class: Any, fields: dict[str, Any]) -> bytes:
    layout, places = _layout(message_class)
    values = [0] * len(places)
    for name, value in fields.items():
        values[places[name]] = value
    return layout.pack(*values)


@functools.cache
def _schema(message_class: Any) -> dict[str, tuple[int, Pack | None, Callable[[Attributes], Any] | None]]:
    """name → (number, how to pack a plain value, which class describes a nested one)."""
    schema = {}
    for number, entry in enumerate(message_class.nla_map):
        numbered: tuple[Any, ...] = tuple(entry) if isinstance(entry[0], int) else (number, *entry)
        code, name, form = numbered[:3]
        schema[name] = (code, _ATOMS.get(form), None if form in _ATOMS else _nested(message_class, form))
    return schema


def _nested(message_class: Any, form: str) -> Callable[[Attributes], Any] | None:
    if form == "info_data":
        return lambda among: message_class.data_map.get(_first(among, "IFLA_INFO_KIND"))
    if form == "info_slave_data":
        return lambda among: _slave_class(message_class, among)
    if form == "info_peer":  # linux/veth.h: a whole ifinfomsg
        return lambda among: ifinfmsg
    if form == "protinfo":
        return lambda among: message_class.ifinfo.bridge_slave_data
    found = getattr(message_class, form.strip("*"), None)
    return (lambda among: found) if isinstance(found, type) else None


def _slave_class(message_class: Any, among: Attributes) -> Any:
    kind = _first(among, "IFLA_INFO_SLAVE_KIND", "IFLA_INFO_KIND")
    return {"bridge": message_class.bridge_slave_data, "bond": message_class.bond_slave_data}.get(str(kind))


def _first(among: Attributes, *names: str) -> Value | None:
    found = dict(among.items)
    return next((found[name] for name in names if name in found), None)


def link_names(attributes: Attributes) -> Iterable[str]:
    """All values of IFLA_IFNAME in a message, that of a veth's peer too: names that it makes or changes."""
    for name, value in attributes.items:
        if isinstance(value, Attributes):
            yield from link_names(value)
        elif name == "IFLA_IFNAME" and isinstance(value, str):
            yield value
