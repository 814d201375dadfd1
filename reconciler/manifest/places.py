"""Where in the files something stands, and how it is said to the user."""

from __future__ import annotations

from dataclasses import dataclass

_QUOTE_LIMIT = 64
"""Characters of a user's text that a message repeats; the line number leads to the rest."""


def printable(text: str) -> str:
    """`text` with everything escaped that could do something to a terminal: control, bidi, invisible, lone surrogate."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def quoted(value: object) -> str:
    """A value of the user's as messages show it: on one line, escaped, shortened, in single quotes if it is text."""
    if isinstance(value, str):
        return f"'{_shortened(printable(value))}'"
    words: dict[object, str] = {None: "null", True: "true", False: "false"}
    # True == 1: only the singletons themselves have names.
    return words[value] if value is None or isinstance(value, bool) else _shortened(printable(str(value)))


def _shortened(text: str) -> str:
    return text if len(text) <= _QUOTE_LIMIT else f"{text[:_QUOTE_LIMIT]}…"


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file: line and column count from 1, in characters. Line 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        name = printable(self.file)
        return f"{name}:{self.line}:{self.column}" if self.line else name


NOWHERE = Position("<none>")
"""The place of what was not read from a file."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong with a file: where, what, and what to do about it. str() is the line to print."""

    position: Position
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.position}: error: {self.message} ({self.remedy})"


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """Something that the user should know of a file that is right."""

    position: Position
    message: str

    def __str__(self) -> str:
        return f"{self.position}: note: {self.message}"


class Fault(ValueError):
    """What is wrong with one value, raised by those who do not know where it stands. Never leaves this package."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def at(self, position: Position) -> Problem:
        return Problem(position, self.message, self.remedy)
