"""What a wish means on the host it is for."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from reconciler import host_rules
from reconciler.core.messages import HOST, Absence, ForwardChain, NamespaceRecord, RouteRecord, Snapshot
from reconciler.core.resource import Level
from reconciler.kinds import Sysctl
from reconciler.lower import lower
from reconciler.manifest import loads

DUAL = lower(loads('version: 1\nbridges: {br0: {addresses: [10.88.0.1/24, "fd00:88::1/64"]}}'))
FOUR = lower(loads("version: 1\nbridges: {br0: {addresses: [10.88.0.1/24]}}"))
ISOLATED = lower(loads("version: 1\nbridges: {br0: {mode: isolated}}"))
DROP = ForwardChain("ip", "filter", "FORWARD", "drop")


def learned(link: str, protocol: int = 9, to: str = "::/0") -> RouteRecord:
    """A route as router advertisements (protocol 9) make it."""
    return RouteRecord(ip_network(to), ip_address("fe80::1"), link, 1024, protocol, 1)


def snapshot(*routes: RouteRecord, chains: tuple[ForwardChain, ...] = (), **settings: str) -> Snapshot:
    """A host with these routes, chains and settings (a dot is two underscores)."""
    values = {name.replace("__", "."): value for name, value in settings.items()}
    return Snapshot({HOST: NamespaceRecord(routes=routes, sysctls=values)}, forward_chains=chains)


def settings(state: object) -> list[tuple[str, str]]:
    """The sysctls of the host, in order."""
    return [(item.name, item.value) for item in state.resources.values() if isinstance(item, Sysctl)]  # type: ignore[attr-defined]


def test_where_the_default_route_is_learned_accept_ra_comes_before_forwarding() -> None:
    found = settings(host_rules.complete(DUAL, snapshot(learned("eth0"))))
    assert ("net.ipv6.conf.eth0.accept_ra", "2") in found
    assert found.index(("net.ipv6.conf.eth0.accept_ra", "2")) < found.index(("net.ipv6.conf.all.forwarding", "1"))


def test_a_dot_in_the_links_name_is_a_slash_in_the_setting() -> None:
    wanted = host_rules.sysctls(DUAL, snapshot(learned("eth0.5")))
    assert wanted == {(HOST, "net.ipv6.conf.eth0/5.accept_ra")}


def test_other_routes_and_ipv4_forwarding_need_no_accept_ra() -> None:
    for wish, routes in (
        (FOUR, [learned("eth0")]),
        (DUAL, [learned("eth0", protocol=4)]),
        (DUAL, [learned("eth0", to="2001:db8::/32")]),
    ):
        found = snapshot(*routes)
        assert host_rules.sysctls(wish, found) == frozenset()
        assert host_rules.complete(wish, found).resources == wish.resources


def test_turning_forwarding_on_is_warned_of_only_where_it_is_off() -> None:
    off = host_rules.complete(DUAL, snapshot(net__ipv4__ip_forward="0", net__ipv6__conf__all__forwarding="1")).notes
    assert [(note.level, note.text.split()[0]) for note in off] == [(Level.WARNING, "net.ipv4.ip_forward")]
    assert host_rules.complete(DUAL, snapshot(net__ipv4__ip_forward="1")).notes == ()


@pytest.mark.parametrize(
    ("chain", "said", "remedy"),
    [
        (DROP, "chain ip filter FORWARD drops forwarded packets", "iptables -I FORWARD -i BRIDGE -j ACCEPT"),
        (DROP._replace(manager="docker"), "FORWARD (of docker) drops", "iptables -I DOCKER-USER -o BRIDGE -j ACCEPT"),
        (DROP._replace(manager="ufw"), "(of ufw)", "ufw route allow in on BRIDGE"),
        (DROP._replace(family="ip6"), "chain ip6 filter", "ip6tables -I FORWARD -o BRIDGE"),
        (ForwardChain("inet", "fw", "fwd", "drop"), "drops", "nft insert rule inet fw fwd iifname BRIDGE accept"),
        (ForwardChain("inet", "firewalld", "filter_FORWARD", "reject", "firewalld"), "rejects", "firewall-cmd"),
    ],
)
def test_a_forward_chain_that_drops_is_named_with_the_way_out(chain: ForwardChain, said: str, remedy: str) -> None:
    (note,) = host_rules.complete(FOUR, snapshot(chains=(chain,))).notes
    assert note.level is Level.WARNING
    assert said in note.text
    assert remedy in note.text


def test_chains_that_accept_our_own_and_those_of_no_concern_are_not_warned_of() -> None:
    harmless = (
        ForwardChain("ip", "filter", "FORWARD", "accept"),
        ForwardChain("inet", "reconciler-two", "forward", "drop"),
    )
    assert host_rules.complete(FOUR, snapshot(chains=harmless)).notes == ()
    assert host_rules.complete(ISOLATED, snapshot(chains=(DROP,))).notes == ()


def test_an_engine_that_is_silent_is_named_once_with_its_containers() -> None:
    silent = Absence("Docker does not answer", unknown=True)
    absent = {"docker:web": silent, "docker:db": silent, "podman:web": Absence("Podman container web is odd")}
    notes = host_rules.complete(FOUR, replace(snapshot(), absent=absent)).notes
    assert [note.text for note in notes] == [
        "Docker does not answer. What is wired of its containers stays as it is, all else of them waits: db, web",
        "Podman container web is odd",
    ]
    assert {note.level for note in notes} == {Level.WARNING}
