"""Netlink sockets: batches acknowledged message by message, and dumps that are complete or not at all.

rtnetlink and nfnetlink work a datagram off while send() is still running, so answers are waiting when it
returns. A receive that runs into its timeout therefore means a lost answer (the receive buffer was full),
not a slow kernel.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from reconciler.errors import PlatformError, RefusedError
from reconciler.kernel import wire
from reconciler.kernel.meter import Meter

T = TypeVar("T")

Chunk: TypeAlias = tuple[bytes, int, int]
"""The body of a message: data[start:end]."""

BATCH = 32
"""Messages in one datagram.

Their acknowledgements, some 1 KiB each in the kernel's books, fit any receive buffer.
"""
BATCH_BYTES = 32 << 10

_SOL_NETLINK = 270
# linux/netlink.h; since 4.3, 4.12, 4.20
_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 10, 11, 12
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; wants CAP_NET_ADMIN over the initial user namespace
_SIOCGIFINDEX = 0x8933
_RECEIVE_BUFFER = 4 << 20
_RECEIVE = 64 << 10  # the kernel fills dump buffers to 32 KiB at most
_TIMEOUT = struct.pack("@ll", 2, 0)
_TRIES = 12
_PATIENCE = 3
_ENDS = (wire.NLMSG_DONE, wire.NLMSG_ERROR)
_PASSING = frozenset({errno.EINTR, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EBUSY})


class Message(NamedTuple):
    """A message before it gets its sequence number. `flags` come on top of NLM_F_REQUEST."""

    kind: int
    flags: int
    body: bytes


class Answer(NamedTuple):
    """The kernel's answer to one message: errno (0: done) and its words, of which it rarely has any."""

    errno: int
    message: str = ""
    lost: bool = False
    """There is none: whether it was done is not known."""


def persist(action: Callable[[], T]) -> T:
    """What `action` returns, which is tried again when it fails for want of memory and the like.

    It is to make a socket of its own each time: one whose dump broke off is left with it.
    """
    for _ in range(_PATIENCE - 1):
        try:
            return action()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
    return action()


class InterruptedDumpError(RefusedError):
    """What was being listed changed during every try to list it."""


class NetlinkError(OSError):
    """The kernel answered a dump or a question with an error."""


class Family(NamedTuple):
    """A netlink protocol: its number, and how its message types are called and which of them write."""

    protocol: int
    name: Callable[[int], str]
    writes: Callable[[int], bool]


ROUTE = Family(wire.NETLINK_ROUTE, wire.rtnetlink_name, wire.rtnetlink_writes)


class Socket:
    """A netlink socket.

    It belongs for good to the network namespace that the thread was in when it was made. One that is `for_questions` alone is spared
    what only acknowledgements need: where a socket serves three dumps, that is worth it. A dump takes no room, since the kernel waits
    with the rest of it until there is some (netlink_dump in net/netlink/af_netlink.c).
    """

    def __init__(self, meter: Meter, family: Family = ROUTE, *, for_questions: bool = False) -> None:
        self._meter = meter
        self._family = family
        self._sequence = 0
        self._socket = _open(family.protocol)
        if not for_questions:
            _expect_acknowledgements(self._socket)

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def index(self, name: str) -> int:
        """The ifindex of the link `name`, 0 if there is none (netdevice(7), SIOCGIFINDEX). Raises OSError."""
        encoded = os.fsencode(name)
        if not 0 < len(encoded) < 16:
            return 0
        try:
            answer = fcntl.ioctl(self._socket, _SIOCGIFINDEX, struct.pack("16si20x", encoded, 0))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return 0
            raise
        index: int = struct.unpack_from("i", answer, 16)[0]
        return index

    def dump(self, kind: int, body: bytes) -> list[Chunk]:
        """All answers to the dump request. An interrupted one (NLM_F_DUMP_INTR) is repeated, never returned.

        Raises NetlinkError, and InterruptedDumpError when it was interrupted every time.
        """
        for _ in range(_TRIES):
            chunks = self._dump_once(kind, body)
            if chunks is not None:
                return chunks
        raise InterruptedDumpError(
            f"{self._family.name(kind)} was interrupted by changes {_TRIES} times: "
            "something else is changing the network; try again when it has calmed down"
        )

    def stream(self, kind: int, body: bytes) -> Iterator[Chunk]:
        """The answers to a dump request as they come, which may be of more than one moment."""
        sequence = self._request(kind, wire.NLM_F_DUMP, body)
        last = False
        while not last:
            chunks: list[Chunk] = []
            last, _ = _gather(self._receive(), sequence, chunks)
            yield from chunks

    def ask(self, kind: int, body: bytes) -> Chunk:
        """The single answer to a question. Raises NetlinkError."""
        sequence = self._request(kind, 0, body)
        chunks: list[Chunk] = []
        while not chunks:
            last, _ = _gather(self._receive(), sequence, chunks)
            if last:
                raise _error(errno.ENODATA)
        return chunks[0]

    def submit(self, messages: Sequence[Message]) -> list[Answer]:
        """Send `messages` as one datagram and return an answer for each.

        The kernel goes on after one that fails. Only the last is acknowledged; those before it are answered if they fail, so
        that the last answer says that all have been worked off.
        """
        first, last = self._sequence + 1, len(messages) - 1
        self._sequence += len(messages)
        asked = [*messages[:-1], messages[-1]._replace(flags=messages[-1].flags | wire.NLM_F_ACK)]
        try:
            self._send([(first + offset, message) for offset, message in enumerate(asked)])
        except OSError as error:
            return [Answer(error.errno or errno.EIO, f"sendmsg: {error.strerror}")] * len(messages)
        answers: dict[int, Answer] = {}
        whole = True
        while last not in answers:
            try:
                data = self._receive()
            except OSError as error:
                whole = False
                if error.errno == errno.ENOBUFS:
                    continue  # some are lost; others wait
                break
            for kind, _, sequence, at, end in _split(data):
                offset = sequence - first
                if kind == wire.NLMSG_ERROR and 0 <= offset <= last:
                    answers[offset] = _answer(data, at, end)
        lost = Answer(errno.ENOBUFS, "the kernel's answer was lost; whether it was done is not known", lost=True)
        silent = Answer(0) if whole else lost
        return [answers.get(offset, silent) for offset in range(len(messages))]

    def _dump_once(self, kind: int, body: bytes) -> list[Chunk] | None:
        sequence = self._request(kind, wire.NLM_F_DUMP, body)
        chunks: list[Chunk] = []
        last, seen = False, 0
        while not last:
            last, flags = _gather(self._receive(), sequence, chunks)
            seen |= flags
        return None if seen & wire.NLM_F_DUMP_INTR else chunks

    def _request(self, kind: int, flags: int, body: bytes) -> int:
        self._sequence += 1
        self._send([(self._sequence, Message(kind, flags, body))])
        return self._sequence

    def _send(self, messages: Sequence[tuple[int, Message]]) -> None:
        """Put messages on the wire.

        The only place where that happens, and so the place that keeps a dry run dry.
        """
        datagram = bytearray()
        for sequence, (kind, flags, body) in messages:
            name = self._family.name(kind)
            if self._family.writes(kind):
                self._meter.write(name)
            else:
                self._meter.read(name)
            datagram += wire.HEADER.pack(16 + len(body), kind, flags | wire.NLM_F_REQUEST, sequence, 0)
            datagram += body
            datagram += b"\0" * (-len(body) % 4)
        self._socket.send(datagram)

    def _receive(self) -> bytes:
        """One datagram from the kernel.

        Raises OSError: ENOBUFS when some were lost, EAGAIN when none comes.
        """
        while True:
            data, sender = self._socket.recvfrom(_RECEIVE)
            if len(data) == _RECEIVE:
                raise OSError(errno.EMSGSIZE, "an answer of the kernel was longer than our buffer")
            if sender[0] == 0:  # another process may send to us as well; its port is not 0
                return data


def _open(protocol: int) -> socket.socket:
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except PermissionError as error:
        raise PlatformError(
            "netlink sockets are forbidden here (seccomp or AppArmor?): run outside of that sandbox"
        ) from error
    _turn_on(opened, _NETLINK_GET_STRICT_CHK)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
    return opened


def _expect_acknowledgements(opened: socket.socket) -> None:
    """Has acknowledgements say why, without repeating what was sent, and makes room for a batch of them."""
    _turn_on(opened, _NETLINK_CAP_ACK)
    _turn_on(opened, _NETLINK_EXT_ACK)
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except OSError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def _turn_on(opened: socket.socket, option: int) -> None:
    with contextlib.suppress(OSError):  # each is a comfort of newer kernels
        opened.setsockopt(_SOL_NETLINK, option, 1)


def _gather(data: bytes, sequence: int, chunks: list[Chunk]) -> tuple[bool, int]:
    """Adds to `chunks` what a datagram has of the answer to `sequence`. Returns whether that is the end of it, and all flags seen in it.

    Raises NetlinkError for an answer that is one.
    """
    unpack = wire.HEADER.unpack_from
    at, end, seen = 0, len(data), 0
    while at < end:
        size, kind, flags, answered, _ = unpack(data, at)
        if answered == sequence:
            seen |= flags
            if kind in _ENDS:
                _raise_for(data, at + 16, at + size)
                return True, seen
            chunks.append((data, at + 16, at + size))
        at += (size + 3) & ~3
    return False, seen


def _split(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """(type, flags, sequence, start and end of the body) of each message in a datagram."""
    at, end = 0, len(data)
    while at + 16 <= end:
        size, kind, flags, sequence, _ = wire.HEADER.unpack_from(data, at)
        if size < 16:
            break
        yield kind, flags, sequence, at + 16, min(at + size, end)
        at += (size + 3) & ~3


def _answer(data: bytes, at: int, end: int) -> Answer:
    """Decode an nlmsgerr: the error, the header of what was sent, attributes (NETLINK_EXT_ACK)."""
    code = -int(struct.unpack_from("=i", data, at)[0])
    if not code:
        return Answer(0)
    flags = wire.HEADER.unpack_from(data, at - 16)[2]
    sent = 16 if flags & wire.NLM_F_CAPPED else (wire.HEADER.unpack_from(data, at + 4)[0] + 3) & ~3
    words = b""
    if flags & wire.NLM_F_ACK_TLVS:
        words = wire.pick(data, at + 4 + sent, end, (wire.NLMSGERR_ATTR_MSG,)).get(wire.NLMSGERR_ATTR_MSG, b"")
    return Answer(code, wire.text(words))


def _raise_for(data: bytes, at: int, end: int) -> None:
    """Raise what an NLMSG_ERROR or NLMSG_DONE says; both begin with a negative errno, or 0."""
    code = -int(struct.unpack_from("=i", data, at)[0]) if end - at >= 4 else 0
    if code > 0:
        raise _error(code)


def _error(code: int) -> NetlinkError:
    return NetlinkError(code, os.strerror(code))
