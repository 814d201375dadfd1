"""What an agent may show, made from real States."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.reconcile import Kernel
from reconciler.watch.served import Change, Condition, Kind, Served, Tally
from tests.render.pictures import look

NOW = 1_800_000_000.0
"""Seconds of the epoch: a day in January 2027."""


def served(kernel: Kernel, document: dict[str, Any], **more: Any) -> Served:
    """What an agent shows that looks at `kernel` with `document` in hand."""
    plan, view = look(kernel, document)
    synced = plan.empty
    reason = "" if synced else "the host differs from the file"
    made = Served(
        owner="default",
        host="edge-7",
        found=view.found,
        desired=view.desired,
        plan=plan,
        revision="a1b2c3d",
        conditions=(Condition(Kind.HEALTHY, True, NOW - 9000), Condition(Kind.SYNCED, synced, NOW - 60, reason)),
        changes=(Change(NOW - 60, "container web made", "applied", "the file changed", 0.14),),
        tally=Tally().observed().in_sync(NOW).applied("applied", 12).healed(0.02).healed(99),
        looked_at=NOW,
        unready="",
    )
    return replace(made, **more)
