"""Findings as annotations of GitHub Actions: a line each, which the runner takes from whatever a step prints
(https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands).

GitHub keeps ten of each severity from a step and drops the rest in silence, so the rest is told in the last one.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.render.formats import AS_IS, Base
from reconciler.render.places import split_position
from reconciler.render.report import Finding, Severity
from reconciler.render.terminal import clean

MOST = 9
"""Besides the one that tells of the rest."""


def annotated(findings: Sequence[Finding], base: Base = AS_IS) -> str:
    """A line for each of the first `findings`, and one for all others."""
    shown = [_annotation(item, base) for item in findings[:MOST]]
    if rest := findings[MOST:]:
        severity = min((item.rule.severity for item in rest), key=list(Severity).index)
        shown.append(_command(severity, {"title": "reconcile"}, f"{len(rest)} more: see the plan"))
    return "".join(f"{line}\n" for line in shown)


def _annotation(finding: Finding, base: Base) -> str:
    file, line, column = split_position(finding.position)
    place = {"file": base.seen(file) if file else "", "line": line or "", "col": column or ""}
    return _command(finding.rule.severity, place | {"title": finding.rule.title}, finding.message)


def _command(severity: Severity, properties: dict[str, str | int], message: str) -> str:
    given = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items() if value)
    return f"::{severity} {given}::{_data(message)}"


def _data(text: str) -> str:
    """`text` as the runner reads it back (`escapeData` of actions/toolkit, packages/core/src/command.ts)."""
    return clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The same for a property, which ends at a comma, and all of them at two colons (`escapeProperty`)."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
