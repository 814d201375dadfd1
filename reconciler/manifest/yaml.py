"""YAML text → a tree of values that know their places.

PyYAML scans and parses (through libyaml where it is there); what its events mean is decided here, by the core schema of
YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema). PyYAML itself would read 1.1, where `22:22` is the number 1342 and
`no` is false. It would also compose by recursion: fifty thousand open brackets crash libyaml's composer with the process
around it. Here the events are put together with a stack, and an event too deep ends the reading.

Not of YAML 1.2, but known here: the merge key `<<`, since whoever writes Compose files expects it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from reconciler.manifest.places import Position, Problem, quoted

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 40
"""Levels of nesting. A right file has eight."""
MAX_NODES = 500_000
"""Values, each counted as often as aliases repeat it."""
MAX_PROBLEMS = 1000
"""Problems listed of one file: nobody reads on, and a hostile file should not fill a log."""
MAX_DIGITS = 20
"""Digits of a number: no number in the file is anywhere near, and Python refuses to read very long ones."""

Scalar: TypeAlias = str | int | float | bool | None
Path: TypeAlias = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place: a scalar, a list of nodes, or a mapping of names to nodes (`keys` has the names' places)."""

    value: Scalar | list[Node] | dict[str, Node]
    position: Position
    keys: Mapping[str, Position] = field(default_factory=dict)
    size: int = 1
    height: int = 1

    def plain(self) -> Any:
        """The value as plain Python."""
        value = self.value
        if isinstance(value, dict):
            return {key: node.plain() for key, node in value.items()}
        return [node.plain() for node in value] if isinstance(value, list) else value

    def child(self, step: str | int) -> Node | None:
        """What is under a key, or an index; None if there is no such thing."""
        if isinstance(self.value, dict):
            return self.value.get(step) if isinstance(step, str) else None
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None

    def find(self, path: Path) -> Node | None:
        """What is under `path`; None if there is no such thing."""
        node: Node | None = self
        for step in path:
            node = node.child(step) if node else None
        return node

    def place(self, path: Path, otherwise: Position | None = None) -> Position:
        """The place of what is under `path`, or of the nearest thing above it; `otherwise` (default: my own) if nothing is."""
        node, position = self, otherwise or self.position
        for step in path:
            child = node.child(step)
            if child is None:
                break
            node, position = child, child.position
        return position

    def without(self, path: Path) -> Node:
        """The same without what is under `path`."""
        if not path or self.child(path[0]) is None:
            return self
        first, rest = path[0], path[1:]
        if isinstance(self.value, dict):
            items = {key: node.without(rest) if key == first else node for key, node in self.value.items()}
            if not rest:
                del items[str(first)]
            return Node(items, self.position, self.keys)
        assert isinstance(self.value, list)
        # An index is a name as well: those after it must not move, or the next path would mean another one.
        replaced = [node.without(rest) if index == first else node for index, node in enumerate(self.value)]
        return Node([node for index, node in enumerate(replaced) if rest or index != first], self.position)


class _Stop(Exception):
    """Reading on makes no sense."""

    def __init__(self, position: Position, message: str, remedy: str) -> None:
        self.problem = Problem(position, message, remedy)


# --- from bytes to text -----------------------------------------------------------------------------------------------

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is not c-printable (YAML 1.2, 5.1)."""
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


def decode(data: bytes, file: str) -> tuple[str, list[Problem]]:
    """The text of a file; or none, and why: too large, not UTF-8."""
    if len(data) > MAX_BYTES:
        limit = f"{MAX_BYTES // 1024 // 1024} MiB"
        return "", [Problem(Position(file), f"the file is larger than {limit}", "split it into several files of a directory")]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "", [Problem(Position(file, 1, 1), "the file is UTF-16", "save it as UTF-8")]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        what = f"byte 0x{data[error.start]:02x} is not UTF-8"
        return "", [Problem(_place(before, len(before), file), what, "save the file as UTF-8")]


def _place(text: str, index: int, file: str) -> Position:
    """The place of the character at `index`."""
    line, start = 1, 0
    for found in _BREAK.finditer(text, 0, index):
        line, start = line + 1, found.end()
    return Position(file, line, index - start + 1)


# --- from text to nodes -----------------------------------------------------------------------------------------------


def read(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The one document in `text`, and what is wrong with it as YAML. No node if there is none, or if it cannot be read."""
    text = text.removeprefix("\ufeff")
    if found := _FORBIDDEN.search(text):
        what = f"character {quoted(found.group())} is not allowed in YAML"
        return None, [Problem(_place(text, found.start(), file), what, "remove it, or write it as an escape in double quotes")]
    reader = _Reader(file)
    try:
        for event in _events(text, file):
            reader.take(event)
    except _Stop as stop:
        return None, [*reader.problems, stop.problem]
    return reader.document, reader.problems


def _events(text: str, file: str) -> Iterator[yaml.Event]:
    """PyYAML's events. Raises _Stop at what is no YAML."""
    loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    parser = loader(text)
    try:
        while parser.check_event():
            yield parser.get_event()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, file, text) from None
    except yaml.YAMLError as error:
        what = printable_line(str(error))
        raise _Stop(Position(file, 1, 1), f"not YAML: {what}", "see what stands there") from None
    finally:
        parser.dispose()


def printable_line(text: str) -> str:
    """The first line of a message of someone else's."""
    return quoted(text.partition("\n")[0])[1:-1]


_HINTS: tuple[tuple[str, str, str], ...] = (
    (r"\\t|'\t'|tab", "a tab stands where YAML wants spaces", "indent with spaces"),
    (
        r"mapping values are not allowed",
        "a ':' stands where no key can be",
        "indent keys of one mapping alike, and put text with ': ' in it into quotes",
    ),
    (r"expected ':'", "a key without a ':' behind it", "write it as `key: value`, and close every quote"),
    (r"unexpected end of stream|unexpected document separator", "a quote is opened here or before, and never closed", "close the quote"),
    (r"expected ',' or '\]'", "a list in [ ] goes wrong here", "put commas between its items, and close it with ]"),
    (r"expected ',' or '\}'", "a mapping in { } goes wrong here", "put commas between its items, and close it with }"),
    (r"cannot start any token", "a character stands here that cannot begin a value", "put the value into quotes"),
    (r"expected '-' indicator|expected <block end>, but found '\?'|block collection", "a list goes wrong here", "indent its items alike, each with '- ' before it"),
    (r"expected key|expected <block end>", "the indentation does not fit what is above", "indent keys of one mapping alike"),
    (r"unknown escape|escape", "an unknown escape in double quotes", "use single quotes, or write the backslash twice"),
    (r"node content|node start", "a value is missing or cut off here", "complete it; text that begins with a special character goes into quotes"),
    (r"tag|handle", "a tag that YAML cannot read", "remove the part that begins with !"),
    (r"document start|<document start>|end of the stream", "something stands behind the end of the document", "put everything into one document"),
    (r"alphabetic or numeric", "an anchor or alias without a name", "put text that begins with & or * into quotes"),
    (r"YAML directive|directive", "a directive that cannot be read", "remove the line that begins with %"),
    (r"invalid simple key|simple key|block sequence entries", "a list item or key stands where it cannot be", "begin it on a line of its own"),
    (r"block scalar|indentation indicator|chomping", "a text block goes wrong here", "write | or > alone, and indent the text below"),
)  # fmt: skip
"""What PyYAML and libyaml say (they differ), as what to look for, and what to do."""


def _syntax_error(error: yaml.MarkedYAMLError, file: str, text: str) -> _Stop:
    said = " ".join(part for part in (error.problem, error.context) if part)
    mark = error.problem_mark or error.context_mark
    place = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 1, 1)
    for pattern, what, remedy in _HINTS:
        if re.search(pattern, error.problem or "") or re.search(pattern, said):
            return _Stop(place, what, remedy)
    return _Stop(place, f"not YAML: {printable_line(said)}", "see what stands there, or just before")


@dataclass(slots=True)
class _Open:
    """A list or mapping that is not closed yet."""

    position: Position
    anchor: str | None
    mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Position] = field(default_factory=dict)
    merged: list[Node] = field(default_factory=list)
    key: Node | None = None
    merge_next: bool = False


class _Reader:
    """Puts events together. One document; problems are collected, and _Stop is raised where reading on makes no sense."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.document: Node | None = None
        self.problems: list[Problem] = []
        self._documents = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._size = 0

    def take(self, event: yaml.Event) -> None:
        """The next event. Raises _Stop."""
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._begin(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._document(event)

    def _document(self, event: yaml.Event) -> None:
        self._documents += 1
        if self._documents > 1:
            raise _Stop(self._place(event), "a second document begins here", "one document in a file: use several files of a directory")

    def _place(self, event: yaml.Event) -> Position:
        mark = event.start_mark
        return Position(self.file, mark.line + 1, mark.column + 1)

    def _problem(self, position: Position, message: str, remedy: str) -> None:
        self.problems.append(Problem(position, message, remedy))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop(position, "too many errors, the rest of the file was not read", "begin with the first one")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        position = self._place(event)
        if self._is_merge_key(event):
            self._open[-1].merge_next = True
            return
        node = Node(self._scalar_value(event, position), position)
        self._remember(event.anchor, node)
        self._add(node)

    def _is_merge_key(self, event: yaml.ScalarEvent) -> bool:
        if event.value != "<<" or not event.implicit[0] or not self._open:
            return False
        top = self._open[-1]
        return top.mapping and top.key is None and not top.merge_next

    def _scalar_value(self, event: yaml.ScalarEvent, position: Position) -> Scalar:
        text: str = event.value
        plain = bool(event.implicit[0])
        tag: str | None = event.tag
        try:
            if plain:
                return resolve(text)
            if tag is None or tag == "!" or event.implicit[1]:
                return text
            return _tagged(text, tag)
        except ValueError as error:
            self._problem(position, str(error), "correct the value" if plain else "remove the part that begins with !")
            return text

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        position = self._place(event)
        mapping = isinstance(event, yaml.MappingStartEvent)
        if len(self._open) >= MAX_DEPTH:
            raise _Stop(position, f"nested deeper than {MAX_DEPTH} levels", "a file for reconcile has eight at most: remove the surplus brackets")
        own = ("!", "tag:yaml.org,2002:map" if mapping else "tag:yaml.org,2002:seq")
        if event.tag is not None and event.tag not in own:
            self._problem(position, f"unknown tag {quoted(event.tag)}", "remove the part that begins with !")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Open(position, event.anchor, mapping))

    def _end(self) -> None:
        top = self._open.pop()
        if top.mapping:
            self._merge(top)
            children: list[Node] = list(top.entries.values())
        else:
            children = top.items
        node = Node(
            top.entries if top.mapping else top.items,
            top.position,
            top.keys,
            1 + sum(child.size for child in children),
            1 + max((child.height for child in children), default=0),
        )
        self._remember(top.anchor, node)
        self._add(node)

    def _alias(self, event: yaml.AliasEvent) -> None:
        position, name = self._place(event), str(event.anchor)
        if name not in self._anchors:
            raise _Stop(position, f"alias {quoted('*' + name)} refers to no anchor before it", f"define {quoted('&' + name)} above, or put the text into quotes")
        node = self._anchors[name]
        if node is None:
            raise _Stop(position, f"alias {quoted('*' + name)} refers to what it is inside of", "a value cannot contain itself")
        if len(self._open) + node.height > MAX_DEPTH:
            raise _Stop(position, f"aliases nest deeper than {MAX_DEPTH} levels", "write the value out")
        self._add(node)

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor:
            self._anchors[anchor] = node

    def _add(self, node: Node) -> None:
        """A complete value takes its place in what is open around it."""
        self._size += node.size if not self._open or isinstance(node.value, (dict, list)) else 1
        self._count(node)
        if not self._open:
            self.document = node
            return
        top = self._open[-1]
        if not top.mapping:
            top.items.append(node)
        elif top.merge_next:
            top.merge_next = False
            top.merged.append(node)
        elif top.key is None:
            top.key = node
        else:
            self._entry(top, top.key, node)
            top.key = None

    def _count(self, node: Node) -> None:
        if self._size > MAX_NODES:
            raise _Stop(node.position, f"more than {MAX_NODES} values, with those that aliases repeat", "use fewer aliases, or several files")

    def _entry(self, top: _Open, key: Node, value: Node) -> None:
        name = key.value
        if not isinstance(name, str):
            self._problem(key.position, *_wrong_key(name))
        elif name in top.keys:
            first = top.keys[name]
            self._problem(key.position, f"key {quoted(name)} is already at {first}", "keep one of the two")
        else:
            top.keys[name] = key.position
            top.entries[name] = value

    def _merge(self, top: _Open) -> None:
        """Takes in what `<<` names. One's own keys win, then those of the mapping named first."""
        for source in _sources(top.merged):
            if not isinstance(source.value, dict):
                self._problem(source.position, "'<<' wants a mapping, or a list of mappings", "name the anchor of a mapping: `<<: *NAME`")
                continue
            for name, node in source.value.items():
                if name not in top.entries:
                    top.keys[name], top.entries[name] = source.keys[name], node


def _sources(merged: list[Node]) -> Iterator[Node]:
    for node in merged:
        if isinstance(node.value, list):
            yield from node.value
        else:
            yield node


def _wrong_key(value: object) -> tuple[str, str]:
    if isinstance(value, (list, dict)):
        return "a key must be a name, not a list or mapping", "write a name before the ':'; in front of { or [ it takes no '?'"
    return f"key {quoted(value)} is not text", f'put it into quotes: "{quoted(value)}"'


# --- scalars ----------------------------------------------------------------------------------------------------------

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMBER_START = frozenset("+-.0123456789")


def resolve(text: str) -> Scalar:
    """A plain scalar by the core schema of YAML 1.2 (10.3.2). Raises ValueError for a number of too many digits."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    if _INT.fullmatch(text):
        return int(_bounded(text))
    if _BASED.fullmatch(text):
        return int(_bounded(text), 0)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan").replace(".NaN", "nan").replace(".NAN", "nan"))
    return text


def _bounded(text: str) -> str:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"number {quoted(text)} has too many digits")
    return text


_TAGS: dict[str, tuple[type[Any], ...]] = {"null": (type(None),), "bool": (bool,), "int": (int,), "float": (float, int)}


def _tagged(text: str, tag: str) -> Scalar:
    """A scalar with a tag of its own. Raises ValueError if the tag is none of the core schema, or does not fit."""
    short = tag.removeprefix("tag:yaml.org,2002:")
    if short == "str":
        return text
    if short == tag or short not in _TAGS:
        raise ValueError(f"unknown tag {quoted(tag)}")
    value = resolve(text)
    if type(value) not in _TAGS[short]:
        raise ValueError(f"{quoted(text)} does not fit its tag !!{short}")
    return float(value) if short == "float" and isinstance(value, int) else value
