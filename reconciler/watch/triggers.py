"""What wakes the agent besides the kernel's notifications: directories, processes that end, signals, threads of others.

A directory is watched by watchdog in a thread of its own, which only says that something happened there; all is done by the
agent's one thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from reconciler.errors import PlatformError
from reconciler.runtimes.events import Event

_NEWS = frozenset({"created", "deleted", "modified", "moved", "closed"})
"""Kinds of events that say that something has changed; that somebody opened or read a file is none."""


class Bell:
    """Wakes a selector from another thread, or from a signal handler."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """Readable once it was rung."""
        return self._descriptor

    def ring(self) -> None:
        """From any thread."""
        with contextlib.suppress(OSError):  # it was closed meanwhile
            os.eventfd_write(self._descriptor, 1)

    def silence(self) -> None:
        """It was heard."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class Directories:
    """Watches directories, not what is below them. `told` is called in another thread, with the paths that an event names."""

    def __init__(self, told: Callable[[Iterable[str]], None]) -> None:
        self._gone: set[Path] = set()
        self._handler = _Handler(told, self._gone)
        self._observer = Observer()
        self._observer.daemon = True
        # Before anything is scheduled, so that what cannot be watched is told at once.
        self._observer.start()
        self._watched: dict[Path, Any] = {}
        self._identities: dict[Path, tuple[int, int] | None] = {}

    def watch(self, directories: frozenset[Path]) -> frozenset[Path]:
        """From now on just these. Returns those that cannot be watched: they are to be looked at from time to time."""
        for path in self._watched.keys() - directories:
            with contextlib.suppress(KeyError, OSError):
                self._observer.unschedule(self._watched.pop(path))
        failed = set()
        for path in directories - self._watched.keys():
            try:
                self._identities[path] = _identity(path)
                self._gone.discard(path)
                self._watched[path] = self._observer.schedule(self._handler, str(path), recursive=False)
            except OSError:  # too many watches (fs.inotify.max_user_watches), or it is not there
                failed.add(path)
        return frozenset(failed)

    def lost(self) -> frozenset[Path]:
        """Directories that were watched and are gone, or are others now: they have to be watched anew."""
        return frozenset(
            path
            for path in self._watched
            if path in self._gone or (now := _identity(path)) is None or now != self._identities[path]
        )

    def close(self) -> None:
        self._observer.stop()
        self._observer.join()


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a directory from another one of its name; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


class _Handler(FileSystemEventHandler):
    """`gone` gets what was removed or renamed: another one of its name may have its inode number by the time that is looked at."""

    def __init__(self, told: Callable[[Iterable[str]], None], gone: set[Path]) -> None:
        self._told = told
        self._gone = gone

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in ("deleted", "moved") and event.is_directory:
            self._gone.add(Path(os.fsdecode(event.src_path)))
        if event.event_type in _NEWS:
            self._told([os.fsdecode(path) for path in (event.src_path, event.dest_path) if path])


class Processes:
    """Tells of processes that end (pidfd_open(2)): the network namespace of one is gone then."""

    def __init__(self) -> None:
        self._descriptors: dict[int, int] = {}

    def watch(self, pids: frozenset[int]) -> tuple[frozenset[int], frozenset[int]]:
        """From now on just these. Returns (descriptors to wait for that are new, those that are closed now)."""
        gone = frozenset(self._descriptors.pop(pid) for pid in self._descriptors.keys() - pids)
        for descriptor in gone:
            os.close(descriptor)
        new = set()
        for pid in pids - self._descriptors.keys():
            # One that has ended is found by looking.
            with contextlib.suppress(OSError):
                self._descriptors[pid] = os.pidfd_open(pid)
                new.add(self._descriptors[pid])
        return frozenset(new), gone

    def pid(self, descriptor: int) -> int | None:
        """Whose that is."""
        return next((pid for pid, known in self._descriptors.items() if known == descriptor), None)

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)


RUNTIMES = frozenset({"docker", "podman"})


class Engines:
    """Listens to container engines, each in a thread of its own, from when a file first names a container of it. `told` is called there."""

    def __init__(self, told: Callable[[Event], None]) -> None:
        self._told = told
        self._stop = threading.Event()
        self._listening: set[str] = set()

    def listen(self, runtimes: Iterable[str]) -> None:
        """To these, too."""
        for runtime in set(runtimes) - self._listening:
            self._listening.add(runtime)
            threading.Thread(target=self._follow, args=(runtime,), name=runtime, daemon=True).start()

    def _follow(self, runtime: str) -> None:
        from reconciler.runtimes.engine import engine
        from reconciler.runtimes.events import watch

        # Without the SDK a look says so, for each container.
        with contextlib.suppress(PlatformError):
            watch(engine(runtime), self._told, self._stop)

    def close(self) -> None:
        self._stop.set()


class Signals:
    """SIGTERM and SIGINT (`stop`), SIGHUP (`look`), by flags that are looked at when the bell rings."""

    def __init__(self, bell: Bell) -> None:
        self.stop = self.look = False
        self._bell = bell
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        for number in self._before:
            signal.signal(number, self._heard)

    def _heard(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.look = True
        else:
            self.stop = True
        self._bell.ring()

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
