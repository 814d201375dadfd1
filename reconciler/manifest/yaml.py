"""YAML text → a tree of values that know their places.

PyYAML scans and parses (through libyaml where it is there); what its events mean is decided here, by the core schema of
YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema). PyYAML itself would read 1.1, where `22:22` is the number 1342, a
MAC of digits is a number too, and `no` is false. And it would compose by recursion: fifty thousand open brackets crash
libyaml's composer with the process around it. Here events are put together with a stack.

Bounds, since a file may come from anywhere: bytes, nesting, and nodes as often as aliases repeat them.

The merge key `<<` is not of YAML 1.2, but who writes Compose files expects it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import yaml

from reconciler.manifest.position import Position, Problem, printable, quoted

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 40
"""A right file has eight levels."""
MAX_NODES = 200_000
"""A thousand containers with two addresses and two ports each are ten thousand."""
MAX_PROBLEMS = 1000
"""Of one file: a hostile one should not fill a log."""

Path: TypeAlias = tuple[str | int, ...]
Scalar: TypeAlias = str | int | float | bool | None


class Node:
    """A value with its place. `key` is the place of its key, if it is a value of a mapping.

    `used` is the alias or merge key by which the value came here from elsewhere.
    """

    key: Position | None = None
    used: Position | None = None
    merged = False
    size = 1
    """How many values it is, with those inside."""
    height = 1
    """How many levels."""

    def __init__(self, value: Scalar | list[Node] | dict[str, Node], position: Position) -> None:
        self.value, self.position = value, position

    def but(self, **changes: Any) -> Node:
        """The same but for `changes`."""
        made = Node(self.value, self.position)
        vars(made).update(vars(self), **changes)
        return made

    def plain(self) -> Any:
        """The value as plain Python."""
        value = self.value
        if isinstance(value, dict):
            return {key: node.plain() for key, node in value.items()}
        return [node.plain() for node in value] if isinstance(value, list) else value

    def child(self, step: str | int) -> Node | None:
        """What is under a key, or at an index; None if there is no such thing."""
        value = self.value
        if isinstance(value, dict):
            return value.get(step) if isinstance(step, str) else None
        if isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
            return value[step]
        return None

    def along(self, path: Path) -> list[Node]:
        """This node and those on the way down `path`, as far as they are there."""
        found, node = [self], self
        for step in path:
            inner = node.child(step)
            if inner is None:
                break
            node = inner
            found.append(node)
        return found

    def definition(self, path: Path) -> Position:
        """Where the value at `path` is written, or the nearest thing around it that is there."""
        return self.along(path)[-1].position

    def key_definition(self, path: Path) -> Position:
        """Where the key of the value at `path` is written."""
        last = self.along(path)[-1]
        return last.key or last.position

    def place(self, path: Path) -> Position:
        """Where the value at `path` comes into being: for what an alias repeats, the alias."""
        for last in self.along(path):
            if last.used:
                return last.used
        return last.position

    def places(self, path: Path) -> list[Position]:
        """`place` of each value of the list at `path`; none if there is no list."""
        nodes = self.along(path)
        items = nodes[-1].value
        if len(nodes) <= len(path) or not isinstance(items, list):
            return []
        used = next((node.used for node in nodes if node.used), None)
        return [used or item.used or item.position for item in items]

    def key_place(self, path: Path) -> Position:
        """Where the key of the value at `path` comes into being."""
        for depth, last in enumerate(self.along(path)):
            if last.used and (last.merged or depth < len(path)):
                return last.used
        return last.key or last.position

    def without(self, paths: set[Path], here: Path = ()) -> Node:
        """The same without what is at `paths`."""
        if isinstance(self.value, dict):
            items = {
                key: node.without(paths, (*here, key)) for key, node in self.value.items() if (*here, key) not in paths
            }
            return self.but(value=items)
        if isinstance(self.value, list):
            kept = [(place, node) for place, node in enumerate(self.value) if (*here, place) not in paths]
            return self.but(value=[node.without(paths, (*here, place)) for place, node in kept])
        return self


def read(data: bytes | str, filename: str) -> tuple[Node | None, list[Problem]]:
    """(the value of `data`: one YAML document in UTF-8; every problem found on the way).

    No value, and no problem, is an empty document.
    """
    problems: list[Problem] = []
    try:
        text = _text(data, filename)
        return _Composer(filename, problems).compose(text), problems
    except _Unreadable as error:
        return None, [*problems, error.problem]


class _Unreadable(Exception):
    """A problem behind which there is nothing to read."""

    def __init__(self, position: Position, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(position, message)


# --- bytes → characters ----------------------------------------------------------------------------------------------

# c-printable of YAML 1.2 (§5.1)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(data: bytes | str, filename: str) -> str:
    if len(data) > MAX_BYTES:
        limit = MAX_BYTES // 1024 // 1024
        message = f"the file is larger than {limit} MiB (split it: a directory of files is merged)"
        raise _Unreadable(Position(filename, 1, 1), message)
    text = _decoded(data, filename) if isinstance(data, bytes) else data
    text = text.removeprefix("\ufeff")
    bad = _UNPRINTABLE.search(text)
    if bad:
        line, column = text.count("\n", 0, bad.start()) + 1, bad.start() - text.rfind("\n", 0, bad.start())
        message = f"the character U+{ord(bad[0]):04X} is not allowed in YAML (remove it)"
        raise _Unreadable(Position(filename, line, column), message)
    return text


def _decoded(data: bytes, filename: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        before = data[data.rfind(b"\n", 0, error.start) + 1 : error.start]
        message = f"byte 0x{data[error.start]:02x} is not UTF-8 (save the file as UTF-8)"
        raise _Unreadable(Position(filename, line, len(before.decode()) + 1), message) from None


# --- events → nodes --------------------------------------------------------------------------------------------------

_STR, _MERGE = "tag:yaml.org,2002:str", "<<"
_LOADER: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class _Open:
    """A list or mapping that is not at its end yet."""

    key: str | None = None
    """The key that waits for its value; None also for one that is no good, whose value is dropped."""
    key_position: Position | None = None
    merging = False
    """The key was `<<`."""
    merges: tuple[Node, ...] = ()
    """What is to be merged at the end, when it is known which keys are given in place."""

    tallest = 0
    """The height of what is highest inside."""

    def __init__(self, node: Node, anchor: str | None, before: int) -> None:
        self.node, self.anchor, self.before = node, anchor, before
        self.items = node.value if isinstance(node.value, list) else None
        self.mapping = node.value if isinstance(node.value, dict) else {}
        self.wants_key = self.items is None


class _Composer:
    """Puts one document's events together. What can be passed over goes into `problems`."""

    def __init__(self, filename: str, problems: list[Problem]) -> None:
        self._filename = filename
        self._problems = problems
        self._documents = Node([], Position(filename, 1, 1))
        self._stack = [_Open(self._documents, None, 0)]
        self._anchors: dict[str, Node | None] = {}
        """None for what is not at its end yet."""
        self._nodes = 0
        """How many values are written down so far."""
        self._more = 0
        """How many more they are by aliases, less those that are dropped."""
        self._takers: Mapping[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._mapping,
            yaml.SequenceStartEvent: self._list,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }

    def compose(self, text: str) -> Node | None:
        """The document's value; None if there is none. Raises _Unreadable."""
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                take = self._takers.get(type(event))
                if take is not None:
                    take(event)
        except yaml.MarkedYAMLError as error:
            raise self._syntax(error, text) from None
        except (yaml.YAMLError, ValueError) as error:
            said = printable(" ".join(str(error).split()))[:200]
            raise _Unreadable(Position(self._filename, 1, 1), f"not YAML: {said} (correct the syntax)") from None
        documents = self._documents.value
        return documents[0] if isinstance(documents, list) and documents else None

    def _at(self, event: Any) -> Position:
        mark = event.start_mark
        return Position(self._filename, mark.line + 1, mark.column + 1)

    def _problem(self, position: Position, message: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(position, message))

    def _syntax(self, error: yaml.MarkedYAMLError, text: str) -> _Unreadable:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = printable(" ".join(str(error.problem or error.context).split()))[:200]
        if "'\\t'" in str(error.problem) or _has_tab(text, line, column):
            said, remedy = "a tab cannot begin a token", "indent with spaces"
        else:
            remedy = "correct the syntax here, or just before"
        return _Unreadable(Position(self._filename, line, column), f"not YAML: {said} ({remedy})")

    # what events do

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        if self._documents.value:
            message = "a second YAML document begins here (one file is one document: give it a file of its own)"
            raise _Unreadable(self._at(event), message)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        top = self._stack[-1]
        if top.wants_key:
            self._key(top, event)
            return
        node = Node(self._resolved(event), self._at(event))
        if event.anchor:
            self._anchors[event.anchor] = node
        self._put(node)

    def _key(self, top: _Open, event: yaml.ScalarEvent) -> None:
        position, name = self._at(event), event.value
        if event.anchor:
            self._anchors[event.anchor] = Node(name, position)
        top.wants_key = False
        there = top.mapping.get(name)
        if name == _MERGE and not event.style:
            top.merging = True
        elif there is not None:
            first = (there.key or position).seen_from(position)
            self._problem(position, f"the key {quoted(name)} is given twice, first in {first} (keep one)")
        else:
            top.key, top.key_position = name, position

    def _mapping(self, event: yaml.MappingStartEvent) -> None:
        self._begin(event, Node({}, self._at(event)), ("!", "tag:yaml.org,2002:map"))

    def _list(self, event: yaml.SequenceStartEvent) -> None:
        self._begin(event, Node([], self._at(event)), ("!", "tag:yaml.org,2002:seq"))

    def _begin(self, event: yaml.CollectionStartEvent, node: Node, tags: tuple[str, ...]) -> None:
        if len(self._stack) > MAX_DEPTH:
            raise self._too_deep(node.position)
        if event.tag is not None and event.tag not in tags:
            self._problem(node.position, f"the tag {_shown(event.tag)} means nothing here (remove it)")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(node, event.anchor, self._nodes + self._more))

    def _end(self, event: yaml.CollectionEndEvent) -> None:
        done = self._stack.pop()
        node = done.node
        for source in done.merges:
            self._merge(done, source)
        node.size = 1 + self._nodes + self._more - done.before
        node.height = 1 + done.tallest
        if node.size > MAX_NODES:
            raise self._too_many(node.position)
        if done.anchor:
            self._anchors[done.anchor] = node
        self._put(node)

    def _alias(self, event: yaml.AliasEvent) -> None:
        position = self._at(event)
        if event.anchor not in self._anchors:
            raise _Unreadable(
                position, f"no anchor {quoted(str(event.anchor))} is above this alias (define it with `&`)"
            )
        node = self._anchors[event.anchor]
        if node is None:
            raise _Unreadable(position, "the alias stands for something that it is inside of (write it out)")
        if len(self._stack) - 1 + node.height > MAX_DEPTH:
            raise self._too_deep(position)
        self._more += node.size - 1
        self._put(node.but(key=None, used=position, merged=False))

    def _too_deep(self, position: Position) -> _Unreadable:
        return _Unreadable(position, f"nested more than {MAX_DEPTH} levels deep (nothing in this file needs that)")

    def _too_many(self, position: Position) -> _Unreadable:
        return _Unreadable(position, f"more than {MAX_NODES} values, counting what aliases repeat (use fewer aliases)")

    # where nodes go

    def _put(self, node: Node) -> None:
        """`node` is complete: it goes into what is open."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._too_many(node.position)
        top = self._stack[-1]
        if top.items is not None:
            top.items.append(node)
        elif top.key is not None:
            node.key = top.key_position
            top.mapping[top.key] = node
            top.wants_key, top.key = True, None
        else:
            self._put_aside(top, node)
            return
        if node.height > top.tallest:
            top.tallest = node.height

    def _put_aside(self, top: _Open, node: Node) -> None:
        """`node` is no value of the mapping: it is to be merged, stands for a key, or is what a key that is no good stands for."""
        self._more -= node.size
        if top.wants_key:
            self._problem(node.used or node.position, "a key must be a name (not a list, a mapping or an alias)")
        elif top.merging:
            top.merges += (node,)
        top.wants_key, top.merging = not top.wants_key, False

    def _merge(self, into: _Open, source: Node) -> None:
        """`<<`: keys given in place win over merged ones, earlier merged ones over later ones."""
        place = source.used or source.position
        if isinstance(source.value, list):
            for item in source.value:
                if isinstance(item.value, list):
                    self._problem(
                        item.used or item.position, "`<<` merges mappings, and this is a list (take one away)"
                    )
                else:
                    self._merge(into, item)
        elif isinstance(source.value, dict):
            for key, node in source.value.items():
                if key not in into.mapping:
                    into.mapping[key] = node.but(used=place, merged=True)
                    into.tallest = max(into.tallest, node.height)
                    self._more += node.size
        else:
            self._problem(place, "`<<` merges mappings, and this is none (give it an alias of a mapping)")

    def _resolved(self, event: yaml.ScalarEvent) -> Scalar:
        text, tag = event.value, event.tag
        if tag in ("!", _STR) or (tag is None and event.style):
            return text
        value = resolve(text)
        if tag is not None and tag != _TAGS.get(type(value)):
            self._problem(self._at(event), f"the tag {_shown(tag)} does not fit here (remove it)")
        return value


_TAGS: Mapping[type, str] = {
    kind: f"tag:yaml.org,2002:{name}"
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float"), (type(None), "null"))
}


def _shown(tag: str) -> str:
    return quoted(tag.replace("tag:yaml.org,2002:", "!!"))


def _has_tab(text: str, line: int, column: int) -> bool:
    lines = text.splitlines()
    return line <= len(lines) and lines[line - 1][column - 1 : column] == "\t"


# --- scalars ---------------------------------------------------------------------------------------------------------

_WORDS: Mapping[str, Scalar] = (
    dict.fromkeys(("", "~", "null", "Null", "NULL"))
    | dict.fromkeys(("true", "True", "TRUE"), True)
    | dict.fromkeys(("false", "False", "FALSE"), False)
    | {f"{sign}.{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")}
    | dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan"))
)
_NUMBER = re.compile(
    # Python reads no more than 4,300 digits; nothing in the file has more than ten.
    r"(?P<int>[-+]?[0-9]{1,300})|0o(?P<octal>[0-7]{1,300})|0x(?P<hex>[0-9a-fA-F]{1,300})"
    r"|(?P<float>[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)"
)


def resolve(text: str) -> Scalar:
    """A plain scalar by the core schema of YAML 1.2 (§10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    for group, base in (("int", 10), ("octal", 8), ("hex", 16)):
        if found[group]:
            return int(found[group], base)
    return float(text)
