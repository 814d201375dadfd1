"""Shapes: what values a file may have. Each reads the tree of values, and describes itself in JSON Schema.

What a shape reads it brings into canonical form. What has not the shape is told at its place, in our words, and left out, so
that the rest can be judged too; how much is left out, and where further problems may be consequences of that, the shapes say.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeAlias, TypeVar

from reconciler.manifest.files import Merged
from reconciler.manifest.position import Position, Problem, quoted
from reconciler.manifest.values import called, did_you_mean, nearest
from reconciler.manifest.yaml import Node, Path

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
M = TypeVar("M", bound="Model")
Schema: TypeAlias = dict[str, Any]


class LeftOut(Exception):
    """Nothing of a value can be used, which is told already: whoever reads what is around it goes on without."""


class Findings(NamedTuple):
    """What is found on the way, and for whom it matters."""

    problems: list[Problem]
    left_out: set[Path]
    blemished: set[Path]
    unit: Path | None = None
    """The bridge or container that something is missing of, once a value is left out here; None if nothing rests on it."""

    def of(self, unit: Path | None) -> Findings:
        """The same inside of `unit`."""
        return Findings(self.problems, self.left_out, self.blemished, unit)

    def tell(self, position: Position, message: str) -> LeftOut:
        """Notes a problem. Raise what is returned where nothing remains of the value."""
        self.problems.append(Problem(position, message))
        return LeftOut()

    def flaw(self, position: Position, message: str) -> LeftOut:
        """The same, where further problems in what it is part of may be consequences."""
        if self.unit is not None:
            self.blemished.add(self.unit)
        return self.tell(position, message)


class Shape(Protocol[T_co]):
    """Any of the shapes below."""

    def read(self, node: Node, path: Path, findings: Findings) -> T_co:
        """What `node`, which is at `path`, says. Raises LeftOut."""

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """The JSON Schema, which may refer to `definitions` and add to them."""


class Value(Generic[T]):
    """What `check` takes: a function of the plain value, which returns it in canonical form or raises ValueError."""

    def __init__(self, check: Callable[[Any], T], schema: Schema) -> None:
        self._check, self._schema = check, schema

    def read(self, node: Node, path: Path, findings: Findings) -> T:
        try:
            return self._check(node.plain())
        except ValueError as error:
            raise findings.flaw(node.position, str(error)) from None

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return self._schema


class OrNull(Generic[T]):
    """The same shape, or nothing, which is taken for `empty`: its lines may just have been commented out."""

    def __init__(self, shape: Shape[T], empty: T) -> None:
        self._shape, self._empty = shape, empty

    def read(self, node: Node, path: Path, findings: Findings) -> T:
        return self._empty if node.value is None else self._shape.read(node, path, findings)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"anyOf": [self._shape.schema(definitions), {"type": "null"}]}


class ListOf(Generic[T]):
    """A list, less the items that have not the shape. `if_null`: what is said instead of "must be a list" if there is nothing."""

    def __init__(self, item: Shape[T], if_null: str = "") -> None:
        self._item, self._if_null = item, if_null

    def read(self, node: Node, path: Path, findings: Findings) -> tuple[T, ...]:
        if not isinstance(node.value, list):
            wrong = f"{_said(path)} must be a list, not {called(node.value)} (write [ ] around it, or `- ` before each item)"
            raise findings.flaw(node.position, self._if_null if node.value is None and self._if_null else wrong)
        found = []
        for place, item in enumerate(node.value):
            here = (*path, place)
            try:
                found.append(self._item.read(item, here, findings))
            except LeftOut:
                findings.left_out.add(here)
        return tuple(found)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"type": "array", "items": self._item.schema(definitions)}


class NamesTo(Generic[T]):
    """A mapping of names that the file chooses, less what has not its shape, and what has a name that `check` refuses."""

    def __init__(self, check: Callable[[Any], str], shape: Shape[T]) -> None:
        self._check, self._shape = check, shape

    def read(self, node: Node, path: Path, findings: Findings) -> dict[str, T]:
        found = {}
        for name, child in _items(node, path, findings).items():
            here = (*path, name)
            fine = self._is_name(name, child, findings)
            try:
                value = self._shape.read(child, here, findings if fine else findings.of(None))
            except LeftOut:
                fine = False
            if fine:
                found[name] = value
            else:
                findings.left_out.add(here)
        return found

    def _is_name(self, name: str, child: Node, findings: Findings) -> bool:
        try:
            self._check(name)
        except ValueError as error:
            findings.tell(child.key_definition(()), str(error))
            return False
        return True

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"type": "object", "additionalProperties": self._shape.schema(definitions)}


class ShortOrLong(Generic[T, M]):
    """A value that can be written as one, or as a mapping, of which `joined` makes the same. It may raise ValueError."""

    def __init__(self, short: Value[T], long: type[M], joined: Callable[[M], T]) -> None:
        self._short, self._long, self._joined = short, long, joined

    def read(self, node: Node, path: Path, findings: Findings) -> T:
        if not isinstance(node.value, dict):
            return self._short.read(node, path, findings)
        parts = self._long.read(node, path, findings)
        try:
            return self._joined(parts)
        except ValueError as error:
            raise findings.flaw(node.position, str(error)) from None

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"oneOf": [self._short.schema(definitions), self._long.schema(definitions)]}


# --- mappings with keys that are known -------------------------------------------------------------------------------

_NO_DEFAULT: Any = object()


class Key(Generic[T]):
    """A key of a Model. Of what was read, it is the value or, if the file leaves it out, the default; without one it has to be there.

    `name`: in the file, where that is no name in Python. `alone`: nothing else rests on it, so without it the rest can be judged
    as if it were right. `remedy`: what to do if it is missing.
    """

    attribute: str

    def __init__(
        self,
        shape: Shape[T],
        description: str,
        *,
        default: T = _NO_DEFAULT,
        name: str = "",
        alone: bool = False,
        remedy: str = " (add it)",
        examples: list[Any] | None = None,
    ) -> None:
        self.shape, self.default, self.name, self.alone, self.remedy = shape, default, name, alone, remedy
        self.is_required = default is _NO_DEFAULT
        self._description, self._examples = description, examples

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute = attribute
        self.name = self.name or attribute

    def __get__(self, instance: object, owner: type) -> T:
        # What the file gives is found in the instance, before this.
        return self.default

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """The JSON Schema of the value, with the default if there is anything to say of it."""
        made = self.shape.schema(definitions) | {"description": self._description}
        if self._examples:
            made["examples"] = self._examples
        if not self.is_required and self.default not in (None, (), {}):
            made["default"] = self.default
        return made


class Model:
    """A mapping with known keys, which are the attributes of a subclass. What was read is an instance, and does not change.

    Of a subclass's arguments, `title` is what the reference calls it. `unit`: what has a flaw in it is blemished by itself, and
    not what it is in. `whole`: it is left out for any flaw, since without a part it would mean something else. `compose`: keys
    that Compose has there, and we have not. The others go into the schema.
    """

    keys: ClassVar[dict[str, Key[Any]]]
    """By their names in the file."""
    _required: ClassVar[list[Key[Any]]]
    _title: ClassVar[str]
    _unit: ClassVar[bool]
    _whole: ClassVar[bool]
    _compose: ClassVar[tuple[str, ...]]
    _more: ClassVar[Schema]

    def __init_subclass__(
        cls, *, title: str, unit: bool = False, whole: bool = False, compose: tuple[str, ...] = (), **more: Any
    ) -> None:
        cls.keys = {key.name: key for key in vars(cls).values() if isinstance(key, Key)}
        cls._required = [key for key in cls.keys.values() if key.is_required]
        cls._title, cls._unit, cls._whole, cls._compose, cls._more = title, unit, whole, compose, more

    def __init__(self, **given: Any) -> None:
        vars(self).update(given)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name}: what was read does not change")

    @property
    def given(self) -> Set[str]:
        """The attributes that the file gives."""
        return vars(self).keys()

    @classmethod
    def read(cls, node: Node, path: Path, findings: Findings) -> Self:
        """The mapping; what of it has not the shape is as if it were not given."""
        items = _items(node, path, findings)
        inside = findings.of(path) if cls._unit else findings
        given: dict[str, Any] = {}
        for name, child in items.items():
            here, key = (*path, name), cls.keys.get(name)
            try:
                if key is None:
                    raise cls._unknown(name, child, inside)
                given[key.attribute] = key.shape.read(child, here, inside.of(None) if key.alone else inside)
            except LeftOut:
                findings.left_out.add(here)
        missing = [key for key in cls._required if key.name not in items]
        for key in missing:
            findings.flaw(node.position, f"the key {quoted(key.name)} is missing{key.remedy}")
        if missing or (cls._whole and len(given) < len(items)):
            raise LeftOut
        return cls(**given)

    @classmethod
    def _unknown(cls, name: str, child: Node, findings: Findings) -> LeftOut:
        known = tuple(cls.keys)
        meant = cls.keys.get(nearest(name, known))
        # In a unit it may be a known one misspelt, and then it is that one which is missing.
        rests_on_it = not cls._unit or (meant is not None and not meant.alone)
        remedy = _ONLY_COMPOSE if name in cls._compose else did_you_mean(name, known)
        note = findings.flaw if rests_on_it else findings.tell
        return note(child.key_definition(()), f"unknown key {quoted(name)}{remedy}")

    @classmethod
    def schema(cls, definitions: dict[str, Schema]) -> Schema:
        """A reference to the definition."""
        if cls.__name__ not in definitions:
            definitions[cls.__name__] = cls.definition(definitions)
        return {"$ref": f"#/$defs/{cls.__name__}"}

    @classmethod
    def definition(cls, definitions: dict[str, Schema]) -> Schema:
        """The JSON Schema of the mapping."""
        # Not at the top: it takes as long to import as all of this package, and only the schema needs it.
        from inspect import cleandoc

        return {
            "title": cls._title,
            "description": cleandoc(cls.__doc__ or ""),
            "type": "object",
            "properties": {name: key.schema(definitions) for name, key in cls.keys.items()},
            "additionalProperties": False,
            **({"required": [key.name for key in cls._required]} if cls._required else {}),
            **cls._more,
        }


_ONLY_COMPOSE = " (Compose has it, but on a single host nothing depends on it: remove it)"


def _items(node: Node, path: Path, findings: Findings) -> dict[str, Node]:
    if isinstance(node.value, dict):
        return node.value
    wrong = f"{_said(path)} must be a mapping, not {called(node.value)} (write `key: value` lines below it)"
    raise findings.flaw(node.position, wrong)


def _said(path: Path) -> str:
    last = path[-1]
    return f"item {last + 1} of {path[-2]}" if isinstance(last, int) else quoted(last)


# --- the whole -------------------------------------------------------------------------------------------------------


def shaped(model: type[M], merged: Merged) -> M:
    """What `merged` says. What has not the shape is noted, and left out of both."""
    findings = Findings(merged.problems, set(), merged.blemished)
    found = model.read(merged.root, (), findings)
    if findings.left_out:
        merged.root = merged.root.without(findings.left_out)
    return found


def all_of(shape: Shape[T], node: Node, path: Path) -> T | None:
    """What `node`, which is at `path`, says; None if anything of it has not the shape."""
    findings = Findings([], set(), set())
    try:
        found = shape.read(node, path, findings)
    except LeftOut:
        return None
    return None if findings.problems else found


def described(model: type[Model]) -> Schema:
    """The JSON Schema (2020-12) of the file."""
    definitions: dict[str, Schema] = {}
    made = model.definition(definitions) | {"$defs": definitions}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_in_order(made)}


def _in_order(node: Any, *, is_names: bool = False) -> Any:
    """With what is said of a thing in the order of the alphabet, and keys in that of the file."""
    if isinstance(node, list):
        return [_in_order(item) for item in node]
    if not isinstance(node, dict):
        return node
    keys = node if is_names else sorted(node)
    return {key: _in_order(node[key], is_names=key == "properties") for key in keys}
