"""Places in files, and what is wrong there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Position(NamedTuple):
    """A place in a file; line and column count from 1. Ordered as people read."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong with the file. `message` says what, and in parentheses what to do."""

    position: Position
    message: str

    def __str__(self) -> str:
        return f"{self.position}: error: {self.message}"


def printable(text: object) -> str:
    """`text` with everything escaped that is not plainly visible: control and bidirectional characters could make a message lie."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))
