"""The route to a subnet comes with the address, and somebody else may delete it: then no other route by a gateway can be made."""

from __future__ import annotations

import pytest

from tests.cli.host import Host

FILE = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web: {addresses: [10.88.0.10, "fd00:88::10"]}
      db: {}
"""


@pytest.fixture
def settled(host: Host) -> Host:
    """A host as the file says."""
    host.write(FILE)
    assert host.reconcile().code == 0
    return host


def routes(host: Host) -> list[str]:
    """Those of the host and of the container web; link-local ones are not ours to make."""
    listed = host.run("ip -n web route; ip -n web -6 route; ip route; ip -6 route").splitlines()
    return sorted(line for line in listed if not line.startswith("fe80"))


@pytest.mark.parametrize(
    "damage",
    [
        "ip -n web route flush table main",
        "ip -n web -6 route flush table main",
        "ip -n web route delete 10.88.0.0/24",
        "ip -n web -6 route delete fd00:88::/64",
        "ip route delete 10.88.0.0/24 dev br-web",
        "ip -6 route delete fd00:88::/64 dev br-web",
    ],
)
def test_it_comes_back(settled: Host, damage: str) -> None:
    host = settled
    before = routes(host)
    host.run(damage)
    plan = host.reconcile("--dry-run", "--detailed-exitcode")
    assert plan.code == 2
    assert "the route to its subnet is made again" in plan.out
    assert host.reconcile().code == 0
    assert host.reconcile("--dry-run", "--detailed-exitcode").code == 0
    assert routes(host) == before
    host.run("ip netns exec web ping -c 1 -W 5 10.88.0.1; ip netns exec web ping -c 1 -W 5 fd00:88::1")


def test_an_undo_takes_it_away_again(settled: Host) -> None:
    host = settled
    host.run("ip -n web route flush table main")
    before = host.run("ip -n web route")
    failing = FILE.replace("db: {}", "db: {sysctls: {net.ipv4.no_such_thing: 1}}")
    assert host.reconcile("-f", str(host.write(failing, "failing.yaml"))).code == 7
    assert host.run("ip -n web route") == before


def test_an_address_that_takes_the_place_of_one_without_it_gets_one(settled: Host) -> None:
    """Beside the old one it would be a secondary address, for which the kernel makes no route."""
    host = settled
    before = routes(host)
    host.run("ip -n web route flush table main")
    host.write(FILE.replace("10.88.0.10", "10.88.0.11"))
    assert host.reconcile().code == 0
    assert routes(host) == [line.replace("10.88.0.10", "10.88.0.11") for line in before]
