"""A Plan for people: what a dry run prints.

The sign stands in the first column, so that the text can be read by eye, by grep, and as a `diff` block of a
review.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reconciler.core.plan import Action, Plan, Step
from reconciler.core.resource import Level, Note, State
from reconciler.render import words
from reconciler.render.changes import SIGNS, Sign
from reconciler.render.outline import Outline, Row, outline
from reconciler.render.places import short_position
from reconciler.render.report import ExposureChange, RehearsalResult, told
from reconciler.render.terminal import Line, Span, Style, length, pad, paint

COLORS = {
    Sign.CREATE: Style.GREEN,
    Sign.UPDATE: Style.YELLOW,
    Sign.DELETE: Style.RED,
    Sign.REPLACE: Style.MAGENTA,
    Sign.OPEN: Style.CYAN,
    Sign.NONE: Style.PLAIN,
}
_NOUN_WIDTH = len("namespace")
_MARGIN = 96
"""Positions stand in one column, which is never further to the right than this."""


CONFLICTS = "In the way (--adopt takes these over, or choose other names in the file)"
EXPOSURE = "Exposure, what can be reached otherwise than before"
FOREIGN = "Foreign, on things of ours, and left alone (--prune=foreign removes addresses and routes)"
STEPS = "Every step, in the order of doing, and what it sends"
WAITING = "Waiting, for what is not ours to make"


def plan_text(
    plan: Plan,
    *,
    color: bool,
    timing: str | None = None,
    verbose: bool = False,
    states: Sequence[State] = (),
    exposure: Sequence[ExposureChange] | None = None,
    rehearsal: RehearsalResult | None = None,
) -> str:
    """`plan` as text, ending in a newline, with escape sequences only if `color`.

    `timing` is put behind the summary; `verbose` adds every step in the order of doing, with its requests.
    `states` are those the plan was made of (the wish first), where at hand: they tell to which bridge a thing
    belongs that the plan says little of. `exposure` and `rehearsal` are None if they were not computed.
    """
    folded = outline(plan, states)
    sections = [*map(_plain, folded.blocks), *_open_sections(folded)]
    if exposure:
        sections.append([_title(f"{EXPOSURE}:"), *exposure_lines(exposure)])
    if rehearsal is not None:
        sections.append([_title(f"Rehearsal {outcome(rehearsal)}:"), *_indented(rehearsal.lines)])
    if verbose and plan.steps:
        sections.append([_title(f"{STEPS}:"), *step_lines(plan.steps)])
    sections.append([_summary(plan, folded, timing)])
    return "\n".join("".join(f"{paint(line, color=color)}\n" for line in section) for section in sections)


def rows_lines(rows: Iterable[Row], *, margin: int = _MARGIN) -> list[Line]:
    """`rows` as lines, their positions in one column."""
    bodies = [(body, length(body), row.where) for row in rows for body in (_body(row),)]
    column = min(margin, max((size for _, size, _ in bodies), default=0))
    return [_with_position(body, size, where, column) for body, size, where in bodies]


def _plain(rows: Iterable[Row]) -> list[Line]:
    return rows_lines(rows)


def _body(row: Row) -> Line:
    color = COLORS[row.sign]
    indent = "  " * row.depth
    noun = row.noun if row.heading or not row.text else pad(row.noun, _NOUN_WIDTH)
    strong = Style.BOLD if row.heading and row.sign is Sign.NONE else color
    gap = "" if not row.text else " " if row.heading else "  "
    note = f"  ({row.note})" if row.note else ""
    return (
        Span(f"{row.sign} {indent}", color),
        Span(noun, strong if row.heading else color),
        Span(f"{gap}{row.text}", strong if row.heading else Style.PLAIN),
        Span(note, Style.DIM),
    )


def _with_position(body: Line, size: int, where: str, column: int) -> Line:
    """`body`, which is `size` columns wide, and behind it `where`, at `column` if there is room."""
    if not where:
        return body
    return (*body, Span(" " * (max(0, column - size) + 2)), Span(where, Style.DIM))


# --- what is not done, and why ----------


def _open_sections(folded: Outline) -> Iterator[list[Line]]:
    for title, rows in ((WAITING, folded.waiting), (FOREIGN, folded.foreign), (CONFLICTS, folded.conflicts)):
        if rows:
            yield [_title(f"{title}:"), *rows_lines(rows)]
    if folded.notes:
        yield [_note(note) for note in folded.notes]


def _title(text: str) -> Line:
    return (Span(text, Style.BOLD),)


def _note(note: Note) -> Line:
    color = Style.YELLOW if note.level is Level.WARNING else Style.CYAN
    where = f"{short_position(note.position)}: " if note.position else ""
    return Span(where, Style.DIM), Span(f"{note.level}: ", color), Span(note.text)


# --- what can be reached, and how it went when tried ----------

_EXPOSURE_SIGNS = {"opened": Sign.CREATE, "closed": Sign.DELETE}
"""Every other verb changes what stays."""


def exposure_lines(changes: Iterable[ExposureChange]) -> list[Line]:
    """A line for each of `changes`."""
    return rows_lines(
        Row(
            _EXPOSURE_SIGNS.get(item.verb, Sign.UPDATE),
            0,
            str(item.verb),
            told(item),
            "",
            short_position(item.position),
        )
        for item in changes
    )


def outcome(rehearsal: RehearsalResult) -> str:
    """In a word."""
    return "passed" if rehearsal.ok else "failed"


def _indented(lines: Iterable[str]) -> Iterator[Line]:
    yield from ((Span(f"  {line}"),) for line in lines)


# --- every step ----------


def step_lines(steps: Sequence[Step]) -> Iterator[Line]:
    """Each of `steps`, and below it the requests it sends."""
    from reconciler.render.requests import request_text  # of a verbose run only

    for number, step in enumerate(steps, 1):
        what = f"{number}. {step.subject.label}"
        row = Row(SIGNS[step.action], 0, what, "", step.reason, step.origin.position)
        yield from rows_lines([row])
        requests = [request_text(request) for request in step.requests()]
        silent = "the kernel does it along with the rest" if step.implied else "nothing to send"
        for text in requests or [silent]:
            yield (Span(f"      {text}", Style.DIM),)


# --- the last line ----------


def _summary(plan: Plan, folded: Outline, timing: str | None) -> Line:
    extra = "; ".join(extras(folded))
    behind = Span(f"  ({timing})" if timing else "", Style.DIM)
    if plan.empty:
        where = "this host" if plan.basis == "live" else plan.basis
        but = f"; {extra}" if extra else ""
        return Span("Nothing to do: ", Style.GREEN), Span(f"{where} is as the file says{but}."), behind
    return (
        Span("Plan", Style.BOLD),
        Span(f" (basis: {plan.basis}): {counts(plan, folded)}{f'; {extra}' if extra else ''}."),
        behind,
    )


def counts(plan: Plan, folded: Outline) -> str:
    """How many things are created, updated and deleted."""
    create, update, delete = (plan.count(action) for action in Action)
    replaced = f" ({folded.replaced} of them to be made anew)" if folded.replaced else ""
    return f"{create} to create, {update} to update, {delete} to delete{replaced}"


def extras(folded: Outline) -> Iterator[str]:
    """What else there is to know before all details."""
    if folded.waiting:
        yield f"{len(folded.waiting)} {'waits' if len(folded.waiting) == 1 else 'wait'}"
    if folded.disruptive:
        verb = "interrupts" if folded.disruptive == 1 else "interrupt"
        yield f"{words.counted(folded.disruptive, 'change')} that {verb} traffic"
    if folded.conflicts:
        yield f"{len(folded.conflicts)} in the way, and nothing is done before that is settled"
