"""What `reconcile doctor` says of one thing that it looked at."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How much it stands in the way."""

    OK = "ok"
    NOTE = "note"
    """Good to know."""
    WARNING = "warning"
    """May stand in the way, depending on what cannot be seen from here."""
    ERROR = "error"
    """Something of the file, or an apply, will not work."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at, by the check of that name. `remedy` is what to do, "" if nothing is to be done."""

    check: str
    level: Level
    text: str
    remedy: str = ""
