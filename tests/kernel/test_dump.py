"""A dump is complete or it is not at all."""

from __future__ import annotations

import errno

import pytest

from reconciler.kernel import decode, netlink, wire
from reconciler.kernel.meter import Meter
from reconciler.kernel.netlink import InterruptedDumpError, NetlinkError, Socket


class Interrupted(Socket):
    """A socket whose first `times` datagrams carry NLM_F_DUMP_INTR."""

    def __init__(self, times: int, meter: Meter | None = None) -> None:
        super().__init__(meter or Meter())
        self.left = times

    def _receive(self) -> bytes:
        data = super()._receive()
        if self.left and wire.NLMSG_DONE in self._kinds(data):
            self.left -= 1
            length, kind, flags, sequence, port = wire.HEADER.unpack_from(data, 0)
            flagged = wire.HEADER.pack(length, kind, flags | wire.NLM_F_DUMP_INTR, sequence, port)
            return flagged + data[16:]
        return data

    def _kinds(self, data: bytes) -> list[int]:
        return [kind for kind, *_ in netlink._split(data)]


def test_an_interrupted_dump_is_repeated_and_counted_once() -> None:
    meter = Meter()
    with Interrupted(0) as calm, Interrupted(2, meter) as socket:
        expected = calm.dump(wire.RTM_GETLINK, decode.ALL_LINKS)
        assert len(socket.dump(wire.RTM_GETLINK, decode.ALL_LINKS)) == len(expected)
    assert meter.sent["RTM_GETLINK"] == 3


def test_a_dump_that_is_always_interrupted_is_no_dump() -> None:
    with Interrupted(1000) as socket, pytest.raises(InterruptedDumpError, match="try again"):
        socket.dump(wire.RTM_GETLINK, decode.ALL_LINKS)


def test_an_error_instead_of_a_dump_is_raised() -> None:
    with Socket(Meter()) as socket, pytest.raises(NetlinkError) as caught:
        socket.dump(wire.RTM_GETADDR, wire.IFADDR.pack(0, 0, 0, 0, 4_000_000))
    assert caught.value.errno == errno.ENODEV


def test_answers_to_an_earlier_request_are_passed_over() -> None:
    """An interrupted question leaves them in the socket."""
    one_link = wire.IFINFO.pack(0, 0, 1, 0, 0)
    with Socket(Meter()) as socket:
        socket._request(wire.RTM_GETLINK, 0, one_link)
        data, at, _ = socket.ask(wire.RTM_GETLINK, one_link)
        assert wire.HEADER.unpack_from(data, at - 16)[3] == 2
