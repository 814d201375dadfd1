"""Exposure for people and for machines: who reaches what, what changed, and what is not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from reconciler import __version__
from reconciler.exposure import Change, Reach, Verb
from reconciler.exposure.reach import ANYWHERE, LAYER_2, SOURCES, target, what, where, who
from reconciler.render.json import position_json
from reconciler.render.terminal import Span, Style, clean, paint, table

FORMAT_VERSION = "1.0"

_COLUMNS = ("WHAT", "ON", "LEADS TO", "CONTAINER", "PLACE")
_STYLES = {
    Verb.OPENED: Style.RED,
    Verb.WIDENED: Style.RED,
    Verb.MOVED: Style.YELLOW,
    Verb.NARROWED: Style.GREEN,
    Verb.CLOSED: Style.GREEN,
}


def exposure_text(reaches: Sequence[Reach], unknown: Iterable[str], *, color: bool = False) -> str:
    """`reaches`, in the order they have, under a heading for each set of sources; then what is `unknown`."""
    if not reaches:
        return "Nothing can be reached.\n\n" + _unknown_text(unknown, color)
    header, *lines = table([_COLUMNS, *map(_row, reaches)])
    rows = iter(lines)
    parts = [paint((Span(f"  {header}", Style.DIM),), color=color)]
    for sources, group in groupby(reaches, key=lambda item: item.sources):
        parts.append(paint((Span(_heading(sources), Style.BOLD),), color=color))
        # Escaped by `table` already.
        parts += [f"  {next(rows)}" for _ in group]
    return "\n".join((*parts, "", _unknown_text(unknown, color)))


def changes_text(changes: Sequence[Change], unknown: Iterable[str], *, color: bool = False) -> str:
    """One line for each of `changes`, with its place; a count; then what is `unknown`."""
    if not changes:
        return "Nothing is reached otherwise than before.\n\n" + _unknown_text(unknown, color)
    lines = []
    for item in changes:
        place = f"  ({item.position})" if item.position else ""
        rest = str(item).removeprefix(f"{item.verb}:")
        line = Span(f"{item.verb}:", _STYLES[item.verb]), Span(rest), Span(place, Style.DIM)
        lines.append(paint(line, color=color))
    counts = Counter(item.verb for item in changes)
    tally = ", ".join(f"{counts[verb]} {verb}" for verb in Verb if counts[verb])
    return "\n".join((*lines, "", f"{tally}.", "", _unknown_text(unknown, color)))


def exposure_json(
    reaches: Iterable[Reach], unknown: Iterable[str], owner: str, basis: str, changes: Iterable[Change] | None = None
) -> dict[str, Any]:
    """The same for machines. `basis` says what it was computed from: `file` or `live`. `changes` is None where nothing was compared."""
    return {
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "owner": owner,
        "basis": basis,
        "sources": dict(SOURCES),
        "exposure": [item.json() | {"position": position_json(item.position)} for item in reaches],
        "changes": None if changes is None else [_change_json(item) for item in changes],
        "unknown": list(unknown),
    }


def _change_json(change: Change) -> dict[str, Any]:
    was = change.was.json() | {"position": position_json(change.was.position)} if change.was else None
    return change.json() | {"position": position_json(change.position), "was": was}


def _row(reach: Reach) -> tuple[str, ...]:
    leads_to = "itself" if reach.direct else target(reach)
    container = "/".join(filter(None, (reach.bridge, reach.container)))
    return what(reach), where(reach.version, reach.address), leads_to, container, reach.position


def _heading(sources: frozenset[str]) -> str:
    text = who(sources).capitalize()
    if sources >= ANYWHERE:
        text += " (outside, this host, containers)"
    if any(name.startswith(LAYER_2) for name in sources):
        text += " (who that is, is not known here)"
    return text


def _unknown_text(unknown: Iterable[str], color: bool) -> str:
    lines = [paint((Span("Not known here:", Style.BOLD),), color=color)]
    return "\n".join((*lines, *(f"  {clean(item)}" for item in unknown))) + "\n"
