"""A tree of values → the model, with every value that has not its shape told at its place, in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from reconciler.manifest import yaml
from reconciler.manifest.files import Merged
from reconciler.manifest.model import (
    AttachModel,
    BridgeModel,
    ContainerModel,
    ExpectModel,
    FileModel,
    PortModel,
    RouteModel,
)
from reconciler.manifest.position import Problem, quoted
from reconciler.manifest.values import as_container, as_link, called, did_you_mean, nearest

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
        check(("bridges", name), as_link)
        for inner, _ in _items(bridge.child("containers")):
            check(("bridges", name, "containers", inner), as_container)
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
    if path[:1] == ("expect",):
        return path[:2]
    return path[:6] if path[4:5] in (("ports",), ("routes",)) else path


_ALONE = frozenset({"mtu", "mac", "stp", "ports", "routes", "sysctls"})
"""Keys that nothing else rests on: without them, the rest can be judged as if they were right."""


def _hurt(path: yaml.Path, unknown: bool) -> yaml.Path | None:
    """The bridge or container in which further problems may be consequences, once the value at `path` is left out."""
    if path[:1] == ("expect",):
        return None
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
    "from": " (add who asks: outside, host or a container)",
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
    if path[0] == "expect":
        return tuple(item.alias or name for name, item in ExpectModel.model_fields.items())
    if len(path) > 5:
        model: Any = _MODELS.get(str(path[4]), ContainerModel)
    else:
        model = {1: FileModel, 3: BridgeModel}.get(len(path), ContainerModel)
    return tuple(model.model_fields)
