"""What the agent shows (reconciler.watch.served), put together when somebody looks, and not before.

With a thousand containers that takes longer than to heal one.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from reconciler.core.plan import Plan
from reconciler.core.planner import plan as make_plan
from reconciler.watch import served
from reconciler.watch.mirror import Mirror
from reconciler.watch.served import Kind, Served, Tally
from reconciler.watch.status import Condition, Status

_OUTCOMES = {
    "applied": "applied",
    "healed": "healed",
    "rolled back": "rolled back",
    "failed": "failed",
    "fought": "failed",
    "refused": "refused",
    "invalid": "refused",
}
"""Kinds of changes that are shown, and as what."""


@dataclass(frozen=True, slots=True)
class Moment:
    """All that the agent knows, at one moment."""

    status: Status
    mirror: Mirror | None
    tally: Tally
    stale_after: float


class Showing:
    """A Source for the server. `moment` is called in the server's threads."""

    def __init__(self, moment: Callable[[], Moment]) -> None:
        self._moment = moment
        self._changed = threading.Condition()
        self._version = 1
        self._making = threading.Lock()
        self._made: Served | None = None

    def touch(self) -> None:
        """Something has changed."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def wait(self, version: int, timeout: float) -> int:
        """See Source."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout)
            return self._version

    def snapshot(self) -> Served:
        """What is shown now."""
        with self._making:
            version = self._version
            if self._made is None or self._made.version != version:
                self._made = _served(self._moment(), version)
            return self._made


def _served(moment: Moment, version: int) -> Served:
    status, mirror = moment.status, moment.mirror
    shown = Served(
        owner=status.owner,
        host=socket.gethostname(),
        revision=status.revision,
        conditions=tuple(
            served.Condition(kind, item.holds, item.since, item.reason)
            for kind in Kind
            if (item := status.conditions.get(kind)) is not None
        ),
        changes=tuple(
            served.Change(
                item.at,
                item.text,
                _OUTCOMES[item.kind],
                seconds=None if item.milliseconds is None else item.milliseconds / 1e3,
            )
            for item in reversed(status.changes)
            if item.kind in _OUTCOMES
        ),
        tally=moment.tally,
        looked_at=status.last_look,
        stale_after=moment.stale_after,
        unhealthy=status.condition.cannot_look,
        unready="" if status.condition.looked else "it has not looked at the kernel yet",
        version=version,
    )
    if mirror is None:
        return shown
    found = mirror.found
    plan: Plan = make_plan(mirror.desired, found, mirror.owner, mirror.policy)
    return replace(shown, desired=mirror.desired, found=found, plan=plan)


def conditions(known: Condition) -> dict[Kind, tuple[bool, str]]:
    """Whether each holds, and why."""
    failure = next((f"{key}: {why}" for key, why in known.failures.items()), "")
    wrong = known.cannot_look or known.invalid or known.refused or known.away or failure
    differs = known.drift[0] if known.drift else failure
    return {
        Kind.DEGRADED: (bool(wrong), wrong),
        Kind.AWAITING_CONFIRM: (bool(known.awaits_confirm), known.awaits_confirm),
        Kind.SUSPENDED: (bool(known.suspended), known.suspended),
        Kind.PENDING: (bool(known.pending), f"waiting for {', '.join(known.pending[:3])}" if known.pending else ""),
        Kind.HEALTHY: (known.looked and not known.cannot_look, known.cannot_look),
        Kind.SYNCED: (known.looked and not differs and not known.cannot_look, differs),
    }
