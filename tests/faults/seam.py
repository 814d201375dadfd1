"""Every place where a run touches the kernel, wrapped from outside: counted, and refused, spoilt or not survived on demand.

The package knows nothing of this. `install` replaces the few low-level functions by which all of it goes: sending and receiving on a
netlink socket, libnftables' one entrance, four functions of the C library, and the calls of `os` and `fcntl` in the modules that
make files, settings and devices. tests/faults/test_seam.py holds the list of steps against what strace sees.

Meant for a process of its own, which does one run and ends (tests/faults/server.py).
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

FOREVER = 1_000_000


@dataclass(frozen=True)
class Fault:
    """What happens at which step. Steps count from 1; at 0 nothing happens.

    `kill`: SIGKILL just before the writing step `at`. `error`: the step `at`, of those that read and write, is refused with `code`.
    `lost`: the request of the step `at` is done, and its acknowledgement does not come. `interrupted`: the dump of the step
    `at` is marked NLM_F_DUMP_INTR. `times` steps of the same sort are hit, beginning with that one. With `writes`, only steps that write
    count.
    """

    kind: str = "none"
    at: int = 0
    code: int = 0
    times: int = 1
    writes: bool = False


NONE = Fault()


@dataclass
class Gate:
    """Where every step passes: it notes it, and does to it what the fault says."""

    fault: Fault
    noted: Callable[[str], None] = lambda line: None
    written: list[str] = field(default_factory=list)
    """The steps that write, in order: what a crash can come between."""
    steps: list[str] = field(default_factory=list)
    """The steps that can be refused."""
    hits: int = 0
    counting: threading.Lock = field(default_factory=threading.Lock)
    """Names of namespaces are taken away by several threads, and each step has a number of its own."""

    def before_writing(self, what: str) -> None:
        """A step that changes something is about to be taken."""
        with self.counting:
            self.written.append(what)
            if self.fault.kind == "kill" and len(self.written) == self.fault.at:
                self.noted(what)
                os.kill(os.getpid(), signal.SIGKILL)

    def refusal(self, what: str, *, sorts: Sequence[str] = ("error",), writes: bool = False) -> str:
        """What becomes of this step: one of `sorts`, or nothing ("")."""
        with self.counting:
            return self._refusal(what, sorts, writes)

    def _refusal(self, what: str, sorts: Sequence[str], writes: bool) -> str:
        if self.fault.kind in sorts and (writes or not self.fault.writes):
            self.steps.append(what)
            number = len(self.steps)
            if self.fault.at and self.fault.at <= number and self.hits < self.fault.times:
                self.hits += 1
                self.noted(what)
                return self.fault.kind
        elif self.fault.kind == "none":
            self.steps.append(what)
        return ""

    def system_call(self, what: str, *, writes: bool = False) -> None:
        """A system call is about to be made. Raises OSError in its stead."""
        if writes:
            self.before_writing(what)
        if self.refusal(what, writes=writes):
            raise OSError(self.fault.code, os.strerror(self.fault.code))


class Wrapped:
    """A module or library of which some functions pass the gate first."""

    def __init__(self, inner: Any, gates: dict[str, Callable[..., Any]]) -> None:
        self._inner = inner
        self._gates = gates

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        gate = self._gates.get(name)
        if gate is None:
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            gate(*arguments, **options)
            return found(*arguments, **options)

        return call


def install(gate: Gate, *, datagram: int = 32) -> None:
    """Puts the gate between the package and the kernel. `datagram` is how many messages travel in one, with the marks that go along."""
    from reconciler.kernel import batch, conntrack, lock, namespaces, netlink, sysctl, tap

    batch.BATCH = conntrack.BATCH = datagram  # type: ignore[attr-defined]
    netlink.fcntl = Wrapped(netlink.fcntl, {"ioctl": _ioctl(gate, "SIOCGIFINDEX", writes=False)})  # type: ignore[attr-defined]
    tap.fcntl = Wrapped(tap.fcntl, {"ioctl": _ioctl(gate, "TUN", writes=True)})  # type: ignore[attr-defined]
    lock.fcntl = Wrapped(lock.fcntl, {"flock": lambda *_: gate.system_call("flock")})  # type: ignore[attr-defined]
    for module in (namespaces, sysctl, tap, lock):
        module.os = Wrapped(os, _files(gate))  # type: ignore[attr-defined]
    sysctl.open = _reading(gate)  # type: ignore[attr-defined]
    namespaces._LIBC = _library(namespaces._LIBC, gate)  # type: ignore[attr-defined]
    _wrap_netlink(gate)
    _wrap_nftables(gate)


# --- files, devices and namespaces -----------------------------------------------------------------------------------


def _files(gate: Gate) -> dict[str, Callable[..., Any]]:
    def of(name: str, writes: bool) -> Callable[..., Any]:
        return lambda *_, **__: gate.system_call(name, writes=writes)

    def opened(path: Any, flags: int = 0, *_: Any, **__: Any) -> None:
        makes = bool(flags & os.O_CREAT) or flags & os.O_TMPFILE == os.O_TMPFILE
        gate.system_call(f"open{' (making)' if makes else ''}", writes=makes)

    reading = {name: of(name, False) for name in ("listdir", "stat", "lstat", "fstat", "dup", "pread")}
    names = ("unlink", "mkdir", "makedirs", "link", "write", "pwrite", "ftruncate")
    return reading | {name: of(name, True) for name in names} | {"open": opened}


def _reading(gate: Gate) -> Callable[..., Any]:
    def opened(*arguments: Any, **options: Any) -> Any:
        gate.system_call("open of a setting")
        return builtins.open(*arguments, **options)

    return opened


def _ioctl(gate: Gate, what: str, *, writes: bool) -> Callable[..., Any]:
    return lambda *_: gate.system_call(f"ioctl {what}", writes=writes)


def _library(libc: Any, gate: Gate) -> Any:
    """The C library: a refused call sets errno and returns -1."""

    class Library:
        def __getattr__(self, name: str) -> Callable[..., int]:
            def call(*arguments: Any) -> int:
                try:
                    gate.system_call(name, writes=name != "setns")
                except OSError as error:
                    ctypes.set_errno(error.errno or errno.EIO)
                    return -1
                return int(getattr(libc, name)(*arguments))

            return call

    return Library()


# --- netlink ---------------------------------------------------------------------------------------------------------


def _wrap_netlink(gate: Gate) -> None:
    from reconciler.kernel import netlink, wire

    open_socket, send, receive, submit = (
        netlink._open,
        netlink.Socket._send,
        netlink.Socket._receive,
        netlink.Socket.submit,
    )

    def opening(protocol: int) -> Any:
        gate.system_call("socket")
        return open_socket(protocol)

    def sending(self: Any, messages: Any) -> None:
        names = [self._family.name(message.kind) for _, message in messages]
        what = f"send {' '.join(names)}"
        writes = any(self._family.writes(message.kind) for _, message in messages)
        gate.system_call(what, writes=writes)
        self.questions = {sequence: message.kind for sequence, message in messages if not writes}
        send(self, messages)

    def receiving(self: Any) -> bytes:
        """Of dumps: the first answer is refused or marked. Of acknowledgements: those that are lost do not come."""
        questions, self.questions = getattr(self, "questions", {}), {}
        if not questions:
            return _acknowledged(self)
        ((sequence, kind),) = questions.items()
        what = f"answer to {self._family.name(kind)}"
        match gate.refusal(what, sorts=("error", "interrupted")):
            case "error":
                return _refusal(sequence, gate.fault.code)
            case "interrupted":
                data = bytearray(receive(self))
                size, found, flags, answered, port = wire.HEADER.unpack_from(data, 0)
                wire.HEADER.pack_into(data, 0, size, found, flags | wire.NLM_F_DUMP_INTR, answered, port)
                return bytes(data)
        return receive(self)

    def _acknowledged(self: Any) -> bytes:
        lost: set[int] = getattr(self, "lost", set())
        awaited: list[int] = getattr(self, "awaited", [])
        while True:
            if lost and set(awaited) <= lost:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))  # what the timeout of the socket says
            data = receive(self)
            sequences = [sequence for kind, _, sequence, _, _ in netlink._split(data) if kind == wire.NLMSG_ERROR]
            self.awaited = awaited = [one for one in awaited if one not in sequences]
            if not any(one in lost for one in sequences):
                return data

    def submitting(self: Any, messages: Sequence[Any]) -> list[Any]:
        """Each message is a step: a refused one is not put before the kernel at all."""
        answers: dict[int, Any] = {}
        kept: list[Any] = []
        lost: list[int] = []
        for place, message in enumerate(messages):
            what = f"request {self._family.name(message.kind)}"
            match gate.refusal(what, sorts=("error", "lost"), writes=True):
                case "error":
                    answers[place] = netlink.Answer(gate.fault.code)
                    continue
                case "lost":
                    lost.append(self._sequence + 1 + len(kept))
            kept.append(message)
        first = self._sequence + 1
        self.lost, self.awaited = set(lost), list(range(first, first + len(kept)))
        rest = iter(submit(self, kept) if kept else [])
        self.lost, self.awaited = set(), []
        return [answers[place] if place in answers else next(rest) for place in range(len(messages))]

    netlink._open = opening
    netlink.Socket._send = sending  # type: ignore[method-assign]
    netlink.Socket._receive = receiving  # type: ignore[method-assign]
    netlink.Socket.submit = submitting  # type: ignore[method-assign]


def _refusal(sequence: int, code: int) -> bytes:
    """An NLMSG_ERROR as the kernel sends it: the negative errno, and the header of what was asked."""
    from reconciler.kernel import wire

    body = (-code).to_bytes(4, "little", signed=True) + wire.HEADER.pack(16, 0, 0, sequence, 0)
    return wire.HEADER.pack(16 + len(body), wire.NLMSG_ERROR, wire.NLM_F_CAPPED, sequence, 0) + body


# --- nftables --------------------------------------------------------------------------------------------------------


def _wrap_nftables(gate: Gate) -> None:
    from reconciler.kernel.nftables import Nftables

    run = Nftables._run

    def running(self: Any, command: str) -> tuple[int, str, str]:
        writes = not command.startswith("list ")
        what = "nftables transaction" if writes else f"nftables {command}"
        if writes:
            gate.before_writing(what)
        if gate.refusal(what, writes=writes):
            place = "Could not process rule" if writes else "cache initialization failed"
            return -1, "", f"netlink: Error: {place}: {os.strerror(gate.fault.code)}\n{command[:40]}\n^^^^\n"
        return run(self, command)

    Nftables._run = running  # type: ignore[method-assign]
