"""What is, against what should be, in short."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from reconciler.core.plan import Plan
from reconciler.core.resource import Resource, State
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.netns import Netns
from reconciler.kinds.peer import Peer
from reconciler.kinds.tap import Tap
from reconciler.render import words
from reconciler.render.changes import Sign
from reconciler.render.json import FORMAT_VERSION, summary
from reconciler.render.outline import Outline, Row, outline
from reconciler.render.places import Places
from reconciler.render.ports import published
from reconciler.render.terminal import Line, Span, Style, paint
from reconciler.render.text import rows_lines

_SHOWN = 10
"""So many lines of what differs; the plan has them all."""


def status_text(plan: Plan, found: State, desired: State, *, color: bool) -> str:
    """Whether `found` is as `desired` says, by their `plan`: a headline, what there is, and what differs, in
    a few lines.

    Ends in a newline; has escape sequences only if `color`.
    """
    folded = outline(plan, (desired, found))
    lines = [_headline(plan, folded), (Span(f"  {_counts(plan.owner, found, desired)}"),)]
    lines += _differing(folded)
    open_ends = {"waiting": folded.waiting, "foreign": folded.foreign, "in the way": folded.conflicts}
    for title, rows in open_ends.items():
        if rows:
            lines += [(Span(f"{title}:", Style.BOLD),), *_few(rows)]
    return "".join(f"{paint(line, color=color)}\n" for line in lines)


_HEALTH = {"Synced": Style.GREEN, "Pending": Style.YELLOW, "Degraded": Style.RED, "OutOfSync": Style.YELLOW}

_NOTABLE = frozenset({"Degraded", "AwaitingConfirm", "Suspended", "Pending"})
"""Conditions that are worth a line beside the first one."""


def agent_text(agent: Mapping[str, Any], *, color: bool) -> str:
    """What the agent tells of itself (reconciler.watch.status): how it goes and why, since when, at which revision, and what else holds."""
    health, reason = str(agent.get("health")), str(agent.get("reason"))
    since = datetime.fromtimestamp(float(agent.get("since", 0))).strftime("%Y-%m-%d %H:%M:%S")
    lines: list[Line] = [
        (Span("agent: ", Style.BOLD), Span(health, _HEALTH.get(health, Style.YELLOW)), Span(f", {reason}")),
        (Span(f"  since {since}, {_revision(agent)}"),),
    ]
    for held in agent.get("conditions", ()):
        name = held["condition"]
        if held["holds"] and name in _NOTABLE and name != health:
            lines.append((Span("  also "), Span(name, _HEALTH.get(name, Style.YELLOW)), Span(f", {held['reason']}")))
    return "".join(f"{paint(line, color=color)}\n" for line in lines)


def _revision(agent: Mapping[str, Any]) -> str:
    revision, source = agent.get("revision"), agent.get("source")
    return f"revision {revision} of {source}" if revision else f"no revision of {source} yet"


def status_json(plan: Plan, found: State, desired: State) -> dict[str, Any]:
    """The same as plain JSON values."""
    return {
        "format_version": FORMAT_VERSION,
        "owner": plan.owner,
        "basis": plan.basis,
        "in_sync": plan.empty,
        "summary": summary(plan),
        "found": _numbers(plan.owner, found, desired),
        "differs": [_differs(row) for row in telling(outline(plan, (desired, found)))],
        "conflicts": [str(item) for item in plan.conflicts],
        "pending": [{"label": item.resource.label, "missing": str(item.missing)} for item in plan.pending],
        "foreign": [item.label for item in plan.foreign],
    }


def _headline(plan: Plan, folded: Outline) -> Line:
    name = Span(f"{plan.owner}: ", Style.BOLD)
    if plan.conflicts:
        return name, Span("blocked", Style.RED), Span(", something foreign is in the way")
    if plan.steps:
        number = len(telling(folded))
        return (
            name,
            Span("differs", Style.YELLOW),
            Span(f" from the file in {words.counted(number, 'place')}"),
        )
    waits = ", but for what waits" if plan.pending else ""
    return name, Span("in sync", Style.GREEN), Span(f" with the file{waits}")


def _counts(owner: str, found: State, desired: State) -> str:
    numbers = _numbers(owner, found, desired)
    return ", ".join(words.counted(numbers[name], one) for name, one in _COUNTED.items())


_COUNTED = {"bridges": "bridge", "containers": "container", "ports": "published port"}


def _numbers(owner: str, found: State, desired: State) -> dict[str, int]:
    """What there is of `owner`. A port of both families is one."""
    places = Places.of_states(desired, found)
    own = [item for item in found.resources.values() if item.owner == owner]
    ports = {
        (item.container, item.protocol, item.address, item.ports)
        for item in published(State.of(_only_of(owner, found)))
    }
    ends = [item for item in own if isinstance(item, Netns | Peer | Tap)]
    containers = {places.place(item).container or words.name(item) for item in ends}
    return {
        "bridges": sum(isinstance(item, Bridge) for item in own),
        "containers": len(containers),
        "ports": len(ports),
    }


def _only_of(owner: str, found: State) -> list[Resource]:
    return [item for item in found.resources.values() if item.owner == owner]


def telling(folded: Outline) -> list[Row]:
    """The lines that say what changes, each with the names of what it is below; of what is new as a whole,
    one."""
    rows: list[Row] = []
    for block in folded.blocks:
        above: list[Row] = []
        for row in block:
            above = above[: row.depth]
            if row.sign is not Sign.NONE and not _told(row, above):
                rows.append(_with_path(row, [item.name for item in above]))
            if row.heading:
                above.append(row)
    return rows


def _told(row: Row, above: list[Row]) -> bool:
    """Whether a container that comes or goes as a whole says enough."""
    return not row.heading and bool(above) and above[-1].sign is row.sign and row.sign in (Sign.CREATE, Sign.DELETE)


def _with_path(row: Row, path: list[str]) -> Row:
    above = "/".join(path)
    text = f"{row.noun} {row.text}".strip()
    return Row(row.sign, 0, f"{above}: {text}" if above else text, "", row.note, row.where)


def _differs(row: Row) -> dict[str, str]:
    return {"sign": row.sign.value, "text": row.noun, "note": row.note}


def _differing(folded: Outline) -> list[Line]:
    return _few(telling(folded))


def _few(rows: list[Row] | tuple[Row, ...]) -> list[Line]:
    more = len(rows) - _SHOWN
    lines = rows_lines(rows[:_SHOWN])
    return [*lines, (Span(f"  and {more} more, which the plan shows", Style.DIM),)] if more > 0 else lines
