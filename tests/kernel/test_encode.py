"""Our bytes are pyroute2's bytes."""

from __future__ import annotations

from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from reconciler.core.messages import Attributes, Index, NamespaceFd, Netlink
from reconciler.kernel.encode import encode
from tests.kernel import requests

NUMBERS = {Index("br0"): 7, Index("eth0"): 8, NamespaceFd("web"): 9}
CLASSES = {"LINK": ifinfmsg, "ADDR": ifaddrmsg, "ROUTE": rtmsg}


def plain(value: Any) -> Any:
    if isinstance(value, Attributes):
        return {"attrs": [(name, plain(item)) for name, item in value.items]}
    return NUMBERS[value] if isinstance(value, Index | NamespaceFd) else value


def by_pyroute2(request: Netlink) -> bytes:
    message = next(cls for suffix, cls in CLASSES.items() if request.type.endswith(suffix))()
    for name, value in request.header:
        message[name] = plain(value)
    message["attrs"] = plain(request.attributes)["attrs"]
    message.encode()
    return bytes(message.data[16:])


REQUESTS = {
    "bridge": requests.bridge("br1", stp=1, mac="02:00:00:00:00:01"),
    "veth": requests.veth("v0", "eth0", "web", master="br0", mtu=1400, mac="02:00:00:00:00:02"),
    "veth at home": requests.veth("v0", "v1"),
    "rename": requests.change("eth0", IFLA_IFNAME="eth1", up=True, IFLA_IFALIAS="käse"),
    "IPv4 address": requests.address("eth0", "10.0.0.1/24"),
    "IPv6 address": requests.address("eth0", "fd00::1/64"),
    "no address": requests.address("eth0", "fd00::1/64", type="RTM_DELADDR"),
    "IPv4 route": requests.route("192.0.2.0/24", "eth0", "10.0.0.254", metric=9),
    "IPv6 route": requests.route("::/0", "eth0", "fd00::fe"),
    "no route": requests.route("192.0.2.0/24", "eth0", type="RTM_DELROUTE"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_bytes_are_those_of_pyroute2(name: str) -> None:
    assert encode(REQUESTS[name], NUMBERS.__getitem__).body == by_pyroute2(REQUESTS[name])


def test_a_link_is_named_where_its_index_is_not_needed() -> None:
    """So that one made in the same datagram can be meant."""

    def never(value: object) -> int:
        raise AssertionError(value)

    data = Attributes.of(IFLA_BRPORT_MODE=1, IFLA_BRPORT_ISOLATED=0)
    info = Attributes.of(IFLA_INFO_SLAVE_KIND="bridge", IFLA_INFO_SLAVE_DATA=data)
    written = requests.port("v0", hairpin=True, isolated=False)
    named = Netlink("", "RTM_NEWLINK", (), (), Attributes.of(IFLA_IFNAME="v0", IFLA_LINKINFO=info))
    assert encode(written, never).body == by_pyroute2(named)


@pytest.mark.parametrize(
    "request_",
    [
        Netlink("", "RTM_NEWRULE"),
        Netlink("", "RTM_NEWLINK", ("often",)),
        Netlink("", "RTM_NEWLINK", (), (("nonsense", 1),)),
        Netlink("", "RTM_NEWLINK", (), (), Attributes.of(IFLA_NONSENSE=1)),
        Netlink("", "RTM_NEWLINK", (), (), Attributes.of(IFLA_MTU=Attributes.of(IFLA_MTU=1))),
        Netlink("", "RTM_NEWLINK", (), (), Attributes.of(IFLA_LINKINFO=7)),
    ],
)
def test_what_cannot_be_encoded_is_an_error_and_no_guess(request_: Netlink) -> None:
    with pytest.raises((KeyError, TypeError)):
        encode(request_, NUMBERS.__getitem__)
