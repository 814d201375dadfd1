"""`reconcile --keep-going`: what fails is left out with all that rests on it, the rest is done, and every failure is told."""

from __future__ import annotations

from tests.cli.host import WEB, Host

FAILING = WEB.replace("[10.88.0.11]", "[10.88.0.11]\n        sysctls: {net.ipv4.no_such_thing: 1}")
WITH_ANOTHER = WEB.replace("bridges:", "bridges:\n  br-x: {addresses: [10.9.0.1/24]}")


def test_a_fault_in_one_container_does_not_hold_up_the_others(host: Host) -> None:
    host.write(FAILING)
    assert host.reconcile().code == 7
    assert host.namespaces() == set()
    run = host.reconcile("--keep-going")
    assert run.code == 1
    assert "cannot create sysctl net.ipv4.no_such_thing" in run.err
    assert "1 could not be done" in run.err
    host.run("ip netns exec web ping -c 1 -W 5 10.88.0.1")
    # What is left is still said to be left.
    assert host.reconcile("--keep-going").code == 1
    host.write(WEB)
    assert host.reconcile("--keep-going").code == 0


def test_a_bridge_of_others_keeps_its_traffic(host: Host) -> None:
    """Neither by its name nor by its subnet is anything set that concerns it."""
    host.run("ip link add br-x type bridge; ip addr add 10.9.0.1/24 dev br-x; ip link set br-x up")
    host.run("ip netns add guest; ip link add g0 master br-x type veth peer name eth0 netns guest; ip link set g0 up")
    host.run(
        "ip -n guest addr add 10.9.0.2/24 dev eth0; ip -n guest link set eth0 up; ip -n guest route add default via 10.9.0.1"
    )
    host.run(
        "ip netns add lan; ip link add l0 type veth peer name eth0 netns lan; ip addr add 192.0.2.1/24 dev l0; ip link set l0 up"
    )
    host.run(
        "ip -n lan addr add 192.0.2.9/24 dev eth0; ip -n lan link set eth0 up; ip -n lan route add default via 192.0.2.1"
    )
    host.run("sysctl -qw net.ipv4.ip_forward=1")
    ask = "ip netns exec lan ping -c 1 -W 5 10.9.0.2"
    host.run(ask)
    host.write(WITH_ANOTHER)
    assert host.reconcile().code == 4
    run = host.reconcile("--keep-going")
    assert run.code == 1
    assert "br-x is in the way" in run.err
    host.run("ip netns exec web ping -c 1 -W 5 10.88.0.1")
    host.run(ask)
    assert host.run("sysctl -n net.ipv4.conf.br-x.route_localnet").strip() == "0"
    # With nothing else to do it is no success either.
    assert host.reconcile("--keep-going").code == 1
