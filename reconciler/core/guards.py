"""Guards: plans that are refused although they could be carried out."""

from __future__ import annotations

from reconciler.core.plan import Action, Plan
from reconciler.errors import ConflictError, GuardError

JUDGED_FROM = 10
"""Fewer managed things than this are too few to judge a share of."""


def refuse_conflicts(plan: Plan) -> None:
    """Raises ConflictError, naming them all, if foreign things stand where ours should be."""
    if plan.conflicts:
        lines = "\n".join(map(str, plan.conflicts))
        raise ConflictError(f"{lines}\nNothing was touched. Rename ours or remove theirs; --adopt takes it over.")


def deletions(plan: Plan) -> int:
    """How many things of ours go for good. What is replaced comes back, so it does not count."""
    coming = {step.key for step in plan.steps if step.action is Action.CREATE}
    return sum(
        1
        for step in plan.steps
        if step.action is Action.DELETE
        and step.key not in coming
        and step.subject.owner == plan.owner
        and step.subject.removable
    )


def refuse_many_deletes(plan: Plan, limit: int | None) -> None:
    """Raises GuardError if more than `limit` things go; None is half of what is there, judged from ten on."""
    count = deletions(plan)
    if limit is None:
        if plan.managed < JUDGED_FROM or count * 2 <= plan.managed:
            return
        allowed = f"half of the {plan.managed} things that are there"
    elif count <= limit:
        return
    else:
        allowed = f"--max-deletes {limit}"
    raise GuardError(
        f"the plan deletes {count} things, more than {allowed}. Nothing was touched. "
        f"If that is meant, allow it with --max-deletes {count}."
    )


def refuse_empty(bridges: int, source: str) -> None:
    """Raises GuardError for a file without a bridge, which may as well be a file that got lost."""
    if not bridges:
        raise GuardError(
            f"{source} names no bridge, and to apply it would remove everything that this owner made. "
            "Nothing was touched. If that is meant, say so with --allow-empty, or use `reconcile down`."
        )
