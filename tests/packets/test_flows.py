"""What becomes of flows that are under way: those of a port that changes go to its new place at once, and no others notice."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from reconciler.kernel import conntrack
from reconciler.kernel.meter import Meter
from reconciler.kernel.netlink import Socket
from tests.packets.site import Site
from tests.packets.world import (
    PATIENCE,
    REFUSED,
    RESEND,
    Answer,
    Flow,
    Namespace,
    Probe,
    Protocol,
    World,
    mismatches,
    reached,
)

FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])
HOST, SECOND, LAN = ("10.99.0.1", "fd99::1"), ("10.99.0.4", "fd99::4"), ("10.99.0.2", "fd99::2")
ANY = ("0.0.0.0", "::")
WAYS = pytest.mark.parametrize(
    "way",
    ["{}8080:8080/udp", "{host}:8080:8080/udp", "{}8000-8100:8000-8100/udp", "{host}:8000-8100:8000-8100/udp"],
    ids=["on all addresses", "on one address", "a range on all addresses", "a range on one address"],
)
"""How udp port 8080 is published."""


def file(*, web: str = "", db: str = "", at: int = 10, more: str = "", bridges: str = "") -> str:
    """A file in which web (at .10, or where `at` says) and db (.11) publish ports, given as a list without brackets."""
    return f"""
version: 1
bridges:
  br-a:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web: {{addresses: [10.88.0.{at}, "fd00:88::{at}"], ports: [{web}]}}
      db: {{addresses: [10.88.0.11, "fd00:88::11"], ports: [{db}]}}
{more}
{bridges}
"""


def published(way: str, family: int) -> str:
    """The port of WAYS, in YAML."""
    return '"' + way.format("", host=(HOST[0], f"[{HOST[1]}]")[family]) + '"'


def until(flow: Flow, expected: Answer) -> Answer:
    """Asks on and on, until the answer is `expected` or patience ends. Returns the last answer."""
    deadline = time.monotonic() + PATIENCE
    while (answer := flow.ask(RESEND)) != expected and time.monotonic() < deadline:
        pass
    return answer


@contextlib.contextmanager
def sending(client: socket.socket) -> Iterator[None]:
    """Datagrams of one flow all the time, while the block runs."""
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.001):
            with contextlib.suppress(OSError):
                client.send(b"still there?\n")

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def answers(client: socket.socket, name: str) -> bool:
    """Whether, asked on and on, the server `name` answers in the end."""
    client.settimeout(RESEND)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            client.send(b"who?")
            if client.recv(100).startswith(name.encode()):
                return True
    return False


def drain(sink: socket.socket) -> int:
    """Throws away what has come. Returns how many datagrams that was."""
    sink.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while sink.recv(100):
            count += 1
    return count


# --- the flows of the port itself ------------------------------------------------------------------------------------


@FAMILIES
@WAYS
def test_a_constant_flow_follows_its_container_to_another_address(
    site: Site, world: World, way: str, family: int
) -> None:
    port = published(way, family)
    site.apply(file(web=port))
    site.container("web").serve("udp", ("10.88.0.10", "fd00:88::10")[family], 8080, name="before")
    with world.lan.flow("udp", HOST[family], 8080) as flow:
        assert flow.first == reached("before", LAN[family])
        site.apply(file(web=port, at=20))
        site.container("web").serve("udp", ("10.88.0.20", "fd00:88::20")[family], 8080, name="after")
        assert until(flow, reached("after", LAN[family])) == reached("after", LAN[family])


@FAMILIES
@WAYS
def test_a_constant_flow_follows_its_port_to_another_container(site: Site, world: World, way: str, family: int) -> None:
    port = published(way, family)
    site.apply(file(web=port))
    for container in site.containers("web", "db"):
        container.serve("udp", ANY[family], 8080)
    with world.lan.flow("udp", HOST[family], 8080) as flow:
        for text, name in ((file(db=port), "db"), (file(web=port), "web"), (file(db=port), "db")):
            site.apply(text)
            assert until(flow, reached(name, LAN[family])) == reached(name, LAN[family])


@FAMILIES
@WAYS
def test_a_constant_flow_goes_between_the_hosts_own_socket_and_the_container_as_the_port_comes_and_goes(
    site: Site, world: World, way: str, family: int
) -> None:
    port = published(way, family)
    world.host.serve("udp", ANY[family], 8080)
    site.apply(file())
    site.container("web").serve("udp", ANY[family], 8080)
    with world.lan.flow("udp", HOST[family], 8080) as flow:
        assert flow.first == reached("host", LAN[family])
        for text, name in ((file(web=port), "web"), (file(), "host"), (file(web=port), "web")):
            site.apply(text)
            assert until(flow, reached(name, LAN[family])) == reached(name, LAN[family])


@FAMILIES
def test_what_is_sent_while_the_port_moves_does_not_go_on_to_the_old_place(
    site: Site, world: World, family: int
) -> None:
    """A packet just before the flows are forgotten must not have them known again as they were."""
    texts = {"web": file(web='"8080:8080/udp"'), "db": file(db='"8080:8080/udp"')}
    site.apply(texts["web"])
    with contextlib.ExitStack() as stack:
        sinks = {}
        for name in texts:
            sinks[name] = stack.enter_context(site.container(name).socket(ANY[family], socket.SOCK_DGRAM))
            sinks[name].bind((ANY[family], 8080))
        client = stack.enter_context(world.lan.socket(HOST[family], socket.SOCK_DGRAM))
        client.connect((HOST[family], 8080))
        for name, other in (("db", "web"), ("web", "db")) * 5:
            with sending(client):
                site.apply(texts[name])
                drain(sinks[other])
                drain(sinks[name])
                sinks[name].settimeout(PATIENCE)
                assert sinks[name].recv(100)
            assert drain(sinks[other]) == 0


@pytest.mark.parametrize("ports", ["8080", "8070-8090", "7900-8400"])
@FAMILIES
def test_a_late_answer_of_the_old_container_does_not_hold_the_flow_back(
    site: Site, world: World, family: int, ports: str
) -> None:
    """It comes when its flow is forgotten, so it is the first packet of a new one, from the container to the outside. If that
    got the published port as its source, the client's next packet would belong to it."""
    world.host.serve("udp", ANY[family], 8080)
    port = f'"{ports}:{ports}/udp"'
    site.apply(file(web=port))
    old, new = site.containers("web", "db")
    new.serve("udp", ANY[family], 8080)
    with old.socket(ANY[family], socket.SOCK_DGRAM) as server:
        server.bind((ANY[family], 8080))
        server.settimeout(PATIENCE)
        for text, name in ((file(db=port), "db"), (file(), "host")):
            site.apply(file(web=port))
            with world.lan.socket(HOST[family], socket.SOCK_DGRAM) as client:
                client.connect((HOST[family], 8080))
                client.send(b"who?")
                _, seen = server.recvfrom(100)
                site.apply(text)
                server.sendto(b"late 0", seen)
                assert answers(client, name)


def test_ranges_that_overlap_can_be_retired_one_after_the_other(site: Site) -> None:
    """Within the time for which the first is kept: the kernel refuses intervals that overlap."""
    for ports in ("7900-8400", "8000-8600", "7000-9000", "8000-8300", "8256-8511"):
        site.apply(file(web=f'"{ports}:{ports}/udp"'))
        site.apply(file(db=f'"{ports}:{ports}/udp"'))
    site.apply(file())


def test_flows_of_the_host_and_of_containers_follow_too(site: Site, world: World, bridge_netfilter: int) -> None:
    site.apply(file(web='"8080:8080/udp"', more="      api: {addresses: [10.88.0.12]}"))
    for container in site.containers("web", "db"):
        container.serve("udp", "0.0.0.0", 8080)
    askers = [(world.host, "127.0.0.1"), (world.host, "10.99.0.1")]
    askers += [(site.container(name), "10.99.0.1") for name in ("web", "db", "api")]
    expected = [(Probe(origin, "udp", address, 8080), "web") for origin, address in askers]
    seen = ["10.88.0.1", "10.99.0.1", "10.88.0.1", "10.88.0.1", "10.88.0.1"]
    assert mismatches((probe, reached(name, as_)) for (probe, name), as_ in zip(expected, seen, strict=True)) == []
    with contextlib.ExitStack() as stack:
        flows = [stack.enter_context(origin.flow("udp", address, 8080)) for origin, address in askers]
        assert [flow.first for flow in flows] == [reached("web", as_) for as_ in seen]
        site.apply(file(db='"8080:8080/udp"', more="      api: {addresses: [10.88.0.12]}"))
        wanted = [reached("db", as_) for as_ in seen]
        assert [until(flow, answer) for flow, answer in zip(flows, wanted, strict=True)] == wanted


def test_an_open_connection_ends_when_its_port_goes(site: Site, world: World) -> None:
    site.apply(file(web='"8080:8080"'))
    site.container("web").serve("tcp", "0.0.0.0", 8080)
    with world.lan.flow("tcp", "10.99.0.1", 8080) as flow:
        assert flow.ask(PATIENCE) == reached("web", "10.99.0.2")
        site.apply(file())
        assert flow.ask(PATIENCE) == REFUSED


# --- all others ------------------------------------------------------------------------------------------------------


def test_an_open_connection_lives_through_fifty_changes_that_do_not_concern_it(site: Site, world: World) -> None:
    own = '"8080:8080", "8080:8080/udp"'
    changes = [
        file(web=own, db='"9000:80", "9001-9100:9001-9100/udp"'),
        file(web=f'{own}, "9002:80"', db='"9000:81"'),
        file(web=own, more="      third: {ports: [9000:80]}"),
        file(web=own, bridges="  br-b: {mode: isolated, containers: {iso: {}}}"),
        file(web=own, db='"10.99.0.4:8081:80"'),
        file(web=own, bridges="  br-b: {addresses: [10.89.0.1/24], icc: false, containers: {api: {ports: [9000:80]}}}"),
        file(web=own, bridges="  br-b: {addresses: [10.89.0.1/24], mode: routed, mtu: 1400, containers: {api: {}}}"),
        file(web=own, bridges="  br0: {mode: bridged, uplinks: [eth1]}"),
        file(web=own, db="8000-8079:8000-8079"),
        file(web=own),
    ]
    site.apply(changes[-1])
    web = site.container("web")
    for protocol in ("tcp", "udp"):
        web.serve(protocol, "0.0.0.0", 8080)
        world.lan.serve(protocol, "10.99.0.2", 7)
    seen = reached("web", "10.99.0.2")
    with (
        world.lan.flow("tcp", "10.99.0.1", 8080) as coming,
        web.flow("tcp", "10.99.0.2", 7) as going,
        world.lan.flow("udp", "10.99.0.1", 8080) as datagrams,
    ):
        before = tracked(world.host)
        for number in range(50):
            assert site.apply(changes[number % len(changes)]).steps
            assert coming.ask(PATIENCE) == seen
            assert going.ask(PATIENCE) == reached("lan", "10.99.0.1")
            assert datagrams.ask(PATIENCE) == seen
        assert before <= tracked(world.host)


@PROTOCOLS
def test_when_one_port_changes_exactly_its_flows_are_forgotten(site: Site, world: World, protocol: Protocol) -> None:
    other: Protocol = "udp" if protocol == "tcp" else "tcp"
    others = f'"8090:8090/{protocol}", "8080:8080/{other}"'
    ours = f'"8080:8080/{protocol}"'
    site.apply(file(web=f"{ours}, {others}", db=f'"8081:8080/{protocol}"'))
    web, db = site.containers("web", "db")
    for place in (web, db, world.lan, world.host):
        for port in (8080, 8090, 5000):
            for each in ("tcp", "udp"):
                for any in ANY:
                    place.serve(each, any, port)
    ours_of, others_of = list[tuple[Namespace, Protocol, str, int]](), list[tuple[Namespace, Protocol, str, int]]()
    for family in (0, 1):
        for origin in (world.lan, world.outside, world.host, web, db):
            for address in (HOST[family], SECOND[family]):
                ours_of.append((origin, protocol, address, 8080))
                others_of.append((origin, other, address, 8080))
                others_of += [(origin, protocol, address, port) for port in (8081, 8090, 5000)]
        # The same number elsewhere, and the container's own number, asked by others than through the port.
        others_of.append((web, protocol, LAN[family], 8080))
        others_of.append((world.host, protocol, ("10.88.0.10", "fd00:88::10")[family], 8080))
    with contextlib.ExitStack() as stack:
        known = []
        for flows in ([], ours_of, others_of):
            opened = [stack.enter_context(origin.flow(each, address, port)) for origin, each, address, port in flows]
            assert all(flow.first.server for flow in opened)
            known.append(tracked(world.host))
        its_own, of_others = known[1] - known[0], known[2] - known[1]
        assert (len(its_own), len(of_others)) == (len(ours_of), len(others_of))
        site.apply(file(web=others, db=f'"8081:8080/{protocol}"'))
        left = tracked(world.host)
        assert of_others <= left
        assert not its_own & left


def test_what_is_not_ours_to_change_is_not_forgotten_when_a_port_comes(site: Site, world: World) -> None:
    """A port on one address is none of another's, and what already went elsewhere by somebody else's rule goes on there."""
    for address in ANY:
        world.host.serve("udp", address, 8080)
    site.apply(file())
    site.container("web").serve("udp", "0.0.0.0", 8080)
    with world.lan.flow("udp", "10.99.0.4", 8080) as second, world.lan.flow("udp", "10.99.0.1", 8080) as first:
        before = tracked(world.host)
        site.apply(file(web='"10.99.0.1:8080:8080/udp"'))
        left = tracked(world.host)
        assert len(before - left) == 1
        assert second.ask(PATIENCE) == reached("host", "10.99.0.2")
        assert until(first, reached("web", "10.99.0.2")) == reached("web", "10.99.0.2")


def tracked(host: Namespace) -> frozenset[bytes]:
    """All flows of tcp and udp that connection tracking knows on `host`, each by addresses, ports and its identity there: one that
    was forgotten and came again is another."""
    get = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
    found = set()
    with host.entered(), Socket(Meter(), conntrack.NETFILTER) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            for chunk in netlink.stream(get, struct.pack("=BBH", family, 0, 0)):
                decoded = conntrack.decode_flow(chunk)
                if decoded is not None and decoded[0].protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
                    found.add(decoded[1])
    return frozenset(found)
