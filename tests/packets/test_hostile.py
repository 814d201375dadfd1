"""What an attacker sends who keeps to no rules: forged sources, segments without a connection, frames straight to a neighbour's MAC."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.packets.site import Site, link
from tests.packets.world import DROP_PATIENCE, PATIENCE, RESEND, Namespace, World, checksum

SITE = """
version: 1
bridges:
  br-a:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web: {addresses: [10.88.0.10, "fd00:88::10"], ports: ["8080:80/sctp"]}
      db: {addresses: [10.88.0.11, "fd00:88::11"]}
  br-i:
    mode: isolated
    addresses: [10.91.0.1/24, "fd00:91::1/64"]
    containers:
      iso:
        addresses: [10.91.0.10, "fd00:91::10"]
        routes: [{to: 0.0.0.0/0, via: 10.91.0.1}, {to: "::/0", via: "fd00:91::1"}]
  br-p:
    addresses: [10.92.0.1/24, "fd00:92::1/64"]
    icc: false
    containers:
      pa: {addresses: [10.92.0.10, "fd00:92::10"]}
      pb: {addresses: [10.92.0.11, "fd00:92::11"]}
"""
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
LAN = ("10.99.0.2", "fd99::2")
ROUTES = tuple(
    f"route add {net} via {host}" for net, host in (("10.91.0.0/24", "10.99.0.1"), ("fd00:91::/64", "fd99::1"))
)

pytestmark = pytest.mark.usefixtures("bridge_netfilter")


@FAMILIES
def test_not_even_a_datagram_that_needs_no_answer_enters_or_leaves_an_isolated_bridge(
    site: Site, world: World, family: int
) -> None:
    site.apply(SITE)
    iso = site.container("iso")
    world.lan.ip(*ROUTES)
    inside = ("10.91.0.10", "fd00:91::10")[family]
    assert arrives(world.host, world.lan, LAN[family])
    assert arrives(world.host, iso, inside)
    assert not arrives(iso, world.lan, LAN[family])
    assert not arrives(world.lan, iso, inside)


@FAMILIES
def test_icc_false_holds_against_a_container_that_knows_its_neighbours_mac(site: Site, family: int) -> None:
    site.apply(SITE)
    for one, other, allowed in (("db", "web", True), ("pa", "pb", False)):
        origin, target = site.containers(one, other)
        address = {"web": ("10.88.0.10", "fd00:88::10"), "pb": ("10.92.0.11", "fd00:92::11")}[other][family]
        mac = link(target, "eth0")["address"]
        origin.ip(f"neigh replace {address} lladdr {mac} dev eth0 nud permanent")
        assert arrives(origin, target, address) is allowed


def test_icc_false_keeps_broadcasts_from_the_neighbours(site: Site) -> None:
    site.apply(SITE)
    for one, other, broadcast, allowed in (("db", "web", "10.88.0.255", True), ("pa", "pb", "10.92.0.255", False)):
        origin, target = site.containers(one, other)
        assert arrives(origin, target, broadcast, bound="0.0.0.0") is allowed


def test_a_source_on_loopback_forged_by_a_container_does_not_reach_the_host(site: Site, world: World) -> None:
    site.apply(SITE)
    web = site.container("web")
    world.host.sysctl("net/ipv4/conf/br-a/rp_filter", 0)
    world.host.sysctl("net/ipv4/conf/all/rp_filter", 0)
    web.sysctl("net/ipv4/conf/all/route_localnet", 1)
    web.ip("addr add 127.0.0.2/32 dev eth0")
    assert arrives(web, world.host, "10.88.0.1", source="10.88.0.10")
    assert not arrives(web, world.host, "10.88.0.1", source="127.0.0.2")


@FAMILIES
def test_a_segment_of_no_connection_does_not_leave_with_the_containers_own_address(
    site: Site, world: World, family: int
) -> None:
    """NAT does not touch what connection tracking calls invalid."""
    site.apply(SITE)
    web, target = site.container("web"), LAN[family]
    own = ("10.88.0.10", "fd00:88::10")[family]
    segment = struct.pack("!HHIIBBHHH", 1111, 2222, 1, 1, 5 << 4, 0x14, 100, 0, 0)  # ACK, RST
    version = socket.AF_INET6 if family else socket.AF_INET
    tail = struct.pack("!II", 20, socket.IPPROTO_TCP) if family else struct.pack("!BBH", 0, socket.IPPROTO_TCP, 20)
    pseudo = socket.inet_pton(version, own) + socket.inet_pton(version, target) + tail
    segment = segment[:16] + checksum(pseudo + segment) + segment[18:]
    with world.lan.socket(target, socket.SOCK_RAW, socket.IPPROTO_TCP) as ear:
        with web.socket(target, socket.SOCK_RAW, socket.IPPROTO_TCP) as mouth:
            mouth.sendto(segment, (target, 0))
            # One of the host's own arrives, so there is nothing wrong with the way.
            with world.host.socket(target, socket.SOCK_RAW, socket.IPPROTO_TCP) as control:
                control.sendto(segment, (target, 0))
        seen = [source for data, source in heard(ear) if data[-20:-16] == segment[:4]]
    assert seen == [("10.99.0.1", "fd99::1")[family]]


@pytest.mark.parametrize("target", ["10.99.0.1", "fd99::1"], ids=["v4", "v6"])
def test_an_sctp_init_for_a_published_port_arrives_translated_and_with_its_checksum_right(
    site: Site, world: World, target: str
) -> None:
    """Made by hand: translating needs no SCTP in the kernel, sockets do."""
    site.apply(SITE)
    init = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65535, 1, 1, 1)
    header = struct.pack("!HHI", 3333, 8080, 0)
    packet = header + struct.pack("<I", crc32c(header + bytes(4) + init)) + init
    with (
        site.container("web").socket(target, socket.SOCK_RAW, socket.IPPROTO_SCTP) as ear,
        world.lan.socket(target, socket.SOCK_RAW, socket.IPPROTO_SCTP) as mouth,
    ):
        for _ in range(round(PATIENCE / RESEND)):
            mouth.sendto(packet, (target, 0))
            if came := list(heard(ear)):
                break
    data, source = came[0]
    data = data[-32:]
    assert (source, struct.unpack("!H", data[2:4])[0]) == (LAN[":" in target], 80)
    assert struct.unpack("<I", data[8:12])[0] == crc32c(data[:8] + bytes(4) + data[12:])


def arrives(
    origin: Namespace, place: Namespace, address: str, *, source: str | None = None, bound: str | None = None
) -> bool:
    """Whether a datagram from `origin` to `address` arrives in `place`, which listens at `bound` (default: `address`)."""
    with place.socket(address, socket.SOCK_DGRAM) as ear, origin.socket(address, socket.SOCK_DGRAM) as mouth:
        ear.bind((bound or address, 6000))
        mouth.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if source is not None:
            mouth.bind((source, 0))
        for _ in range(2):  # the first may be lost while a link comes up
            with contextlib.suppress(OSError):
                mouth.sendto(b"in there?", (address, 6000))
            if any(True for _ in heard(ear)):
                return True
    return False


def heard(ear: socket.socket) -> Iterator[tuple[bytes, str]]:
    """What comes, with the sender's address, until nothing has come for a while."""
    ear.settimeout(DROP_PATIENCE)
    with contextlib.suppress(TimeoutError):
        while True:
            data, source = ear.recvfrom(2048)
            yield data, source[0]


def crc32c(data: bytes) -> int:
    """The checksum of SCTP (RFC 9260, appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
