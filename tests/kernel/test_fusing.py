"""Requests that one message says together: what comes of them is what comes of them one by one, and so is what is refused."""

from __future__ import annotations

import errno
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.messages import HOST, Attributes, CreateNamespace, Index, Netlink
from reconciler.core.plan import schedule
from reconciler.core.planner import plan
from reconciler.core.resource import State
from reconciler.kernel import fusing
from reconciler.kernel.live import LiveKernel
from reconciler.kinds import Bridge, BridgePort, Netns, Veth
from tests.kernel.requests import address, bridge, change, delete, do, look, port, veth

RED, BLUE = "v-red", "v-blue"


def about(name: str) -> list[Netlink]:
    """Whatever may be asked of a link."""
    mark = Attributes.of(IFLA_IFNAME=name, IFLA_IFALIAS="reconciler:default")
    return [
        veth(name, "eth0", "web"),
        Netlink(HOST, "RTM_SETLINK", (), (), mark),
        change(name, IFLA_MTU=1400),
        change(name, up=True),
        change(name, IFLA_MASTER=Index("br0")),
        port(name, hairpin=True, isolated=False),
        address(name, "10.0.0.1/24"),
        delete(name),
    ]


@given(st.lists(st.sampled_from([bridge("br0"), *about(RED), *about(BLUE)]), max_size=12))
def test_groups_are_the_requests_in_order_and_every_message_stands_for_some(requests: list[Netlink]) -> None:
    groups = list(fusing.groups(requests))
    assert list(chain.from_iterable(of for of, _ in groups)) == requests
    for of, messages in groups:
        assert sorted(chain.from_iterable(parts for _, parts in messages)) == list(range(len(of)))
        said = [set(message.attributes.items) for message, _ in messages]
        assert set().union(*said) == set(chain.from_iterable(request.attributes.items for request in of))


def born(*, master: str = "br0", hairpin: bool = True) -> list[Netlink]:
    """A container's link, as a plan asks for it."""
    mark = Attributes.of(IFLA_IFNAME=RED, IFLA_IFALIAS="reconciler:default")
    return [
        veth(RED, "eth0", "web"),
        Netlink(HOST, "RTM_SETLINK", (), (), mark),
        change(RED, IFLA_MASTER=Index(master)),
        *([port(RED, hairpin=True, isolated=False)] if hairpin else []),
    ]


def test_a_port_is_made_by_two_messages(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("web", "reconciler:default"), bridge("br0"))
    before = kernel.written
    do(kernel, *born())
    assert kernel.written - before == 2


@pytest.mark.parametrize("hairpin", [False, True])
def test_what_is_said_together_is_what_is_said_one_by_one(kernel: LiveKernel, hairpin: bool) -> None:
    do(kernel, CreateNamespace("web", "reconciler:default"), bridge("br0"))
    seen = []
    for at_once in (4, 1):
        requests = born(hairpin=hairpin)
        for start in range(0, len(requests), at_once):
            do(kernel, *requests[start : start + at_once])
        (link,) = (item for item in look(kernel).namespaces[HOST].links if item.name == RED)
        seen.append(link._replace(mac=None))
        do(kernel, delete(RED))
    assert seen[0] == seen[1]
    assert (seen[0].alias, seen[0].master) == ("reconciler:default", "br0")
    assert seen[0].port is not None
    assert seen[0].port.hairpin is hairpin


def test_of_what_is_refused_together_the_one_is_named_and_what_is_before_it_stays(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("web", "reconciler:default"), veth("other", "far"))
    outcome = kernel.submit(born(master="other"))  # no bridge: nothing can be its port
    (failure,) = outcome.failures
    assert failure.position == 2
    assert failure.errno in (errno.EOPNOTSUPP, errno.EINVAL)
    assert {0, 1} <= outcome.done
    (link,) = (item for item in look(kernel).namespaces[HOST].links if item.name == RED)
    assert (link.alias, link.master) == ("reconciler:default", None)


def test_a_bridge_that_is_not_there_is_missed_by_the_port(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("web", "reconciler:default"))
    outcome = kernel.submit([*born(), bridge("later")])
    (failure,) = outcome.failures
    assert (failure.position, failure.errno) == (2, errno.ENODEV)
    assert outcome.done == {0, 1}


def test_a_name_that_is_taken_is_told_of_the_link(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("web", "reconciler:default"), bridge("br0"), veth(RED, "far"))
    (failure,) = kernel.submit(born()).failures
    assert (failure.position, failure.errno) == (0, errno.EEXIST)


def test_a_plan_asks_for_each_port_right_behind_its_link_and_puts_links_up_at_the_end() -> None:
    namespaces = [Netns(owner="default", name=name) for name in ("a", "b")]
    veths = [Veth(owner="default", name=f"v-{item.name}", peer=(item.name, "eth0")) for item in namespaces]
    ports = [BridgePort(owner="default", link=item.name, bridge="br0", hairpin=True) for item in veths]
    wanted = State.of([Bridge(owner="default", name="br0"), *namespaces, *veths, *ports])
    requests = schedule(plan(wanted, State.of([]), "default").steps).requests
    said = [request for request in requests if isinstance(request, Netlink) and not request.late]
    assert [len(messages) for of, messages in fusing.groups(said) if len(of) > 3] == [2, 2]
    assert [request.late for request in requests if isinstance(request, Netlink)] == [False] * len(said) + [True, True]
