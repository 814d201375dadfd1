"""Places in files, and what is wrong there."""

from __future__ import annotations

from typing import NamedTuple

_SHOWN = 64
"""Characters of a user's text that a message repeats; the line number leads to the rest."""


class Position(NamedTuple):
    """A place in a file; line and column count from 1. Ordered as people read."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{printable(self.file)}:{self.line}:{self.column}"

    def seen_from(self, other: Position) -> str:
        """What a message that stands at `other` calls this place."""
        return f"line {self.line}" if self.file == other.file else f"{printable(self.file)}:{self.line}"


class Problem(NamedTuple):
    """Something wrong with the file. `message` says what, and in the last parenthesis what to do."""

    position: Position
    message: str

    def __str__(self) -> str:
        return f"{self.position}: error: {self.message}"


def printable(text: str) -> str:
    """`text` with everything escaped that is not plainly visible: control and bidirectional characters could make a message lie."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def quoted(text: str) -> str:
    """`text` as messages repeat it: escaped, shortened, in quotes."""
    shown = printable(text)
    return f"'{shown}'" if len(shown) <= _SHOWN else f"'{shown[:_SHOWN]}…'"
