"""Our bytes are pyroute2's bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from reconciler.core.messages import Attributes, Index, NamespaceFd, Netlink
from reconciler.kernel import grammar_of_pyroute2
from reconciler.kernel.encode import encode
from reconciler.kernel.grammar import GRAMMARS, Grammar
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


def same(ours: Grammar, theirs: Grammar, place: str) -> Iterator[str]:
    """What was compared, by name. A veth's peer is a link in a link: nothing here is endless."""
    assert (ours.header, ours.fields) == (theirs.header, theirs.fields), place
    for name, (number, form) in ours.attributes.items():
        expected = theirs.attributes[name]
        assert number == expected.number, name
        yield f"{place}.{name}"
        if isinstance(form, str):
            assert form == expected.form, name
            continue
        assert not isinstance(expected.form, str)
        for kind in ("", "bridge", "veth"):
            inner, reference = form(kind), expected.form(kind)
            if inner is not None:
                assert reference is not None
                yield from same(inner, reference, f"{place}.{name}")


@pytest.mark.parametrize("about", GRAMMARS)
def test_the_grammar_written_down_is_that_of_pyroute2(about: str) -> None:
    compared = set(same(GRAMMARS[about], grammar_of_pyroute2.GRAMMARS[about], about))
    assert len(compared) >= 4, compared


def test_what_is_not_written_down_is_asked_of_pyroute2() -> None:
    request = Netlink("", "RTM_NEWLINK", (), (), Attributes.of(IFLA_IFNAME="v0", IFLA_TXQLEN=7))
    assert encode(request, NUMBERS.__getitem__).body == by_pyroute2(request)
