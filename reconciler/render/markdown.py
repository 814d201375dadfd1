"""A plan as one comment of a pull request, which is written anew with every push: the summary whole, then what a reviewer has to see,
then all details, folded.

The first line is a comment by which the next run finds this one. Names come from files and kernels and may try to be more than names.
So they stand where nothing is read into them: in a fenced block, longer fenced than any run of backticks in it, or in a code span; and
sentences have all punctuation escaped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import NamedTuple
from urllib.parse import quote

from reconciler.core.resource import Level, Note
from reconciler.errors import Problem
from reconciler.render import text as texts
from reconciler.render.changes import Sign
from reconciler.render.outline import Outline, Row, outline
from reconciler.render.places import short_position
from reconciler.render.report import Report, spot
from reconciler.render.terminal import Line, clean, paint
from reconciler.render.text import counts, exposure_lines, extras, outcome, rows_lines, step_lines
from reconciler.render.words import counted

LIMIT = 65_536
"""Characters that GitHub takes in a comment."""
_ROOM = LIMIT - 1_536
"""What is used, in bytes of UTF-8: no way of counting makes more of a text. The rest is for whoever adds a line."""
_TAIL = 400
"""Bytes kept for the end, which says what is left out."""
_LONGEST = 1_000
"""Characters of a line; no honest one is longer."""
_LONGEST_NAME = 200
_UNFOLDED = 30
"""Up to so many lines in all are shown without a click."""
_MARGIN = 76


def plan_markdown(report: Report, *, verbose: bool = False) -> str:
    """The comment. `verbose` adds every step with what it sends."""
    plan = report.plan
    folded = outline(plan, report.states)
    head = [_marker(plan.owner), f"### Network plan of {_code(plan.owner)}", "", *_summary(report, folded)]
    return _comment(head, list(_sections(report, folded, verbose)))


def problems_markdown(problems: Iterable[Problem]) -> str:
    """The comment for a file of which there is no plan, or (without problems) nothing to complain about."""
    given = list(problems)
    title = f"The file is invalid: {counted(len(given), 'error')}" if given else "The file is valid"
    items = [f"- {_code(spot(item))}: {_text(item.message)}" for item in given]
    return _comment(["<!-- reconcile -->", f"### {title}"], [_Section("", items, fenced=False)])


def _marker(owner: str) -> str:
    return f"<!-- reconcile:{quote(_cut(owner, _LONGEST_NAME), safe='', errors='replace')} -->"


# --- the summary: short, whatever the plan --------------------------------------------------------------------------


def _summary(report: Report, folded: Outline) -> Iterator[str]:
    plan = report.plan
    if plan.empty:
        yield f"**Nothing to do**: {'this host' if plan.basis == 'live' else _code(plan.basis)} is as the file says."
    else:
        yield f"**{counts(plan, folded)}** (basis: {_code(plan.basis)})"
    yield ""
    yield from (f"- {item}" for item in extras(folded))
    if report.exposure is not None:
        verbs = Counter(str(item.verb) for item in report.exposure)
        said = ", ".join(f"{count} {_text(verb)}" for verb, count in verbs.items())
        yield f"- exposure: {said or 'nothing can be reached otherwise than before'}"
    if report.rehearsal is not None:
        yield f"- rehearsal: {outcome(report.rehearsal)}"


# --- the details ----------------------------------------------------------------------------------------------------


class _Section(NamedTuple):
    """Lines under a title (which is HTML), in a fenced block or as Markdown of their own."""

    title: str
    lines: Sequence[str]
    fenced: bool = True
    open: bool = True
    """Folded, if not."""


def _sections(report: Report, folded: Outline, verbose: bool) -> Iterator[_Section]:
    """The most pressing first: what comes last may be cut."""
    yield _Section(texts.CONFLICTS, _rows(folded.conflicts))
    exposure = _painted(exposure_lines(report.exposure or ()))
    yield _Section(texts.EXPOSURE, exposure, open=len(exposure) <= _UNFOLDED)
    yield _Section("Warnings", _notes(folded.notes, Level.WARNING), fenced=False)
    if report.rehearsal is not None:
        lines = [f"- {_text(line)}" for line in report.rehearsal.lines]
        yield _Section("Rehearsal", lines, fenced=False, open=not report.rehearsal.ok)
    unfolded = sum(map(len, folded.blocks)) <= _UNFOLDED
    for block in folded.blocks:
        yield _Section(_block_title(block), _rows(block), open=unfolded)
    yield _Section(texts.WAITING, _rows(folded.waiting), open=False)
    yield _Section(texts.FOREIGN, _rows(folded.foreign), open=False)
    yield _Section("Notes", _notes(folded.notes, Level.INFO), fenced=False, open=False)
    if verbose:
        yield _Section(texts.STEPS, _painted(step_lines(report.plan.steps)), open=False)


def _rows(rows: Iterable[Row]) -> list[str]:
    return _painted(rows_lines(rows, margin=_MARGIN))


def _painted(lines: Iterable[Line]) -> list[str]:
    return [paint(line, color=False) for line in lines]


def _notes(notes: Iterable[Note], level: Level) -> list[str]:
    given = [note for note in notes if note.level is level]
    return [
        f"- {_code(short_position(note.position)) + ': ' if note.position else ''}{_text(note.text)}" for note in given
    ]


def _block_title(block: Sequence[Row]) -> str:
    """`bridge br-web +5 ~1`: how many lines there are of each sign, as in a diffstat."""
    head = block[0]
    signs: Counter[Sign] = Counter(row.sign for row in block if row.sign is not Sign.NONE)
    named = " ".join(dict.fromkeys((head.noun, _cut(head.name, _LONGEST_NAME))))
    tally = " ".join(f"{sign}{signs[sign]}" for sign in Sign if signs[sign])
    return f"<code>{escape(clean(named))}</code> {tally}"


# --- putting it together --------------------------------------------------------------------------------------------


def _comment(head: Sequence[str], sections: Sequence[_Section]) -> str:
    """All of `head`, and as much of `sections` as there is room for."""
    parts = ["\n".join(head).rstrip("\n") + "\n"]
    room = _ROOM - _TAIL - _size(parts[0])
    left_out = 0
    for section in filter(lambda section: section.lines, sections):
        lines = [_cut(line, _LONGEST) for line in section.lines] if section.fenced else section.lines
        kept = _fitting(section, lines, room)
        left_out += len(lines) - kept
        if kept:
            more = len(lines) - kept
            parts.append(_written(section, lines[:kept], more))
            room -= _size(parts[-1])
    if left_out:
        parts.append(f"\n**{counted(left_out, 'line is', 'lines are')} left out**: a comment has no room for more. ")
        parts.append("`reconcile --dry-run` prints them all.\n")
    return "".join(parts)


def _fitting(section: _Section, lines: Sequence[str], room: int) -> int:
    """How many of `lines` there is room for."""
    # What stands around the lines grows with the longest run of backticks only.
    room -= _size(_written(section, [], len(lines))) + 2 * _longest_run(lines)
    kept = 0
    for line in lines:
        room -= _size(line) + 1
        if room < 0:
            break
        kept += 1
    return kept


def _written(section: _Section, lines: Sequence[str], more: int) -> str:
    """`section` with these of its lines, of which `more` are missing."""
    told = [*lines, *([f"{'' if section.fenced else '- '}… and {more} more"] if more else [])]
    if section.fenced:
        fence = "`" * max(3, _longest_run(told) + 1)
        told = [f"{fence}diff", *told, fence]
    body = "\n".join(told) + "\n"
    if not section.title:
        return f"\n{body}"
    if section.open and "<" not in section.title:
        return f"\n**{section.title}**\n\n{body}"
    return f"\n<details{' open' * section.open}><summary>{section.title}</summary>\n\n{body}\n</details>\n"


def _size(text: str) -> int:
    return len(text.encode())


def _longest_run(lines: Iterable[str]) -> int:
    return max((len(run) for line in lines for run in re.findall("`+", line)), default=0)


# --- names and sentences --------------------------------------------------------------------------------------------


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _code(text: str) -> str:
    """`text` as a code span (CommonMark 0.31, 6.1)."""
    shown = _cut(clean(text), _LONGEST_NAME)
    fence = "`" * (_longest_run([shown]) + 1)
    # One space at each end is taken away, unless there is nothing else.
    edge = " " if shown.strip(" ") and (shown[0] in " `" or shown[-1] in " `") else ""
    return f"{fence}{edge}{shown}{edge}{fence}" if shown else "(none)"


def _text(text: str) -> str:
    """`text` as itself: every character escaped that Markdown or HTML may read something into (CommonMark 0.31, 2.4).

    What is read into the text that comes out of that, as GitHub does with @name, #1 and addresses, is broken by a space of no width.
    """
    shown = _cut(" ".join(clean(text).split()), _LONGEST)
    broken = re.sub(r"[@#]|:(?=//)|www(?=\.)", "\\g<0>\u200b", shown, flags=re.IGNORECASE)
    return re.sub(r"[!-/:-@\[-`{-~]", r"\\\g<0>", broken)
