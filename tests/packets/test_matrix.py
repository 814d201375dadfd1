"""Every cell of the table in docs/packets.md: who reaches whom, by the mode of the bridge.

A test is a row. It asks for IPv4 and IPv6, tcp and udp, and all of them again with br_netfilter on and off, and with reverse path filtering
on and off: bridged frames pass the firewall in the one case and not in the other, and what answers by another way than it was asked is
dropped in the one and not in the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.packets.conftest import leaving_nothing, set_bridge_netfilter, site_of
from tests.packets.site import Site, intruders
from tests.packets.world import (
    PONG,
    REFUSED,
    TIMEOUT,
    Answer,
    Namespace,
    Probe,
    Protocol,
    World,
    mismatches,
    reached,
)

SITE = """
version: 1
bridges:
  br-a:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web:
        addresses: [10.88.0.10, "fd00:88::10"]
        ports:
          - 8080:80
          - 8080:80/udp
          - 7000-7010:7000-7010
          - 7000-7010:7000-7010/udp
          - 127.0.0.1:8443:443
          - 127.0.0.1:8443:443/udp
          - 10.99.0.4:8500:80
          - 10.99.0.4:8500:80/udp
          - "[fd99::4]:8500:80"
          - "[fd99::4]:8500:80/udp"
      db: {addresses: [10.88.0.11, "fd00:88::11"]}
      evil: {addresses: [10.88.0.13, "fd00:88::13"]}
      dual: {addresses: [10.88.0.12, "fd00:88::12"], default_route: false}
  br-b:
    addresses: [10.89.0.1/24, "fd00:89::1/64"]
    containers:
      api: {addresses: [10.89.0.10, "fd00:89::10"]}
      dual:
        addresses: [10.89.0.12, "fd00:89::12"]
        default_route: true
        ports: [8091:80, 8091:80/udp]
  br-s:
    addresses: [10.87.0.1/24, "fd00:87::1/64"]
    snat: [10.99.0.4, "fd99::4"]
    containers:
      fix: {addresses: [10.87.0.10, "fd00:87::10"]}
  br-r:
    mode: routed
    addresses: [10.90.0.1/24, "fd00:90::1/64"]
    containers:
      pub:
        addresses: [10.90.0.10, "fd00:90::10"]
        ports: [8100:80, 8100:80/udp, 9100-9102:7000-7002, 9100-9102:7000-7002/udp]
      priv: {addresses: [10.90.0.11, "fd00:90::11"]}
  br-i:
    mode: isolated
    addresses: [10.91.0.1/24, "fd00:91::1/64"]
    containers:
      iso:
        addresses: [10.91.0.10, "fd00:91::10"]
        # It is not given a way out. It tries all the same.
        routes: [{to: 0.0.0.0/0, via: 10.91.0.1}, {to: "::/0", via: "fd00:91::1"}]
      iso2: {addresses: [10.91.0.11, "fd00:91::11"]}
  br-p:
    addresses: [10.92.0.1/24, "fd00:92::1/64"]
    icc: false
    containers:
      pa: {addresses: [10.92.0.10, "fd00:92::10"], ports: [8201:80, 8201:80/udp]}
      pb: {addresses: [10.92.0.11, "fd00:92::11"], ports: [8202:80, 8202:80/udp]}
  br-q:
    mode: isolated
    icc: false
    containers:
      qa: {addresses: [10.93.0.10/24, "fd00:93::10/64"]}
      qb: {addresses: [10.93.0.11/24, "fd00:93::11/64"]}
  br0:
    mode: bridged
    uplinks: [eth1]
    addresses: [10.98.0.1/24, "fd98::1/64"]
    containers:
      vm1:
        addresses: [10.98.0.50, "fd98::50"]
        routes: [{to: 0.0.0.0/0, via: 10.98.0.1}, {to: "::/0", via: "fd98::1"}]
      vm2: {addresses: [10.98.0.51, "fd98::51"]}
"""
NETWORKS = (87, 88, 89, 90, 91, 92)
HOME = {
    "web": (88, 10),
    "db": (88, 11),
    "api": (89, 10),
    "fix": (87, 10),
    "pub": (90, 10),
    "priv": (90, 11),
    "pa": (92, 10),
}
"""Where the containers of nat and routed bridges are: (network, last part of the address)."""
SERVICES = (80, 443, 7000, 7001, 7003)
"""What everyone outside of the host and every container answers on."""


@dataclass(frozen=True)
class Family:
    """The addresses of one family."""

    host: str
    second: str
    lan: str
    neighbour: str
    outside: str
    office: str
    on_office: str
    """The host's, there."""
    vm1: str
    vm2: str
    any: str

    def at(self, network: int, last: int) -> str:
        """An address in the network of one of our bridges."""
        return f"fd00:{network}::{last}" if ":" in self.any else f"10.{network}.0.{last}"

    def of(self, container: str) -> str:
        """The address of the container `container`."""
        return self.vm1 if container == "vm1" else self.at(*HOME[container])

    def own_source(self, address: str) -> str:
        """The source with which the host speaks to its own `address`: the first of the subnet in IPv4, itself in IPv6."""
        return self.host if address == "10.99.0.4" else address


V4 = Family(
    host="10.99.0.1",
    second="10.99.0.4",
    lan="10.99.0.2",
    neighbour="10.99.0.3",
    outside="192.0.2.1",
    office="10.98.0.2",
    on_office="10.98.0.1",
    vm1="10.98.0.50",
    vm2="10.98.0.51",
    any="0.0.0.0",
)
V6 = Family(
    host="fd99::1",
    second="fd99::4",
    lan="fd99::2",
    neighbour="fd99::3",
    outside="2001:db8:2::1",
    office="fd98::2",
    on_office="fd98::1",
    vm1="fd98::50",
    vm2="fd98::51",
    any="::",
)

Ask = Callable[[Namespace, str, int], Probe]
Cells = Iterator[tuple[Probe, Answer]]


class Net:
    """The site, with a server in every corner, and everyone outside with every route that it could wish for."""

    def __init__(self, world: World, site: Site) -> None:
        self.world = world
        site.apply(SITE)
        self._inside = {
            name: site.container(name)
            for name in (
                "web",
                "db",
                "evil",
                "dual",
                "api",
                "fix",
                "pub",
                "priv",
                "iso",
                "iso2",
                "pa",
                "pb",
                "qa",
                "qb",
                "vm1",
                "vm2",
            )
        }
        self._give_routes()
        for namespace in (*self._inside.values(), world.lan, world.neighbour, world.outside, world.office):
            self._serve(namespace, *SERVICES)
        self._serve(world.host, 22)
        for protocol in PROTOCOLS:
            world.host.serve(protocol, "127.0.0.1", 631)
            world.host.serve(protocol, "127.0.0.53", 8080, name="stub")

    def __getitem__(self, container: str) -> Namespace:
        return self._inside[container]

    def hold(self, cells: Callable[[Family, Ask], Cells], *families: Family) -> None:
        """Fails with a list of those cells that are not as expected."""
        for protocol in PROTOCOLS:  # all at once would be more sockets than an ordinary user may have
            found = [cell for family in families or (V4, V6) for cell in cells(family, _asking(protocol))]
            assert mismatches(found) == []

    def silent(self, probes: Callable[[Family, Ask], Iterator[Probe]]) -> None:
        """Fails with a list of those who were answered, be it with a refusal."""
        asked = [probe for family in (V4, V6) for protocol in PROTOCOLS for probe in probes(family, _asking(protocol))]
        assert intruders(asked) == []

    def _serve(self, namespace: Namespace, *ports: int) -> None:
        for protocol in PROTOCOLS:
            for family in (V4, V6):
                for port in ports:
                    namespace.serve(protocol, family.any, port)

    def _give_routes(self) -> None:
        world = self.world
        for namespace in (world.lan, world.neighbour, world.gateway):
            namespace.ip(
                *(f"route add 10.{network}.0.0/24 via 10.99.0.1" for network in (*NETWORKS, 98)),
                *(f"route add fd00:{network}::/64 via fd99::1" for network in NETWORKS),
                "route add fd98::/64 via fd99::1",
            )
        world.office.ip("route add default via 10.98.0.1", "route add default via fd98::1")
        world.neighbour.route_loopback_to("10.99.0.1")
        self["evil"].route_loopback_to("10.88.0.1")


PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp")


def _asking(protocol: Protocol) -> Ask:
    return lambda origin, address, port: Probe(origin, protocol, address, port)


def ping(origin: Namespace, address: str) -> Probe:
    """An echo request."""
    return Probe(origin, "icmp", address)


@pytest.fixture(
    scope="module",
    params=[(0, 0), (0, 1), (1, 0), (1, 1)],
    ids=lambda param: f"br_netfilter={param[0]} rp_filter={param[1]}",
)
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    br_netfilter, rp_filter = request.param
    with leaving_nothing(), World() as world:
        set_bridge_netfilter(world.host, br_netfilter)
        for link in ("all", "default", "eth0", "eth1"):
            world.host.sysctl(f"net/ipv4/conf/{link}/rp_filter", rp_filter)
        with site_of(world) as site:
            yield Net(world, site)


# --- container → container, same bridge ------------------------------------------------------------------------------


def test_containers_of_a_bridge_reach_each_other(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        yield ask(net["db"], ip.at(88, 10), 80), reached("web", ip.at(88, 11))
        yield ask(net["priv"], ip.at(90, 10), 443), reached("pub", ip.at(90, 11))
        yield ask(net["iso"], ip.at(91, 11), 80), reached("iso2", ip.at(91, 10))
        yield ask(net["vm1"], ip.vm2, 80), reached("vm2", ip.vm1)
        yield ping(net["db"], ip.at(88, 10)), PONG

    net.hold(cells)


def test_containers_of_a_bridge_with_icc_false_do_not_reach_each_other(net: Net) -> None:
    def probes(ip: Family, ask: Ask) -> Iterator[Probe]:
        yield ask(net["pa"], ip.at(92, 11), 80)
        yield ask(net["pb"], ip.at(92, 10), 80)
        yield ask(net["pb"], ip.at(92, 10), 443)
        yield ask(net["qa"], ip.at(93, 11), 80)
        yield ask(net["qb"], ip.at(93, 10), 80)
        yield ping(net["pa"], ip.at(92, 11))
        yield ping(net["qa"], ip.at(93, 11))

    net.silent(probes)


def test_icc_false_leaves_published_ports_open_also_on_the_same_bridge(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        for address in (ip.host, ip.second, ip.on_office, ip.at(92, 1), ip.at(88, 1)):
            yield ask(net["pa"], address, 8202), reached("pb", ip.at(92, 1))
            yield ask(net["pb"], address, 8201), reached("pa", ip.at(92, 1))
            yield ask(net["pa"], address, 8201), reached("pa", ip.at(92, 1))
            yield ask(net["pa"], address, 8080), reached("web", ip.at(88, 1))
            yield ask(net["web"], address, 8201), reached("pa", ip.at(92, 1))
        yield ask(net.world.lan, ip.host, 8201), reached("pa", ip.lan)
        yield ask(net.world.outside, ip.host, 8202), reached("pb", ip.outside)
        yield ask(net["pa"], ip.outside, 80), reached("outside", ip.host)
        yield ask(net.world.host, ip.at(92, 10), 80), reached("pa", ip.at(92, 1))

    net.hold(cells)


# --- container → outside ---------------------------------------------------------------------------------------------


def test_to_the_outside_nat_is_masqueraded_and_routed_is_not(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        for container in ("web", "db", "api", "pa"):
            yield ask(net[container], ip.outside, 80), reached("outside", ip.host)
            yield ask(net[container], ip.lan, 80), reached("lan", ip.host)
            yield ask(net[container], ip.office, 80), reached("office", ip.on_office)
        for container in ("pub", "priv"):
            yield ask(net[container], ip.outside, 80), reached("outside", ip.of(container))
            yield ask(net[container], ip.lan, 80), reached("lan", ip.of(container))
        yield ask(net["fix"], ip.outside, 80), reached("outside", ip.second)
        yield ask(net["fix"], ip.lan, 80), reached("lan", ip.second)
        yield ask(net["web"], ip.host, 22), reached("host", ip.at(88, 10))
        yield ask(net["web"], ip.lan, 5), REFUSED
        for container in ("web", "pub", "fix"):
            yield ping(net[container], ip.outside), PONG

    net.hold(cells)


def test_isolated_containers_have_no_way_out_not_even_to_the_host(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        for address in (
            ip.lan,
            ip.outside,
            ip.office,
            ip.vm1,
            *(ip.at(network, 10) for network in (87, 88, 89, 90, 92)),
        ):
            yield ask(net["iso"], address, 80), TIMEOUT
        for address in (ip.host, ip.second, ip.on_office, ip.at(91, 1), ip.at(88, 1)):
            for port in (22, 8080, 8100, 8201):
                yield ask(net["iso"], address, port), TIMEOUT
        yield ping(net["iso"], ip.outside), TIMEOUT
        yield ping(net["iso"], ip.at(91, 1)), TIMEOUT

    net.hold(cells)

    def probes(ip: Family, ask: Ask) -> Iterator[Probe]:
        for address in (ip.host, ip.lan, ip.at(88, 10)):
            yield ask(net["qa"], address, 22)
            yield ask(net["qa"], address, 80)

    net.silent(probes)


def test_the_host_reaches_its_containers_and_itself(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        yield ask(net.world.host, ip.at(91, 10), 80), reached("iso", ip.at(91, 1))
        yield ask(net.world.host, ip.at(88, 10), 80), reached("web", ip.at(88, 1))
        yield ask(net.world.host, ip.at(90, 11), 443), reached("priv", ip.at(90, 1))
        yield ask(net.world.host, ip.vm1, 80), reached("vm1", ip.on_office)
        yield ping(net.world.host, ip.at(91, 10)), PONG
        yield ask(net.world.host, ip.at(88, 1), 22), reached("host", ip.at(88, 1))

    net.hold(cells)


def test_bridged_containers_are_at_home_in_the_uplinks_network(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        yield ask(net["vm1"], ip.office, 80), reached("office", ip.vm1)
        yield ask(net.world.office, ip.vm1, 80), reached("vm1", ip.office)
        yield ask(net.world.office, ip.on_office, 22), reached("host", ip.office)
        yield ask(net.world.lan, ip.vm1, 80), reached("vm1", ip.lan)
        yield ping(net.world.office, ip.vm2), PONG

    net.hold(cells)


# --- outside → published port ----------------------------------------------------------------------------------------


def test_from_outside_a_published_port_leads_to_its_container_which_sees_the_client(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        for who, seen in ((net.world.lan, ip.lan), (net.world.outside, ip.outside)):
            for address in (ip.host, ip.second):
                yield ask(who, address, 8080), reached("web", seen)
                yield ask(who, address, 8100), reached("pub", seen)
                yield ask(who, address, 7003), reached("web", seen)
                yield ask(who, address, 9101), reached("pub", seen)
                yield ask(who, address, 8091), reached("dual", seen)
            yield ask(who, ip.second, 8500), reached("web", seen)
        yield ask(net.world.office, ip.on_office, 8080), reached("web", ip.office)
        yield ask(net["vm1"], ip.on_office, 8080), reached("web", ip.vm1)

    net.hold(cells)


def test_what_is_not_published_is_refused(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        for port in (80, 443, 6999, 7011, 8081, 9103):
            yield ask(net.world.lan, ip.host, port), REFUSED
        yield ask(net.world.lan, ip.host, 7005), REFUSED  # by the container, where nothing listens
        yield ask(net.world.lan, ip.host, 22), reached("host", ip.lan)

    net.hold(cells)


def test_published_on_one_host_address_and_asked_on_another_it_is_refused(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        for who in (net.world.lan, net.world.outside, net.world.host, net["db"], net["web"], net["pub"]):
            yield ask(who, ip.host, 8500), REFUSED
        yield ask(net["db"], ip.at(88, 1), 8500), REFUSED

    net.hold(cells)


# --- to the container's own address ----------------------------------------------------------------------------------


def test_who_has_a_route_from_outside_reaches_no_container_but_what_is_published_on_a_routed_bridge(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        for who, seen in (
            (net.world.lan, ip.lan),
            (net.world.neighbour, ip.neighbour),
            (net.world.outside, ip.outside),
        ):
            for network in (87, 88, 89, 91, 92):
                yield ask(who, ip.at(network, 10), 80), TIMEOUT
                yield ping(who, ip.at(network, 10)), TIMEOUT
            for closed in (443, 7003, 8100):
                yield ask(who, ip.at(90, 10), closed), TIMEOUT
            yield ask(who, ip.at(90, 11), 80), TIMEOUT
            yield ask(who, ip.at(90, 10), 80), reached("pub", seen)
            yield ask(who, ip.at(90, 10), 7001), reached("pub", seen)
            yield ping(who, ip.at(90, 10)), PONG
            yield ping(who, ip.at(90, 11)), PONG

    net.hold(cells)


def test_from_another_bridge_a_container_is_reached_only_if_routed_and_published(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        for name in ("web", "api", "fix", "pub", "pa", "vm1"):
            for network in (87, 88, 89, 91, 92):
                if name == "vm1" or network != HOME[name][0]:
                    yield ask(net[name], ip.at(network, 10), 80), TIMEOUT
                    yield ping(net[name], ip.at(network, 10)), TIMEOUT
            if name != "pub":
                yield ask(net[name], ip.at(90, 10), 80), reached("pub", ip.of(name))
                yield ask(net[name], ip.at(90, 10), 443), TIMEOUT
                yield ask(net[name], ip.at(90, 11), 80), TIMEOUT
                yield ping(net[name], ip.at(90, 11)), PONG
            if name != "vm1":
                yield ask(net[name], ip.vm1, 80), TIMEOUT
                yield ping(net[name], ip.vm1), TIMEOUT

    net.hold(cells)


# --- published ports, from here --------------------------------------------------------------------------------------


def test_published_ports_are_reached_on_any_host_address_by_the_host_any_container_and_itself(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        gateways = (ip.at(88, 1), ip.at(89, 1), ip.at(90, 1))
        for address in (ip.host, ip.second, ip.on_office, *gateways):
            for name in ("web", "db", "api", "fix", "pub", "pa"):
                yield ask(net[name], address, 8080), reached("web", ip.at(88, 1))
            for name in ("web", "api", "fix", "pub", "priv", "pa"):
                yield ask(net[name], address, 8100), reached("pub", ip.at(90, 1))
            yield ask(net["web"], address, 7003), reached("web", ip.at(88, 1))
            yield ask(net["vm1"], address, 8080), reached("web", ip.vm1)
            # dual is on web's bridge too, and must not answer there.
            yield ask(net["web"], address, 8091), reached("dual", ip.at(89, 1))
            own = ip.own_source(address)
            yield ask(net.world.host, address, 8080), reached("web", ip.at(88, 1) if address in gateways else own)
            yield ask(net.world.host, address, 8100), reached("pub", ip.at(90, 1) if address in gateways else own)
        yield ask(net["db"], ip.second, 8500), reached("web", ip.at(88, 1))
        yield ask(net.world.host, ip.second, 8500), reached("web", ip.own_source(ip.second))

    net.hold(cells)


# --- loopback --------------------------------------------------------------------------------------------------------


def test_the_host_reaches_published_ports_on_127_0_0_1_and_keeps_its_own(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        host = net.world.host
        for port in (8080, 8443, 7003):
            yield ask(host, "127.0.0.1", port), reached("web", "10.88.0.1")
        yield ask(host, "127.0.0.1", 8100), reached("pub", "10.90.0.1")
        yield ask(host, "127.0.0.1", 8201), reached("pa", "10.92.0.1")
        yield ask(host, "127.0.1.1", 8080), reached("web", "10.88.0.1")
        yield ask(host, "127.0.0.2", 8443), REFUSED
        yield ask(host, "127.0.0.1", 631), reached("host", "127.0.0.1")
        yield ask(host, "127.0.0.53", 8080), reached("stub", "127.0.0.1")
        yield ask(host, "::1", 8080), REFUSED

    net.hold(cells, V4)


def test_what_is_published_on_loopback_is_for_this_host_alone(net: Net) -> None:
    def cells(ip: Family, ask: Ask) -> Cells:
        for port in (8080, 8443, 7003, 8100, 631):
            yield ask(net.world.neighbour, "127.0.0.1", port), TIMEOUT
            yield ask(net["evil"], "127.0.0.1", port), TIMEOUT
        yield ask(net.world.lan, ip.host, 8443), REFUSED
        yield ask(net["db"], ip.at(88, 1), 8443), REFUSED

    net.hold(cells, V4)
