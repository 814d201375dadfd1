"""What others have on this host: it is left alone, it is reported where it sits on things of ours, and what they break is mended."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.planner import Policy
from reconciler.errors import ConflictError
from tests.packets.site import RUN_NETNS, Site, link
from tests.packets.world import TIMEOUT, Probe, World, mismatches, reached

SITE = """
version: 1
bridges:
  br-a:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web: {addresses: [10.88.0.10, "fd00:88::10"], ports: ["8080:80"]}
"""


def works(site: Site) -> None:
    """Fails when the published port does not lead to the container."""
    lan = site.world.lan
    expected = [
        (Probe(lan, "tcp", "10.99.0.1", 8080), reached("web", "10.99.0.2")),
        (Probe(lan, "tcp", "fd99::1", 8080), reached("web", "fd99::2")),
    ]
    assert mismatches(expected) == []


@pytest.fixture
def serving(site: Site) -> Site:
    """The site, with a server in its container."""
    site.apply(SITE)
    for address in ("0.0.0.0", "::"):
        site.container("web").serve("tcp", address, 80)
    works(site)
    return site


@contextlib.contextmanager
def foreign_namespace(name: str) -> Iterator[None]:
    """One that somebody made with ip-netns(8)."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


# --- left alone ------------------------------------------------------------------------------------------------------


def test_a_table_of_others_stays_as_it_is(site: Site, world: World) -> None:
    world.host.nft(
        "table inet theirs { set s { type ipv4_addr; elements = { 192.0.2.7 }; }; chain c { ip saddr @s drop; }; }"
    )
    theirs = world.host.run("nft", "list", "table", "inet", "theirs")
    site.apply(SITE)
    site.down()
    assert world.host.run("nft", "list", "table", "inet", "theirs") == theirs


def test_translation_by_others_goes_on_beside_ours(site: Site, world: World) -> None:
    world.host.nft(
        "table ip theirs { chain c { type nat hook prerouting priority -101; tcp dport 9999 redirect to :7777; }; }"
    )
    world.host.serve("tcp", "0.0.0.0", 7777)
    site.apply(SITE)
    assert world.lan.probe("tcp", "10.99.0.1", 9999) == reached("host", "10.99.0.2")


@pytest.mark.parametrize("mode", ["nat", "routed"])
def test_a_container_is_reached_by_what_others_translate_to_it(site: Site, world: World, mode: str) -> None:
    """Whoever writes such a rule on this host publishes the port, too."""
    world.host.nft(
        "table ip theirs { chain c { type nat hook prerouting priority -101; tcp dport 9999 dnat to 10.88.0.10:7777; }; }"
    )
    site.apply(SITE.replace("  br-a:\n", f"  br-a:\n    mode: {mode}\n"))
    site.container("web").serve("tcp", "0.0.0.0", 7777)
    assert mismatches([(Probe(world.lan, "tcp", "10.99.0.1", 9999), reached("web", "10.99.0.2"))]) == []


def test_links_of_others_stay_also_as_ports_of_our_bridge(serving: Site, world: World) -> None:
    world.host.ip(
        "link add theirs0 type bridge",
        "addr add 172.30.0.1/24 dev theirs0",
        "link add theirs1 master br-a up type veth peer name theirs2",
    )
    serving.apply(SITE)
    assert link(world.host, "theirs1")["master"] == "br-a"
    serving.down()
    assert "master" not in link(world.host, "theirs1")
    assert "172.30.0.1/24" in world.host.run("ip", "-brief", "address", "show", "dev", "theirs0")
    world.host.ip("link del theirs0", "link del theirs1")


def test_a_namespace_of_others_is_used_and_stays(site: Site, world: World) -> None:
    with foreign_namespace("web"), foreign_namespace("bystander"):
        site.apply(SITE)
        inside = site.container("web")
        for address in ("0.0.0.0", "::"):
            inside.serve("tcp", address, 80)
        works(site)
        site.down()
        assert (RUN_NETNS / "web").exists()
        assert (RUN_NETNS / "bystander").exists()
        assert "eth0" not in inside.run("ip", "link")


def test_forwarding_that_does_not_concern_us_goes_on(site: Site, world: World) -> None:
    world.host.ip("addr add 10.98.0.1/24 dev eth1", "link set eth1 up")
    world.host.sysctl("net/ipv4/ip_forward", 1)
    world.office.ip("route add default via 10.98.0.1")
    world.lan.ip("route add 10.98.0.0/24 via 10.99.0.1")
    world.lan.serve("tcp", "10.99.0.2", 80)
    expected = [(Probe(world.office, "tcp", "10.99.0.2", 80), reached("lan", "10.98.0.2"))]
    assert mismatches(expected) == []
    site.apply(SITE)
    assert mismatches(expected) == []


# --- on things of ours -----------------------------------------------------------------------------------------------


def test_an_address_of_others_on_our_bridge_is_reported_and_stays_until_it_is_pruned(
    serving: Site, world: World
) -> None:
    world.host.ip("addr add 172.30.0.1/24 dev br-a", "addr add fd00:30::1/64 dev br-a nodad")
    plan = serving.apply(SITE)
    assert plan.steps == ()
    assert {item.label for item in plan.foreign} == {"address 172.30.0.1/24 on br-a", "address fd00:30::1/64 on br-a"}
    assert "172.30.0.1/24" in world.host.run("ip", "address", "show", "dev", "br-a")
    pruned = serving.apply(SITE, Policy(prune_foreign=True))
    assert {step.subject.label for step in pruned.steps} == {item.label for item in plan.foreign}
    shown = world.host.run("ip", "address", "show", "dev", "br-a")
    assert "172.30.0.1" not in shown
    assert "fd00:30::1" not in shown
    works(serving)


def test_a_route_of_others_in_a_container_is_reported_and_stays_until_it_is_pruned(serving: Site) -> None:
    web = serving.container("web")
    web.ip("route add 203.0.113.0/24 via 10.88.0.1")
    plan = serving.apply(SITE)
    assert len(plan.foreign) == 1
    assert "203.0.113.0/24" in plan.foreign[0].label
    assert "203.0.113.0/24" in web.run("ip", "route")
    serving.apply(SITE, Policy(prune_foreign=True))
    assert "203.0.113.0/24" not in web.run("ip", "route")
    works(serving)


def test_a_link_of_others_in_our_place_is_a_conflict_and_is_adopted_only_when_asked(site: Site, world: World) -> None:
    world.host.ip("link add br-a type bridge", "addr add 172.30.0.1/24 dev br-a")
    before = site.traces()
    with pytest.raises(ConflictError, match="br-a"):
        site.apply(SITE)
    assert site.traces() == before
    site.apply(SITE, Policy(adopt=True))
    for address in ("0.0.0.0", "::"):
        site.container("web").serve("tcp", address, 80)
    works(site)
    # What was taken over is ours now, so `down` takes it along.
    world.host.ip("addr del 172.30.0.1/24 dev br-a")


# --- mended ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "nft flush ruleset",
        "nft delete table inet reconciler",
        "nft flush chain inet reconciler prerouting",
        "nft flush chain inet reconciler only_published",
        "nft add rule inet reconciler forward drop",
        "nft flush map inet reconciler by_any4",
        "nft delete element inet reconciler arrive { br-a }",
        "ip link set br-a down",
        "ip address flush dev br-a scope global",
        "ip link del br-a",
        "ip netns exec web ip link set eth0 down",
        "ip netns exec web ip link del eth0",
        "ip netns exec web ip route del default",
        "ip netns exec web ip -6 addr del fd00:88::10/64 dev eth0",
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv6.conf.all.forwarding=0",
        "sysctl -qw net.ipv4.conf.br-a.route_localnet=0",
    ],
)
def test_what_others_break_the_next_run_mends(serving: Site, world: World, damage: str) -> None:
    world.host.run("sh", "-c", damage)
    assert serving.apply(SITE).steps
    works(serving)
    assert mismatches([(Probe(world.host, "tcp", "127.0.0.1", 8080), reached("web", "10.88.0.1"))]) == []


def test_a_flush_of_all_rules_leaves_no_container_open_once_it_is_mended(serving: Site, world: World) -> None:
    world.lan.ip("route add 10.88.0.0/24 via 10.99.0.1")
    open_way = [(Probe(world.lan, "tcp", "10.88.0.10", 80), reached("web", "10.99.0.2"))]
    world.host.nft("flush ruleset")
    assert mismatches(open_way) == []
    serving.apply(SITE)
    assert world.lan.probe("tcp", "10.88.0.10", 80) == TIMEOUT


def test_a_namespace_of_ours_that_others_deleted_is_made_anew(serving: Site) -> None:
    subprocess.run(["ip", "netns", "del", "web"], check=True)
    assert not Path("/run/netns/web").exists()
    serving.apply(SITE)
    for address in ("0.0.0.0", "::"):
        serving.container("web").serve("tcp", address, 80)
    works(serving)
