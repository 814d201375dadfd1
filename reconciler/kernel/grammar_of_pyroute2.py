"""All of rtnetlink's grammar, read out of pyroute2's message classes.

Its own encode() gives the same bytes as reconciler.kernel.encode at some ten times the price: it makes an object per attribute.
"""

from __future__ import annotations

import functools
from typing import Any

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from reconciler.kernel.grammar import Attribute, Grammar, Nested

_PYROUTE2_NAMES = {"ifi_type": "type"}


@functools.cache
def grammar(message_class: Any) -> Grammar:
    """What one of pyroute2's message or attribute classes says."""
    fields = [(name, form) for name, form in getattr(message_class, "fields", ()) if name != "value"]
    attributes = {}
    for number, entry in enumerate(getattr(message_class, "nla_map", ())):
        numbered: tuple[Any, ...] = tuple(entry) if isinstance(entry[0], int) else (number, *entry)
        code, name, form = numbered[:3]
        attributes[name] = Attribute(code, _nested(message_class, form) or form)
    return Grammar(
        "=" + "".join(form for _, form in fields),
        tuple(_PYROUTE2_NAMES.get(name, name) for name, form in fields if form != "x"),
        attributes,
    )


def _nested(message_class: Any, form: str) -> Nested | None:
    """The grammar nested in an attribute of this form, by kind; None if it holds a plain value."""
    if form == "info_data":
        return lambda kind: _of(message_class.data_map.get(kind))
    if form == "info_slave_data":
        ports = {"bridge": message_class.bridge_slave_data, "bond": message_class.bond_slave_data}
        return lambda kind: _of(ports.get(kind))
    if form == "info_peer":  # linux/veth.h: a whole ifinfomsg
        return lambda kind: grammar(ifinfmsg)
    if form == "protinfo":
        return lambda kind: grammar(message_class.ifinfo.bridge_slave_data)
    found: Any = getattr(message_class, form.strip("*"), None)
    if getattr(found, "nla_map", ()):
        return lambda kind: grammar(found)
    return None


def _of(message_class: Any) -> Grammar | None:
    return None if message_class is None else grammar(message_class)


GRAMMARS = {"LINK": grammar(ifinfmsg), "ADDR": grammar(ifaddrmsg), "ROUTE": grammar(rtmsg)}
"""By what a message's type says it is about."""
