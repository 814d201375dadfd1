"""The world's own laws: an instrument that cannot show a difference measures nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.packets.world import (
    PONG,
    REFUSED,
    TIMEOUT,
    UNREACHABLE,
    Probe,
    Protocol,
    Traces,
    World,
    mismatches,
    reached,
)

HOST, LAN, OUTSIDE = ("10.99.0.1", "fd99::1"), ("10.99.0.2", "fd99::2"), ("192.0.2.1", "2001:db8:2::1")
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@FAMILIES
@PROTOCOLS
def test_an_answer_names_the_server_and_the_client_it_saw(world: World, protocol: Protocol, family: int) -> None:
    world.host.serve(protocol, HOST[family], 80, name="web")
    expected = [
        (Probe(world.lan, protocol, HOST[family], 80), reached("web", LAN[family])),
        (Probe(world.outside, protocol, HOST[family], 80), reached("web", OUTSIDE[family])),
        (Probe(world.lan, protocol, HOST[family], 81), REFUSED),
    ]
    assert mismatches(expected) == []


@FAMILIES
@PROTOCOLS
def test_a_dropped_packet_is_told_from_a_refused_one(world: World, protocol: Protocol, family: int) -> None:
    world.host.nft(f"table inet t {{ chain i {{ type filter hook input priority 0; {protocol} dport 81 drop; }}; }}")
    expected = [
        (Probe(world.lan, protocol, HOST[family], 80), REFUSED),
        (Probe(world.lan, protocol, HOST[family], 81), TIMEOUT),
    ]
    assert mismatches(expected) == []


@FAMILIES
def test_ping_reaches_or_times_out_or_finds_no_route(world: World, family: int) -> None:
    world.host.ip("route del default via 10.99.0.254", "route del default via fd99::fe")
    expected = [
        (Probe(world.lan, "icmp", HOST[family]), PONG),
        (Probe(world.host, "icmp", OUTSIDE[family]), UNREACHABLE),
        (Probe(world.lan, "icmp", ("10.99.0.77", "fd99::77")[family]), TIMEOUT),
    ]
    assert mismatches(expected) == []


@FAMILIES
def test_a_server_on_all_addresses_answers_from_the_one_that_was_asked(world: World, family: int) -> None:
    world.host.serve("udp", ("0.0.0.0", "::")[family], 80)
    second = ("10.99.0.4", "fd99::4")[family]
    assert world.lan.probe("udp", second, 80) == reached("host", LAN[family])


@FAMILIES
def test_the_source_address_can_be_chosen(world: World, family: int) -> None:
    world.lan.serve("tcp", LAN[family], 80)
    second = ("10.99.0.4", "fd99::4")[family]
    assert world.host.probe("tcp", LAN[family], 80, source=second) == reached("lan", second)


@PROTOCOLS
def test_a_flow_goes_on_until_its_packets_are_dropped(world: World, protocol: Protocol) -> None:
    world.host.serve(protocol, "10.99.0.1", 80)
    with world.lan.flow(protocol, "10.99.0.1", 80) as flow:
        assert [flow.first, flow.ask(), flow.ask()] == [reached("host", "10.99.0.2")] * 3
        world.host.nft("table inet t { chain i { type filter hook input priority 0; policy drop; }; }")
        assert flow.ask() == TIMEOUT


def test_a_loopback_service_is_what_an_attacker_reaches_where_the_host_lets_it(world: World) -> None:
    world.host.serve("tcp", "127.0.0.1", 80)
    world.neighbour.route_loopback_to("10.99.0.1")
    assert world.neighbour.probe("tcp", "127.0.0.1", 80) == TIMEOUT
    world.host.sysctl("net/ipv4/conf/all/route_localnet", 1)
    assert world.neighbour.probe("tcp", "127.0.0.1", 80) == reached("host", "10.99.0.3")


def test_a_namespace_made_by_someone_else_can_be_opened(world: World) -> None:
    made = world.namespace("made")
    opened = world.opened(made.path, "again")
    opened.ip("link add br0 type bridge")
    assert "br0" in made.run("ip", "link")


def test_the_thread_is_elsewhere_on_a_visit_and_back_after_it(world: World) -> None:
    def here() -> os.stat_result:
        return os.stat("/proc/thread-self/ns/net")

    before = here()
    with world.lan.entered():
        assert not os.path.samestat(before, here())
    assert os.path.samestat(before, here())


def test_the_thread_is_back_after_a_visit_that_failed(world: World) -> None:
    before = os.stat("/proc/thread-self/ns/net")
    with pytest.raises(ZeroDivisionError), world.lan.entered():
        raise ZeroDivisionError
    assert os.path.samestat(before, os.stat("/proc/thread-self/ns/net"))


def test_traces_tell_what_was_left(nothing_left: None) -> None:
    before = Traces.now()
    mark = Path("/run/netns/left")
    mark.touch()
    world = World()
    kinds = {line.split(":")[0] for line in Traces.now().added_since(before)}
    world.close()
    mark.unlink()
    assert kinds == {"namespaces", "threads", "descriptors"}
