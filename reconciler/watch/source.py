"""Where the desired state comes from: files here, or another Source with the same few methods."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.manifest import Document, from_texts, read, revise


@dataclass(frozen=True, slots=True)
class Text:
    """What a source says, unread: files as (name, text). `revision` is a short word that tells it from others."""

    files: tuple[tuple[str, str | bytes], ...]
    revision: str


@dataclass(frozen=True, slots=True)
class Wish:
    """A desired state, and what it was read from.

    `whole` is False if only the changed lines were: then the places in the file that are told may be off by some lines.
    """

    document: Document
    text: Text
    whole: bool = True

    @property
    def revision(self) -> str:
        """Which one it is."""
        return self.text.revision


def wish(text: Text) -> Wish:
    """What `text` asks for. Raises ManifestError if it is invalid."""
    return Wish(from_texts(text.files), text)


def revised(last: Wish, text: Text) -> Wish | None:
    """The same in much less time, if it is as `last` but for some published ports; None if that cannot be told."""
    document = revise(last.document, last.text.files, text.files)
    return None if document is None else Wish(document, text, whole=False)


class Source(Protocol):
    """What says how the host should be."""

    def revision(self) -> str:
        """What is there now, without reading what it means. Raises ReconcileError if it cannot be read."""
        ...

    def text(self) -> Text:
        """What is there now. Raises ReconcileError if it cannot be read, or is not to be trusted."""
        ...

    def taken(self, text: Text) -> None:
        """`text` is valid, no guard refuses it, and the host is kept at it."""
        ...

    def good(self) -> Text | None:
        """What was taken last, also by an agent before this one; None if that is not known. Raises ReconcileError if it is, and cannot
        be read."""
        ...

    def directories(self) -> frozenset[Path]:
        """Where something happens when it changes."""
        ...

    def start(self, told: Callable[[], None]) -> None:
        """From now on `told` is called, from any thread, when something changed that no directory tells."""
        ...

    def refresh(self) -> None:
        """Somebody wants to have what is newest."""
        ...

    def trouble(self) -> str:
        """Why what is newest cannot be had, "" if it can."""
        ...

    def close(self) -> None:
        """It is over."""
        ...


class Files:
    """The files and directories at `paths`, as -f has them. `judge` raises ReconcileError if they are not to be obeyed."""

    def __init__(self, paths: Sequence[str], judge: Callable[[Sequence[str]], None] = lambda paths: None) -> None:
        self._paths = tuple(paths)
        self._judge = judge

    def __str__(self) -> str:
        return ", ".join(self._paths)

    def revision(self) -> str:
        """A digest of the names and the texts. Raises ManifestError if one cannot be read, and what `judge` does."""
        self._judge(self._paths)
        return _digest(read(self._paths))

    def text(self) -> Text:
        """Raises ManifestError if a file cannot be read, and what `judge` does."""
        self._judge(self._paths)
        files = tuple(read(self._paths))
        return Text(files, _digest(files))

    def taken(self, text: Text) -> None:
        """Nothing to keep: the agent has it."""

    def good(self) -> Text | None:
        """Files do not remember."""
        return None

    def directories(self) -> frozenset[Path]:
        """Those that hold the files, and each link on the way to them: editors and git replace a file by renaming another one, and
        a ConfigMap replaces a link to a directory."""
        found = set()
        for path in map(Path, self._paths):
            if path.is_dir():
                found.add(path)
            for step in _links(path):
                found.add(step.parent)
        return frozenset(path for path in found if path.is_dir())

    def start(self, told: Callable[[], None]) -> None:
        """Their directories tell it all."""

    def refresh(self) -> None:
        """They are read when they are asked for."""

    def trouble(self) -> str:
        """Never: what cannot be read is invalid."""
        return ""

    def close(self) -> None:
        """Nothing was opened."""


_DEEPEST = 40
"""Links that are followed, as many as the kernel follows (path_resolution(7))."""


def _links(path: Path) -> list[Path]:
    """`path`, and what it leads to by symbolic links at any of its parts, step by step."""
    steps: list[Path] = []
    todo = [Path(os.path.abspath(path))]
    while todo and len(steps) < _DEEPEST:
        current = todo.pop()
        steps.append(current)
        for part in (current, *current.parents):
            if part.is_symlink():
                try:
                    target = Path(os.path.normpath(part.parent / os.readlink(part)))
                except OSError:
                    break  # it is another one just now, which is told
                steps.append(part)
                todo.append(target / current.relative_to(part) if part != current else target)
                break
    return steps


def _digest(texts: Sequence[tuple[str, str | bytes]]) -> str:
    whole = hashlib.sha256()
    for name, text in texts:
        data = text.encode() if isinstance(text, str) else text
        whole.update(f"{name}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()[:12]
