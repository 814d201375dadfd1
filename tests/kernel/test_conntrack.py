"""Flows are forgotten exactly: those of a port that has changed, and no other's."""

from __future__ import annotations

import socket
import subprocess
from ipaddress import ip_address

import pytest

from reconciler.core.messages import FlushConntrack, IPAddress, Nft
from reconciler.kernel import conntrack
from reconciler.kernel.conntrack import NETFILTER, Flow, decode_flow
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.meter import Meter
from reconciler.kernel.netlink import Socket
from tests.kernel.requests import address, change, do, veth

RULES = """
add table inet t
add chain inet t o { type nat hook output priority -100; }
add rule inet t o ip daddr 10.0.0.1 udp dport 1000-1999 dnat ip to 10.0.0.2
add rule inet t o ip6 daddr fd00::1 udp dport 1000 dnat ip6 to fd00::2
add chain inet t f { type filter hook postrouting priority 300; }
add rule inet t f ct state new counter
"""

Seen = tuple[str, int]


@pytest.fixture
def world(kernel: LiveKernel) -> LiveKernel:
    """A host with 10.0.0.1 and fd00::1 and a neighbour at .2, whose ports 1000 to 1999 are translated to
    the neighbour."""
    do(kernel, veth("v0", "v1"), change("v0", up=True), change("v1", up=True))
    do(kernel, address("v0", "10.0.0.1/24"), address("v0", "fd00::1/64"), Nft(RULES))
    for neighbour in ("10.0.0.2", "fd00::2"):
        command = ["ip", "neigh", "add", neighbour, "lladdr", "02:00:00:00:00:02", "dev", "v0"]
        subprocess.run(command, check=True)
    return kernel


def send(to: str, *ports: int) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    for port in ports:
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", (to, port))


def flows() -> set[Seen]:
    with Socket(Meter(), NETFILTER) as opened:
        found = [decode_flow(chunk) for family in (2, 10) for chunk in opened.stream(0x101, bytes((family, 0, 0, 0)))]
    return {(str(item[0].destination), item[0].port) for item in found if item}


def flush(
    ports: tuple[int, int], target: str | None, to: str | None = None, version: int = 4, protocol: str = "udp"
) -> FlushConntrack:
    return FlushConntrack(
        4 if version == 4 else 6,
        protocol,
        ip_address(to) if to else None,
        ports,
        ip_address(target) if target else None,
    )


def test_translated_flows_to_the_target_go_and_others_stay(world: LiveKernel) -> None:
    send("10.0.0.1", 1000, 1001, 2000)
    send("10.0.0.2", 1000)
    assert flows() == {("10.0.0.1", 1000), ("10.0.0.1", 1001), ("10.0.0.1", 2000), ("10.0.0.2", 1000)}
    do(world, flush((1000, 1000), "10.0.0.9"), flush((1000, 1000), "10.0.0.2", protocol="tcp"))
    assert len(flows()) == 4
    do(world, flush((1000, 1000), "10.0.0.2"))
    assert flows() == {("10.0.0.1", 1001), ("10.0.0.1", 2000), ("10.0.0.2", 1000)}


def test_untranslated_flows_go_and_translated_ones_stay(world: LiveKernel) -> None:
    send("10.0.0.1", 1000, 2000)
    send("127.0.0.5", 2000, 1000)
    send("10.0.0.2", 2000)
    do(world, flush((1000, 2000), None))
    assert flows() == {("10.0.0.1", 1000), ("10.0.0.2", 2000)}


def test_an_address_narrows_it_down(world: LiveKernel) -> None:
    send("10.0.0.1", 2000)
    send("127.0.0.1", 2000)
    do(world, flush((2000, 2000), None, "127.0.0.1"))
    assert flows() == {("10.0.0.1", 2000)}
    send("10.0.0.2", 3000)
    do(world, flush((3000, 3000), None, "10.0.0.2"))
    assert ("10.0.0.2", 3000) not in flows()


def test_ranges_end_where_they_end(world: LiveKernel) -> None:
    send("10.0.0.1", 1099, 1100, 1150, 1200, 1201)
    do(world, flush((1100, 1200), "10.0.0.2"))
    assert flows() == {("10.0.0.1", 1099), ("10.0.0.1", 1201)}


def test_ipv6_is_its_own_family(world: LiveKernel) -> None:
    send("10.0.0.1", 1000)
    send("fd00::1", 1000, 2000)
    do(world, flush((1000, 1000), "fd00::2", version=6), flush((2000, 2000), None, version=6))
    assert flows() == {("10.0.0.1", 1000)}


def test_many_flushes_look_once_per_family(world: LiveKernel) -> None:
    send("10.0.0.1", *range(1000, 1100))
    do(world, *(flush((port, port), "10.0.0.2") for port in range(1000, 1100)))
    assert flows() == set()
    assert world.sent["IPCTNL_MSG_CT_GET"] == 1
    assert world.sent["IPCTNL_MSG_CT_DELETE"] == 100


def test_only_the_very_flow_that_was_seen_is_deleted(world: LiveKernel) -> None:
    """One of the same addresses and ports that has taken its place has another CTA_ID."""
    send("10.0.0.2", 1000)
    with Socket(Meter(), NETFILTER) as opened:
        wanted = conntrack.Wanted([flush((1000, 1000), None, "10.0.0.2")], lambda _: True)
        (message,) = conntrack._doomed(opened, 4, wanted)
        other = message._replace(body=message.body[:-4] + bytes(4))
        conntrack._delete(opened, [other])
        assert flows() == {("10.0.0.2", 1000)}
        conntrack._delete(opened, [message])
        assert flows() == set()


@pytest.mark.parametrize("code", [22, 93, 95])
def test_without_connection_tracking_there_is_nothing_to_forget(
    kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def absent(*_: object) -> None:
        raise OSError(code, "not there")

    monkeypatch.setattr(Socket, "_send", absent)
    conntrack.flush(Meter(), [flush((1, 1), None)], lambda _: True)


def test_matching_is_exact() -> None:
    def local(address: IPAddress) -> bool:
        return address == ip_address("10.0.0.1")

    here, there, inside = map(ip_address, ("10.0.0.1", "10.0.0.7", "10.1.0.2"))
    wanted = conntrack.Wanted([flush((80, 80), "10.1.0.2", protocol="tcp"), flush((90, 95), None)], local)
    assert Flow(6, here, 80, inside) in wanted
    assert Flow(6, there, 80, inside) not in wanted
    assert Flow(17, here, 80, inside) not in wanted
    assert Flow(6, here, 81, inside) not in wanted
    assert Flow(6, here, 80, here) not in wanted
    assert Flow(17, here, 95, here) in wanted
    assert Flow(17, here, 95, inside) not in wanted
    assert Flow(17, there, 90, there) not in wanted
