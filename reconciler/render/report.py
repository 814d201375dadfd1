"""What is shown of a plan: a Report; and what of it a reviewer has to see, whatever it is printed as: its Findings.

Nothing here is escaped yet: that is up to each format, since each has its own way to be broken out of.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from reconciler.core.plan import Plan
from reconciler.core.resource import Level, Origin, State
from reconciler.errors import Problem
from reconciler.render.changes import Sign
from reconciler.render.outline import Outline, Row, outline
from reconciler.render.places import Place, split_position

_NAMED = 4
"""So many things are named, of more there is a count."""
_FIREWALL = "firewall"
"""The noun of the rows that tell of it."""


class ExposureChange(Protocol):
    """One difference in what can be reached from where. str() is a line for people, `VERB: WHAT`."""

    @property
    def verb(self) -> str:
        """opened, closed, widened, narrowed or moved."""

    @property
    def position(self) -> str:
        """`FILE:LINE:COLUMN`, empty if no file says."""

    def __str__(self) -> str: ...

    def json(self) -> Mapping[str, Any]:
        """As plain JSON values."""


class RehearsalResult(Protocol):
    """What came of doing the plan in namespaces of its own."""

    @property
    def ok(self) -> bool:
        """Whether all was as it should be."""

    @property
    def lines(self) -> tuple[str, ...]:
        """What was found, a line each."""

    def json(self) -> Mapping[str, Any]:
        """As plain JSON values."""


@dataclass(frozen=True, slots=True)
class Report:
    """A plan, and what else is known of it."""

    plan: Plan
    states: tuple[State, ...] = ()
    """Those it was made of: desired, found. They tell what belongs where."""
    exposure: tuple[ExposureChange, ...] | None = None
    """None: was not computed."""
    rehearsal: RehearsalResult | None = None
    """None: no rehearsal was made."""


class Severity(enum.StrEnum):
    """How much a Finding matters; SARIF and GitHub call it so too."""

    ERROR = "error"
    WARNING = "warning"


class Rule(NamedTuple):
    """A sort of findings. The id stands for it for ever; `title` is a few words, `help` says what to do."""

    id: str
    name: str
    severity: Severity
    title: str
    help: str


CONFLICT = Rule(
    "RC001",
    "Conflict",
    Severity.ERROR,
    "In the way",
    "Something that reconcile did not make, or that another owner made, stands where the file wants a thing of its own. "
    "Nothing is done before that is settled: choose another name in the file, remove the thing, or take it over with --adopt.",
)
REHEARSAL = Rule(
    "RC002",
    "RehearsalFailed",
    Severity.ERROR,
    "The rehearsal failed",
    "The plan was carried out in namespaces of its own, and something was not as it should be. The message says what.",
)
EXPOSURE = Rule(
    "RC003",
    "ExposureGrows",
    Severity.WARNING,
    "Can be reached from more places",
    "After this plan something can be reached that could not be before, or from more places than before. "
    "If that is not meant, publish the port on one address only (127.0.0.1:8080:80), or not at all.",
)
INTERRUPTION = Rule(
    "RC004",
    "InterruptsTraffic",
    Severity.WARNING,
    "Interrupts traffic",
    "The change cannot be made without an interruption of traffic that flows now. Apply it when that does no harm.",
)
WARNING = Rule(
    "RC005",
    "Warning",
    Severity.WARNING,
    "To be known",
    "Something about this plan, or about the host, that is no change and should be known. The message says what.",
)
DELETION = Rule(
    "RC006",
    "Deletion",
    Severity.WARNING,
    "Is removed",
    "Something is there that the file does not name any more, and is taken away. "
    "If that is not meant, put it back into the file.",
)
INVALID = Rule(
    "RC007",
    "InvalidFile",
    Severity.ERROR,
    "The file is invalid",
    "The file cannot be read as it stands, so there is no plan. The message says what is wrong and what to do.",
)
RULES = (CONFLICT, REHEARSAL, EXPOSURE, INTERRUPTION, WARNING, DELETION, INVALID)
"""All there are, the most pressing first."""

GROWING = ("opened", "widened")
"""The verbs of exposure that a reviewer has to look at."""


class Finding(NamedTuple):
    """One thing to see, at `FILE:LINE:COLUMN` (empty if no file is known)."""

    rule: Rule
    message: str
    position: str


def findings(report: Report) -> tuple[Finding, ...]:
    """What a reviewer has to see, errors first, the most pressing first, then in the order of the file.

    What has no position of its own, being removed, stands at the key of what it was in.
    """
    folded = outline(report.plan, report.states)
    known = _positions(report)
    parts = (
        _conflicts(folded),
        _rehearsal(report.rehearsal),
        _exposure(report.exposure or ()),
        _interruptions(folded),
        _warnings(folded),
        _deletions(folded, known),
    )
    return tuple(
        item._replace(position=item.position or known.whole)
        for part in parts
        for item in sorted(part, key=lambda item: (not item.position, split_position(item.position)))
    )


def invalid(problems: Iterable[Problem]) -> tuple[Finding, ...]:
    """The same of a file that is invalid."""
    return tuple(Finding(INVALID, item.message, spot(item)) for item in problems)


def told(change: ExposureChange) -> str:
    """What changes, without the verb."""
    return str(change).removeprefix(f"{change.verb}: ")


def spot(problem: Problem) -> str:
    """Where it is, `FILE:LINE:COLUMN`."""
    return str(problem.position)


# --- where -----------------------------------------------------------------------------------------------------------


class _Positions(NamedTuple):
    """Where the keys of bridges and containers stand in the file, and that of all bridges."""

    keys: Mapping[Place, str]
    whole: str

    def near(self, place: Place) -> str:
        """Where to point at for something that has gone from `place`."""
        return self.keys.get(place) or self.keys.get(Place(place.bridge)) or self.whole


def _positions(report: Report) -> _Positions:
    keys: dict[Place, str] = {}
    for origin in _origins(report):
        place = Place(origin.bridge, origin.container)
        # The key of a container comes before all that is in it.
        if origin.position and place != Place():
            keys[place] = min(keys.get(place, origin.position), origin.position, key=split_position)
    return _Positions(keys, next((state.position for state in report.states if state.position), ""))


def _origins(report: Report) -> Iterator[Origin]:
    for state in report.states:
        yield from state.origins.values()
    yield from (
        item.origin for part in (report.plan.steps, report.plan.pending, report.plan.conflicts) for item in part
    )


def _placed(block: Iterable[Row]) -> Iterator[tuple[Place, Row]]:
    """The rows of a block of the outline, each with what it is about."""
    place = Place()
    for row in block:
        if row.heading and row.noun == "bridge":
            place = Place(row.name)
        elif row.heading:
            place = Place(place.bridge, row.name if row.noun == "container" else "")
        yield place, row


# --- what ------------------------------------------------------------------------------------------------------------


def _conflicts(folded: Outline) -> Iterator[Finding]:
    yield from (Finding(CONFLICT, row.noun, row.position) for row in folded.conflicts)


def _rehearsal(result: RehearsalResult | None) -> Iterator[Finding]:
    if result is not None and not result.ok:
        yield Finding(REHEARSAL, _listed(result.lines) or "something was not as it should be", "")


def _exposure(items: Iterable[ExposureChange]) -> Iterator[Finding]:
    yield from (Finding(EXPOSURE, str(item), item.position) for item in items if item.verb in GROWING)


def _warnings(folded: Outline) -> Iterator[Finding]:
    yield from (Finding(WARNING, note.text, note.position) for note in folded.notes if note.level is Level.WARNING)


def _interruptions(folded: Outline) -> Iterator[Finding]:
    """One for each line of the file and what it is about."""
    rows = [pair for block in folded.blocks for pair in _placed(block)]
    # A change of mode is one of the firewall, and told as one of the bridge.
    modes = {row.position: (place, row) for place, row in rows if row.heading and row.sign is Sign.UPDATE}
    groups: dict[tuple[Place, str], list[str]] = {}
    for pair in rows:
        if pair[1].disruptive:
            place, row = modes.get(pair[1].position, pair) if pair[1].noun == _FIREWALL else pair
            what = row.text.removeprefix(f"{row.name}: ") if row.heading else f"{row.noun} {row.text}"
            groups.setdefault((place, row.position), []).append(what)
    for (place, position), parts in groups.items():
        yield Finding(INTERRUPTION, f"{_whose(place)}: {_listed(parts)}", position)


def _deletions(folded: Outline, known: _Positions) -> Iterator[Finding]:
    """One for each container, and one for each bridge, that goes or loses something."""
    for block in folded.blocks:
        head_place, head = next(_placed(block))
        whole = head_place if head.sign is Sign.DELETE else None
        groups: dict[Place, list[Row]] = {}
        for place, row in _placed(block):
            # What guarded things that go is no loss.
            if row.sign is Sign.DELETE and row.noun != _FIREWALL:
                groups.setdefault(whole or place, []).append(row)
        for place, rows in groups.items():
            yield Finding(DELETION, _gone(place, rows), known.near(place))


def _gone(place: Place, rows: Sequence[Row]) -> str:
    first, *rest = rows
    if not first.heading:
        return f"{_whose(place)} loses {_listed(map(_thing, rows))}"
    details = [first.note.removeprefix("with "), *map(_thing, rest)]
    return f"{_whose(place)} is removed: {_listed(filter(None, details))}".removesuffix(": ")


# --- in words --------------------------------------------------------------------------------------------------------


def _thing(row: Row) -> str:
    return f"{row.noun} {row.text}" + (f" ({row.note})" if row.note else "")


def _whose(place: Place) -> str:
    if place.container:
        return f"container {place.container}" + (f" on {place.bridge}" if place.bridge else "")
    return f"bridge {place.bridge}" if place.bridge else "the host"


def _listed(items: Iterable[str]) -> str:
    """The first few, separated by semicolons, and how many more there are."""
    given = list(items)
    more = [f"and {len(given) - _NAMED} more"] if len(given) > _NAMED else []
    return "; ".join([*given[:_NAMED], *more])
