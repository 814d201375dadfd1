"""A small world of network namespaces with real sockets in them, to ask: who reaches whom, and as whom?

    outside ── gateway ── lan segment (10.99.0.0/24) ── lan, neighbour
    192.0.2.1    .254            │ eth0 10.99.0.1, .4
                               host                        the machine under test
                                 │ eth1 (no address, down)
                         office segment (10.98.0.0/24) ── office

All have IPv6 as well (fd99::, fd98::, 2001:db8:2::). The two segments are bridges in a namespace of their
own. Nothing here knows how rules are made.

Namespaces are held open by a file descriptor and have no name in /run/netns (there a reconciler would see
them): closing the descriptor is all the cleaning up there is. A socket stays in the namespace it was created
in, whatever its thread does later, so one thread can serve and ask everywhere:

    with World() as world:
        world.host.ip("link add br0 type bridge")
        world.host.serve("tcp", "10.99.0.1", 80)
        assert world.lan.probe("tcp", "10.99.0.1", 80) == reached("host", "10.99.0.2")
        assert world.lan.probe("tcp", "10.99.0.1", 81) == REFUSED

Every server says its name and what address the client seemed to have, so that a kept or a masqueraded client
address is part of the answer.

What is slow here is a packet that is dropped: that it does not arrive can only be waited for. `probe_many`
and `mismatches` wait for all at the same time.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from tests.support.scratch import CLONE_NEWNET, link_up, setns, unshare

Protocol = Literal["tcp", "udp", "icmp"]

DROP_PATIENCE: Final = 0.3
"""Seconds after which a packet that was not answered counts as dropped."""
_IP_PKTINFO: Final = 8
"""linux/in.h; the socket module has it from Python 3.14 on."""
PATIENCE: Final = 5.0
"""Seconds that `mismatches` waits for an answer that is expected to come: only a failing test waits so
long."""

RESEND: Final = 0.1
"""Seconds of silence after which datagrams are sent again."""

_SWIFT: Final = {
    # An address is good at once; detecting duplicates would take a second.
    "net/ipv6/conf/all/accept_dad": 0,
    "net/ipv6/conf/default/accept_dad": 0,
    # Every refusal is sent; by default only one a second to one address, and the others would look like
    # drops.
    "net/ipv4/icmp_ratelimit": 0,
    "net/ipv6/icmp/ratelimit": 0,
}


class Outcome(Enum):
    """What became of a probe."""

    REACHED = "reached"
    REFUSED = "refused"
    """A TCP reset or an ICMP port unreachable: a host is there, and nothing listens."""
    UNREACHABLE = "unreachable"
    """No route here, or an ICMP unreachable other than for the port."""
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe brought back. `server` and `client` (the address of the asker as the server saw it) are ""
    unless a server of this module answered."""

    outcome: Outcome
    server: str = ""
    client: str = ""

    def __str__(self) -> str:
        return f"{self.outcome.value} {self.server} as {self.client}" if self.server else self.outcome.value


REFUSED: Final = Answer(Outcome.REFUSED)
UNREACHABLE: Final = Answer(Outcome.UNREACHABLE)
TIMEOUT: Final = Answer(Outcome.TIMEOUT)
PONG: Final = Answer(Outcome.REACHED)
"""The answer to an ICMP echo request."""


def reached(server: str, client: str) -> Answer:
    """The answer of the server named `server`, which saw the address `client`."""
    return Answer(Outcome.REACHED, server, client)


@dataclass(frozen=True, slots=True)
class Probe:
    """One question: does a packet from `origin` reach `port` (of no meaning for icmp) at `address`?

    `source` is the address to send from, None for the kernel's choice. `timeout` is in seconds.
    """

    origin: Namespace
    protocol: Protocol
    address: str
    port: int = 0
    source: str | None = None
    timeout: float = DROP_PATIENCE

    def __str__(self) -> str:
        return f"{self.origin.name} → {self.protocol} {self.address} {self.port or ''}".rstrip()


@contextlib.contextmanager
def in_namespace(descriptor: int) -> Iterator[None]:
    """The calling thread in the network namespace of `descriptor`, and back. That it is back is verified: the
    tests would go on in a wrong place. Raises RuntimeError then, and OSError where the namespace cannot be
    entered."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor)
        try:
            yield
        finally:
            setns(before)
            if not os.path.samestat(os.fstat(before), os.stat("/proc/thread-self/ns/net")):
                raise RuntimeError("the thread is not back in its network namespace")
    finally:
        os.close(before)


class Namespace:
    """One network namespace, held open by `descriptor`, and what can be done from inside it."""

    def __init__(self, name: str, descriptor: int, reactor: Reactor) -> None:
        """`name` is what its servers call themselves."""
        self.name = name
        self.descriptor = descriptor
        self._reactor = reactor

    def __repr__(self) -> str:
        return f"<namespace {self.name}>"

    @property
    def path(self) -> str:
        """A path of this namespace that other processes can open while this one lives."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """The calling thread inside this namespace."""
        return in_namespace(self.descriptor)

    def run(self, *command: str, stdin: str = "") -> str:
        """What `command`, run inside, prints. AssertionError, with what it said, when it fails."""
        with self.entered():
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"{self.name}: {' '.join(command)}: {done.stderr.strip()}\n{stdin}")
        return done.stdout

    def ip(self, *lines: str) -> None:
        """Run `lines` as one `ip -batch`."""
        self.run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def nft(self, text: str) -> None:
        """Load nftables commands as one transaction."""
        self.run("nft", "-f", "-", stdin=text)

    def sysctl(self, name: str, value: str | int | None = None) -> str:
        """The sysctl `name` (slashes, below /proc/sys), after writing `value` where one is given."""
        path = Path("/proc/sys", name)
        with self.entered():
            if value is not None:
                path.write_text(f"{value}\n")
            return path.read_text().strip()

    def swift(self) -> Namespace:
        """Switch off what makes the kernel wait or hold back; returns the namespace."""
        for name, value in _SWIFT.items():
            self.sysctl(name, value)
        return self

    def has_sysctl(self, name: str) -> bool:
        """Whether this kernel has the sysctl `name` (slashes, below /proc/sys)."""
        with self.entered():
            return Path("/proc/sys", name).exists()

    def route_loopback_to(self, gateway: str) -> None:
        """Send 127.0.0.0/8 to `gateway` instead of keeping it, as an attacker would who wants what a host
        publishes on its loopback. Answers from 127.0.0.0/8 are taken, too: what does not come was stopped
        elsewhere."""
        self.sysctl("net/ipv4/conf/all/route_localnet", 1)
        self.ip("addr del 127.0.0.1/8 dev lo", f"route add 127.0.0.0/8 via {gateway}")

    def socket(self, address: str, kind: int, protocol: int = 0) -> socket.socket:
        """A non-blocking socket inside, of the family of `address`."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.entered():
            return socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)

    def serve(self, protocol: Protocol, address: str, port: int, *, name: str | None = None) -> int:
        """Answer at `address`, `port` (0: any) until the world closes. Ready on return; the port is returned.

        Answers are `NAME CLIENT-ADDRESS`: over TCP once, on connect, and then everything is echoed; over UDP
        to every datagram, from the address that was asked.
        """
        listener = self.socket(address, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        self._reactor.serve(listener, name or self.name)
        return int(listener.getsockname()[1])

    def probe(
        self,
        protocol: Protocol,
        address: str,
        port: int = 0,
        *,
        source: str | None = None,
        timeout: float = DROP_PATIENCE,
    ) -> Answer:
        """Ask once. Of many questions, `probe_many` waits only once."""
        return probe_many([Probe(self, protocol, address, port, source, timeout)])[0]

    def ping(self, address: str, *, timeout: float = DROP_PATIENCE) -> Answer:
        """PONG, TIMEOUT or UNREACHABLE."""
        return self.probe("icmp", address, timeout=timeout)

    def flow(self, protocol: Protocol, address: str, port: int, *, source: str | None = None) -> Flow:
        """A long-lived flow. Use it as a context manager, or close it."""
        return Flow(self, protocol, address, port, source)


class Flow:
    """One TCP connection or one constant UDP flow (the same ports for every datagram), to be asked
    repeatedly.

    `first` is the answer with which it began.
    """

    def __init__(self, origin: Namespace, protocol: Protocol, address: str, port: int, source: str | None) -> None:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        self._socket = origin.socket(address, kind)
        self._socket.settimeout(PATIENCE)
        self._tcp = protocol == "tcp"
        if source is not None:
            self._socket.bind((source, 0))
        self.first = TIMEOUT
        try:
            self._socket.connect((address, port))
            self.first = _parse(self._socket.recv(256)) if self._tcp else self.ask(PATIENCE)
        except OSError as error:
            self.first = _refusal(error)

    def ask(self, timeout: float = DROP_PATIENCE) -> Answer:
        """Send something and wait for what comes back.

        Over UDP the answer names the server that is there now; over TCP it is `first` while the connection
        lives.
        """
        self._socket.settimeout(timeout)
        try:
            self._socket.send(b"still there?\n")
            heard = self._socket.recv(256)
        except OSError as error:
            return _refusal(error)
        if self._tcp:
            return self.first if heard == b"still there?\n" else REFUSED
        return _parse(heard)

    def send(self) -> None:
        """Send something, and wait for nothing. Answers are left for `ask`."""
        with contextlib.suppress(OSError):
            self._socket.send(b"still there?\n")

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def __enter__(self) -> Flow:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def probe_many(probes: Sequence[Probe]) -> list[Answer]:
    """The answers to `probes`, which are asked at the same time."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        answers: dict[int, Answer] = {}
        deadlines: dict[int, float] = {}
        for index, probe in enumerate(probes):
            asked = _ask(probe)
            if isinstance(asked, Answer):
                answers[index] = asked
                continue
            stack.callback(asked.socket.close)
            selector.register(asked.socket, asked.events, (index, asked))
            deadlines[index] = time.monotonic() + probe.timeout
        while deadlines:
            soonest = max(0.0, min(deadlines.values()) - time.monotonic())
            events = selector.select(min(soonest, RESEND))
            if not events:
                for key in selector.get_map().values():
                    key.data[1].send_again()
            for key, _ in events:
                index, asked = key.data
                answer = asked.listen()
                if answer is None:
                    selector.modify(asked.socket, asked.events, key.data)
                    continue
                answers[index] = answer
                selector.unregister(asked.socket)
                deadlines.pop(index, None)
            now = time.monotonic()
            deadlines = {index: deadline for index, deadline in deadlines.items() if deadline > now}
        return [answers.get(index, TIMEOUT) for index in range(len(probes))]


def mismatches(expected: Iterable[tuple[Probe, Answer]]) -> list[str]:
    """What was not as expected, one line for each; [] when all was.

    Waits longer where an answer is expected, so that a slow machine fails no test; the probes' own timeouts
    hold where a timeout is expected.
    """
    pairs = list(expected)
    patient = [probe if answer == TIMEOUT else replace(probe, timeout=PATIENCE) for probe, answer in pairs]
    return [
        f"{probe}: expected {answer}, got {got}"
        for (probe, answer), got in zip(pairs, probe_many(patient), strict=True)
        if got != answer
    ]


# --- one probe ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Asked:
    """A probe under way: a connected socket, what to wait for, how to read what comes (None: go on
    waiting)."""

    socket: socket.socket
    events: int
    read: Callable[[bytes], Answer | None]
    datagram: bytes | None = None
    """What to send again and again, None where the kernel does (TCP)."""

    def send_again(self) -> None:
        """A first packet is easily lost while a link that was just made comes up. What is refused is left to
        `listen`."""
        if self.datagram is not None:
            with contextlib.suppress(OSError):
                self.socket.send(self.datagram)

    def listen(self) -> Answer | None:
        """The answer, if it is there."""
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            return _refusal(OSError(error, os.strerror(error)))
        if self.events == selectors.EVENT_WRITE:
            self.events = selectors.EVENT_READ
            return None
        try:
            return self.read(self.socket.recv(2048))
        except BlockingIOError:
            return None
        except OSError as error_raised:
            return _refusal(error_raised)


def _ask(probe: Probe) -> _Asked | Answer:
    kind, protocol = _SOCKETS[probe.protocol]
    if probe.protocol == "icmp" and ":" in probe.address:
        protocol = socket.IPPROTO_ICMPV6
    sock = probe.origin.socket(probe.address, kind, protocol)
    try:
        if probe.source is not None:
            sock.bind((probe.source, 0))
        with contextlib.suppress(BlockingIOError):
            sock.connect((probe.address, probe.port))
        if probe.protocol == "tcp":
            return _Asked(sock, selectors.EVENT_WRITE, _parse)
        echo = _Echo(":" in probe.address)
        datagram, read = (b"who?\n", _parse) if probe.protocol == "udp" else (echo.request, echo.read)
        sock.send(datagram)
        return _Asked(sock, selectors.EVENT_READ, read, datagram)
    except OSError as error:
        sock.close()
        return _refusal(error)


_SOCKETS: Final[Mapping[Protocol, tuple[int, int]]] = {
    "tcp": (socket.SOCK_STREAM, 0),
    "udp": (socket.SOCK_DGRAM, 0),
    "icmp": (socket.SOCK_RAW, socket.IPPROTO_ICMP),
}


class _Echo:
    """An ICMP echo request and the reply that belongs to it (RFC 792, RFC 4443)."""

    def __init__(self, six: bool) -> None:
        self._reply, self._header = (129, 0) if six else (0, 20)
        self._mark = os.urandom(4)
        packet = struct.pack("!BBH", 128 if six else 8, 0, 0) + self._mark
        # The kernel fills in the checksum of ICMPv6, which covers addresses that are not known here.
        self.request = packet if six else packet[:2] + checksum(packet) + packet[4:]

    def read(self, packet: bytes) -> Answer | None:
        message = packet[self._header :]
        return PONG if message[:1] == bytes([self._reply]) and message[4:8] == self._mark else None


def checksum(packet: bytes) -> bytes:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def _parse(heard: bytes) -> Answer:
    """The answer in what a server of this module said; a connection closed without a word is a refusal."""
    server, _, client = heard.decode(errors="replace").strip().partition(" ")
    return reached(server, client) if server else REFUSED


def _refusal(error: OSError) -> Answer:
    if isinstance(error, ConnectionRefusedError | ConnectionResetError | BrokenPipeError):
        return REFUSED
    return TIMEOUT if isinstance(error, TimeoutError | BlockingIOError) else UNREACHABLE


# --- the serving side ---------------------------------------------------------------------------------------


class Reactor:
    """One thread that serves all servers of a world."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._waiting: list[tuple[socket.socket, str]] = []
        self._wake, woken = socket.socketpair()
        self._selector.register(woken, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve_all, name="world reactor", daemon=True)
        self._thread.start()

    def serve(self, bound: socket.socket, name: str) -> None:
        """Serve at `bound` as `name`. The reactor closes it."""
        if bound.type == socket.SOCK_STREAM:
            bound.listen(64)
        elif bound.family == socket.AF_INET:
            bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        with self._lock:
            self._waiting.append((bound, name))
        self._wake.send(b"w")

    def close(self) -> None:
        """Close all sockets and end the thread."""
        self._wake.close()
        self._thread.join()

    def _serve_all(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    key.data(key.fileobj)
                elif not self._take_up(key.fileobj):
                    return self._close_all()

    def _take_up(self, woken: object) -> bool:
        """Begin with what waits; False when it is time to end."""
        assert isinstance(woken, socket.socket)
        if not woken.recv(64):
            return False
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for bound, name in waiting:
            serve = self._accepting(name) if bound.type == socket.SOCK_STREAM else self._replying(name)
            self._selector.register(bound, selectors.EVENT_READ, serve)
        return True

    def _accepting(self, name: str) -> Callable[[socket.socket], None]:
        def accept(listener: socket.socket) -> None:
            with contextlib.suppress(OSError):
                connection, client = listener.accept()
                connection.setblocking(False)
                self._selector.register(connection, selectors.EVENT_READ, self._echo)
                connection.send(_greeting(name, client[0]))

        return accept

    @staticmethod
    def _replying(name: str) -> Callable[[socket.socket], None]:
        def reply(bound: socket.socket) -> None:
            with contextlib.suppress(OSError):
                _, information, _, client = bound.recvmsg(2048, 256)
                bound.sendmsg([_greeting(name, client[0])], _from_where_it_came(information), 0, client)

        return reply

    def _echo(self, connection: socket.socket) -> None:
        heard = b""
        with contextlib.suppress(OSError):
            heard = connection.recv(2048)
            if heard:
                connection.send(heard)
        if not heard:
            self._selector.unregister(connection)
            connection.close()

    def _close_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()


def _from_where_it_came(information: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """The ancillary data that make a reply leave with the address that was asked, as a server on a host with
    several addresses must (ip(7), IP_PKTINFO; ipv6(7)), by whatever interface the route says."""
    return [
        (
            level,
            kind,
            struct.pack("@I", 0) + data[4:8] + bytes(4) if kind == _IP_PKTINFO else data[:16] + bytes(4),
        )
        for level, kind, data in information
        if (level, kind) in ((socket.IPPROTO_IP, _IP_PKTINFO), (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO))
    ]


def _greeting(name: str, client: str) -> bytes:
    return f"{name} {client.partition('%')[0]}\n".encode()


# --- the world ----------------------------------------------------------------------------------------------


class World:
    """The namespaces of the picture above, and those added to it. Closing it leaves nothing behind.

    To be made inside `tests.support.scratch.enter_scratch()`, or as root.
    """

    def __init__(self) -> None:
        self._reactor = Reactor()
        self._descriptors: list[int] = []
        self._segments = self.namespace("switch")
        self.host = self.namespace("host")
        """The machine under test."""
        self.lan = self.namespace("lan")
        """An ordinary client in the host's network."""
        self.neighbour = self.namespace("neighbour")
        """A host in the same network that may be given routes it should not have."""
        self.gateway = self.namespace("gateway")
        """The router of the host's network."""
        self.outside = self.namespace("outside")
        """Someone behind the router."""
        self.office = self.namespace("office")
        """A client in the network at the host's second interface, which is for uplinks of bridges."""
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def namespace(self, name: str) -> Namespace:
        """A new network namespace, with `lo` up, and swift: what makes the kernel wait or hold back is
        off."""
        descriptor = new_namespace()
        self._descriptors.append(descriptor)
        return Namespace(name, descriptor, self._reactor).swift()

    def opened(self, path: str | Path, name: str) -> Namespace:
        """The namespace at `path` (/run/netns/NAME, /proc/PID/ns/net), made by someone else, to serve and ask
        in.

        The caller may want to set in it what `swift()` sets.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors.append(descriptor)
        return Namespace(name, descriptor, self._reactor)

    def close(self) -> None:
        """End the servers, and let go of the namespaces, which ends those that nobody else holds."""
        self._reactor.close()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _build(self) -> None:
        switch = self._segments
        switch.ip("link add lan0 up type bridge", "link add office0 up type bridge")
        self._plug(
            "lan0",
            self.host,
            "eth0",
            "10.99.0.1/24",
            "10.99.0.4/24",
            "fd99::1/64",
            "fd99::4/64 preferred_lft 0",
        )
        self._plug("lan0", self.lan, "eth0", "10.99.0.2/24", "fd99::2/64")
        self._plug("lan0", self.neighbour, "eth0", "10.99.0.3/24", "fd99::3/64")
        self._plug("lan0", self.gateway, "eth0", "10.99.0.254/24", "fd99::fe/64")
        self._plug("office0", self.office, "eth0", "10.98.0.2/24", "fd98::2/64")
        self._plug("office0", self.host, "eth1")
        self.host.ip("link set eth1 down")
        self.gateway.ip(
            f"link add eth1 type veth peer name eth0 netns {self.outside.path}",
            "addr add 192.0.2.254/24 dev eth1",
            "addr add 2001:db8:2::fe/64 dev eth1 nodad",
            "link set eth1 up",
        )
        self.outside.ip(
            "addr add 192.0.2.1/24 dev eth0",
            "addr add 2001:db8:2::1/64 dev eth0 nodad",
            "link set eth0 up",
            "route add default via 192.0.2.254",
            "route add default via 2001:db8:2::fe",
        )
        self.gateway.sysctl("net/ipv4/ip_forward", 1)
        self.gateway.sysctl("net/ipv6/conf/all/forwarding", 1)
        for namespace in (self.host, self.lan, self.neighbour):
            namespace.ip("route add default via 10.99.0.254", "route add default via fd99::fe")

    def _plug(self, segment: str, namespace: Namespace, interface: str, *addresses: str) -> None:
        """Give `namespace` an interface at one of the segments."""
        self._segments.ip(
            f"link add {namespace.name}-{interface} master {segment} up type veth "
            f"peer name {interface} netns {namespace.path}"
        )
        namespace.ip(
            *(f"addr add {address} dev {interface}{' nodad' * (':' in address)}" for address in addresses),
            f"link set {interface} up",
        )


def new_namespace() -> int:
    """A descriptor of a new network namespace with `lo` up. Another thread goes there and ends: the calling
    one never leaves its own. Raises OSError."""
    made: list[int] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            unshare(CLONE_NEWNET)
            link_up("lo")
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    for error in failed:
        raise error
    return made[0]


# --- nothing left -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Traces:
    """What a test could leave behind in this process and its namespaces."""

    namespaces: frozenset[str]
    links: frozenset[str]
    threads: frozenset[str]
    children: frozenset[str]
    descriptors: frozenset[str] = field(default=frozenset())
    """Open sockets and namespaces."""

    @classmethod
    def now(cls) -> Traces:
        """What is there at the moment."""
        gc.collect()
        runs = Path("/run/netns")
        return cls(
            frozenset(entry.name for entry in runs.iterdir()) if runs.is_dir() else frozenset(),
            frozenset(name for _, name in socket.if_nameindex()),
            frozenset(thread.name for thread in threading.enumerate()),
            frozenset(_children()),
            frozenset(_descriptors()),
        )

    def added_since(self, before: Traces) -> list[str]:
        """What is here and was not in `before`, one line for each."""
        kinds = ("namespaces", "links", "threads", "children", "descriptors")
        return [f"{kind}: {item}" for kind in kinds for item in sorted(getattr(self, kind) - getattr(before, kind))]


def _children() -> Iterator[str]:
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            yield from (task / "children").read_text().split()


def _descriptors() -> Iterator[str]:
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(entry)
            if target.startswith(("socket:", "net:")):
                yield f"{entry.name} {target}"
