"""A picture as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html), for Markdown that is shown by a forge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.render.comparison import Kind, Marks
from reconciler.render.picture import BridgePicture, Label, Member, Picture

_PLAIN = frozenset(" .,:/+-_()→·[]")
_STYLES = {
    Kind.MISSING: "stroke:#b3261e,stroke-dasharray:5 4",
    Kind.WAITS: "stroke:#4a5f78,stroke-dasharray:2 3",
    Kind.DIFFERS: "stroke:#8a5a00,stroke-width:3px",
    Kind.EXTRA: "stroke:#6b3fa0,stroke-width:3px",
    Kind.FOREIGN: "stroke:#808080,color:#606060",
    Kind.OTHERS: "stroke:#808080,color:#606060",
}


def mermaid(picture: Picture) -> str:
    """`picture` as a flowchart. Ends in a newline."""
    return "".join(f"{line}\n" for line in _lines(picture))


def _lines(picture: Picture) -> Iterator[str]:
    yield "flowchart LR"
    yield f"  accTitle: {_accessible(_title(picture))}"
    yield f"  accDescr: {_accessible(picture.summary)}"
    yield '  outside(("outside"))'
    yield f'  subgraph host["{_text(_title(picture))}"]'
    for number, bridge in enumerate(picture.bridges):
        yield from _nodes(number, bridge)
    if picture.notes:
        yield f'    notes["{_joined(map(_said, picture.notes))}"]'
    yield "  end"
    for number, bridge in enumerate(picture.bridges):
        yield from _edges(number, bridge)
    yield from _styles(picture)


def _title(picture: Picture) -> str:
    return f"host {picture.host} ({picture.owner})" if picture.host else f"host ({picture.owner})"


def _nodes(number: int, bridge: BridgePicture) -> Iterator[str]:
    head = [f"{bridge.name} {bridge.mode}".rstrip(), *_tellings(bridge.marks), *map(_said, bridge.addresses)]
    yield f'    b{number}[["{_joined([*head, *map(_said, bridge.notes)])}"]]'
    for place, member in enumerate(bridge.members):
        left, right = ("([", "])") if member.kind == "vm" else ("[", "]")
        yield f'    b{number}c{place}{left}"{_joined(_member(member))}"{right}'


def _member(member: Member) -> Iterator[str]:
    yield member.name if member.kind in ("container", "vm") else f"{member.name} ({member.kind})"
    yield from _tellings(member.marks)
    if member.interface:
        yield member.interface
    yield from map(_said, (*member.addresses, *member.notes))


def _edges(number: int, bridge: BridgePicture) -> Iterator[str]:
    for uplink in bridge.uplinks:
        yield f'  outside ---|"{_text(_said(uplink))}"| b{number}'
    for way in bridge.leaves:
        yield f'  b{number} -.->|"{_text(_said(way))}"| outside'
    for place, member in enumerate(bridge.members):
        name = f'|"{_text(member.link)}"|' if member.link else ""
        yield f"  b{number} ---{name} b{number}c{place}"
        for port in member.ports:
            told = _said(Label(f"{port.outside} → {port.inside}", port.marks))
            yield f'  outside -->|"{_text(told)}"| b{number}c{place}'


def _styles(picture: Picture) -> Iterator[str]:
    marked: dict[Kind, list[str]] = {}
    for number, bridge in enumerate(picture.bridges):
        for mark in bridge.marks[:1]:
            marked.setdefault(mark.kind, []).append(f"b{number}")
        for place, member in enumerate(bridge.members):
            for mark in member.marks[:1]:
                marked.setdefault(mark.kind, []).append(f"b{number}c{place}")
    for kind, names in marked.items():
        yield f"  classDef {kind.name.lower()} {_STYLES[kind]}"
        yield f"  class {','.join(names)} {kind.name.lower()}"


def _said(label: Label) -> str:
    return " ".join([label.text, *_tellings(label.marks)])


def _tellings(marks: Marks) -> list[str]:
    return [f"({mark.text})" for mark in marks]


def _joined(lines: Iterable[str]) -> str:
    return "<br/>".join(_text(line) for line in lines if line)


def _text(text: str) -> str:
    """`text` between quotation marks: what is neither letter nor digit nor harmless is given by its number, since quotation
    marks, backquotes and angle brackets have a meaning there."""
    return "".join(_character(character) for character in text)


def _character(character: str) -> str:
    return character if character.isalnum() or character in _PLAIN else f"#{ord(character)};"


def _accessible(text: str) -> str:
    """`text` where the line's end ends it, and where there are no entities."""
    return "".join(character if character.isalnum() or character in " .,:/+-_()" else "_" for character in text)
