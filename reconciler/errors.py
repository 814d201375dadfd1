"""What can go wrong, as a tree. Each class says whose fault it is; `exit_code` is what the command ends with.

ReconcileError                1  anything below, and nothing else is ever raised on purpose
├── UsageError               64  the command line is wrong
├── ManifestError             3  the file is wrong; carries every problem found, each with its place
├── GuardError                4  a guard refused; nothing was touched
│   └── ConflictError         4  something foreign stands where ours should be
├── NotAwaitedError           1  nothing awaits confirmation (any more)
├── StalePlanError            5  a saved plan no longer fits what is there
├── LockedError               6  another run is at work
├── RolledBackError           7  a step failed, and the host is as it was before
├── RefusedError              1  the kernel refused, and (said in the message) what stays behind
└── PlatformError             1  the system lacks something: a library, a permission, a kernel feature

StrandedError                 1  there is no way back from a container's namespace; beside the tree, since nobody may go on after it
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Spot(Protocol):
    """A place in a file; line and column count from 1."""

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class Problem(Protocol):
    """One thing that is wrong with a file; str() is the line to print, `FILE:LINE:COLUMN: error: MESSAGE`."""

    @property
    def position(self) -> Spot: ...
    @property
    def message(self) -> str: ...
    def __str__(self) -> str: ...


class ReconcileError(Exception):
    """The root. str() is a sentence for the user: what is wrong, and what to do."""

    exit_code = 1


class UsageError(ReconcileError):
    """The command line is wrong."""

    exit_code = 64


class ManifestError(ReconcileError):
    """The file is wrong. `problems` holds all of them, in the order of their places."""

    exit_code = 3

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class GuardError(ReconcileError):
    """A guard refused the plan. Nothing was touched."""

    exit_code = 4


class ConflictError(GuardError):
    """Something that is not ours stands where ours should be."""


class NotAwaitedError(ReconcileError):
    """Nothing awaits confirmation, or not any more."""


class StalePlanError(ReconcileError):
    """A saved plan rests on a state that is no longer there."""

    exit_code = 5


class LockedError(ReconcileError):
    """Another run holds the lock of this owner and network namespace."""

    exit_code = 6


class RolledBackError(ReconcileError):
    """A step failed; what had been done was undone, and that was verified."""

    exit_code = 7


class RefusedError(ReconcileError):
    """The kernel refused something, and what was done stays as the message says."""


class StrandedError(BaseException):
    """The calling thread could not leave a container's network namespace. Whatever came next would be done to the container, so nothing
    may: no undo, no next try of an agent. That is why it is no Exception, which somebody could get over."""

    exit_code = 1


class PlatformError(ReconcileError):
    """The system lacks what the work needs: a library, a permission, a feature of the kernel."""
