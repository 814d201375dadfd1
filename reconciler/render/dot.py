"""A picture in the DOT language of Graphviz (https://graphviz.org/doc/info/lang.html): `reconcile show --format dot | dot -Tpng`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.render.comparison import Kind, Marks
from reconciler.render.picture import BridgePicture, Label, Member, Picture

_STYLES = {
    Kind.MISSING: 'color="#b3261e", style="rounded,dashed"',
    Kind.WAITS: 'color="#4a5f78", style="rounded,dotted"',
    Kind.DIFFERS: 'color="#8a5a00", penwidth=2',
    Kind.EXTRA: 'color="#6b3fa0", penwidth=2',
    Kind.FOREIGN: 'color="#808080", fontcolor="#606060"',
    Kind.OTHERS: 'color="#808080", fontcolor="#606060"',
}


def dot(picture: Picture) -> str:
    """`picture` as a directed graph. Ends in a newline."""
    return "".join(f"{line}\n" for line in _lines(picture))


def _lines(picture: Picture) -> Iterator[str]:
    yield "digraph network {"
    yield "  rankdir=LR;"
    yield '  node [shape=box, style=rounded, fontname="sans-serif", fontsize=11];'
    yield '  edge [fontname="monospace", fontsize=9];'
    yield f"  tooltip={_quoted([picture.summary])};"
    yield '  outside [shape=ellipse, label="outside"];'
    yield "  subgraph cluster_host {"
    yield f'    label={_quoted([f"host {picture.host}".rstrip(), picture.owner])}; style=rounded; fontname="sans-serif";'
    for number, bridge in enumerate(picture.bridges):
        yield from _nodes(number, bridge)
    if picture.notes:
        yield f"    notes [shape=note, label={_quoted(map(_said, picture.notes))}];"
    yield "  }"
    for number, bridge in enumerate(picture.bridges):
        yield from _edges(number, bridge)
    yield "}"


def _nodes(number: int, bridge: BridgePicture) -> Iterator[str]:
    head = [f"{bridge.name} {bridge.mode}".rstrip(), *_tellings(bridge.marks), *map(_said, bridge.addresses)]
    yield f"    b{number} [shape=box3d{_style(bridge.marks)}, label={_quoted([*head, *map(_said, bridge.notes)])}];"
    for place, member in enumerate(bridge.members):
        shape = "shape=component, " if member.kind == "vm" else ""
        yield f"    b{number}c{place} [{shape}label={_quoted(_member(member))}{_style(member.marks)}];"


def _member(member: Member) -> Iterator[str]:
    yield member.name if member.kind in ("container", "vm") else f"{member.name} ({member.kind})"
    yield from _tellings(member.marks)
    if member.interface:
        yield member.interface
    yield from map(_said, (*member.addresses, *member.notes))


def _edges(number: int, bridge: BridgePicture) -> Iterator[str]:
    for uplink in bridge.uplinks:
        yield f"  outside -> b{number} [dir=none, label={_quoted([_said(uplink)])}];"
    if bridge.leaves:
        # Turned round, so that what is outside stands to the left of the bridge.
        yield f"  outside -> b{number} [dir=back, style=dashed, label={_quoted(map(_said, bridge.leaves))}];"
    for place, member in enumerate(bridge.members):
        yield f"  b{number} -> b{number}c{place} [dir=none, label={_quoted([member.link])}];"
        # One edge for all of them: Graphviz takes minutes over some dozens of parallel ones.
        told = [_said(Label(f"{port.outside} → {port.inside}", port.marks)) for port in member.ports]
        if told:
            yield f'  outside -> b{number}c{place} [color="#2f6fbf", label={_quoted(told)}];'


def _style(marks: Marks) -> str:
    return f", {_STYLES[marks[0].kind]}" if marks else ""


def _said(label: Label) -> str:
    return " ".join([label.text, *_tellings(label.marks)])


def _tellings(marks: Marks) -> list[str]:
    return [f"({mark.text})" for mark in marks]


def _quoted(lines: Iterable[str]) -> str:
    """`lines` as one quoted string. A backslash begins an escape in a label (`\\N` is the node's name), and an ampersand one
    of HTML's."""
    return '"' + "\\n".join(_escaped(line) for line in lines) + '"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
