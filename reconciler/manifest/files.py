"""Files → one tree of all of them, in which every part knows its file."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from reconciler.manifest import yaml
from reconciler.manifest.position import Position, Problem, quoted
from reconciler.manifest.values import called

STDIN = "-"
MAX_TOTAL = 64 * 1024 * 1024
"""Bytes of all files together."""


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
    return [str(file) if _is_plain(file) else _no_file(str(file)) for file in files if not file.is_dir()]


def _is_plain(file: Path) -> bool:
    """Whether it is a plain file, or cannot be asked, which whoever reads it will tell. A named pipe in a directory would be waited for."""
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return True


def _no_file(name: str) -> Problem:
    return Problem(
        Position(name, 1, 1), "is a device, pipe or socket, and no plain file (take it out of the directory)"
    )


def too_large_together(name: str) -> Problem:
    """What is said of the file with which it is too much."""
    limit = MAX_TOTAL // 1024 // 1024
    return Problem(Position(name, 1, 1), f"with this one the files are larger than {limit} MiB together (name fewer)")


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


def merge(texts: Iterable[tuple[str, bytes | str]], only: Container[str] | None = None) -> Merged:
    """The values of several files as one. Bridges are merged by name; only one file may give a bridge's own keys.

    The version is the one that there is: what a file says of it is looked at here. With `only`, what stands at other keys of a file
    than these is left out.
    """
    start = Position("", 1, 1)
    result = Merged(yaml.Node({"version": yaml.Node(1, start)}, start))
    for name, text in texts:
        node, problems = yaml.read(text, name)
        result.problems += problems
        if not result.sources:
            result.root.position = Position(name, 1, 1)
        result.sources.append(name)
        if node is not None and node.value is not None:
            _add(result, node, only, unhurt=not problems)
    return result


def _add(result: Merged, node: yaml.Node, only: Container[str] | None, *, unhurt: bool) -> None:
    """Takes a file's value in, or what stands at the keys `only` of it. `unhurt`: all of it could be read."""
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
    # As in Compose, x-… holds what aliases repeat.
    rest = {
        key: child
        for key, child in node.value.items()
        if key != "version" and not key.startswith("x-") and (only is None or key in only)
    }
    _merge(result, result.root, node.but(value=rest), ())


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
            into.value[key] = there.but(value=dict(there.value))
            _merge(result, into.value[key], child, here)
        elif here == ("expect",) and isinstance(there.value, list) and isinstance(child.value, list):
            into.value[key] = there.but(value=[*there.value, *child.value])
        elif not (child.value is None and _is_merged(here)):
            place, first = child.key or child.position, there.key or there.position
            what = f"{quoted(key)} is given in {first.seen_from(place)} too"
            result.problems.append(Problem(place, f"{what} (give it in one place)"))


def _is_merged(path: yaml.Path) -> bool:
    """Whether what several files say at `path` goes together: all bridges, a bridge, its containers, and expectations."""
    return path == ("expect",) or (path[0] == "bridges" and (len(path) < 3 or path[2:] == ("containers",)))
