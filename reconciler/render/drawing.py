"""Where the parts of a picture stand: the classic drawing of a host's bridges, with NAT.

On the left is the outside, in the middle the border of the host, on the right the bridges one below the other, each with what hangs
on it in a grid. What crosses the border has a lane of its own: uplinks, published ports, the way out. The same picture gives the same
drawing, whatever the order of time; nothing overlaps, and no text is wider than its room (both are laws of the tests).

What would be too much is folded and counted (`and 42 more`), what is not as it should be last of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from reconciler.kinds.marks import DEFAULT_OWNER
from reconciler.render import metrics
from reconciler.render.comparison import ABSENT, Kind, Mark, Marks
from reconciler.render.picture import BridgePicture, Label, Member, Picture, Port
from reconciler.render.words import counted

# --- what a drawing is made of ---------------------------------------------------------------------------------------


class Font(NamedTuple):
    """How text is set; `name` is its class."""

    name: str
    size: float
    mono: bool
    height: float
    """From one line to the next."""


TITLE = Font("title", 13.5, False, 20)
NAME = Font("name", 13, False, 19)
BADGE = Font("badge", 10, False, 16)
SMALL = Font("small", 10.5, False, 15)
DATA = Font("data", 11, True, 16)
FAINT = Font("faint", 10, True, 14)
FONTS = (TITLE, NAME, BADGE, SMALL, DATA, FAINT)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle. `role` says what it stands for; `leaf` that nothing else may overlap it but what is in it."""

    x: float
    y: float
    width: float
    height: float
    role: str
    mark: Kind | None = None
    leaf: bool = False

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text. `x` is its left end, `y` its base line, `room` the width it must not exceed."""

    x: float
    y: float
    text: str
    font: Font
    room: float
    role: str = ""
    mark: Kind | None = None


@dataclass(frozen=True, slots=True)
class Wire:
    """A line through `points`; with a head at its `end`, its `start`, or both."""

    points: tuple[tuple[float, float], ...]
    role: str
    start: bool = False
    end: bool = False
    mark: Kind | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Parts of one thing, which `title` tells in full."""

    title: str
    role: str
    parts: tuple[Box | Text | Wire, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """All there is to see, in the order of painting; `folded` is how many containers and ports of bridges are only counted."""

    width: float
    height: float
    groups: tuple[Group, ...]
    folded: int = 0

    def parts(self) -> Iterator[Box | Text | Wire]:
        """All parts of all groups."""
        for group in self.groups:
            yield from group.parts


# --- measures, in pixels at full size --------------------------------------------------------------------------------

EDGE = 14
OUTSIDE = 78
BORDER = OUTSIDE + EDGE + 46
"""Where the host's border is."""
RAILS = BORDER + 176
"""Where bridges begin."""
PAD = 11
LANE = 27
TRUNK = 22
GAP = 16
DROP = 36
BAND_GAP = 26
CARD_MIN, CARD_MAX = 168, 316
BAND_MIN = 380
COLUMNS, COLUMNS_OF_MANY, MANY = 4, 6, 24
MOST = 150
"""So many things hang on bridges in one drawing."""
MOST_BRIDGES, MOST_PORTS, MOST_ADDRESSES, MOST_LANES, MOST_NOTES, MOST_INTERFACES = 40, 8, 4, 6, 5, 4

_ROLES = {"container": "container", "vm": "vm"}


@dataclass(slots=True)
class _Sheet:
    """What is drawn so far."""

    groups: list[Group] = field(default_factory=list)
    folded: int = 0

    def add(self, title: str, role: str, parts: Iterable[Box | Text | Wire]) -> None:
        self.groups.append(Group(title, role, tuple(parts)))


def drawing(picture: Picture, *, columns: int | None = None, most: int = MOST) -> Drawing:
    """`picture` with at most `columns` containers side by side (None: as many as become their number), and `most` in all."""
    sheet = _Sheet()
    shown = _chosen(picture.bridges, MOST_BRIDGES)
    limit = _limit([len(bridge.members) for bridge in shown], most)
    chosen = [_chosen(bridge.members, limit) for bridge in shown]
    cards = [[_card(member) for member in members] for members in chosen]
    for place, bridge in enumerate(shown):
        if more := len(bridge.members) - len(chosen[place]):
            cards[place].append(_counting_card(more))
            sheet.folded += more
    card_width = _card_width(card for row in cards for card in row)
    longest = max(map(len, cards), default=0)
    count = _columns(longest, max(1, columns or (COLUMNS_OF_MANY if longest > MANY else COLUMNS)))
    band = max(BAND_MIN, TRUNK + count * card_width + (count - 1) * GAP)
    right = RAILS + band + PAD + 6
    y = _head(sheet, picture, right)
    for bridge, own in zip(shown, cards, strict=True):
        y = _bridge(sheet, bridge, own, y, band, card_width, count)
    if hidden := _hidden(picture.bridges, shown):
        members = sum(len(bridge.members) for bridge in hidden)
        sheet.folded += members
        what = f"and {counted(len(hidden), 'more bridge')} with {counted(members, 'container')}"
        y = _remark(sheet, [Label(what)], y, band)
    if not picture.bridges:
        y = _remark(sheet, [Label("There are no bridges on this host.")], y, band)
    if picture.notes:
        y = _remark(sheet, picture.notes, y, band)
    bottom = y - BAND_GAP + EDGE + 6
    frame = [
        Group("", "frame", (Box(BORDER, EDGE, right - BORDER, bottom - EDGE, "host"),)),
        Group("the outside: the LAN, and what is beyond it", "frame", _outside(bottom)),
    ]
    return Drawing(right + EDGE, bottom + EDGE, (*frame, *sheet.groups), sheet.folded)


def _outside(bottom: float) -> tuple[Box | Text | Wire, ...]:
    box = Box(EDGE, EDGE, OUTSIDE, bottom - EDGE, "outside", leaf=True)
    room = OUTSIDE - 2 * PAD
    return (
        box,
        Text(EDGE + PAD, EDGE + 22, "outside", SMALL, room, "dim"),
        Text(EDGE + PAD, EDGE + 37, "LAN", SMALL, room, "dim"),
    )


def _head(sheet: _Sheet, picture: Picture, right: float) -> float:
    """The name of the host, and its own interfaces. Returns where bridges may begin."""
    x, y = RAILS, EDGE + 25
    room = right - PAD - x
    name = f"host {picture.host}".rstrip() + (f" · owner {picture.owner}" if picture.owner != DEFAULT_OWNER else "")
    title = metrics.fitted(name, room, TITLE.size, mono=False)
    sheet.add("", "head", [Text(x, y, title, TITLE, room)])
    y += 16
    interfaces = picture.interfaces[:MOST_INTERFACES]
    for member in interfaces:
        addresses = ", ".join(_said(label) for label in member.addresses)
        plug, label = _plug(member.name, y, None)
        told = Text(x, y + 4, metrics.fitted(addresses, room, DATA.size, mono=True), DATA, room, "dim")
        parts = (plug, label, told, _line((EDGE + OUTSIDE, y), (plug.x, y), "cable"))
        sheet.add(f"interface {member.name} {addresses}".rstrip(), "interface", parts)
        y += LANE
    if more := len(picture.interfaces) - len(interfaces):
        sheet.add("", "head", [Text(x, y + 4, f"and {counted(more, 'more interface')}", SMALL, room, "dim")])
        y += LANE
    return y + 6


def _plug(name: str, y: float, mark: Kind | None) -> tuple[Box, Text]:
    """A chip on the border of the host, around `y`."""
    most = RAILS - BORDER - 40
    text = metrics.fitted(name, most, DATA.size, mono=True)
    width = metrics.width(text, DATA.size, mono=True) + 2 * 8
    box = Box(BORDER - 14, y - 10, width, 20, "plug", mark, leaf=True)
    return box, Text(BORDER - 6, y + 4, text, DATA, width - 16, mark=mark)


# --- a bridge ----------


class _Lane(NamedTuple):
    """What goes between a bridge and the outside."""

    role: str
    text: str
    inward: bool = False
    outward: bool = False
    plug: str = ""
    mark: Kind | None = None


def _lanes(bridge: BridgePicture) -> list[_Lane]:
    lanes = []
    for uplink in _chosen(bridge.uplinks, MOST_LANES):
        lanes.append(_Lane("cable", _tellings(uplink.marks), plug=uplink.text, mark=_kind(uplink.marks)))
    if len(bridge.uplinks) > MOST_LANES:
        lanes.append(_Lane("cable", f"and {len(bridge.uplinks) - MOST_LANES} more"))
    absent = _kind(bridge.marks) if _kind(bridge.marks) in ABSENT else None
    if bridge.ports:
        there = any(_there(port.marks, member.marks) for member in bridge.members for port in member.ports)
        mark = absent or (None if there else Kind.MISSING)
        lanes.append(_Lane("publish", f"DNAT, {counted(bridge.ports, 'port')}", inward=True, mark=mark))
    for way in bridge.leaves[:MOST_LANES]:
        lanes.append(_Lane("leave", _said(way), outward=True, mark=_kind(way.marks) or absent))
    if bridge.mode == "routed":
        lanes.append(_Lane("route", "routed", inward=True, outward=True, mark=absent))
    if bridge.mode == "isolated":
        lanes.append(_Lane("closed", "no way in or out"))
    return lanes


def _there(*marks: Marks) -> bool:
    """Whether nothing of it is absent."""
    return not any(mark.kind in ABSENT for part in marks for mark in part)


def _bridge(
    sheet: _Sheet, bridge: BridgePicture, cards: Sequence[_Card], y: float, band: float, card_width: float, columns: int
) -> float:
    """One bridge. Returns where the next may begin."""
    lanes = _lanes(bridge)
    lines = list(_rail_lines(bridge, band - 2 * PAD))
    height = max(2 * PAD - 4 + sum(font.height for _, font, _, _ in lines), len(lanes) * LANE + 8)
    rail = Box(RAILS, y, band, height, "bridge", _kind(bridge.marks), leaf=True)
    parts: list[Box | Text | Wire] = [rail]
    base = y + PAD - 2 + (height - (2 * PAD - 4) - sum(font.height for _, font, _, _ in lines)) / 2
    for text, font, role, mark in lines:
        base += font.height
        parts.append(Text(RAILS + PAD, base - font.height * 0.28, text, font, band - 2 * PAD, role, mark))
    for place, lane in enumerate(lanes):
        sheet.add("", f"lane {lane.role}", _lane(lane, y + (place + 0.5) * height / len(lanes)))
    sheet.add(_bridge_title(bridge), "bridge", parts)
    bottom = _grid(sheet, cards, rail, card_width, columns)
    return bottom + BAND_GAP


def _rail_lines(bridge: BridgePicture, room: float) -> Iterator[tuple[str, Font, str, Kind | None]]:
    mode = f" · {bridge.mode}" if bridge.mode else ""
    yield metrics.fitted(f"{bridge.name}{mode}", room, NAME.size, mono=False), NAME, "", None
    addresses = bridge.addresses[:MOST_ADDRESSES]
    told = ", ".join(map(_said, addresses))
    if more := len(bridge.addresses) - len(addresses):
        told += f", and {more} more"
    if told:
        for line in metrics.wrapped(told, room, DATA.size, mono=True, most=3):
            yield line, DATA, "dim", None
    for mark in bridge.marks:
        for line in metrics.wrapped(f"({mark.text})", room, SMALL.size, mono=False, most=2):
            yield line, SMALL, "said", mark.kind
    for note in _some(bridge.notes, MOST_NOTES):
        for line in metrics.wrapped(_said(note), room, SMALL.size, mono=False, most=2):
            yield line, SMALL, "said", _kind(note.marks)


def _bridge_title(bridge: BridgePicture) -> str:
    labels = [f"bridge {bridge.name}", bridge.mode, *map(_said, bridge.addresses), _tellings(bridge.marks)]
    return ", ".join(filter(None, [*labels, *map(_said, bridge.notes)]))


def _lane(lane: _Lane, y: float) -> Iterator[Box | Text | Wire]:
    left, right = float(EDGE + OUTSIDE), float(RAILS)
    start = left
    text_x = BORDER + 12.0
    if lane.plug:
        plug, name = _plug(lane.plug, y, lane.mark)
        yield from (_line((left, y), (plug.x, y), lane.role, mark=lane.mark), plug, name)
        start = plug.right
        text_x = start + 4
    if lane.role == "closed":
        start = BORDER
    if lane.text:
        room = right - 8 - text_x
        text = metrics.fitted(lane.text, room, SMALL.size, mono=False)
        yield Text(text_x, y - 5, text, SMALL, room, f"on-{lane.role}", lane.mark)
    yield Wire(((start, y), (right, y)), lane.role, start=lane.outward, end=lane.inward, mark=lane.mark)


# --- what hangs on it ----------


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a card. With `pill`, a published port: the host's side in a pill, and an arrow to `text`."""

    text: str
    font: Font
    role: str = ""
    mark: Kind | None = None
    pill: str = ""
    wraps: int = 1


@dataclass(frozen=True, slots=True)
class _Card:
    title: str
    role: str
    link: str
    rows: tuple[_Row, ...]
    mark: Kind | None = None

    @property
    def width(self) -> float:
        """What it would like to have."""
        return max(max(map(_row_width, self.rows)), metrics.width(self.link, FAINT.size, mono=True)) + 2 * PAD


def _row_width(row: _Row) -> float:
    if row.wraps > 1:
        return CARD_MIN - 2 * PAD
    width = metrics.width(row.text, row.font.size, mono=row.font.mono)
    return width + (_pill_width(row.pill) + _ARROW if row.pill else 0)


_ARROW = 24


def _pill_width(text: str) -> float:
    return metrics.width(text, DATA.size, mono=True) + 12


def _card(member: Member) -> _Card:
    role = _ROLES.get(member.kind, "port")
    rows = [_Row(member.name, NAME)]
    rows += [_Row(mark.text, SMALL, "badge", mark.kind, wraps=4) for mark in member.marks]
    what = " · ".join(filter(None, ["VM" if member.kind == "vm" else "", member.interface]))
    what = what or ("" if role != "port" else member.kind)
    if what:
        rows.append(_Row(what, FAINT, "dim"))
    rows += _label_rows(member.addresses, MOST_ADDRESSES, "address")
    ports = _chosen(member.ports, MOST_PORTS)
    for port in ports:
        rows.append(_Row(port.inside, DATA, "", _kind(port.marks), pill=port.outside))
        rows += [_Row(mark.text, SMALL, "said", mark.kind, wraps=3) for mark in port.marks]
    if more := len(member.ports) - len(ports):
        rows.append(_Row(f"and {counted(more, 'more port')}", SMALL, "dim"))
    for note in _some(member.notes, MOST_NOTES):
        rows.append(_Row(_said(note), SMALL, "said", _kind(note.marks), wraps=3))
    if member.also:
        rows.append(_Row(f"also on {', '.join(member.also)}", SMALL, "dim", wraps=2))
    return _Card(_card_title(member), role, member.link, tuple(rows), _kind(member.marks))


def _label_rows(labels: Sequence[Label], most: int, noun: str) -> Iterator[_Row]:
    for label in labels[:most]:
        yield _Row(label.text, DATA, "", _kind(label.marks))
        for mark in label.marks:
            yield _Row(mark.text, SMALL, "said", mark.kind, wraps=3)
    if len(labels) > most:
        yield _Row(f"and {counted(len(labels) - most, f'more {noun}', f'more {noun}es')}", SMALL, "dim")


def _card_title(member: Member) -> str:
    what = {"container": "container", "vm": "virtual machine"}.get(member.kind, member.kind)
    parts = [f"{what} {member.name}", _tellings(member.marks), member.interface, member.link]
    parts += [*map(_said, member.addresses), *(_said(Label(_port(port), port.marks)) for port in member.ports)]
    return ", ".join(filter(None, [*parts, *map(_said, member.notes)]))


def _port(port: Port) -> str:
    return f"{port.outside} → {port.inside}"


def _counting_card(more: int) -> _Card:
    text = f"and {more} more"
    return _Card(f"{text}, which are not drawn", "more", "", (_Row(text, NAME, "dim"), _Row("not drawn", SMALL, "dim")))


def _card_width(cards: Iterable[_Card]) -> float:
    return math.ceil(min(CARD_MAX, max([CARD_MIN, *(card.width for card in cards)])))


def _columns(count: int, most: int) -> int:
    """How many of `count` stand side by side, so that rows are about equally long."""
    return math.ceil(count / math.ceil(count / most)) if count else 1


def _grid(sheet: _Sheet, cards: Sequence[_Card], rail: Box, card_width: float, columns: int) -> float:
    """The cards, in rows below `rail`, each on a wire. Returns where the last row ends."""
    bus, trunk = rail.bottom, rail.x + TRUNK / 2 - 2
    laid = [[_laid(card, card_width) for card in cards[at : at + columns]] for at in range(0, len(cards), columns)]
    ends: list[float] = []
    y = rail.bottom
    for row in laid:
        top = y + DROP
        centres = [rail.x + TRUNK + place * (card_width + GAP) + 18 for place in range(len(row))]
        if row is not laid[0]:
            bus = y + 10
            top = bus + DROP - 8
            ends.append(bus)
            sheet.add("", "wires", [Wire(((trunk, bus), (centres[-1], bus)), "wire")])
        for place, (card, rows, height) in enumerate(row):
            x = rail.x + TRUNK + place * (card_width + GAP)
            sheet.add(card.title, card.role, _drawn(card, rows, x, top, card_width, height, bus))
        y = top + max(height for _, _, height in row)
    if ends:
        sheet.add("", "wires", [Wire(((trunk, rail.bottom), (trunk, ends[-1])), "wire")])
    return y


_LaidRow = tuple[_Row, tuple[str, ...], float]


def _laid(card: _Card, width: float) -> tuple[_Card, list[_LaidRow], float]:
    """(card, its rows with their lines of text and heights, its height)."""
    room = width - 2 * PAD
    rows = [_lines(row, room) for row in card.rows]
    return card, rows, sum(height for _, _, height in rows) + 2 * PAD - 4


def _lines(row: _Row, room: float) -> _LaidRow:
    font = row.font
    if row.pill:
        beside = _row_width(row) <= room
        inner = room - _ARROW - (_pill_width(row.pill) if beside else 0)
        text = metrics.fitted(row.text, inner, font.size, mono=font.mono)
        return row, (text,), 20 if beside else 38
    inset = 12 if row.role == "badge" else 0
    lines = metrics.wrapped(row.text, room - inset, font.size, mono=font.mono, most=row.wraps)
    gap = 6 if row.role == "badge" else 0
    return row, tuple(lines), len(lines) * font.height + gap


def _drawn(
    card: _Card, rows: Iterable[_LaidRow], x: float, y: float, width: float, height: float, bus: float
) -> Iterator[Box | Text | Wire]:
    yield Wire(((x + 18, bus), (x + 18, y)), "wire", mark=card.mark)
    yield Box(x, y, width, height, card.role, card.mark, leaf=True)
    if card.link:
        room = width - 26
        yield Text(x + 24, y - 8, metrics.fitted(card.link, room, FAINT.size, mono=True), FAINT, room, "dim")
    top = y + PAD - 2
    for row, lines, taken in rows:
        if row.pill:
            yield from _published(row, lines[0], x + PAD, top, width - 2 * PAD, taken)
        elif row.role == "badge":
            yield Box(x + PAD - 3, top + 2, width - 2 * PAD + 6, taken - 4, "badge", row.mark)
            yield from _set(lines, row, x + PAD + 3, top + 3, width - 2 * PAD - 6)
        else:
            yield from _set(lines, row, x + PAD, top, width - 2 * PAD)
        top += taken


def _set(lines: Iterable[str], row: _Row, x: float, top: float, room: float) -> Iterator[Text]:
    for place, line in enumerate(lines):
        base = top + (place + 1) * row.font.height - row.font.height * 0.28
        yield Text(x, base, line, row.font, room, row.role, row.mark)


def _published(row: _Row, text: str, x: float, top: float, room: float, taken: float) -> Iterator[Box | Text | Wire]:
    """The host's side in a pill, an arrow, the container's side; below each other where there is no room."""
    outside = metrics.fitted(row.pill, room - 12, DATA.size, mono=True)
    width = _pill_width(outside)
    yield Box(x - 2, top + 2, width, 16, "pill", row.mark)
    yield Text(x + 4, top + 14, outside, DATA, width - 12, "on-pill", row.mark)
    beside = taken < 30
    start, middle = (x + width, top + 10) if beside else (x, top + 28)
    yield Wire(((start, middle), (start + 18, middle)), "arrow", end=True, mark=row.mark)
    yield Text(start + _ARROW - 2, middle + 4, text, DATA, room - _ARROW + 2 - (width if beside else 0), "", row.mark)


# --- the rest ----------


def _remark(sheet: _Sheet, labels: Sequence[Label], y: float, band: float) -> float:
    """A box for what hangs on no bridge. Returns where the next may begin."""
    room = band - 2 * PAD
    lines: list[tuple[str, Kind | None]] = []
    for label in _some(labels, 2 * MOST_NOTES):
        told = metrics.wrapped(_said(label), room, SMALL.size, mono=False, most=2)
        lines += [(line, _kind(label.marks)) for line in told]
    height = len(lines) * SMALL.height + 2 * PAD - 4
    parts: list[Box | Text] = [Box(RAILS, y, band, height, "remark", leaf=True)]
    for place, (line, mark) in enumerate(lines):
        base = y + PAD - 2 + (place + 0.72) * SMALL.height
        parts.append(Text(RAILS + PAD, base, line, SMALL, room, "said" if mark else "dim", mark))
    sheet.add("", "remark", parts)
    return y + height + BAND_GAP


def _line(start: tuple[float, float], end: tuple[float, float], role: str, mark: Kind | None = None) -> Wire:
    return Wire((start, end), role, mark=mark)


_T = TypeVar("_T", BridgePicture, Member, Port, Label)


def _chosen(items: Sequence[_T], most: int) -> list[_T]:
    """At most `most` of `items`, in their order; those that are not as they should be before the others."""
    if len(items) <= most:
        return list(items)
    first = sorted(range(len(items)), key=lambda place: (not _off(items[place]), place))[:most]
    return [items[place] for place in sorted(first)]


def _hidden(items: Sequence[BridgePicture], shown: Sequence[BridgePicture]) -> list[BridgePicture]:
    seen = {id(item) for item in shown}
    return [item for item in items if id(item) not in seen]


def _off(item: BridgePicture | Member | Port | Label) -> bool:
    if isinstance(item, Member):
        return item.off
    inner = isinstance(item, BridgePicture) and any(member.off for member in item.members)
    return bool(item.marks) or inner


def _limit(counts: Sequence[int], most: int) -> int:
    """How many each may have, so that there are at most `most` in all; at least one."""
    low, high = 1, max(counts, default=1)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(count, middle) for count in counts) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def _some(labels: Sequence[Label], most: int) -> list[Label]:
    """`labels`, or the first of them and how many more there are."""
    if len(labels) <= most:
        return list(labels)
    return [*labels[: most - 1], Label(f"and {len(labels) - most + 1} more")]


def _kind(marks: Marks) -> Kind | None:
    """The mark that decides how a thing looks: what is wrong with it comes before whose it is."""
    kinds = [mark.kind for mark in marks]
    return next((kind for kind in Kind if kind in kinds), None)


def _said(label: Label) -> str:
    return f"{label.text} {_tellings(label.marks)}".rstrip()


def _tellings(marks: Iterable[Mark]) -> str:
    return " ".join(f"({mark.text})" for mark in marks)
