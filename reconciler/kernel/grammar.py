"""How the requests that our kinds make are laid out: numbers and types of attributes, and the fixed part before them.

The source is linux/if_link.h, if_addr.h, rtnetlink.h and veth.h. pyroute2 knows all of rtnetlink and is what this is
held to (tests/kernel/test_encode.py), and what is asked for anything that does not stand here; but its import takes
0.15 s, half of a small run, so what every run says stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

Nested: TypeAlias = "Callable[[str], Grammar | None]"


class Grammar(NamedTuple):
    """A message, or the inside of an attribute."""

    header: str = "="
    """The fixed part, as struct spells it; its fields are named in `fields`."""
    fields: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = {}


class Attribute(NamedTuple):
    """One attribute: its number, and the type of its value (pyroute2's words) or the attributes nested in it.

    Those may depend on the kind that IFLA_INFO_KIND or IFLA_INFO_SLAVE_KIND beside it says ("" if neither is there).
    """

    number: int
    form: str | Nested


_BRIDGE = Grammar(attributes={"IFLA_BR_STP_STATE": Attribute(5, "uint32")})
_BRIDGE_PORT = Grammar(
    attributes={"IFLA_BRPORT_MODE": Attribute(4, "uint8"), "IFLA_BRPORT_ISOLATED": Attribute(33, "uint8")}
)
_IFINFO = ("=BxHiII", ("family", "type", "index", "flags", "change"))
_LINK = {
    "IFLA_ADDRESS": Attribute(1, "l2addr"),
    "IFLA_IFNAME": Attribute(3, "asciiz"),
    "IFLA_MTU": Attribute(4, "uint32"),
    "IFLA_MASTER": Attribute(10, "uint32"),
    "IFLA_IFALIAS": Attribute(20, "asciiz"),
    "IFLA_GROUP": Attribute(27, "uint32"),
    "IFLA_NET_NS_FD": Attribute(28, "netns_fd"),
}
_PEER = Grammar(*_IFINFO, _LINK)
_VETH = Grammar(attributes={"VETH_INFO_PEER": Attribute(1, lambda kind: _PEER)})
_INFO = Grammar(
    attributes={
        "IFLA_INFO_KIND": Attribute(1, "asciiz"),
        "IFLA_INFO_DATA": Attribute(2, {"bridge": _BRIDGE, "veth": _VETH}.get),
        "IFLA_INFO_SLAVE_KIND": Attribute(4, "asciiz"),
        "IFLA_INFO_SLAVE_DATA": Attribute(5, {"bridge": _BRIDGE_PORT}.get),
    }
)

LINK = Grammar(*_IFINFO, {**_LINK, "IFLA_LINKINFO": Attribute(18, lambda kind: _INFO)})
ADDRESS = Grammar(
    "=BBBBI",
    ("family", "prefixlen", "flags", "scope", "index"),
    {
        "IFA_ADDRESS": Attribute(1, "ipaddr"),
        "IFA_LOCAL": Attribute(2, "ipaddr"),
        "IFA_FLAGS": Attribute(8, "uint32"),
        "IFA_PROTO": Attribute(11, "uint8"),
    },
)
ROUTE = Grammar(
    "=BBBBBBBBI",
    ("family", "dst_len", "src_len", "tos", "table", "proto", "scope", "type", "flags"),
    {
        "RTA_DST": Attribute(1, "target"),
        "RTA_OIF": Attribute(4, "uint32"),
        "RTA_GATEWAY": Attribute(5, "target"),
        "RTA_PRIORITY": Attribute(6, "uint32"),
        "RTA_PREFSRC": Attribute(7, "target"),
    },
)

GRAMMARS = {"LINK": LINK, "ADDR": ADDRESS, "ROUTE": ROUTE}
"""By what a message's type says it is about."""
