"""How wide a text will be, before there is a font to ask.

Nobody knows which font a reader has. The widths here are those of the widest common ones (DejaVu Sans Bold, DejaVu Sans Mono), so
that what fits by them fits everywhere.
"""

from __future__ import annotations

import unicodedata

MONO = 0.605
"""Ems that each character of a fixed-width font takes."""
_NARROW = frozenset("ilj.,:;|'!()[]{}/\\-` ")
_BROAD = frozenset("mwMW@%—…")
_ELLIPSIS = "…"


def width(text: str, size: float, *, mono: bool) -> float:
    """The width of `text` in a font of `size`, in the same unit."""
    return size * sum(_ems(character, mono) for character in text)


def _ems(character: str, mono: bool) -> float:
    if unicodedata.combining(character):
        return 0.0
    if not character.isascii() and character not in "…→·×—":
        # It comes from whatever font has it.
        return 1.35 if unicodedata.east_asian_width(character) in "WF" else 1.1
    if mono:
        return MONO
    if character in _NARROW:
        return 0.48
    if character in _BROAD:
        return 1.12
    return 0.86 if character.isupper() else 0.73


def fitted(text: str, room: float, size: float, *, mono: bool) -> str:
    """`text`, or as much of its two ends as there is `room` for: what tells names apart often stands at the end."""
    if width(text, size, mono=mono) <= room:
        return text
    room -= width(_ELLIPSIS, size, mono=mono)
    head, tail = 0, 0
    used = 0.0
    while head + tail < len(text):
        front = head <= tail * 2
        character = text[head] if front else text[len(text) - 1 - tail]
        used += size * _ems(character, mono)
        if used > room:
            break
        head, tail = (head + 1, tail) if front else (head, tail + 1)
    return text[:head] + _ELLIPSIS + (text[len(text) - tail :] if tail else "")


def wrapped(text: str, room: float, size: float, *, mono: bool, most: int) -> list[str]:
    """`text` in at most `most` lines that fit into `room`; the last one is cut if need be."""
    lines: list[str] = []
    current = ""
    words = text.split(" ")
    for place, word in enumerate(words):
        longer = f"{current} {word}" if current else word
        if not current or width(longer, size, mono=mono) <= room:
            current = longer
        elif len(lines) + 1 == most:
            current = " ".join([current, *words[place:]])
            break
        else:
            lines.append(current)
            current = word
    return [fitted(line, room, size, mono=mono) for line in [*lines, current]]
