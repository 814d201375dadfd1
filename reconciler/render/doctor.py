"""What the doctor found, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.core.diagnosis import Diagnosis, Level
from reconciler.render.terminal import Line, Span, Style, pad, paint
from reconciler.render.words import counted

_STYLES = {Level.OK: Style.GREEN, Level.NOTE: Style.DIM, Level.WARNING: Style.YELLOW, Level.ERROR: Style.RED}
FORMAT_VERSION = "1.0"


def doctor_text(findings: Sequence[Diagnosis], *, color: bool) -> str:
    """A line for each finding, and below it what to do; at the end how many of each."""
    lines: list[Line] = []
    for item in findings:
        lines.append((Span(pad(item.level, 9), _STYLES[item.level]), Span(item.text)))
        if item.remedy:
            lines.append((Span(" " * 9), Span(f"→ {item.remedy}", Style.DIM)))
    bad = {level: sum(item.level == level for item in findings) for level in (Level.ERROR, Level.WARNING)}
    said = ", ".join(counted(number, level) for level, number in bad.items() if number)
    lines.append((Span(said or "nothing stands in the way", Style.BOLD),))
    return "".join(f"{paint(line, color=color)}\n" for line in lines)


def doctor_json(findings: Sequence[Diagnosis]) -> dict[str, Any]:
    """The same as plain JSON values."""
    return {
        "format_version": FORMAT_VERSION,
        "findings": [
            {"check": item.check, "level": str(item.level), "text": item.text, "remedy": item.remedy or None}
            for item in findings
        ],
    }
