"""Processes, told from others that get their number later (proc_pid_stat(5))."""

from __future__ import annotations

from typing import NamedTuple

_STATE, _STARTTIME = 3, 22
"""Fields of /proc/PID/stat, counted from 1. The second is the command in parentheses, which may contain anything."""
_ENDED = b"ZX"


class Process(NamedTuple):
    """The process `pid` that was started at `started`, in clock ticks since boot.

    A number is given out again only after all the others were, which takes longer than a tick: so the two tell a process from
    all others of this boot, and no file descriptor has to be kept for it.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now. Raises ProcessLookupError if there is none, or it has ended."""
        fields = _fields(pid)
        if fields[_STATE - _STATE] in _ENDED:
            raise ProcessLookupError(f"process {pid} has ended")
        return cls(pid, int(fields[_STARTTIME - _STATE]))

    def lives(self) -> bool:
        """Whether it has not ended yet."""
        try:
            return Process.of(self.pid) == self
        except ProcessLookupError:
            return False


def _fields(pid: int) -> list[bytes]:
    """Those from the state on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except FileNotFoundError as error:
        raise ProcessLookupError(f"there is no process {pid}") from error
