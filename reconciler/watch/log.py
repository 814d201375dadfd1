"""What the agent says as it works: one line for each event, for people or (JSON) for machines."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TextIO

from reconciler.render.terminal import clean

LEVELS = ("debug", "info", "warning", "error")


class Log:
    """Writes lines to `stream`. `form` is text or json; events below `level` are left out.

    Under systemd the journal adds the time by itself (JOURNAL_STREAM of systemd.exec(5)), and reads the level from a prefix
    (sd-daemon(3)).
    """

    def __init__(self, stream: TextIO | None = None, form: str = "text", level: str = "info") -> None:
        self._stream = sys.stderr if stream is None else stream
        self._json = form == "json"
        self._least = LEVELS.index(level)
        self._journal = "JOURNAL_STREAM" in os.environ

    def __call__(self, level: str, event: str, text: str = "", **fields: object) -> None:
        """One event: a word for what happened, a sentence, and what else is known."""
        if LEVELS.index(level) < self._least:
            return
        known = {name: _rounded(value) for name, value in fields.items() if value is not None}
        if self._json:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = json.dumps({"time": now, "level": level, "event": event, "text": text, **known}, default=str)
        else:
            line = self._prefix(level) + " ".join([f"{event}:", text, *_beside(text, known)])
        try:
            print(clean(line) if not self._json else line, file=self._stream, flush=True)
        except (BrokenPipeError, ValueError):
            # Nobody listens any more; that is no reason to stop the work.
            return

    def _prefix(self, level: str) -> str:
        if self._journal:
            return {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>"}[level]
        return f"{datetime.now().astimezone().isoformat(sep=' ', timespec='milliseconds')} {level:<7} "


def _beside(text: str, known: dict[str, object]) -> Iterator[str]:
    """What is `known`, as NAME=VALUE, but for what the sentence says already."""
    said = set(re.split(r"[ :,;]+", text))
    for name, value in known.items():
        shown = str(value)
        if shown not in said:
            yield f"{name}={json.dumps(shown) if any(character in shown for character in ' =') else shown}"


def _rounded(value: object) -> object:
    return round(value, 1) if isinstance(value, float) else value
