"""YAML → a checked Document, with a line and column for every node, and all errors at once.

    text ──yaml──▶ values with places ──files──▶ those of all files ──shape──▶ the model ──resolve──▶ Document

Each stage notes every problem it finds; the next runs if what it needs is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from reconciler.errors import ManifestError
from reconciler.manifest import files
from reconciler.manifest.document import (
    Attach,
    Bridge,
    Container,
    Docker,
    Document,
    Expectation,
    Mode,
    Netns,
    Note,
    Pid,
    Podman,
    Port,
    Route,
    Tap,
)
from reconciler.manifest.position import Position, Problem

__all__ = [
    "Attach",
    "Bridge",
    "Container",
    "Docker",
    "Document",
    "Expectation",
    "Mode",
    "Netns",
    "Note",
    "Pid",
    "Podman",
    "Port",
    "Position",
    "Problem",
    "Route",
    "Tap",
    "from_texts",
    "json_schema",
    "load",
    "loads",
    "owner",
    "read",
    "revise",
]


def load(paths: Sequence[str | Path], *, stdin: TextIO | None = None) -> Document:
    """The Document that the files at `paths` make together; a directory stands for its *.yaml, `-` for `stdin`.

    Raises ManifestError with every problem there is.
    """
    texts, problems = _read(paths, stdin)
    return _document(texts, problems)


def loads(text: str | bytes, filename: str = "<string>") -> Document:
    """The Document that `text` makes. Raises ManifestError with every problem there is."""
    return _document([(filename, text)], [])


def from_texts(texts: Iterable[tuple[str, str | bytes]]) -> Document:
    """The Document that several files, as (name, text), make together. Raises ManifestError with every problem there is."""
    return _document(texts, [])


def owner(paths: Sequence[str | Path], *, stdin: TextIO | None = None) -> str | None:
    """Whose the files at `paths` are, by their `name:`; None if they say none. What else is in them is only to be YAML.

    Raises ManifestError if they cannot be read, are of no version that we know, or say no name that can be one.
    """
    from reconciler.manifest.values import as_owner

    texts, problems = _read(paths, stdin)
    merged = files.merge(texts, only={"name"})
    problems += merged.problems
    name, node = None, merged.root.child("name")
    if node is not None:
        try:
            name = as_owner(node.plain())
        except ValueError as error:
            problems.append(Problem(node.position, str(error)))
    if problems:
        raise ManifestError(_told(sorted(set(problems))))
    return name


def revise(
    document: Document, before: Sequence[tuple[str, str | bytes]], after: Sequence[tuple[str, str | bytes]]
) -> Document | None:
    """What the texts `after` make, given that `before` made `document`, in a fraction of the time; None if that takes reading them."""
    from reconciler.manifest.revision import revised

    return revised(document, before, after)


def read(paths: Sequence[str | Path], *, stdin: TextIO | None = None) -> list[tuple[str, str | bytes]]:
    """The files at `paths` as (name, text), as `load` reads them. Raises ManifestError for those that cannot be read."""
    texts, problems = _read(paths, stdin)
    if problems:
        raise ManifestError(problems)
    return texts


def _read(paths: Sequence[str | Path], stdin: TextIO | None) -> tuple[list[tuple[str, str | bytes]], list[Problem]]:
    texts: list[tuple[str, str | bytes]] = []
    problems: list[Problem] = []
    size = 0
    for name in files.expand(paths):
        text = name if isinstance(name, Problem) else files.contents(name, stdin)
        if isinstance(text, Problem):
            problems.append(text)
            continue
        size += len(text)
        if size > files.MAX_TOTAL:
            problems.append(files.too_large_together(str(name)))
            break
        texts.append(("<stdin>" if name == files.STDIN else str(name), text))
    return texts, problems


def _document(texts: Iterable[tuple[str, str | bytes]], problems: list[Problem]) -> Document:
    from reconciler.manifest.model import FileModel
    from reconciler.manifest.resolve import resolve
    from reconciler.manifest.shape import shaped

    merged = files.merge(texts)
    document = resolve(shaped(FileModel, merged), merged)
    problems += merged.problems
    if problems:
        raise ManifestError(_told(sorted(set(problems))))
    return document


MAX_TOLD = 1000
"""Problems: who wrote a file mends some and reads again, and a hostile one should not fill a log."""


def _told(problems: list[Problem]) -> list[Problem]:
    """The first of `problems`, and how many more there are."""
    if len(problems) <= MAX_TOLD:
        return problems
    position = problems[MAX_TOLD].position
    rest = Problem(position, f"and {len(problems) - MAX_TOLD} more problems from here on (correct those above first)")
    return [*problems[:MAX_TOLD], rest]


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file."""
    from reconciler.manifest.model import FileModel
    from reconciler.manifest.shape import described

    return described(FileModel)
