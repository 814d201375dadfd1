"""Real packets: servers and clients in network namespaces, by sockets that are opened inside of them.

A socket stays in the namespace that it was made in, so one thread serves and asks everywhere. A server answers `NAME ADDRESS`: its name
and the client's address as it saw it; over TCP it then echoes what it hears.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.core.messages import HOST, IPAddress
from reconciler.errors import RefusedError
from reconciler.expectations import Answer, Outcome, Probe, Server
from reconciler.kernel.meter import Meter
from reconciler.kernel.namespaces import Namespaces

PATIENCE = 5.0
"""Seconds without any answer after which one that should come is not waited for any longer. Only a failure takes so long.

A flow without an echo for so long counts as cut: TCP has repeated itself four times by then (RFC 6298).
"""
QUIET = 0.5
"""Seconds without any answer after which those are not waited for that should not come."""
_AGAIN = 0.1
"""Seconds of silence after which a question is asked again: the first packet is easily lost while a link comes up."""
SETTLING = 30.0
_POLL = 0.02
_GLOBAL = "00"
_AT_ONCE = 256
_PER_FLOW = 3
_IN_RESERVE = 128
_BEAT = b"still there?\n"
_PING = "icmp"
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, _PING: socket.SOCK_RAW}


_NOTHING = Answer(Outcome.TIMEOUT)


@dataclass(slots=True)
class _Asked:
    """A probe under way. `answer` is there when it has ended."""

    probe: Probe
    sock: socket.socket | None = None
    answer: Answer | None = None
    connected: bool = False
    mark: bytes = field(default_factory=lambda: os.urandom(4))
    tries: int = 0
    so_far: Answer = _NOTHING
    """What it comes to if nothing more is heard."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A TCP connection that is kept open; `answer` is what it began with, `sock` None if it never was."""

    answer: Answer
    sock: socket.socket | None


class Bench:
    """Servers and clients in the namespaces of this host, until `close`."""

    def __init__(self) -> None:
        _raise_limit()
        self._namespaces = Namespaces(Meter())
        self._selector = selectors.DefaultSelector()
        self._served: set[Server] = set()
        self._sockets: set[socket.socket] = set()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close everything."""
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        self._selector.close()
        self._namespaces.close()

    @property
    def room(self) -> int:
        """How many flows there are file descriptors for."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(1, (limit - _IN_RESERVE) // _PER_FLOW)

    # --- servers ---

    def serve(self, servers: Iterable[Server]) -> None:
        """Listen as `servers` say, each once. Raises RefusedError where that cannot be."""
        for server in servers:
            if server in self._served:
                continue
            self._served.add(server)
            try:
                sock = self._socket(server.namespace, server.protocol, server.address)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((str(server.address), server.port))
                if server.protocol == "tcp":
                    sock.listen(64)
            except OSError as error:
                at = f"{server.address} port {server.port}/{server.protocol}"
                raise RefusedError(f"{server.name} cannot be made to listen at {at}: {error.strerror}") from error
            self._on(sock, self._accept if server.protocol == "tcp" else self._reply, sock, server.name)

    def _accept(self, listener: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            connection, client = listener.accept()
            connection.setblocking(False)
            self._sockets.add(connection)
            self._on(connection, self._echo, connection)
            connection.send(_greeting(name, client[0]))

    def _reply(self, bound: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            _, client = bound.recvfrom(2048)
            bound.sendto(_greeting(name, client[0]), client)

    def _echo(self, connection: socket.socket) -> None:
        heard = b""
        with contextlib.suppress(OSError):
            heard = connection.recv(2048)
            if heard:
                connection.send(heard)
        if not heard:
            self._drop(connection)

    # --- clients ---

    def settle(self) -> None:
        """Waits until every IPv6 address of this host and its namespaces can be found by its neighbours, at most SETTLING seconds.

        The kernel joins the group at which an address is asked for (RFC 4291, 2.7.1) some time after the address is there, in a queue
        that all namespaces of the machine share (addrconf_dad_work). Only since Linux 6.14 there is an event for it.
        """
        deadline = time.monotonic() + SETTLING
        for namespace in (HOST, *self._namespaces.listed().names):
            with self._namespaces.inside(namespace):
                while not _can_be_found() and time.monotonic() < deadline:
                    time.sleep(_POLL)

    def ask(self, probes: Sequence[Probe], expected: Set[int]) -> list[Answer]:
        """The answers to `probes`. Those at the positions `expected` should be reached, and are waited for; the others get the same time,
        and a moment more."""
        self.settle()
        answers: list[Answer] = []
        for start in range(0, len(probes), _AT_ONCE):
            asked = [_Asked(probe) for probe in probes[start : start + _AT_ONCE]]
            self._ask(asked, {at - start for at in expected if start <= at < start + _AT_ONCE})
            for one in asked:
                self._drop(one.sock)
                answers.append(one.answer or one.so_far)
        return answers

    def connect(self, probes: Sequence[Probe]) -> list[Flow]:
        """Opens a TCP connection for each of `probes`, and leaves it open."""
        self.settle()
        flows: list[Flow] = []
        for start in range(0, len(probes), _AT_ONCE):
            asked = [_Asked(probe) for probe in probes[start : start + _AT_ONCE]]
            self._ask(asked, set(range(len(asked))))
            for one in asked:
                reached = one.answer is not None and one.answer.outcome is Outcome.REACHED
                if not reached:
                    self._drop(one.sock)
                flows.append(Flow(one.answer or one.so_far, one.sock if reached else None))
        return flows

    def alive(self, flows: Sequence[Flow]) -> list[bool]:
        """Whether data still goes there and comes back, for each of `flows`."""
        self.settle()
        heard: dict[int, bytes] = {}
        waiting: dict[int, socket.socket] = {}

        def listen(place: int, sock: socket.socket) -> None:
            try:
                data = sock.recv(2048)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            heard[place] = heard.get(place, b"") + data
            if not data or heard[place].endswith(_BEAT):
                del waiting[place]
                self._selector.unregister(sock)

        for place, flow in enumerate(flows):
            if flow.sock is not None:
                with contextlib.suppress(OSError):
                    flow.sock.send(_BEAT)
                    self._on(flow.sock, listen, place, flow.sock)
                    waiting[place] = flow.sock
        self._turn(lambda: len(waiting), lambda: PATIENCE, lambda: None)
        for sock in waiting.values():
            self._selector.unregister(sock)
        return [heard.get(place, b"").endswith(_BEAT) for place in range(len(flows))]

    def _ask(self, asked: Sequence[_Asked], expected: Set[int]) -> None:
        def open_ones() -> list[int]:
            return [place for place, one in enumerate(asked) if one.answer is None]

        def again() -> None:
            for place in open_ones():
                self._send(asked[place])

        def patience() -> float:
            return PATIENCE if any(place in expected for place in open_ones()) else QUIET

        again()
        self._turn(lambda: len(open_ones()), patience, again)

    def _turn(self, left: Callable[[], int], patience: Callable[[], float], again: Callable[[], None]) -> None:
        """Serve and listen until nothing is `left`, or nothing more came for as long as what is left is worth.

        The time counts anew with each answer: on a slow machine everything is slow, servers and all.
        """
        before, since = left(), time.monotonic()
        while before:
            events = self._selector.select(_AGAIN)
            for key, _ in events:
                # One that was closed by an earlier one of these is gone from the map.
                if key.fileobj in self._selector.get_map():
                    key.data()
            now = left()
            if now < before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > patience():
                return
            elif not events:
                again()

    def _send(self, one: _Asked) -> None:
        """Ask, or ask again. Over TCP a second time, from another port, and no more: the kernel repeats itself."""
        one.tries += 1
        probe = one.probe
        try:
            if probe.protocol == "tcp":
                if one.tries in (1, 3) and not one.connected:
                    self._drop(one.sock)
                    one.sock = self._socket(probe.namespace, probe.protocol, probe.address)
                    self._on(one.sock, self._hear, one, events=selectors.EVENT_WRITE)
                    code = one.sock.connect_ex((str(probe.address), probe.port))
                    if code not in (0, errno.EINPROGRESS):
                        raise OSError(code, os.strerror(code))
                return
            if one.sock is None:
                one.sock = self._socket(probe.namespace, probe.protocol, probe.address)
                self._on(one.sock, self._hear, one)
                one.sock.connect((str(probe.address), probe.port))
            one.sock.send(_echo_request(probe.address, one.mark) if probe.protocol == _PING else b"who?\n")
        except OSError as error:
            self._refused(one, error)

    def _hear(self, one: _Asked) -> None:
        sock = one.sock
        assert sock is not None
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._refused(one, OSError(code, os.strerror(code)))
            return
        if one.probe.protocol == "tcp" and not one.connected:
            one.connected = True
            self._selector.unregister(sock)
            self._on(sock, self._hear, one)
            return
        try:
            heard = sock.recv(2048)
        except BlockingIOError:
            return
        except OSError as error:
            self._refused(one, error)
            return
        if one.probe.protocol == _PING:
            if _is_reply(heard, one.probe.address, one.mark):
                self._end(one, Answer(Outcome.REACHED))
            return
        server, _, client = heard.decode(errors="replace").strip().partition(" ")
        self._end(one, Answer(Outcome.REACHED, server, client) if server else Answer(Outcome.REFUSED))

    def _refused(self, one: _Asked, error: OSError) -> None:
        if error.errno == errno.EHOSTUNREACH:
            # A neighbour did not say where it is. On a busy machine that may be for now: it is asked for again.
            self._drop(one.sock)
            one.sock, one.tries, one.so_far = None, 0, _refusal(error)
        else:
            self._end(one, _refusal(error))

    def _end(self, one: _Asked, answer: Answer) -> None:
        one.answer = answer
        if one.sock is not None and one.sock in self._selector.get_map():
            self._selector.unregister(one.sock)

    # --- sockets ---

    def _socket(self, namespace: str, protocol: str, address: IPAddress) -> socket.socket:
        six = address.version == 6
        number = (socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP) if protocol == _PING else 0
        with self._namespaces.inside(namespace):
            kind = _KINDS[protocol] | socket.SOCK_NONBLOCK
            sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind, number)
        self._sockets.add(sock)
        return sock

    def _on(
        self, sock: socket.socket, call: Callable[..., None], *arguments: object, events: int = selectors.EVENT_READ
    ) -> None:
        self._selector.register(sock, events, lambda: call(*arguments))

    def _drop(self, sock: socket.socket | None) -> None:
        if sock is None:
            return
        if sock in self._selector.get_map():
            self._selector.unregister(sock)
        self._sockets.discard(sock)
        sock.close()


def _can_be_found() -> bool:
    """Whether all global IPv6 addresses of the namespace that the thread is in have their solicited-node groups (proc_net(5))."""
    try:
        addresses = [line.split() for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines()]
        groups = [line.split() for line in Path("/proc/thread-self/net/igmp6").read_text().splitlines()]
    except FileNotFoundError:
        return True  # a kernel without IPv6
    joined = {(int(index), group) for index, _, group, *_ in groups}
    return all(
        (int(index, 16), f"ff0200000000000000000001ff{address[-6:]}") in joined
        for address, index, _, scope, *_ in addresses
        if scope == _GLOBAL
    )


def _raise_limit() -> None:
    """As many file descriptors as this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _greeting(name: str, client: str) -> bytes:
    return f"{name} {client.partition('%')[0]}\n".encode()


def _refusal(error: OSError) -> Answer:
    if isinstance(error, ConnectionRefusedError | ConnectionResetError | BrokenPipeError):
        return Answer(Outcome.REFUSED)
    return Answer(Outcome.TIMEOUT if isinstance(error, TimeoutError) else Outcome.UNREACHABLE)


# --- ICMP echo (RFC 792, RFC 4443) -----------------------------------------------------------------------------------


def _echo_request(address: IPAddress, mark: bytes) -> bytes:
    packet = struct.pack("!BBH", 128 if address.version == 6 else 8, 0, 0) + mark
    # The kernel fills in the checksum of ICMPv6, which covers addresses that are not known here.
    return packet if address.version == 6 else packet[:2] + _checksum(packet) + packet[4:]


def _is_reply(packet: bytes, address: IPAddress, mark: bytes) -> bool:
    """Whether this is the reply to the request of that mark. A raw socket of IPv4 shows the IP header as well."""
    kind, header = (129, 0) if address.version == 6 else (0, 20)
    message = packet[header:]
    return message[:1] == bytes([kind]) and message[4:8] == mark


def _checksum(packet: bytes) -> bytes:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
