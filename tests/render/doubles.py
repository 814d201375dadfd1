"""What others compute for a Report, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exposed:
    """A change of what can be reached."""

    verb: str
    what: str
    position: str = ""

    def __str__(self) -> str:
        return f"{self.verb}: {self.what}"

    def json(self) -> Mapping[str, Any]:
        return {"verb": self.verb, "text": str(self), "position": self.position or None, "before": None, "after": {}}


@dataclass(frozen=True)
class Rehearsed:
    """How a rehearsal went."""

    ok: bool
    lines: tuple[str, ...] = ()

    def json(self) -> Mapping[str, Any]:
        return {"ok": self.ok, "lines": list(self.lines), "flows": 3}
