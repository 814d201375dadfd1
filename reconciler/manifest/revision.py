"""A new text of files that were read before: if only published ports changed, the Document, without reading all of it again.

An agent that keeps a thousand containers opens a port as fast as the kernel does; to read the whole file would take ten
times as long. So the changed lines are looked at by themselves: those of one container, from its key to whatever comes next
that is not indented more. That is sound where the file is plain there, without anchors, tags, block scalars, or braces around
it; and nothing but ports may differ, since only other ports and expectations rest on these. Wherever that cannot be seen at a
glance, the answer is None: read all of it.

The law (tests/manifest/test_revise.py): it is None, or what reading all of it gives, but for the places of what stands below
the change, which are off by as many lines as were added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from reconciler.manifest import yaml
from reconciler.manifest.claims import agree
from reconciler.manifest.document import Bridge, Container, Document, Port
from reconciler.manifest.model import CONTAINER
from reconciler.manifest.position import Position
from reconciler.manifest.resolve import no_ports
from reconciler.manifest.shape import all_of
from reconciler.manifest.work import hosts_of

Texts: TypeAlias = Sequence[tuple[str, str | bytes]]
"""Files, as (name, text)."""

_MOST = 20
"""Containers that are looked at by themselves; with more, to read all is as fast."""
_OTHER_BREAKS = re.compile("[\r\x85\u2028\u2029]")
"""What YAML counts as the end of a line besides the newline (YAML 1.1, which libyaml goes by)."""
_NOT_PLAIN = re.compile("[&*!|>%`@]")
"""What may be an anchor, an alias, a tag or a block scalar."""
_KEY_ALONE = re.compile(r"""\s*(?P<quote>["']?)(?P<key>[^"'#:{}\[\]]+)(?P=quote)\s*:\s*(#.*)?""")


def revised(document: Document, before: Texts, after: Texts) -> Document | None:
    """What `after` makes, given that `before` made `document`. None if that takes reading all of it."""
    if len(before) != len(after) or document.expectations:
        return None
    changes: dict[tuple[str, str], tuple[Port, ...]] = {}
    for (old_name, old_text), (new_name, new_text) in zip(before, after, strict=True):
        if old_text == new_text:
            continue
        old, new = _lines(old_text), _lines(new_text)
        blocks = None if old is None or new is None else _blocks(document, old_name, old, new)
        if old is None or new is None or blocks is None:
            return None
        for block in blocks:
            ports = _ports(block, old, new, new_name)
            if ports is None:
                return None
            changes[block.bridge.name, block.container.name] = ports
    return _with_ports(document, changes, tuple(name for name, _ in after))


def _lines(text: str | bytes) -> list[str] | None:
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError:
        return None
    lines = decoded.split("\n")
    first = next((line for line in map(str.lstrip, lines) if line and line[0] != "#" and line != "---"), "")
    return None if _OTHER_BREAKS.search(decoded) or first.startswith(("{", "%")) else lines


# --- which lines -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Block:
    """The lines of a container: from `start` on, up to `end` in the old text and `new_end` in the new one (counted from 0)."""

    bridge: Bridge
    container: Container
    start: int
    end: int
    new_end: int


def _blocks(document: Document, name: str, old: list[str], new: list[str]) -> list[_Block] | None:
    """Those of the containers that all changed lines belong to; None if there is no telling."""
    starts = sorted(
        (container.position.line - 1, place, inner)
        for place, bridge in enumerate(document.bridges)
        for inner, container in enumerate(bridge.containers)
        if container.position.file == name
    )
    found: dict[int, _Block] = {}
    position = 0
    for begin, end, growth in _hunks(old, new):
        # A line that is added behind a container's last one belongs to that.
        line = begin if end > begin else begin - 1
        while position + 1 < len(starts) and starts[position + 1][0] <= line:
            position += 1
        if not starts or starts[position][0] > line:
            return None
        start, place, inner = starts[position]
        bridge = document.bridges[place]
        stop = _end(old, start)
        # In the new text they are as many lines as before and the added ones, or something else begins among them.
        if end > stop or _end(new, start) != stop + growth or not _is_plain_block(old, start, bridge.name):
            return None
        found[start] = _Block(bridge, bridge.containers[inner], start, stop, stop + growth)
        if len(found) > _MOST:
            return None
    return list(found.values())


def _hunks(old: list[str], new: list[str]) -> Iterator[tuple[int, int, int]]:
    """(first line, line behind the last, lines added) of what changed in `old`; one that holds it all if lines were added or taken away."""
    if len(old) == len(new):
        yield from (
            (number, number + 1, 0) for number, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]
        )
        return
    shorter = min(len(old), len(new))
    same = next((number for number in range(shorter) if old[number] != new[number]), shorter)
    tail = next((number for number in range(shorter - same) if old[-1 - number] != new[-1 - number]), shorter - same)
    yield same, len(old) - tail, len(new) - len(old)


def _indent(line: str) -> int | None:
    """How far it is indented; None for a line that says nothing."""
    bare = line.lstrip(" ")
    return None if not bare or bare.isspace() or bare.startswith("#") else len(line) - len(bare)


def _end(lines: list[str], start: int) -> int:
    """The line behind the block that begins at `start`."""
    own = _indent(lines[start]) or 0
    for number in range(start + 1, len(lines)):
        indent = _indent(lines[number])
        if indent is not None and indent <= own:
            return number
    return len(lines)


def _is_plain_block(lines: list[str], start: int, bridge: str) -> bool:
    """Whether the block hangs, by nothing but keys with a line of their own, on `bridges:` of the file."""
    own, wanted = _indent(lines[start]) or 0, ["containers", bridge, "bridges"]
    for number in range(start - 1, -1, -1):
        indent = _indent(lines[number])
        if indent is not None and indent < own:
            key = _KEY_ALONE.fullmatch(lines[number])
            if key is None or key["key"].strip() != wanted.pop(0):
                return False
            own = indent
            if not wanted:
                return own == 0
    return False


# --- what they say ---------------------------------------------------------------------------------------------------


def _ports(block: _Block, old: list[str], new: list[str], name: str) -> tuple[Port, ...] | None:
    """The container's ports, if nothing else of it changed."""
    before = _value(old[block.start : block.end], block.container.name)
    after = _value(new[block.start : block.new_end], block.container.name)
    if before is None or after is None or _without_ports(before) != _without_ports(after):
        return None
    model = all_of(CONTAINER, after, (block.container.name,))
    if model is None:
        return None
    bridge, container = block.bridge, block.container
    if no_ports(bridge.mode, bridge.name, container.name, container.addresses):
        return None if model.ports else ()
    versions: set[int] = {address.version for address in container.addresses}
    ports: list[Port] = []
    for place, port in enumerate(model.ports):
        hosts = hosts_of(port, bridge.host_ips, versions)
        if not hosts:
            return None
        at = after.definition(("ports", place))
        position = Position(name, at.line + block.start, at.column)
        ports += [Port(host, port.published, port.target, port.protocol, position) for host in hosts]
    return tuple(ports)


def _value(lines: list[str], name: str) -> yaml.Node | None:
    """What the block says of the container `name`; None if it is anything else, or not plain."""
    text = "\n".join(lines)
    if _NOT_PLAIN.search(text):
        return None
    node, problems = yaml.read(text, "")
    if problems or node is None or not isinstance(node.value, dict) or list(node.value) != [name]:
        return None
    value = node.value[name]
    return value if value.value is None or isinstance(value.value, dict) else None


def _without_ports(node: yaml.Node) -> dict[str, Any]:
    value = node.plain() or {}
    return {key: item for key, item in value.items() if key != "ports"}


# --- the whole -------------------------------------------------------------------------------------------------------


def _with_ports(
    document: Document, changes: dict[tuple[str, str], tuple[Port, ...]], sources: tuple[str, ...]
) -> Document | None:
    """`document` with other ports, if these can be."""
    named = {port.host_ip for ports in changes.values() for port in ports} - {None}
    bridges = []
    for bridge in document.bridges:
        # Whether an address is the host's takes to know how a container came to have it.
        if named and any(address.ip in named for container in bridge.containers for address in container.addresses):
            return None
        containers = tuple(
            replace(container, ports=changes[bridge.name, container.name])
            if (bridge.name, container.name) in changes
            else container
            for container in bridge.containers
        )
        changed = any(name == bridge.name for name, _ in changes)
        bridges.append(replace(bridge, containers=containers) if changed else bridge)
    if not agree(tuple(bridges)):
        return None
    return replace(document, bridges=tuple(bridges), sources=sources)
