"""Files → one checked model of all of them, with a place for every part."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from reconciler.manifest import yaml
from reconciler.manifest.model import (
    AttachModel,
    BridgeModel,
    ContainerModel,
    FileModel,
    PortModel,
    RouteModel,
    called,
    container_name,
    did_you_mean,
    link_name,
    nearest,
)
from reconciler.manifest.position import Position, Problem, quoted

STDIN = "-"


@dataclass(slots=True)
class Merged:
    """All files as one tree in the shape of FileModel, and what is wrong with it."""

    root: yaml.Node
    sources: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    blemished: set[yaml.Path] = field(default_factory=set)
    """Bridges and containers of which something is left out that did not have the shape: what else is found there may be a
    consequence."""

    def is_blemished(self, path: yaml.Path) -> bool:
        """Whether what is at `path` belongs to something blemished."""
        return bool(self.blemished) and any(path[:size] in self.blemished for size in range(len(path) + 1))


# --- the files -------------------------------------------------------------------------------------------------------


def expand(paths: Sequence[str | Path]) -> list[str | Problem]:
    """The files that `paths` name, each once; a directory stands for its *.yaml and *.yml, sorted, less hidden ones."""
    found: dict[str, str | Problem] = {}
    for path in map(str, paths):
        for one in _listed(path) if path != STDIN and os.path.isdir(path) else [path]:
            name = str(one)
            found.setdefault(name if name == STDIN else os.path.realpath(name), one)
    return list(found.values())


def _listed(directory: str) -> Sequence[str | Problem]:
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        return [_unreadable(directory, error)]
    files = [Path(directory, name) for name in names if name.endswith((".yaml", ".yml")) and not name.startswith(".")]
    return [str(file) for file in files if not file.is_dir()]


def contents(name: str, stdin: TextIO | None) -> bytes | str | Problem:
    """The text of a file, or why there is none."""
    try:
        if name == STDIN:
            # Bytes, if there are any beneath: what is not UTF-8 is then told with its place.
            stream: Any = getattr(stdin, "buffer", stdin)
            text: bytes | str = stream.read(yaml.MAX_BYTES + 1) if stream is not None else ""
            return text
        with open(name, "rb") as file:
            return file.read(yaml.MAX_BYTES + 1)
    except OSError as error:
        return _unreadable(name, error)


def _unreadable(name: str, error: OSError) -> Problem:
    return Problem(Position(name, 1, 1), f"cannot be read: {error.strerror} (check the path and its permissions)")


# --- one of many -----------------------------------------------------------------------------------------------------


def merge(texts: Iterable[tuple[str, bytes | str]]) -> Merged:
    """The values of several files as one. Bridges are merged by name; only one file may give a bridge's own keys."""
    result = Merged(yaml.Node({}, Position("", 1, 1)))
    for name, text in texts:
        node, problems = yaml.read(text, name)
        result.problems += problems
        if not result.sources:
            result.root.position = Position(name, 1, 1)
        result.sources.append(name)
        if node is not None and node.value is not None:
            _add(result, node, unhurt=not problems)
    return result


def _add(result: Merged, node: yaml.Node, *, unhurt: bool) -> None:
    """Takes a file's value in. `unhurt`: all of it could be read."""
    start = Position(node.position.file, 1, 1)
    if not isinstance(node.value, dict):
        kind = called(node.value)
        result.problems.append(
            Problem(node.position, f"the file must be a mapping, not {kind} (begin with `version: 1`)")
        )
        return
    version = node.value.get("version")
    if version is None and unhurt:
        result.problems.append(Problem(start, "the version is missing (begin with `version: 1`)"))
    elif version is not None and (version.value != 1 or isinstance(version.value, bool | float)):
        said = called(version.value).removeprefix("the number ")
        result.problems.append(Problem(version.position, f"the version cannot be {said} (write `version: 1`)"))
    rest = {key: child for key, child in node.value.items() if key != "version"}
    _merge(result, result.root, replace(node, value=rest), ())


def _merge(result: Merged, into: yaml.Node, node: yaml.Node, path: yaml.Path) -> None:
    assert isinstance(into.value, dict)
    assert isinstance(node.value, dict)
    for key, child in node.value.items():
        here = (*path, key)
        there = into.value.get(key)
        if there is None or (there.value is None and _is_merged(here)):
            into.value[key] = child
        elif here == ("name",) and there.value == child.value:
            continue
        elif isinstance(there.value, dict) and isinstance(child.value, dict) and _is_merged(here):
            # A copy, since an alias may make two places one value.
            into.value[key] = replace(there, value=dict(there.value))
            _merge(result, into.value[key], child, here)
        elif not (child.value is None and _is_merged(here)):
            place, first = child.key or child.position, there.key or there.position
            what = f"{quoted(key)} is given in {first.seen_from(place)} too"
            result.problems.append(Problem(place, f"{what} (give it in one place)"))


def _is_merged(path: yaml.Path) -> bool:
    """Whether what several files say at `path` goes together: all bridges, a bridge, its containers."""
    return path[0] == "bridges" and (len(path) < 3 or path[2:] == ("containers",))


# --- the shape -------------------------------------------------------------------------------------------------------

_PRUNINGS = 8
"""A value left out can show what is wrong around it only once or twice; more means that we go in circles."""


def shaped(merged: Merged) -> FileModel | None:
    """The model of `merged`, with what has not the shape noted and left out, so that the rest can be judged too.

    None if nothing is left to judge.
    """
    merged.root = merged.root.without(_misnamed(merged))
    for _ in range(_PRUNINGS):
        try:
            return FileModel.model_validate({"version": 1} | merged.root.plain())
        except ValidationError as error:
            found = error.errors(include_url=False)
        paths = {_item(_existing(merged.root, _path(item))) for item in found}
        merged.problems += [_problem(merged.root, item) for item in found]
        merged.blemished |= {hurt for item in found if (hurt := _hurt(_path(item), item["type"] == "extra_forbidden"))}
        if () in paths:
            return None
        merged.root = merged.root.without(paths)
    return None


def _misnamed(merged: Merged) -> set[yaml.Path]:
    """Bridges and containers whose names cannot be."""
    found: set[yaml.Path] = set()

    def check(path: yaml.Path, is_name: Callable[[Any], str]) -> None:
        try:
            is_name(path[-1])
        except ValueError as error:
            merged.problems.append(Problem(merged.root.key_definition(path), str(error)))
            found.add(path)

    bridges = merged.root.child("bridges")
    for name, bridge in _items(bridges):
        check(("bridges", name), link_name)
        for inner, _ in _items(bridge.child("containers")):
            check(("bridges", name, "containers", inner), container_name)
    return found


def _items(node: yaml.Node | None) -> Iterable[tuple[str, yaml.Node]]:
    return node.value.items() if node is not None and isinstance(node.value, dict) else ()


def _path(error: ErrorDetails) -> yaml.Path:
    """Where pydantic found something: without the tags that tell the two syntaxes of ports apart, and keys from values."""
    path = tuple(error["loc"])
    return path[:6] + path[7:] if len(path) > 6 and path[4] in ("ports", "sysctls") else path


def _existing(root: yaml.Node, path: yaml.Path) -> yaml.Path:
    """As much of `path` as there is."""
    return path[: sum(1 for _ in root.along(path)) - 1]


def _item(path: yaml.Path) -> yaml.Path:
    """What is left out for what is wrong at `path`: a whole port, not one key that it would then lack."""
    return path[:6] if path[4:5] in (("ports",), ("routes",)) else path


_ALONE = frozenset({"mtu", "mac", "stp", "ports", "routes", "sysctls"})
"""Keys that nothing else rests on: without them, the rest can be judged as if they were right."""


def _hurt(path: yaml.Path, unknown: bool) -> yaml.Path | None:
    """The bridge or container in which further problems may be consequences, once the value at `path` is left out."""
    size = 4 if len(path) > 4 and path[2] == "containers" else 2
    key = path[size : size + 1]
    if unknown and len(path) == size + 1:
        # It may be a known one misspelt, and then it is that one which is missing.
        meant = nearest(str(path[-1]), _known(path))
        return path[:size] if meant and meant not in _ALONE else None
    return None if key and key[0] in _ALONE else path[:size]


def _problem(root: yaml.Node, error: ErrorDetails) -> Problem:
    """pydantic's finding in our words, at its place."""
    path = _path(error)
    kind, key = error["type"], quoted(str(path[-1])) if path else "the file"
    value, name = root.definition(path), root.key_definition(path)
    if kind == "extra_forbidden":
        return Problem(name, f"unknown key {key}{_compose(path) or did_you_mean(str(path[-1]), _known(path))}")
    if kind == "missing":
        return Problem(value, f"the key {key} is missing{_MISSING.get(str(path[-1]), ' (add it)')}")
    if kind == "value_error":
        return Problem(name if error["loc"][-1] == "[key]" else value, str(error["ctx"]["error"]))
    given = called(error["input"])
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return Problem(value, f"{_said(path)} must be a mapping, not {given} (write `key: value` lines below it)")
    if kind == "list_type":
        return Problem(
            value, f"{_said(path)} must be a list, not {given} (write [ ] around it, or `- ` before each item)"
        )
    if kind == "literal_error":
        said = quoted(error["input"]) if isinstance(error["input"], str) else given
        return Problem(value, f"{said} is no {path[-1]} (one of nat, routed, isolated, bridged)")
    return Problem(value, f"{key}: {error['msg']} (see docs/file.md)")


_MISSING = {
    "published": ', and a file cannot want "any" (add the host\'s port)',
    "target": " (add the container's port)",
    "to": " (add the destination)",
}


def _said(path: yaml.Path) -> str:
    return f"item {path[-1] + 1} of {path[-2]}" if isinstance(path[-1], int) else quoted(path[-1])


_COMPOSE_PORT_KEYS = ("mode", "name", "app_protocol")


def _compose(path: yaml.Path) -> str:
    """A remedy for what Compose has and we have not."""
    if path[-1] in _COMPOSE_PORT_KEYS and path[4:5] == ("ports",):
        return " (Compose has it, but on a single host nothing depends on it: remove it)"
    return ""


_MODELS: dict[str, Any] = {"attach": AttachModel, "routes": RouteModel, "ports": PortModel}


def _known(path: yaml.Path) -> tuple[str, ...]:
    """The keys that are known where `path` ends."""
    if len(path) > 5:
        model: Any = _MODELS.get(str(path[4]), ContainerModel)
    else:
        model = {1: FileModel, 3: BridgeModel}.get(len(path), ContainerModel)
    return tuple(model.model_fields)
