"""The processes that undo what nobody confirms."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.cli.host import until


def timers() -> list[int]:
    """The processes that are timers of this place, by /proc: each test has its own mount namespace, and so its own /run."""
    ours, found = os.readlink("/proc/self/ns/mnt"), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"reconciler.timer" in (folder / "cmdline").read_bytes() and os.readlink(folder / "ns/mnt") == ours:
                found.append(int(folder.name))
    return found


def kill_timer() -> None:
    (process,) = timers()
    os.kill(process, signal.SIGKILL)
    until(lambda: not timers())
