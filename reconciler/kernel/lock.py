"""One run at a time per owner and network namespace.

An flock(2) on a file, which the kernel gives up for us however we end. The file says who holds it and is
left lying there: to unlink it would let two runs lock two files of one name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from reconciler.errors import LockedError, PlatformError

_POLL = 0.1
_NAMELESS = 0.2
"""Seconds for which a holder may have the lock and not yet have said who it is."""


def directory(*, make: bool = True) -> Path:
    """Where locks are: /run/reconciler, or where the user may write. Who only looks does not `make` it."""
    tried = []
    for candidate in _candidates():
        tried.append(str(candidate))
        with contextlib.suppress(OSError):
            if make:
                os.makedirs(candidate, mode=0o700, exist_ok=True)
            status = candidate.lstat()
            if status.st_uid == os.getuid() and not status.st_mode & 0o022 and os.access(candidate, os.W_OK):
                return candidate
    if not make:
        return Path(tried[0])
    raise PlatformError(f"no place for a lock file: none of {', '.join(tried)} can be written")


def _candidates() -> Iterator[Path]:
    """The places for locks, the best first; tempfile makes a file to find its own, so it is asked only at the end."""
    yield Path("/run/reconciler")
    if os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(os.environ["XDG_RUNTIME_DIR"]) / "reconciler"
    yield Path(tempfile.gettempdir()) / f"reconciler-{os.getuid()}"


class Lock:
    """The lock of `owner` in the network namespace that the calling thread is in, waited for `timeout` seconds."""

    def __init__(self, owner: str, timeout: float = 0.0) -> None:
        self._owner = owner
        self._timeout = timeout
        self._held = -1

    def __enter__(self) -> Lock:
        if self._held < 0:
            self.acquire(self._timeout)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    @property
    def path(self) -> Path:
        """The lock's file."""
        return directory() / _name(self._owner, "lock")

    def acquire(self, timeout: float = 0.0) -> None:
        """Take the lock, waiting `timeout` seconds for it.

        Raises LockedError, which names the process that has it, and PlatformError where there can be no lock, or it is another user's.
        """
        try:
            self._acquire(timeout)
        except OSError as error:
            raise PlatformError(f"the lock of {self._owner!r} cannot be taken: {error.strerror or error}") from error

    def _acquire(self, timeout: float) -> None:
        path = self.path
        try:
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise PlatformError(
                f"the lock {path} cannot be opened ({error.strerror}): another user made it; always run this as the same one, "
                "or remove that file when nobody is at work"
            ) from error
        deadline = time.monotonic() + timeout
        try:
            while not _try(opened):
                if time.monotonic() >= deadline:
                    raise LockedError(f"{_holder(opened)} is at work on {self._owner!r} ({path}): wait for it to end")
                time.sleep(_POLL)
            with contextlib.suppress(OSError):  # who holds it is a comfort: on a full /run it holds as well
                os.ftruncate(opened, 0)
                os.pwrite(opened, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(opened)
            raise
        self._held = opened

    def release(self) -> None:
        """Give the lock back; nothing if it is not held."""
        if self._held >= 0:
            # Else whoever comes next would for an instant be taken for us.
            with contextlib.suppress(OSError):
                os.ftruncate(self._held, 0)
            os.close(self._held)
            self._held = -1


def _try(opened: int) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _holder(opened: int) -> str:
    deadline = time.monotonic() + _NAMELESS
    while not (pid := os.pread(opened, 32, 0).decode(errors="replace").strip()) and time.monotonic() < deadline:
        time.sleep(_NAMELESS / 20)
    age = max(0, int(time.time() - os.fstat(opened).st_mtime))
    return f"process {pid or '?'}, for {_span(age)} already,"


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def agents_door(owner: str) -> Path:
    """The socket at which an agent of `owner` answers, while there is one (reconciler.watch.control)."""
    return directory(make=False) / _name(owner, "agent")


def _name(owner: str, suffix: str) -> str:
    return f"{owner.replace('/', '_')}-{os.stat('/proc/thread-self/ns/net').st_ino}.{suffix}"
