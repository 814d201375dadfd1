"""Files → one checked model of all of them, with a place for every part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from reconciler.manifest import yaml
from reconciler.manifest.model import BridgeModel, FileModel, container_name, link_name, nearest
from reconciler.manifest.position import Position, Problem, printable

STDIN = "-"


@dataclass(slots=True)
class Merged:
    """All files as one value, in the shape of FileModel, with places by path."""

    tree: yaml.Tree = field(default_factory=yaml.Tree)
    sources: list[str] = field(default_factory=list)
    blemished: set[Any] = field(default_factory=set)
    """Bridges of which something is left out that did not have the shape."""

    def consequences(self) -> set[tuple[str, int]]:
        """(file, line) of all that is in a blemished bridge: further problems there may be consequences of the first."""
        return {
            (place.file, place.line)
            for places in (self.tree.values, self.tree.keys)
            for path, place in places.items()
            if len(path) > 1 and path[1] in self.blemished
        }


def expand(paths: Sequence[str | Path]) -> list[str]:
    """The files that `paths` name: a directory stands for its *.yaml and *.yml, sorted."""
    result = []
    for path in map(Path, paths):
        if str(path) != STDIN and path.is_dir():
            result += sorted(str(item) for item in path.iterdir() if item.suffix in (".yaml", ".yml") and item.is_file())
        else:
            result.append(str(path))
    return result


def contents(name: str, stdin: TextIO | None) -> bytes | str | Problem:
    """The text of a file, or why there is none."""
    if name == STDIN:
        return stdin.read(yaml.MAX_BYTES + 1) if stdin is not None else ""
    try:
        with open(name, "rb") as file:
            return file.read(yaml.MAX_BYTES + 1)
    except OSError as error:
        return Problem(Position(name, 1, 1), f"cannot read the file: {error.strerror} (check the path and its permissions)")


def merge(texts: Iterable[tuple[str, bytes | str]]) -> Merged:
    """The values of several files as one. Bridges are merged by name; only one file may give a bridge's own keys."""
    result = Merged()
    whole: dict[str, Any] = {}
    for name, text in texts:
        result.sources.append(name)
        tree = yaml.read(text, name)
        result.tree.problems += tree.problems
        result.tree.values.setdefault((), tree.values[()])
        if tree.value is None:
            continue
        if not isinstance(tree.value, dict):
            result.tree.problems.append(Problem(tree.values[()], "the file must be a mapping (begin with `version: 1`)"))
            continue
        if "version" not in tree.value and not tree.problems:
            result.tree.problems.append(Problem(tree.position(()), "the version is missing (begin with `version: 1`)"))
        _merge_mapping(result.tree, whole, tree, tree.value, ())
    if not whole and not result.tree.problems:
        whole = {"version": 1}
    result.tree.value = whole
    return result


_SAME = frozenset({("version",), ("name",)})


def _merge_mapping(into: yaml.Tree, target: dict[str, Any], tree: yaml.Tree, value: dict[str, Any], path: yaml.Path) -> None:
    for key, item in value.items():
        here = (*path, key)
        if key not in target:
            target[key] = item
            _take_places(into, tree, here)
        elif here in _SAME and target[key] == item:
            continue
        elif isinstance(item, dict) and isinstance(target[key], dict) and _is_merged(here):
            # A copy, since an alias may make two places one value.
            target[key] = dict(target[key])
            _merge_mapping(into, target[key], tree, item, here)
        else:
            first = into.key_position(here)
            what = f"{printable(key)!r} is given in {first} too"
            into.problems.append(Problem(tree.key_position(here), f"{what} (give it in one place)"))


def _is_merged(path: yaml.Path) -> bool:
    return path == ("bridges",) or (path[0] == "bridges" and (len(path) == 2 or (len(path) == 3 and path[2] == "containers")))


def _take_places(into: yaml.Tree, tree: yaml.Tree, path: yaml.Path) -> None:
    size = len(path)
    into.values.update((key, place) for key, place in tree.values.items() if key[:size] == path)
    into.keys.update((key, place) for key, place in tree.keys.items() if key[:size] == path)


# --- the shape -------------------------------------------------------------------------------------------------------


def shaped(merged: Merged) -> FileModel | None:
    """The model of `merged`, with what has not the shape noted and left out, so that the rest can be judged too.

    None if nothing is left to judge. A bridge in which something is left out that others rest on goes into
    `merged.blemished`: what is found in there afterwards may be a consequence.
    """
    tree = merged.tree
    if "version" in tree.value and (tree.value["version"] != 1 or isinstance(tree.value["version"], bool)):
        said = printable(tree.value["version"])
        tree.problems.append(Problem(tree.position(("version",)), f"version {said} is not known (write `version: 1`)"))
    _check_names(tree)
    value: Any = {"version": 1} | tree.value
    for _ in range(_PRUNINGS):
        try:
            return FileModel.model_validate(value)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=True)
            tree.problems += [_problem(tree, item) for item in found]
            paths = [_existing(value, tuple(item["loc"])) for item in found]
            merged.blemished |= {path[1] for path in paths if len(path) > 1 and not _alone(path)}
            value = _without(value, {path for path in paths if path})
            if not all(paths):
                return None
    return None


_PRUNINGS = 3
_ALONE = frozenset({"mtu", "mac", "stp", "ports", "routes", "sysctls"})
"""Keys that nothing else rests on: without them, the rest can be judged as if they were right."""


def _alone(path: yaml.Path) -> bool:
    return any(key in _ALONE for key in path[2:]) or path[-1] not in _known(path)


def _known(path: yaml.Path) -> tuple[str, ...]:
    return _siblings(path)


def _existing(value: Any, path: yaml.Path) -> yaml.Path:
    """As much of `path` as there is in `value`."""
    for depth, step in enumerate(path):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return path[:depth]
    return path


def _without(value: Any, paths: set[yaml.Path], here: yaml.Path = ()) -> Any:
    """A copy of `value` with what is at `paths` left out."""
    if isinstance(value, dict):
        return {key: _without(item, paths, (*here, key)) for key, item in value.items() if (*here, key) not in paths}
    if isinstance(value, list):
        return [_without(item, paths, (*here, place)) for place, item in enumerate(value) if (*here, place) not in paths]
    return value


def _check_names(tree: yaml.Tree) -> None:
    """The keys that are names: of bridges and of containers."""
    bridges = tree.value.get("bridges")
    for name, bridge in bridges.items() if isinstance(bridges, dict) else ():
        _check_name(tree, ("bridges", name), link_name)
        containers = bridge.get("containers") if isinstance(bridge, dict) else None
        for container in containers if isinstance(containers, dict) else ():
            _check_name(tree, ("bridges", name, "containers", container), container_name)


def _check_name(tree: yaml.Tree, path: yaml.Path, check: Any) -> None:
    try:
        check(path[-1])
    except ValueError as error:
        tree.problems.append(Problem(tree.key_position(path), str(error)))


def _problem(tree: yaml.Tree, error: Any) -> Problem:
    """pydantic's finding in our words, at its place."""
    path = tuple(error["loc"])
    kind, key = error["type"], printable(path[-1]) if path else ""
    if kind == "extra_forbidden":
        return Problem(tree.key_position(path), f"unknown key {key!r}{nearest(str(path[-1]), _siblings(path))}")
    if kind == "missing":
        return Problem(tree.position(path[:-1]), f"the key {key!r} is missing (add it)")
    if kind in ("value_error", "assertion_error"):
        return Problem(tree.position(path), str(error["ctx"]["error"]))
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return Problem(tree.position(path), f"{key!r} must be a mapping (write `key: value` lines below it)")
    if kind == "list_type":
        return Problem(tree.position(path), f"{key!r} must be a list (write [ ] around it, or `- ` before each item)")
    if kind == "literal_error":
        return Problem(tree.position(path), f"{printable(error['input'])!r} is no {key} (one of {error['ctx']['expected']})")
    return Problem(tree.position(path), f"{key!r}: {printable(error['msg'])} (see docs/file.md)")


def _siblings(path: yaml.Path) -> tuple[str, ...]:
    """The keys that are known where `path` ends."""
    from reconciler.manifest.model import AttachModel, ContainerModel, RouteModel

    model: Any = FileModel
    for step in path[:-1]:
        model = {"bridges": BridgeModel, "containers": ContainerModel, "attach": AttachModel, "routes": RouteModel}.get(str(step), model)
    return tuple(model.model_fields)
