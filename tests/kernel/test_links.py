"""Links, addresses and routes: what is written is what is read back, from a real kernel."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Sequence
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from reconciler.core.messages import (
    PROTOCOL,
    CreateNamespace,
    CreateTap,
    LinkRecord,
    Netlink,
    PortRecord,
    RouteRecord,
    Scope,
    Snapshot,
    WriteSysctl,
)
from reconciler.kernel import wire
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.netlink import BATCH, Answer, Message, Socket
from reconciler.kinds.links import dress_new_link
from tests.kernel.requests import MARK, address, bridge, change, delete, do, look, port, route, veth
from tests.support.tun import needs_tun

RTM_SETLINK = 19


def link(snapshot: Snapshot, name: str, namespace: str = "") -> LinkRecord:
    return next(item for item in snapshot.namespaces[namespace].links if item.name == name)


def test_a_bridge_reads_back_as_it_was_made(kernel: LiveKernel) -> None:
    do(
        kernel,
        bridge("br0", stp=1, mac="02:00:00:00:00:01"),
        change("br0", up=True, IFLA_IFALIAS=MARK, IFLA_MTU=1400),
    )
    expected = LinkRecord("br0", "bridge", "02:00:00:00:00:01", 1400, True, alias=MARK, stp=True)
    assert link(look(kernel), "br0") == expected


def test_a_veth_is_born_with_its_far_end_inside(kernel: LiveKernel) -> None:
    do(
        kernel,
        CreateNamespace("web", MARK),
        bridge("br0"),
        veth("v0", "eth0", "web", master="br0", mtu=1300, mac="02:00:00:00:00:07"),
        port("v0", hairpin=True, isolated=True),
    )
    snapshot = look(kernel)
    near, far = link(snapshot, "v0"), link(snapshot, "eth0", "web")
    assert (near.master, near.peer, near.port) == ("br0", ("web", "eth0"), PortRecord(True, True))
    assert (far.mac, far.mtu, far.peer, far.up) == ("02:00:00:00:00:07", 1300, ("", "v0"), False)


def test_port_flags_are_told_apart(kernel: LiveKernel) -> None:
    do(kernel, bridge("br0"), veth("v0", "v1", master="br0"), port("v0", hairpin=True, isolated=False))
    assert link(look(kernel), "v0").port == PortRecord(hairpin=True, isolated=False)
    do(kernel, port("v0", hairpin=False, isolated=True))
    assert link(look(kernel), "v0").port == PortRecord(hairpin=False, isolated=True)


def test_both_ends_in_one_namespace_know_each_other(kernel: LiveKernel) -> None:
    do(kernel, veth("v0", "v1"))
    snapshot = look(kernel)
    assert (link(snapshot, "v0").peer, link(snapshot, "v1").peer) == (("", "v1"), ("", "v0"))


def test_ends_in_two_containers_know_each_other(kernel: LiveKernel) -> None:
    """The kernel tells each by a number that only the other container's namespace understands."""
    do(kernel, *(CreateNamespace(name, MARK) for name in "abcd"))
    do(
        kernel,
        veth("to-b", "to-a", "b", namespace="a"),
        veth("to-d", "to-c", "d", namespace="c"),
        veth("v0", "eth0", "a"),
    )
    snapshot = look(kernel)
    assert link(snapshot, "to-b", "a").peer == ("b", "to-a")
    assert link(snapshot, "to-a", "b").peer == ("a", "to-b")
    assert link(snapshot, "to-d", "c").peer == ("d", "to-c")
    assert link(snapshot, "to-c", "d").peer == ("c", "to-d")
    assert link(snapshot, "eth0", "a").peer == ("", "v0")


def test_a_peer_in_a_namespace_without_a_name_is_unknown(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("a", MARK))
    child = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        do(kernel, veth("v0", "eth0", f"pid:{child.pid}"))
        assert link(look(kernel), "v0").peer is None
        named = look(kernel, namespaces=(f"pid:{child.pid}",))
        assert link(named, "v0").peer == (f"pid:{child.pid}", "eth0")
        assert link(named, "eth0", f"pid:{child.pid}").peer == ("", "v0")
    finally:
        child.communicate()


def test_a_link_that_is_made_can_be_used_by_the_next_request(kernel: LiveKernel) -> None:
    """Its index is known to nobody before the kernel has worked the first message off."""
    do(
        kernel,
        bridge("br0"),
        veth("v0", "v1", master="br0"),
        address("br0", "10.0.0.1/24"),
        change("v1", up=True),
    )
    assert link(look(kernel), "v0").master == "br0"


def test_a_name_that_passes_to_another_link_means_the_new_one(kernel: LiveKernel) -> None:
    do(kernel, bridge("a"), bridge("b"))
    do(
        kernel,
        delete("a"),
        change("b", IFLA_IFNAME="a"),
        bridge("b"),
        address("a", "10.0.0.1/24"),
        address("b", "10.0.1.1/24"),
    )
    found = {item.link: str(item.address) for item in look(kernel).namespaces[""].addresses if item.link != "lo"}
    assert {name: found[name] for name in "ab"} == {"a": "10.0.0.1/24", "b": "10.0.1.1/24"}


def test_a_hundred_links_travel_in_a_few_datagrams_and_all_arrive(kernel: LiveKernel) -> None:
    do(kernel, bridge("br0"), *(veth(f"v{n}", f"w{n}", master="br0") for n in range(100)))
    assert sum(item.master == "br0" for item in look(kernel).namespaces[""].links) == 100


@pytest.mark.parametrize("text", ["10.1.2.3/24", "fd00::3/64"])
def test_an_address_reads_back_with_its_protocol(kernel: LiveKernel, text: str) -> None:
    do(kernel, bridge("br0"), change("br0", up=True), address("br0", text))
    found = [item for item in look(kernel).namespaces[""].addresses if item.address == ip_interface(text)]
    assert [(item.link, item.scope, item.protocol) for item in found] == [("br0", 0, PROTOCOL)]
    do(kernel, address("br0", text, type="RTM_DELADDR"))
    assert ip_interface(text) not in [item.address for item in look(kernel).namespaces[""].addresses]


@pytest.mark.parametrize(
    ("destination", "via", "metric", "own", "read"),
    [
        ("0.0.0.0/0", "10.0.0.254", None, "10.0.0.1/24", 0),
        ("192.0.2.0/24", "10.0.0.254", 77, "10.0.0.1/24", 77),
        ("192.0.2.0/24", None, None, "10.0.0.1/24", 0),
        ("::/0", "fd00::fe", None, "fd00::1/64", 1024),
        ("2001:db8::/32", None, 5, "fd00::1/64", 5),
    ],
)
def test_a_route_reads_back(
    kernel: LiveKernel, destination: str, via: str | None, metric: int | None, own: str, read: int
) -> None:
    wanted = route(destination, "br0", via, metric=metric)
    do(
        kernel,
        bridge("br0"),
        veth("v0", "v1", master="br0"),
        *(change(name, up=True) for name in ("br0", "v0", "v1")),
    )
    do(kernel, address("br0", own), wanted)
    gateway = ip_address(via) if via else None
    expected = RouteRecord(ip_network(destination), gateway, "br0", read, PROTOCOL, 1)
    assert [item for item in look(kernel).namespaces[""].routes if item.protocol == PROTOCOL] == [expected]
    do(kernel, route(destination, "br0", via, metric=metric, type="RTM_DELROUTE"))
    assert [item for item in look(kernel).namespaces[""].routes if item.protocol == PROTOCOL] == []


def test_routes_of_other_tables_and_without_a_link_are_told_apart(kernel: LiveKernel) -> None:
    subprocess.run(["ip", "route", "add", "blackhole", "192.0.2.0/24"], check=True)
    subprocess.run(["ip", "route", "add", "local", "198.51.100.1", "dev", "lo", "table", "100"], check=True)
    found = {item.destination: (item.link, item.type) for item in look(kernel).namespaces[""].routes}
    assert found[ip_network("192.0.2.0/24")] == (None, 6)
    assert ip_network("198.51.100.1/32") not in found


@needs_tun
def test_a_tap_persists_with_its_mark_and_mac(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("vm", MARK))
    do(kernel, CreateTap("", "tap0", MARK, "02:00:00:00:00:09"), CreateTap("vm", "tap1", MARK))
    snapshot = look(kernel)
    expected = LinkRecord("tap0", "tun", "02:00:00:00:00:09", 1500, False, alias=MARK, tap=True)
    assert link(snapshot, "tap0") == expected
    assert link(snapshot, "tap1", "vm").alias == MARK
    outcome = kernel.submit([CreateTap("", "tap0", MARK)])
    assert outcome.failures[0].errno == 17


def test_sysctls_are_those_of_the_namespace(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("web", MARK))
    do(kernel, veth("eth0.1", "eth0", "web"), change("eth0.1", up=True))
    forwarding, dotted = "net.ipv4.ip_forward", "net.ipv4.conf.eth0/1.rp_filter"
    do(kernel, WriteSysctl("web", forwarding, "1"), WriteSysctl("", dotted, "2"))
    wanted = frozenset({("", forwarding), ("web", forwarding), ("", dotted), ("web", dotted), ("gone", forwarding)})
    snapshot = kernel.observe(Scope(sysctls=wanted))
    assert snapshot.namespaces["web"].sysctls == {forwarding: "1"}
    assert snapshot.namespaces[""].sysctls == {forwarding: "0", dotted: "2"}


def test_old_kernels_have_no_address_protocol() -> None:
    for release, expected in (
        ("5.17.9", False),
        ("5.18.0-rc1", True),
        ("6.1", True),
        ("4.19.0-27-amd64", False),
    ):
        with LiveKernel(release=release) as kernel:
            assert look(kernel).address_protocols is expected


def test_many_links_are_deleted_by_one_message(kernel: LiveKernel) -> None:
    names = [f"b{number}" for number in range(6)]
    do(kernel, *(bridge(name) for name in [*names, "stays"]))
    before = kernel.sent["RTM_DELLINK"]
    do(kernel, *(delete(name) for name in names))
    assert kernel.sent["RTM_DELLINK"] - before == 1
    assert {link.name for link in look(kernel).namespaces[""].links} == {"lo", "stays"}


def test_when_one_of_many_links_is_not_there_that_is_told_and_the_others_go(kernel: LiveKernel) -> None:
    names = [f"b{number}" for number in range(4)]
    do(kernel, *(bridge(name) for name in names))
    outcome = kernel.submit([delete(name) for name in [*names[:2], "away", *names[2:]]])
    assert (outcome.done, outcome.failures[0].position) == (frozenset({0, 1, 3, 4}), 2)
    assert {link.name for link in look(kernel).namespaces[""].links} == {"lo"}


def test_a_new_link_is_marked_in_the_datagram_that_makes_it(
    kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    datagrams: list[int] = []
    submit = Socket.submit

    def counting(self: Socket, messages: Sequence[Message]) -> list[Answer]:
        datagrams.append(len(messages))
        return submit(self, messages)

    monkeypatch.setattr(Socket, "submit", counting)
    requests = [bridge(f"b{number}") for number in range(BATCH - 1)]
    made = [bridge("last"), *dress_new_link("", "last", MARK, up=True)]
    do(kernel, *requests, *made)
    assert datagrams == [BATCH + len(made) - 1]


def refused(monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    """Has the kernel not see messages of that type, and ours see EBUSY."""
    submit = Socket.submit

    def submitting(self: Socket, messages: Sequence[Message]) -> list[Answer]:
        answers = iter(submit(self, [message for message in messages if message.kind != kind]))
        return [Answer(errno.EBUSY) if message.kind == kind else next(answers) for message in messages]

    monkeypatch.setattr(Socket, "submit", submitting)


def wired(kernel: LiveKernel, name: str) -> list[Netlink]:
    """A bridge with some ports that are up. Returns the deletions of all."""
    ports = [f"{name}-{number}" for number in range(3)]
    do(
        kernel,
        bridge(name),
        *(veth(port, f"{port}-far", master=name) for port in ports),
        *(change(end, up=True) for end in (name, *ports, *(f"{port}-far" for port in ports))),
    )
    return [delete(item) for item in (*ports, name)]


def test_a_bridge_that_goes_with_its_ports_is_put_down_before_any_of_them_goes(
    kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = wired(kernel, "br0")
    wired(kernel, "stays")
    datagrams: list[list[int]] = []
    submit = Socket.submit

    def noting(self: Socket, messages: Sequence[Message]) -> list[Answer]:
        datagrams.append([message.kind for message in messages])
        return submit(self, messages)

    monkeypatch.setattr(Socket, "submit", noting)
    do(kernel, *doomed)
    assert datagrams == [[RTM_SETLINK] * 5 + [wire.RTM_DELLINK]]
    left = look(kernel)
    assert not [item for item in left.namespaces[""].links if item.name.startswith("br0")]
    assert link(left, "stays").up


def test_a_bridge_whose_ports_go_stays_up(kernel: LiveKernel) -> None:
    *ports, _ = wired(kernel, "br0")
    do(kernel, *ports)
    assert link(look(kernel), "br0").up


def test_a_bridge_that_was_to_go_and_did_not_is_up_again_and_one_that_was_down_is_not(
    kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = [*wired(kernel, "br0"), *wired(kernel, "br1")]
    do(kernel, change("br1", up=False))
    before = look(kernel).namespaces[""].links
    with monkeypatch.context() as patch:
        refused(patch, wire.RTM_DELLINK)
        outcome = kernel.submit(doomed)
    assert (outcome.done, outcome.failures[0].errno) == (frozenset(), errno.EBUSY)
    assert look(kernel).namespaces[""].links == before
    assert "group default" in subprocess.check_output(["ip", "link", "show", "br0"], text=True)


def test_where_bridges_cannot_be_seen_they_go_all_the_same(kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    doomed = wired(kernel, "br0")

    def interrupted(self: Socket, kind: int, body: bytes) -> None:
        raise OSError(errno.ENOBUFS, "no")

    monkeypatch.setattr(Socket, "stream", interrupted)
    do(kernel, *doomed)
    assert {item.name for item in look(kernel).namespaces[""].links} == {"lo"}
