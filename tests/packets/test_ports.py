"""Published ports, one by one: which address, which number, which protocol, and what becomes of whom it is not for."""

from __future__ import annotations

import contextlib
import errno
import socket

import pytest

from tests.packets.site import Site
from tests.packets.world import PATIENCE, REFUSED, TIMEOUT, Probe, Protocol, World, mismatches, reached

FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])
HOST, SECOND, LAN = ("10.99.0.1", "fd99::1"), ("10.99.0.4", "fd99::4"), ("10.99.0.2", "fd99::2")
GATEWAY, ANY = ("10.88.0.1", "fd00:88::1"), ("0.0.0.0", "::")


def bridge(*containers: str, more: str = "") -> str:
    """A file with one nat bridge of both families and these containers."""
    lines = "\n      ".join(containers)
    return f"""
version: 1
bridges:
  br-a:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    {more}
    containers:
      {lines}
"""


def web(*ports: str) -> str:
    """The container web, of both families, with these ports."""
    quoted = ", ".join(f'"{port}"' for port in ports)
    return f'web: {{addresses: [10.88.0.10, "fd00:88::10"], ports: [{quoted}]}}'


DB = 'db: {addresses: [10.88.0.11, "fd00:88::11"]}'


@FAMILIES
@PROTOCOLS
def test_a_container_reaches_itself_by_its_published_port(
    site: Site, bridge_netfilter: int, protocol: Protocol, family: int
) -> None:
    site.apply(bridge(web(f"8080:80/{protocol}")))
    inside = site.container("web")
    inside.serve(protocol, ANY[family], 80)
    expected = reached("web", GATEWAY[family])
    asked = [Probe(inside, protocol, address[family], 8080) for address in (HOST, SECOND, GATEWAY)]
    assert mismatches((probe, expected) for probe in asked) == []


@FAMILIES
@PROTOCOLS
def test_the_container_sees_the_clients_address_and_the_client_the_hosts(
    site: Site, world: World, protocol: Protocol, family: int
) -> None:
    site.apply(bridge(web(f"8080:80/{protocol}")))
    site.container("web").serve(protocol, ANY[family], 80)
    outside = ("192.0.2.1", "2001:db8:2::1")[family]
    expected = [
        # A connected socket takes an answer from no other address than the one that it asked.
        (Probe(world.lan, protocol, HOST[family], 8080), reached("web", LAN[family])),
        (Probe(world.outside, protocol, HOST[family], 8080), reached("web", outside)),
    ]
    assert mismatches(expected) == []


@PROTOCOLS
def test_one_port_on_two_host_addresses_leads_to_two_containers(site: Site, world: World, protocol: Protocol) -> None:
    site.apply(
        bridge(
            web(f"10.99.0.1:80:80/{protocol}", f"[fd99::1]:80:80/{protocol}"),
            DB.replace("}", f', ports: ["10.99.0.4:80:80/{protocol}", "[fd99::4]:80:80/{protocol}"]}}'),
        )
    )
    for container in site.containers("web", "db"):
        for address in ANY:
            container.serve(protocol, address, 80)
    expected = [
        (Probe(world.lan, protocol, address[family], 80), reached(name, LAN[family]))
        for family in (0, 1)
        for address, name in ((HOST, "web"), (SECOND, "db"))
    ]
    assert mismatches(expected) == []


def test_tcp_and_udp_of_one_number_go_their_own_ways(site: Site, world: World) -> None:
    site.apply(bridge(web("53:53/udp"), DB.replace("}", ', ports: ["53:53/tcp"]}')))
    for container in site.containers("web", "db"):
        for protocol in ("tcp", "udp"):
            container.serve(protocol, "0.0.0.0", 53)
    expected = [
        (Probe(world.lan, "udp", "10.99.0.1", 53), reached("web", "10.99.0.2")),
        (Probe(world.lan, "tcp", "10.99.0.1", 53), reached("db", "10.99.0.2")),
    ]
    assert mismatches(expected) == []


@FAMILIES
def test_a_range_of_20000_ports_is_one_element_and_each_number_leads_to_its_like(
    site: Site, world: World, family: int
) -> None:
    site.apply(bridge(web("20000-39999:20000-39999/udp")))
    assert site.elements(f"by_any_range{(4, 6)[family]}") == 1
    assert site.elements(f"by_any{(4, 6)[family]}") == 0
    served = (20000, 29000, 39999)
    for port in served:
        site.container("web").serve("udp", ANY[family], port, name=f"web{port}")
    expected = [(Probe(world.lan, "udp", HOST[family], port), reached(f"web{port}", LAN[family])) for port in served]
    world.host.serve("udp", ANY[family], 19999)
    expected += [
        (Probe(world.lan, "udp", HOST[family], 19999), reached("host", LAN[family])),
        (Probe(world.lan, "udp", HOST[family], 40000), REFUSED),
        (Probe(world.lan, "tcp", HOST[family], 20000), REFUSED),
    ]
    assert mismatches(expected) == []


@FAMILIES
@PROTOCOLS
def test_a_range_on_one_host_address_is_for_that_alone(
    site: Site, world: World, protocol: Protocol, family: int
) -> None:
    address = ("10.99.0.4", "[fd99::4]")[family]
    site.apply(bridge(web(f"{address}:7000-7010:7000-7010/{protocol}")))
    assert site.elements(f"by_address_range{(4, 6)[family]}") == 1
    site.container("web").serve(protocol, ANY[family], 7005)
    expected = [
        (Probe(world.lan, protocol, SECOND[family], 7005), reached("web", LAN[family])),
        (Probe(world.lan, protocol, HOST[family], 7005), REFUSED),
    ]
    assert mismatches(expected) == []


@FAMILIES
@PROTOCOLS
def test_a_range_that_shifts_its_numbers_leads_one_to_one(
    site: Site, world: World, protocol: Protocol, family: int
) -> None:
    site.apply(bridge(web(f"8000-8004:9000-9004/{protocol}")))
    for offset in range(5):
        site.container("web").serve(protocol, ANY[family], 9000 + offset, name=f"web{offset}")
    expected = [
        (Probe(world.lan, protocol, HOST[family], 8000 + offset), reached(f"web{offset}", LAN[family]))
        for offset in range(5)
    ]
    expected += [(Probe(world.lan, protocol, HOST[family], port), REFUSED) for port in (7999, 8005, 9000)]
    assert mismatches(expected) == []


@PROTOCOLS
@pytest.mark.parametrize("published", [0, 1], ids=["v4", "v6"])
def test_a_wildcard_of_one_family_leaves_the_other_to_the_hosts_own_service(
    site: Site, world: World, protocol: Protocol, published: int
) -> None:
    site.apply(bridge(web(f"{('0.0.0.0', '[::]')[published]}:8080:80/{protocol}")))
    for address in ANY:
        site.container("web").serve(protocol, address, 80)
        world.host.serve(protocol, address, 8080)
    expected = [
        (Probe(world.lan, protocol, HOST[family], 8080), reached(("host", "web")[family == published], LAN[family]))
        for family in (0, 1)
    ]
    assert mismatches(expected) == []


@pytest.mark.parametrize("own", [0, 1], ids=["v4", "v6"])
def test_a_port_without_a_host_address_is_published_in_those_families_alone_that_the_container_has(
    site: Site, world: World, own: int
) -> None:
    address = ("10.88.0.10", "fd00:88::10")[own]
    site.apply(bridge(f'web: {{addresses: ["{address}"], ports: ["8080:80"]}}'))
    site.container("web").serve("tcp", ANY[own], 80)
    for any in ANY:
        world.host.serve("tcp", any, 8080)
    expected = [
        (Probe(world.lan, "tcp", HOST[family], 8080), reached(("host", "web")[family == own], LAN[family]))
        for family in (0, 1)
    ]
    assert mismatches(expected) == []


@PROTOCOLS
def test_the_host_reaches_published_ports_on_127_0_0_1(
    site: Site, world: World, bridge_netfilter: int, protocol: Protocol
) -> None:
    site.apply(bridge(web(f"8080:80/{protocol}", f"127.0.0.1:8443:443/{protocol}", f"7000-7001:7000-7001/{protocol}")))
    for port in (80, 443, 7001):
        site.container("web").serve(protocol, "0.0.0.0", port)
    expected = [
        (Probe(world.host, protocol, "127.0.0.1", port), reached("web", "10.88.0.1")) for port in (8080, 8443, 7001)
    ]
    expected.append((Probe(world.host, protocol, "10.99.0.1", 8443), REFUSED))
    assert mismatches(expected) == []


@PROTOCOLS
@pytest.mark.parametrize("everywhere", [0, 1], ids=lambda value: f"route_localnet={value}")
def test_a_neighbour_that_routes_127_0_0_0_at_us_reaches_nothing_that_is_published(
    site: Site, world: World, protocol: Protocol, everywhere: int
) -> None:
    """Also where the administrator has route_localnet on all interfaces, as kube-proxy does."""
    world.host.sysctl("net/ipv4/conf/all/route_localnet", everywhere)
    site.apply(bridge(web(f"8080:80/{protocol}", f"127.0.0.1:8443:443/{protocol}")))
    for port in (80, 443):
        site.container("web").serve(protocol, "0.0.0.0", port)
    world.neighbour.route_loopback_to("10.99.0.1")
    expected = [(Probe(world.neighbour, protocol, "127.0.0.1", port), TIMEOUT) for port in (8080, 8443)]
    expected.append((Probe(world.host, protocol, "127.0.0.1", 8443), reached("web", "10.88.0.1")))
    assert mismatches(expected) == []


@FAMILIES
@PROTOCOLS
def test_published_on_one_address_and_asked_on_another_it_is_refused(
    site: Site, world: World, protocol: Protocol, family: int
) -> None:
    address = ("10.99.0.4", "[fd99::4]")[family]
    site.apply(bridge(web(f"{address}:8500:80/{protocol}"), DB))
    site.container("web").serve(protocol, ANY[family], 80)
    expected = [
        (Probe(world.lan, protocol, SECOND[family], 8500), reached("web", LAN[family])),
        (Probe(world.lan, protocol, HOST[family], 8500), REFUSED),
        (Probe(world.host, protocol, HOST[family], 8500), REFUSED),
        (Probe(site.container("db"), protocol, HOST[family], 8500), REFUSED),
    ]
    assert mismatches(expected) == []


def test_host_ip_is_the_address_of_ports_that_name_none(site: Site, world: World) -> None:
    site.apply(bridge(web("8080:80", "10.99.0.1:8081:80"), more='host_ip: [10.99.0.4, "fd99::4"]'))
    for address in ANY:
        site.container("web").serve("tcp", address, 80)
    expected = [
        (Probe(world.lan, "tcp", "10.99.0.4", 8080), reached("web", "10.99.0.2")),
        (Probe(world.lan, "tcp", "fd99::4", 8080), reached("web", "fd99::2")),
        (Probe(world.lan, "tcp", "10.99.0.1", 8080), REFUSED),
        (Probe(world.lan, "tcp", "fd99::1", 8080), REFUSED),
        (Probe(world.lan, "tcp", "10.99.0.1", 8081), reached("web", "10.99.0.2")),
        (Probe(world.lan, "tcp", "10.99.0.4", 8081), REFUSED),
    ]
    assert mismatches(expected) == []


@PROTOCOLS
def test_snat_gives_what_leaves_a_fixed_source_and_back(site: Site, world: World, protocol: Protocol) -> None:
    wish = bridge(web(), more='snat: [10.99.0.4, "fd99::4"]')
    inside = None
    for text, sources in ((wish, SECOND), (bridge(web()), HOST), (wish, SECOND)):
        site.apply(text)
        if inside is None:
            inside = site.container("web")
            for address in LAN:
                world.lan.serve(protocol, address, 80)
        expected = [(Probe(inside, protocol, LAN[family], 80), reached("lan", sources[family])) for family in (0, 1)]
        assert mismatches(expected) == []


def test_snat_leaves_published_ports_and_their_clients_alone(site: Site, world: World) -> None:
    site.apply(bridge(web("8080:80"), more='snat: [10.99.0.4, "fd99::4"]'))
    expected = []
    for family in (0, 1):
        site.container("web").serve("tcp", ANY[family], 80)
        expected.append((Probe(world.lan, "tcp", HOST[family], 8080), reached("web", LAN[family])))
    assert mismatches(expected) == []


def test_a_port_leads_to_the_first_address_of_a_container_with_several(site: Site, world: World) -> None:
    site.apply(bridge('web: {addresses: [10.88.0.10, 10.88.0.20], ports: ["8080:80"]}'))
    inside = site.container("web")
    inside.serve("tcp", "10.88.0.10", 80, name="first")
    inside.serve("tcp", "10.88.0.20", 80, name="second")
    assert mismatches([(Probe(world.lan, "tcp", "10.99.0.1", 8080), reached("first", "10.99.0.2"))]) == []


def test_a_published_port_goes_before_the_hosts_own_service_and_gives_it_back(site: Site, world: World) -> None:
    world.host.serve("tcp", "0.0.0.0", 8080)
    for text, answers in ((bridge(web("8080:80")), "web"), (bridge(web()), "host")):
        site.apply(text)
        if answers == "web":
            site.container("web").serve("tcp", "0.0.0.0", 80)
        assert mismatches([(Probe(world.lan, "tcp", "10.99.0.1", 8080), reached(answers, "10.99.0.2"))]) == []


def test_systemd_resolved_keeps_its_addresses_under_a_container_that_publishes_53(site: Site, world: World) -> None:
    site.apply(bridge(web("53:53/udp")))
    site.container("web").serve("udp", "0.0.0.0", 53)
    for address in ("127.0.0.53", "127.0.0.54"):
        world.host.serve("udp", address, 53, name="resolved")
    expected = [
        (Probe(world.host, "udp", "127.0.0.53", 53), reached("resolved", "127.0.0.1")),
        (Probe(world.host, "udp", "127.0.0.54", 53), reached("resolved", "127.0.0.1")),
        (Probe(world.host, "udp", "127.0.0.1", 53), reached("web", "10.88.0.1")),
    ]
    assert mismatches(expected) == []


@pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
def test_sctp_is_published_as_tcp_is(site: Site, world: World, family: int) -> None:
    site.apply(bridge(web("8080:80/sctp")))
    try:
        listener = site.container("web").socket(ANY[family], socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise
        pytest.skip("this kernel has no SCTP sockets (module sctp)")
    with listener, world.lan.socket(HOST[family], socket.SOCK_STREAM, socket.IPPROTO_SCTP) as client:
        listener.bind((ANY[family], 80))
        listener.listen()
        for end in (listener, client):
            end.settimeout(PATIENCE)
        client.connect((HOST[family], 8080))
        accepted, peer = listener.accept()
        with contextlib.closing(accepted):
            assert peer[0] == LAN[family]
