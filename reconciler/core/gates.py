"""Gates: what a pull request may be held up for (`--fail-on`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from reconciler.core import guards
from reconciler.core.plan import Plan


def _deletes(plan: Plan) -> str:
    count = guards.deletions(plan)
    return f"{count} {'thing goes' if count == 1 else 'things go'} for good" if count else ""


def _disrupts(plan: Plan) -> str:
    count = sum(step.disruptive and not step.implied for step in plan.steps)
    return f"{count} {'change interrupts' if count == 1 else 'changes interrupt'} traffic" if count else ""


def _drifts(plan: Plan) -> str:
    count = len(plan.steps) + len(plan.conflicts)
    is_live = plan.basis == "live"
    return (
        f"the host is not as the file says: {count} {'thing differs' if count == 1 else 'things differ'}"
        if count and is_live
        else ""
    )


GATES: Mapping[str, Callable[[Plan], str]] = {"delete": _deletes, "drift": _drifts, "disruption": _disrupts}
"""What each looks for: a sentence on what it found, "" if that is nothing."""


def closed(plan: Plan, names: Iterable[str]) -> Iterator[str]:
    """For each of the gates `names` that does not let `plan` through, a line that says why."""
    for name in dict.fromkeys(names):
        why = GATES[name](plan)
        if why:
            yield f"--fail-on {name}: {why}"
