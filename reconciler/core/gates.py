"""Gates: what a pull request may be held up for (`--fail-on`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from reconciler.core import guards
from reconciler.core.plan import Plan


class ExposureChange(Protocol):
    """One difference in what can be reached from where (reconciler.exposure); str() is a line for people."""

    @property
    def verb(self) -> str:
        """opened, widened, moved, narrowed or closed."""

    @property
    def position(self) -> str:
        """`FILE:LINE:COLUMN`, empty if no file says."""


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
"""What those look for that ask the plan alone: a sentence on what was found, "" if that is nothing."""
EXPOSURE = "exposure"
NAMES = (*GATES, EXPOSURE)
"""All gates."""


def closed(plan: Plan, names: Iterable[str], exposure: Sequence[ExposureChange] = ()) -> Iterator[str]:
    """For each of the gates `names` that does not let `plan` through, with what it does to the `exposure`, a line that says why."""
    for name in dict.fromkeys(names):
        why = _exposes(exposure) if name == EXPOSURE else GATES[name](plan)
        if why:
            yield f"--fail-on {name}: {why}"


def _exposes(changes: Iterable[ExposureChange]) -> str:
    grown = [item for item in changes if item.verb in ("opened", "widened")]
    lines = [f"  {item.position}: {item}" if item.position else f"  {item}" for item in grown]
    count = f"{len(grown)} {'way in is' if len(grown) == 1 else 'ways in are'} opened or widened"
    return "\n".join((count, *lines)) if grown else ""
