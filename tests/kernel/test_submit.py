"""Order, failure and refusal: what of a list of requests is done, and what is said about the rest."""

from __future__ import annotations

import errno
import os
from ipaddress import ip_address

import pytest

from reconciler.core.messages import (
    CreateNamespace,
    CreateTap,
    DeleteNamespace,
    FlushConntrack,
    Netlink,
    Nft,
    NftElement,
    Request,
    Scope,
    WriteSysctl,
)
from reconciler.kernel import conntrack, netlink, wire
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.meter import Meter, ReadOnlyError
from reconciler.kernel.netlink import Answer, Message, Socket
from tests.kernel.requests import MARK, address, bridge, change, delete, do, look, route, veth


def links(kernel: LiveKernel) -> set[str]:
    return {item.name for item in look(kernel).namespaces[""].links}


def test_nothing_is_sent_after_the_datagram_with_a_failure(kernel: LiveKernel) -> None:
    requests: list[Request] = [bridge(f"br{n}") for n in range(100)]
    requests[5] = bridge("lo")
    outcome = kernel.submit(requests)
    (failure,) = outcome.failures
    assert (failure.position, failure.request, failure.errno) == (5, requests[5], errno.EEXIST)
    assert outcome.attempted == netlink.BATCH
    assert outcome.done == frozenset(range(netlink.BATCH)) - {5}
    assert {name for name in links(kernel) if name.startswith("br")} == {f"br{n}" for n in outcome.done}


def test_only_the_first_of_several_failures_is_told(kernel: LiveKernel) -> None:
    outcome = kernel.submit([bridge("br0"), bridge("br0"), bridge("br1"), delete("nothing")])
    assert [failure.position for failure in outcome.failures] == [1]
    assert outcome.done == {0, 2}


def test_a_link_that_is_not_there_is_named(kernel: LiveKernel) -> None:
    outcome = kernel.submit([bridge("br0"), address("br7", "10.0.0.1/24"), bridge("br1")])
    (failure,) = outcome.failures
    assert (failure.position, failure.errno) == (1, errno.ENODEV)
    assert "br7" in failure.message
    assert (set(outcome.done), outcome.attempted) == ({0}, 2)
    assert "br1" not in links(kernel)


@pytest.mark.parametrize(
    "request_",
    [change("gone", up=True), delete("gone"), address("gone", "10.0.0.1/24")],
    ids=["set", "delete", "address"],
)
def test_every_message_about_a_missing_link_fails_with_enodev(kernel: LiveKernel, request_: Netlink) -> None:
    assert kernel.submit([request_]).failures[0].errno == errno.ENODEV


def test_a_namespace_that_is_not_there_fails_with_enoent(kernel: LiveKernel) -> None:
    for request in (
        veth("v0", "eth0", "gone"),
        bridge("b", namespace="gone"),
        WriteSysctl("gone", "net.ipv4.ip_forward", "1"),
    ):
        outcome = kernel.submit([request])
        assert (outcome.failures[0].errno, outcome.done) == (errno.ENOENT, frozenset())


def test_the_kernels_own_words_are_passed_on(kernel: LiveKernel) -> None:
    do(kernel, bridge("br0"), change("br0", up=True))
    failure = kernel.submit([route("192.0.2.0/24", "br0", "10.9.9.9")]).failures[0]
    assert (failure.errno, failure.message) == (errno.ENETUNREACH, "Nexthop has invalid gateway")


def test_sysctls_that_cannot_be_written_say_so(kernel: LiveKernel) -> None:
    missing = kernel.submit([WriteSysctl("", "net.ipv4.conf.gone.forwarding", "1")]).failures[0]
    wrong = kernel.submit([WriteSysctl("", "net.ipv4.ip_forward", "x")]).failures[0]
    assert (missing.errno, wrong.errno) == (errno.ENOENT, errno.EINVAL)


def test_progress_counts_up_to_the_end(kernel: LiveKernel) -> None:
    seen: list[int] = []
    kernel.submit([bridge(f"br{n}") for n in range(40)], seen.append)
    assert seen == [32, 40]


def test_no_requests_are_no_failure(kernel: LiveKernel) -> None:
    assert do(kernel).done == frozenset()


# --- read only ---

WRITES: list[Request] = [
    bridge("br9"),
    change("lo", up=False),
    delete("br0"),
    address("lo", "10.0.0.1/24"),
    route("192.0.2.0/24", "lo"),
    CreateNamespace("web", MARK),
    DeleteNamespace("there"),
    CreateTap("", "tap0", MARK),
    WriteSysctl("", "net.ipv4.ip_forward", "1"),
    Nft("add table inet reconcile"),
    Nft("list ruleset; flush ruleset"),
    NftElement("add", "inet reconcile", "m", "80 : 10.0.0.1"),
]


@pytest.mark.parametrize("request_", WRITES, ids=lambda request: type(request).__name__)
def test_read_only_refuses_to_write(kernel: LiveKernel, request_: Request) -> None:
    do(kernel, CreateNamespace("there", MARK), bridge("br0"), Nft("add table inet other"))
    before = look(kernel, "inet other", "inet reconcile")
    with LiveKernel(read_only=True) as dry:
        with pytest.raises(ReadOnlyError):
            dry.submit([request_])
        assert dry.written == 0
    assert look(kernel, "inet other", "inet reconcile") == before


def test_read_only_looks_and_counts_no_write(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("web", MARK), veth("v0", "eth0", "web"), Nft("add table inet reconcile"))
    with LiveKernel(read_only=True) as dry:
        sysctls = frozenset({("", "net.ipv4.ip_forward")})
        snapshot = dry.observe(Scope(sysctls=sysctls, tables=frozenset({"inet reconcile"})))
        assert dry.written == 0
        assert set(dry.sent) == {
            "RTM_GETLINK",
            "RTM_GETADDR",
            "RTM_GETROUTE",
            "RTM_GETNSID",
            "SYSCTL_READ",
            *(f"NFT_MSG_GET{what}" for what in ("GEN", "TABLE", "CHAIN", "RULE", "SET")),
        }
    assert snapshot == kernel.observe(Scope(sysctls=sysctls, tables=frozenset({"inet reconcile"})))


@pytest.mark.parametrize("kind", [16, 17, 19, 20, 21, 24, 25, 28, 29, 32, 33, 88, 89])
def test_a_read_only_socket_sends_no_writing_rtnetlink_message(kind: int) -> None:
    with Socket(Meter(read_only=True)) as socket, pytest.raises(ReadOnlyError):
        socket.submit([Message(wire.RTM_GETLINK, 0, bytes(16)), Message(kind, 0, bytes(16))])


@pytest.mark.parametrize("kind", [0x100, 0x102, 0x103, 0xA00, 0x10])
def test_a_read_only_socket_sends_no_writing_netfilter_message(kind: int) -> None:
    with Socket(Meter(read_only=True), conntrack.NETFILTER) as socket, pytest.raises(ReadOnlyError):
        socket.submit([Message(kind, 0, bytes(4))])


def test_written_counts_what_writes(kernel: LiveKernel) -> None:
    do(kernel, bridge("br0"), change("br0", up=True), WriteSysctl("", "net.ipv4.ip_forward", "1"))
    look(kernel)
    assert kernel.written == 3
    assert (kernel.sent["RTM_NEWLINK"], kernel.sent["RTM_SETLINK"], kernel.sent["SYSCTL_WRITE"]) == (1, 1, 1)


def test_a_flush_is_refused_at_the_first_deletion_only(kernel: LiveKernel) -> None:
    request = FlushConntrack(4, "udp", ip_address("10.0.0.1"), (53, 53), None)
    with LiveKernel(read_only=True) as dry:
        assert dry.submit([request]).failures == ()
        assert dry.written == 0


# --- answers that do not come ---


def test_a_lost_acknowledgement_is_a_failure_and_no_wait() -> None:
    class Lossy(Socket):
        """The second of three answers is lost, and the kernel says that some are."""

        def __init__(self) -> None:
            super().__init__(Meter())
            self.received = 0

        def _receive(self) -> bytes:
            self.received += 1
            data = super()._receive() if self.received < 4 else b""
            if self.received == 2:
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
            if self.received == 4:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return data

    with Lossy() as socket:
        message = Message(wire.RTM_NEWLINK, wire.NLM_F_ACK, wire.IFINFO.pack(0, 0, 1, 1, 1))
        answers = socket.submit([message] * 3)
    lost = Answer(errno.ENOBUFS, "the kernel's answer was lost; whether it was done is not known", lost=True)
    assert answers == [Answer(0), lost, Answer(0)]
