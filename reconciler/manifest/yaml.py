"""YAML text → plain values, each with its place in the file. YAML 1.2's core rules on PyYAML's parser.

PyYAML follows YAML 1.1, where `22:22` is the number 1342, a MAC of digits is a number too, and `no` is false. So it is used only as far as
the node graph; resolving plain scalars and constructing values is done here, by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema).

Bounds, since a file may come from anywhere: bytes, nesting, and nodes after the expansion of aliases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from reconciler.manifest.position import Position, Problem, printable

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 40
MAX_NODES = 2_000_000

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,100}")
_OCTAL = re.compile(r"0o[0-7]{1,100}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_STANDARD_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))
_STR, _MERGE = "tag:yaml.org,2002:str", "<<"

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Tree:
    """A value and where its parts are. `keys` has the places of mapping keys, under the path of their value."""

    value: Any = None
    values: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def position(self, path: Path) -> Position:
        """Where the value at `path` is, or the nearest thing around it that has a place."""
        while path not in self.values and path:
            path = path[:-1]
        return self.values[path]

    def key_position(self, path: Path) -> Position:
        """Where the key of the value at `path` is."""
        return self.keys.get(path) or self.position(path)


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's parser, resolving nothing: every plain scalar stays text until `_scalar`."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  the name is PyYAML's


def read(data: bytes | str, filename: str) -> Tree:
    """The value in `data` (one YAML document, UTF-8), with every problem found on the way."""
    tree = Tree()
    start = Position(filename, 1, 1)
    tree.values[()] = start
    text = _decoded(data, start, tree.problems)
    if text is None:
        return tree
    try:
        _check_shape(text, filename)
        node = _single_document(text, filename)
    except _YamlProblem as error:
        tree.problems.append(error.problem)
        return tree
    if node is not None:
        _Constructor(tree, filename).run(node)
    return tree


class _YamlProblem(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def _decoded(data: bytes | str, start: Position, problems: list[Problem]) -> str | None:
    if len(data) > MAX_BYTES:
        limit = MAX_BYTES // 1024 // 1024
        problems.append(Problem(start, f"the file is larger than {limit} MiB (split it: a directory of files is merged)"))
        return None
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            column = error.start - data.rfind(b"\n", 0, error.start)
            place = Position(start.file, line, column)
            problems.append(Problem(place, f"byte 0x{data[error.start]:02x} is not UTF-8 (save the file as UTF-8)"))
            return None
    bad = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", data)
    if bad:
        line = data.count("\n", 0, bad.start()) + 1
        column = bad.start() - data.rfind("\n", 0, bad.start())
        place = Position(start.file, line, column)
        problems.append(Problem(place, f"the character U+{ord(bad[0]):04X} is not allowed in YAML (remove it)"))
        return None
    return data


def _place(mark: Any, filename: str) -> Position:
    return Position(filename, mark.line + 1, mark.column + 1) if mark else Position(filename, 1, 1)


def _syntax(error: yaml.MarkedYAMLError, filename: str) -> _YamlProblem:
    mark = error.problem_mark or error.context_mark
    said = " ".join(str(error.problem or error.context or "not YAML").split())
    return _YamlProblem(Problem(_place(mark, filename), f"not YAML: {printable(said)[:200]} (correct the syntax here)"))


def _check_shape(text: str, filename: str) -> None:
    """Nesting is bounded before anything recursive sees it."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    place = _place(event.start_mark, filename)
                    raise _YamlProblem(Problem(place, f"nested more than {MAX_DEPTH} levels deep (nothing in this file needs that)"))
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, filename) from None
    except (yaml.YAMLError, ValueError) as error:
        said = printable(" ".join(str(error).split()))[:200]
        raise _YamlProblem(Problem(Position(filename, 1, 1), f"not YAML: {said} (correct the syntax)")) from None


def _single_document(text: str, filename: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        if not loader.check_node():
            return None
        node: yaml.Node = loader.get_node()
        if loader.check_node():
            second = loader.get_node()
            place = _place(second.start_mark, filename)
            raise _YamlProblem(Problem(place, "a second YAML document begins here (one file is one document: give it a file of its own)"))
        return node
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, filename) from None
    finally:
        loader.dispose()


class _Constructor:
    """Node graph → values. Aliases are expanded, and counted."""

    def __init__(self, tree: Tree, filename: str) -> None:
        self._tree = tree
        self._filename = filename
        self._nodes = 0
        self._open: set[int] = set()

    def run(self, node: yaml.Node) -> None:
        try:
            self._tree.value = self._value(node, ())
        except _YamlProblem as error:
            self._tree.problems.append(error.problem)

    def _problem(self, mark: Any, message: str) -> None:
        self._tree.problems.append(Problem(_place(mark, self._filename), message))

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            place = _place(node.start_mark, self._filename)
            raise _YamlProblem(Problem(place, f"more than {MAX_NODES} nodes once aliases are expanded (use fewer aliases)"))
        if id(node) in self._open or len(path) > MAX_DEPTH:
            place = _place(node.start_mark, self._filename)
            raise _YamlProblem(Problem(place, "an alias stands for something that it is inside of (write it out)"))
        self._tree.values[path] = _place(node.start_mark, self._filename)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, "seq")
                return [self._value(item, (*path, place)) for place, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _check_tag(self, node: yaml.Node, kind: str) -> None:
        if node.tag not in (f"tag:yaml.org,2002:{kind}", "!", None):
            self._problem(node.start_mark, f"the tag {printable(node.tag)!r} means nothing here (remove it)")

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._check_tag(node, "map")
        result: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == _MERGE and not key_node.style:
                merged.append(value_node)
                continue
            key = self._key(key_node)
            if key is None:
                continue
            if key in result:
                first = self._tree.keys[(*path, key)]
                self._problem(key_node.start_mark, f"the key {printable(key)!r} is given twice, first in line {first.line} (keep one)")
                continue
            self._tree.keys[(*path, key)] = _place(key_node.start_mark, self._filename)
            result[key] = self._value(value_node, (*path, key))
        for value_node in merged:
            self._merge(value_node, path, result)
        return result

    def _merge(self, node: yaml.Node, path: Path, result: dict[str, Any]) -> None:
        """`<<`: keys that are given in place win over merged ones, earlier merged ones over later ones."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self._problem(node.start_mark, "`<<` merges mappings, and this is none (give it an alias of a mapping)")
                continue
            if id(source) in self._open:
                self._problem(node.start_mark, "an alias stands for something that it is inside of (write it out)")
                continue
            for key, (place, value_node) in self._pairs(source).items():
                if key not in result:
                    self._tree.keys[(*path, key)] = place
                    result[key] = self._value(value_node, (*path, key))

    def _pairs(self, node: yaml.MappingNode) -> dict[str, tuple[Position, yaml.Node]]:
        pairs = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key is not None and key != _MERGE:
                pairs[key] = (_place(key_node.start_mark, self._filename), value_node)
        return pairs

    def _key(self, node: yaml.Node) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._problem(node.start_mark, "a key must be a name (not a list or a mapping)")
            return None
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag not in _STANDARD_TAGS and node.tag not in ("!", None):
            self._problem(node.start_mark, f"the tag {printable(node.tag)!r} means nothing here (remove it)")
            return node.value
        if node.style or node.tag == "!":
            return node.value
        return resolve(node.value)


def resolve(text: str) -> Any:
    """A plain scalar by the core schema of YAML 1.2."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            return int(text[2:] if base != 10 else text, base)
    return float(text.replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.fullmatch(text) and any(map(str.isdigit, text)) else text


def paths(tree: Tree) -> Iterator[Path]:
    """All paths of the tree."""
    return iter(tree.values)
