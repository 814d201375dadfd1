"""Links: sizes, MACs, uplinks, machines behind a TAP device, containers given by their process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packets.site import Site, link
from tests.packets.world import (
    PATIENCE,
    PONG,
    REFUSED,
    UNREACHABLE,
    Namespace,
    Probe,
    World,
    checksum,
    mismatches,
    reached,
)

FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
ANY, HOST, LAN = ("0.0.0.0", "::"), ("10.99.0.1", "fd99::1"), ("10.99.0.2", "fd99::2")


def file(bridge: str = "", containers: str = "web: {}, db: {}", more: str = "") -> str:
    """A file with one bridge, a few keys of it, and containers in YAML's short form."""
    return f"""
version: 1
bridges:
  br-a:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    {bridge}
    containers: {{{containers}}}
{more}
"""


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mtu", [1400, 9000])
def test_the_bridges_mtu_is_that_of_all_links_on_it(site: Site, world: World, mtu: int) -> None:
    site.apply(file(f"mtu: {mtu}"))
    assert link(world.host, "br-a")["mtu"] == mtu
    assert [link(inside, "eth0")["mtu"] for inside in site.containers("web", "db")] == [mtu, mtu]
    ports = [item for item in links(world.host) if item.get("master") == "br-a"]
    assert [item["mtu"] for item in ports] == [mtu, mtu]


def test_an_mtu_changes_in_place(site: Site, world: World) -> None:
    site.apply(file("mtu: 1400"))
    before = link(world.host, "br-a")["ifindex"], link(site.container("web"), "eth0")["ifindex"]
    site.apply(file("mtu: 9000"))
    after = link(world.host, "br-a")["ifindex"], link(site.container("web"), "eth0")["ifindex"]
    assert before == after
    assert link(site.container("web"), "eth0")["mtu"] == 9000


def test_a_container_may_have_an_mtu_of_its_own(site: Site, world: World) -> None:
    site.apply(file("mtu: 9000", "web: {mtu: 1400}, db: {}"))
    assert link(site.container("web"), "eth0")["mtu"] == 1400
    assert link(site.container("db"), "eth0")["mtu"] == 9000
    assert link(world.host, "br-a")["mtu"] == 9000


@pytest.mark.parametrize("mtu", [1400, 9000])
def test_what_fits_passes_in_one_piece_and_what_does_not_fit_is_refused(site: Site, mtu: int) -> None:
    site.apply(file(f"mtu: {mtu}"))
    web, db = site.containers("web", "db")
    db.serve("udp", "0.0.0.0", 80)
    target = "10.88.0.3"
    assert mismatches([(Probe(web, "udp", target, 80), reached("db", "10.88.0.2"))]) == []
    headers = 20 + 8  # IPv4 and UDP
    assert echoed(web, target, b"x" * (mtu - headers))
    assert not echoed(web, target, b"x" * (mtu - headers + 1))


def test_a_path_narrower_than_the_client_thinks_is_found_out(site: Site, world: World) -> None:
    """The host says so (ICMP, fragmentation needed), with the address that the client had asked."""
    site.apply(file("mtu: 1400", 'web: {ports: ["8080:80/udp"]}'))
    site.container("web").serve("udp", "0.0.0.0", 80)
    assert mismatches([(Probe(world.lan, "udp", "10.99.0.1", 8080), reached("web", "10.99.0.2"))]) == []
    assert echoed(world.lan, "10.99.0.1", b"x" * (1400 - 28), port=8080)
    assert not echoed(world.lan, "10.99.0.1", b"x" * (1400 - 27), port=8080)


def echoed(origin: Namespace, address: str, payload: bytes, port: int = 80) -> bool:
    """Whether a datagram that must not be fragmented is answered; False when someone says that it is too long."""
    ip_mtu_discover, ip_pmtudisc_do = 10, 2  # linux/in.h
    with origin.socket(address, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.setsockopt(socket.IPPROTO_IP, ip_mtu_discover, ip_pmtudisc_do)
        client.connect((address, port))
        try:
            client.send(payload)
            return bool(client.recv(100))
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            return False


# --- MACs ------------------------------------------------------------------------------------------------------------


def test_the_bridges_mac_stays_as_ports_come_and_go(site: Site, world: World) -> None:
    site.apply(file(containers=""))
    macs = {link(world.host, "br-a")["address"]}
    low = "web: {mac: '02:00:00:00:00:01'}"
    for containers in (low, f"{low}, db: {{}}", "db: {}", "", "x1: {}, x2: {}, x3: {}, x4: {}"):
        site.apply(file(containers=containers))
        macs.add(link(world.host, "br-a")["address"])
    assert len(macs) == 1


def test_a_mac_of_the_file_is_the_bridges_and_the_containers(site: Site, world: World) -> None:
    site.apply(file("mac: 02:00:00:00:aa:01", "web: {mac: '02:00:00:00:aa:02'}"))
    assert link(world.host, "br-a")["address"] == "02:00:00:00:aa:01"
    assert link(site.container("web"), "eth0")["address"] == "02:00:00:00:aa:02"


def test_a_container_has_the_same_mac_after_down_and_up(site: Site) -> None:
    macs = []
    for _ in range(2):
        site.apply(file())
        macs.append([link(inside, "eth0")["address"] for inside in site.containers("web", "db")])
        site.down()
    assert macs[0] == macs[1]
    assert len(set(macs[0])) == 2


# --- several bridges -------------------------------------------------------------------------------------------------

TWO = """
version: 1
bridges:
  br-a:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web: {addresses: [10.88.0.10, "fd00:88::10"], ports: [8080:80, 8080:80/udp]}
      both: {addresses: [10.88.0.20, "fd00:88::20"], CHOICE_A}
  br-b:
    addresses: [10.89.0.1/24, "fd00:89::1/64"]
    containers:
      api: {addresses: [10.89.0.10, "fd00:89::10"], ports: [8090:80, 8090:80/udp]}
      both: {addresses: [10.89.0.20, "fd00:89::20"], CHOICE_B}
"""


def two(default: str = "br-a") -> str:
    """Two bridges, and a container on both with its default route by `default`."""
    a, b = ("true", "false") if default == "br-a" else ("false", "true")
    return TWO.replace("CHOICE_A", f"default_route: {a}").replace("CHOICE_B", f"default_route: {b}")


def routed(text: str) -> str:
    """The file with its bridges routed."""
    return text.replace("    addresses: [10.8", "    mode: routed\n    addresses: [10.8")


@FAMILIES
def test_two_bridges_serve_each_other_under_strict_reverse_path_filtering(
    site: Site, world: World, bridge_netfilter: int, family: int
) -> None:
    for scope in ("all", "default", "eth0"):
        world.host.sysctl(f"net/ipv4/conf/{scope}/rp_filter", 1)
    site.apply(two())
    web, api, both = site.containers("web", "api", "both")
    for inside in (web, api):
        for protocol in ("tcp", "udp"):
            inside.serve(protocol, ANY[family], 80)
    at_a, at_b = ("10.88.0.1", "fd00:88::1")[family], ("10.89.0.1", "fd00:89::1")[family]
    expected = [
        (Probe(origin, protocol, address, port), answer)
        for protocol in ("tcp", "udp")
        for address in (HOST[family], at_a, at_b)
        for origin, port, answer in (
            (web, 8090, reached("api", at_b)),
            (api, 8080, reached("web", at_a)),
            (both, 8090, reached("api", at_b)),
            (both, 8080, reached("web", at_a)),
        )
    ]
    assert mismatches(expected) == []


@FAMILIES
def test_a_container_on_two_bridges_has_two_interfaces_and_leaves_by_the_chosen_one(
    site: Site, world: World, family: int
) -> None:
    addresses = {"br-a": ("10.88.0.20", "fd00:88::20"), "br-b": ("10.89.0.20", "fd00:89::20")}
    world.lan.serve("tcp", LAN[family], 80)
    world.lan.ip(*(f"route add 10.{network}.0.0/24 via 10.99.0.1" for network in (88, 89)))
    world.lan.ip(*(f"route add fd00:{network}::/64 via fd99::1" for network in (88, 89)))
    for default in ("br-a", "br-b", "br-a"):
        site.apply(routed(two(default)))
        both = site.container("both")
        assert {item["ifname"] for item in links(both)} == {"lo", "eth0", "eth1"}
        expected = reached("lan", addresses[default][family])
        assert mismatches([(Probe(both, "tcp", LAN[family], 80), expected)]) == []
    assert mismatches([(Probe(site.container("both"), "icmp", ("10.89.0.10", "fd00:89::10")[family]), PONG)]) == []


# --- uplinks ---------------------------------------------------------------------------------------------------------

BRIDGED = """
version: 1
bridges:
  br0:
    mode: bridged
    uplinks: [eth1]
    containers:
      vm1: {addresses: [10.98.0.50/24, "fd98::50/64"]}
"""


@FAMILIES
def test_guests_are_on_the_uplinks_network_through_a_bridge_without_an_address(
    site: Site, world: World, family: int
) -> None:
    site.apply(BRIDGED)
    vm1 = site.container("vm1")
    vm1.serve("tcp", ANY[family], 80)
    expected = reached("vm1", ("10.98.0.2", "fd98::2")[family])
    assert mismatches([(Probe(world.office, "tcp", ("10.98.0.50", "fd98::50")[family], 80), expected)]) == []


def test_an_uplink_is_given_back_when_it_leaves_the_file(site: Site, world: World) -> None:
    mine = link(world.host, "eth1")
    site.apply(BRIDGED)
    assert link(world.host, "eth1")["master"] == "br0"
    site.apply(BRIDGED.replace("    uplinks: [eth1]\n", ""))
    assert "master" not in link(world.host, "eth1")
    site.apply(BRIDGED)
    assert link(world.host, "eth1")["master"] == "br0"
    site.down()
    given_back = link(world.host, "eth1")
    assert "master" not in given_back
    assert [given_back[key] for key in ("ifindex", "address", "mtu")] == [
        mine[key] for key in ("ifindex", "address", "mtu")
    ]


def test_a_bridge_waits_for_its_uplink_and_takes_it_when_it_is_there(site: Site, world: World) -> None:
    text = BRIDGED.replace("eth1", "late0")
    assert site.apply(text).pending
    world.host.ip("link add late0 type veth peer name late1")
    assert site.apply(text).pending == ()
    assert link(world.host, "late0")["master"] == "br0"
    world.host.ip("link del late0")


# --- TAP devices -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def machine(host: Namespace, name: str) -> Iterator[int]:
    """What a virtual machine holds: a descriptor of the TAP device `name`, to read and write frames."""
    try:
        with host.entered():
            tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"/dev/net/tun: {error.strerror}")
    try:
        tunsetiff, iff_tap, iff_no_pi = 0x400454CA, 0x2, 0x1000  # linux/if_tun.h
        with host.entered():
            fcntl.ioctl(tun, tunsetiff, struct.pack("16sH22x", name.encode(), iff_tap | iff_no_pi))
        yield tun
    finally:
        os.close(tun)


def datagram(source: tuple[str, str, int], target: tuple[str, str, int], payload: bytes) -> bytes:
    """An Ethernet frame with a UDP datagram; the ends are (MAC, IPv4 address, port)."""
    (from_mac, from_ip, from_port), (to_mac, to_ip, to_port) = source, target
    udp = struct.pack("!HHHH", from_port, to_port, 8 + len(payload), 0) + payload  # no checksum: 0 (RFC 768)
    ends = socket.inet_aton(from_ip) + socket.inet_aton(to_ip)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + ends
    ip = ip[:10] + checksum(ip) + ip[12:]
    return bytes.fromhex((to_mac + from_mac).replace(":", "")) + struct.pack("!H", 0x0800) + ip + udp


@pytest.fixture
def tun() -> None:
    """Skips where TAP devices cannot be made."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        pytest.skip(f"/dev/net/tun: {error.strerror}")


def test_a_frame_of_a_virtual_machine_reaches_a_container_on_the_bridge(tun: None, site: Site, world: World) -> None:
    site.apply(file(containers="web: {addresses: [10.88.0.10]}, vm1: {attach: {tap: vnet0}}"))
    web = site.container("web")
    assert link(world.host, "vnet0")["master"] == "br-a"
    with machine(world.host, "vnet0") as frames, web.socket("10.88.0.10", socket.SOCK_DGRAM) as ear:
        ear.bind(("10.88.0.10", 7))
        ear.settimeout(PATIENCE)
        to = (link(web, "eth0")["address"], "10.88.0.10", 7)
        os.write(frames, datagram(("02:00:00:00:00:77", "10.88.0.77", 7777), to, b"from within"))
        assert ear.recvfrom(100) == (b"from within", ("10.88.0.77", 7777))


def test_a_port_of_a_virtual_machine_is_published_at_the_address_that_the_file_says(
    tun: None, site: Site, world: World
) -> None:
    site.apply(file(containers='vm1: {attach: {tap: vnet0}, addresses: [10.88.0.77], ports: ["8080:80/udp"]}'))
    with machine(world.host, "vnet0") as frames, world.lan.socket("10.99.0.1", socket.SOCK_DGRAM) as client:
        world.host.ip("neigh replace 10.88.0.77 lladdr 02:00:00:00:00:77 dev br-a nud permanent")
        client.connect(("10.99.0.1", 8080))
        frame, last = b"", time.monotonic() + PATIENCE
        while not frame.endswith(b"who is there?"):
            assert time.monotonic() < last
            client.send(b"who is there?")  # again and again: the bridge learns of the machine's carrier a little later
            while select.select([frames], [], [], 0.1)[0] and not frame.endswith(b"who is there?"):
                frame = os.read(frames, 2048)
        assert frame[:6] == bytes.fromhex("020000000077")
        assert socket.inet_ntoa(frame[26:30]) == "10.99.0.2"
        assert struct.unpack("!H", frame[36:38]) == (80,)


# --- containers given by their process -------------------------------------------------------------------------------


@contextlib.contextmanager
def process() -> Iterator[int]:
    """The pid of a process with a network namespace of its own."""
    command = ["unshare", "--net", "sh", "-c", "echo ready; read end"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "ready\n"
        yield child.pid
        child.stdin.write("end\n")
        child.stdin.close()


def test_a_process_is_given_an_interface_and_is_reached_by_its_port(site: Site, world: World) -> None:
    with process() as pid:
        site.apply(file(containers=f'web: {{attach: {{pid: {pid}}}, ports: ["8080:80"]}}'))
        inside = world.opened(f"/proc/{pid}/ns/net", "web")
        assert {item["ifname"] for item in links(inside)} == {"lo", "eth0"}
        inside.serve("tcp", "0.0.0.0", 80)
        assert mismatches([(Probe(world.lan, "tcp", "10.99.0.1", 8080), reached("web", "10.99.0.2"))]) == []
        site.down()
        assert {item["ifname"] for item in links(inside)} == {"lo"}
        assert Path(f"/proc/{pid}").exists()


def test_a_container_of_a_process_that_is_not_there_waits_and_the_others_do_not(site: Site, world: World) -> None:
    with process() as gone:
        pass
    text = 'web: {{attach: {{pid: {pid}}}, ports: ["8080:80"]}}, db: {{addresses: [10.88.0.11], ports: ["8081:80"]}}'
    plan = site.apply(file(containers=text.format(pid=gone)))
    assert {str(item.missing.name) for item in plan.pending} == {f"pid:{gone}"}
    site.container("db").serve("tcp", "0.0.0.0", 80)
    expected = [
        (Probe(world.lan, "tcp", "10.99.0.1", 8081), reached("db", "10.99.0.2")),
        # Its port is closed as long.
        (Probe(world.lan, "tcp", "10.99.0.1", 8080), REFUSED),
    ]
    assert mismatches(expected) == []
    with process() as pid:
        assert site.apply(file(containers=text.format(pid=pid))).pending == ()
        world.opened(f"/proc/{pid}/ns/net", "web").serve("tcp", "0.0.0.0", 80)
        assert mismatches([(Probe(world.lan, "tcp", "10.99.0.1", 8080), reached("web", "10.99.0.2"))]) == []


def test_when_the_process_ends_its_port_closes_with_the_next_run(site: Site, world: World) -> None:
    with process() as pid:
        text = file(containers=f'web: {{attach: {{pid: {pid}}}, ports: ["8080:80"]}}')
        site.apply(text)
    plan = site.apply(text)
    assert plan.pending
    assert mismatches([(Probe(world.lan, "tcp", "10.99.0.1", 8080), REFUSED)]) == []


# --- inside ----------------------------------------------------------------------------------------------------------


def test_routes_of_the_file_are_followed_inside(site: Site, world: World) -> None:
    site.apply(file(containers="""web: {default_route: false, routes: [{to: 10.99.0.0/24, via: 10.88.0.1}]}"""))
    world.lan.serve("tcp", "10.99.0.2", 80)
    world.outside.serve("tcp", "192.0.2.1", 80)
    web = site.container("web")
    expected = [
        (Probe(web, "tcp", "10.99.0.2", 80), reached("lan", "10.99.0.1")),
        (Probe(web, "tcp", "192.0.2.1", 80), UNREACHABLE),
    ]
    assert mismatches(expected) == []


def test_sysctls_of_the_file_hold_inside_and_nowhere_else(site: Site, world: World) -> None:
    site.apply(file(containers="web: {sysctls: {net.ipv4.ip_unprivileged_port_start: 80}}, db: {}"))
    name = "net/ipv4/ip_unprivileged_port_start"
    web, db = site.containers("web", "db")
    assert [place.sysctl(name) for place in (web, db, world.host)] == ["80", "1024", "1024"]


def links(namespace: Namespace) -> list[dict[str, object]]:
    """What ip-link(8) says of all links."""
    found: list[dict[str, object]] = json.loads(namespace.run("ip", "-json", "-details", "link", "show"))
    return found
