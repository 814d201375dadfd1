"""What the agent tells of itself: one word for how it goes, why, and since when. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Health(enum.StrEnum):
    """How it goes, in one word; the first that holds."""

    STARTING = "Starting"
    DEGRADED = "Degraded"
    AWAITING_CONFIRM = "AwaitingConfirm"
    SUSPENDED = "Suspended"
    OUT_OF_SYNC = "OutOfSync"
    PENDING = "Pending"
    SYNCED = "Synced"


@dataclass(frozen=True, slots=True)
class Condition:
    """All that decides about it."""

    looked: bool = False
    """Whether everything was looked at once."""
    suspended: str = ""
    """Why nothing is changed, "" if things are."""
    awaits_confirm: str = ""
    cannot_look: str = ""
    """Why the host, or the source, could not be read."""
    away: str = ""
    """Why what is newest of the source cannot be had."""
    invalid: str = ""
    """What is wrong with the files, "" if nothing is."""
    refused: str = ""
    """Which revision is not done although it is valid, and why; "" if there is none."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Things that could not be done, or are fought over, each with the reason."""
    drift: tuple[str, ...] = ()
    """What differs and is only reported."""
    pending: tuple[str, ...] = ()
    """What is waited for."""


def judge(condition: Condition) -> tuple[Health, str]:
    """The word, and the reason in a sentence."""
    if condition.cannot_look:
        return Health.DEGRADED, condition.cannot_look
    if condition.invalid:
        return Health.DEGRADED, f"the files are invalid, the last good ones are kept up: {condition.invalid}"
    if condition.refused:
        return Health.DEGRADED, condition.refused
    if condition.away:
        return Health.DEGRADED, f"the source cannot be had, what was there last is kept up: {condition.away}"
    if condition.failures:
        first, why = next(iter(condition.failures.items()))
        more = f" (and {len(condition.failures) - 1} more)" if len(condition.failures) > 1 else ""
        return Health.DEGRADED, f"{first}: {why}{more}"
    if condition.awaits_confirm:
        return Health.AWAITING_CONFIRM, condition.awaits_confirm
    if condition.suspended:
        return Health.SUSPENDED, condition.suspended
    if not condition.looked:
        return Health.STARTING, "nothing was looked at yet"
    if condition.drift:
        more = f" and {len(condition.drift) - 1} more" if len(condition.drift) > 1 else ""
        return Health.OUT_OF_SYNC, f"{condition.drift[0]}{more}"
    if condition.pending:
        return Health.PENDING, f"waiting for {', '.join(condition.pending[:3])}" + (
            f" and {len(condition.pending) - 3} more" if len(condition.pending) > 3 else ""
        )
    return Health.SYNCED, "the host is as the file says"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that the agent did or found."""

    at: float
    """Seconds since the epoch."""
    kind: str
    """applied, healed, failed, fought, invalid, refused, rolled back, suspended, resumed, drifted."""
    text: str
    milliseconds: float | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A condition (reconciler.watch.served.Kind): whether it `holds`, since when (seconds since the epoch), and why."""

    holds: bool
    since: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What is told."""

    owner: str
    health: Health
    reason: str
    since: float
    """When it became so, in seconds since the epoch."""
    revision: str
    """Of the last good files, which the host is kept at."""
    source: str
    started: float
    last_look: float | None = None
    condition: Condition = field(default_factory=Condition)
    conditions: Mapping[str, Held] = field(default_factory=dict)
    """All that may hold, by name."""
    changes: tuple[Change, ...] = ()
    """The last ones, the newest last."""
    counts: Mapping[str, int] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "owner": self.owner,
            "health": self.health.value,
            "reason": self.reason,
            "since": self.since,
            "revision": self.revision,
            "source": self.source,
            "started": self.started,
            "last_look": self.last_look,
            "conditions": [
                {"condition": name, "holds": held.holds, "since": held.since, "reason": held.reason}
                for name, held in self.conditions.items()
            ],
            "failures": dict(self.condition.failures),
            "drift": list(self.condition.drift),
            "pending": list(self.condition.pending),
            "changes": [
                {"at": item.at, "kind": item.kind, "text": item.text, "milliseconds": item.milliseconds}
                for item in self.changes
            ],
            "counts": dict(self.counts),
        }
