"""What an agent shows of itself: one frozen value at a time, on a board that readers can wait at.

The agent writes (`Board.show`), the server reads (`Source`). Neither knows the other, and what is shown is never changed: a reader
may take its time.
"""

from __future__ import annotations

import enum
import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from reconciler.core.plan import Plan
from reconciler.core.resource import State


class Kind(enum.StrEnum):
    """The conditions that an agent is in, each of which holds or not, in the order in which they matter to a reader.

    The words are those of GitOps tools (Argo CD, Flux).
    """

    DEGRADED = "Degraded"
    """Something is wrong that it cannot mend: a file that is invalid, an apply that fails, something foreign in the way."""
    AWAITING_CONFIRM = "AwaitingConfirm"
    """A change is applied and is taken back if nobody confirms it."""
    SUSPENDED = "Suspended"
    """It looks and does nothing."""
    PENDING = "Pending"
    """Something waits for what is not ours to make."""
    HEALTHY = "Healthy"
    """It does its work: the kernel answers, the file can be read."""
    SYNCED = "Synced"
    """The host is as the file says."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One of them: whether it `holds`, why, and since when (seconds of the epoch)."""

    kind: Kind
    holds: bool
    since: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was done, or was tried. `outcome` is one of OUTCOMES; `at` in seconds of the epoch."""

    at: float
    what: str
    outcome: str
    why: str = ""
    seconds: float | None = None


OUTCOMES = ("applied", "healed", "rolled back", "failed", "refused")
"""applied: the file had changed. healed: the host had. refused: a guard would not have it."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds from seeing a drift to having mended it."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What an agent has counted since it began. Each method gives the tally after one more."""

    observations: int = 0
    observation_failures: int = 0
    requests: int = 0
    """Writing messages sent to the kernel."""
    applies: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    heals: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    """How many took no longer than each of BUCKETS and longer than the one before it; the last is for all others."""
    heal_seconds: float = 0.0
    last_success: float | None = None
    """When the host was last as the file says, in seconds of the epoch."""

    def observed(self, *, failed: bool = False) -> Tally:
        """After a look at the kernel."""
        failures = self.observation_failures + failed
        return replace(self, observations=self.observations + 1, observation_failures=failures)

    def in_sync(self, at: float) -> Tally:
        """After the host was seen to be as the file says."""
        return replace(self, last_success=at)

    def applied(self, outcome: str, requests: int = 0) -> Tally:
        """After an apply that ended in one of OUTCOMES. Raises KeyError for any other."""
        applies = {**self.applies, outcome: self.applies[outcome] + 1}
        return replace(self, applies=applies, requests=self.requests + requests)

    def healed(self, seconds: float) -> Tally:
        """After a drift was mended within `seconds` of its being seen."""
        place = bisect_left(BUCKETS, seconds)
        heals = tuple(count + (number == place) for number, count in enumerate(self.heals))
        return replace(self, heals=heals, heal_seconds=self.heal_seconds + seconds)


@dataclass(frozen=True, slots=True)
class Served:
    """All that an agent shows, at one moment. Times are seconds of the epoch.

    `desired` and `plan` are None as long as no file could be read. `unhealthy` and `unready` say why it is not: nothing if it is.
    """

    owner: str
    host: str = ""
    found: State = field(default_factory=State)
    desired: State | None = None
    plan: Plan | None = None
    revision: str = ""
    conditions: tuple[Condition, ...] = ()
    changes: tuple[Change, ...] = ()
    """The last ones, the newest first."""
    tally: Tally = Tally()
    looked_at: float | None = None
    """When it last looked at the kernel, and saw it."""
    stale_after: float = 120.0
    """So many seconds after a look what is shown cannot be trusted any more."""
    unhealthy: str = ""
    unready: str = "it has not looked at the kernel yet"
    version: int = 0

    def condition(self, kind: Kind) -> Condition | None:
        """The condition of that kind, if the agent says anything of it."""
        return next((item for item in self.conditions if item.kind is kind), None)

    def stale(self, now: float) -> bool:
        """Whether the last look is too long ago."""
        return self.looked_at is None or now - self.looked_at > self.stale_after


class Source(Protocol):
    """Where a server reads."""

    def snapshot(self) -> Served:
        """What is shown now."""
        ...

    def wait(self, version: int, timeout: float) -> int:
        """Waits until something other than `version` is shown, at most `timeout` seconds. Returns the version that is."""
        ...


class Board:
    """A Source, and the place where an agent writes. For many threads."""

    def __init__(self, first: Served) -> None:
        self._changed = threading.Condition()
        self._shown = replace(first, version=1)

    def show(self, served: Served) -> None:
        """From now on this is shown. It gets its version here. What says the same as before wakes nobody."""
        with self._changed:
            if replace(served, version=self._shown.version) != self._shown:
                self._shown = replace(served, version=self._shown.version + 1)
                self._changed.notify_all()

    def snapshot(self) -> Served:
        """What is shown now."""
        with self._changed:
            return self._shown

    def wait(self, version: int, timeout: float) -> int:
        """See Source."""
        with self._changed:
            self._changed.wait_for(lambda: self._shown.version != version, timeout)
            return self._shown.version
