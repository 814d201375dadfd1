"""The last step to characters. All text passes through here, so this is where control characters stop.

Names come from the kernel and from files: an interface alias or a comment can hold an escape sequence that
repaints the terminal, or a right-to-left mark that makes a line read as another one. Neither gets out.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

_RESET = "\x1b[0m"
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Style(enum.StrEnum):
    """How a piece of a line looks; the value is its SGR parameter (ECMA-48, 8.3.117)."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    MAGENTA = "35"
    CYAN = "36"


class Span(NamedTuple):
    """A piece of a line in one style."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]


def clean(text: str) -> str:
    """`text` with every control, format, surrogate and unassigned character escaped as Python would (`\\x1b`,
    `\\u202e`)."""
    if text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def width(text: str) -> int:
    """The columns that `text` takes once it is cleaned: wide characters take two, combining ones none."""
    if text.isascii() and text.isprintable():
        return len(text)
    text = clean(text)
    if text.replace("→", ">").isascii():  # the arrow, one column wide, is our own
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, columns: int) -> str:
    """`text` with spaces behind it, up to `columns`."""
    return text + " " * max(0, columns - width(text))


def paint(line: Iterable[Span], *, color: bool) -> str:
    """`line` as characters, cleaned; with colours only if `color`. No spaces are left at its end."""
    if not color:
        return clean("".join(text for text, _ in line)).rstrip()
    spans = [Span(clean(text), style) for text, style in line if text]
    while spans and not spans[-1].text.rstrip():
        spans.pop()
    if spans:
        spans[-1] = spans[-1]._replace(text=spans[-1].text.rstrip())
    return "".join(f"\x1b[{style}m{text}{_RESET}" if style and text.strip() else text for text, style in spans)


def length(line: Iterable[Span]) -> int:
    """The columns that `line` takes."""
    return width("".join(text for text, _ in line))


def table(rows: Iterable[tuple[str, ...]], gap: int = 2) -> list[str]:
    """`rows` as lines with aligned columns, `gap` spaces apart; escaped."""
    given = [tuple(map(clean, row)) for row in rows]
    widths = [max(map(width, column)) for column in zip(*given, strict=True)]
    return [
        "".join(pad(cell, columns + gap) for cell, columns in zip(row, widths, strict=True)).rstrip() for row in given
    ]
