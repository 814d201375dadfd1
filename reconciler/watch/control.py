"""How others speak to the agent: a socket on which it tells its status, and a file by which it is suspended.

Both are beside the locks (reconciler.kernel.lock), for one owner and network namespace. The file works whether or not an agent
runs, and outlives it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from reconciler.errors import UsageError
from reconciler.kernel.lock import Lock, agents_door

_PATIENCE = 2.0


def _beside_the_lock(owner: str, suffix: str) -> Path:
    return Lock(owner).path.with_suffix(suffix)


# --- the status ------------------------------------------------------------------------------------------------------


class Door:
    """The agent's end: answers whoever connects with one JSON value. Raises OSError if it cannot be opened."""

    def __init__(self, owner: str) -> None:
        self.path = agents_door(owner)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            # Whoever had it is gone: there is one agent at a time, which the caller's lock makes sure of.
            self.path.unlink(missing_ok=True)
            self._socket.bind(str(self.path))
            self.path.chmod(0o600)
            self._socket.listen(16)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when somebody asks."""
        return self._socket.fileno()

    def answer(self, body: dict[str, Any]) -> None:
        """Tells `body` to all who ask now."""
        data = json.dumps(body).encode()
        while True:
            try:
                asking, _ = self._socket.accept()
            except OSError:
                return
            with asking, contextlib.suppress(OSError):
                asking.settimeout(_PATIENCE)
                asking.sendall(data)

    def close(self) -> None:
        """Nobody is answered any more."""
        self._socket.close()
        self.path.unlink(missing_ok=True)


def ask(owner: str) -> dict[str, Any] | None:
    """What the agent of `owner` in this network namespace tells; None if there is none."""
    path = agents_door(owner)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as asking:
        asking.settimeout(_PATIENCE)
        try:
            asking.connect(str(path))
            heard = b"".join(iter(lambda: asking.recv(1 << 16), b""))
            body = json.loads(heard)
        except (OSError, ValueError):
            return None
    return body if isinstance(body, dict) else None


def only_owner() -> str | None:
    """The owner of the one agent in this network namespace; None if there is none, or several."""
    path = agents_door("?")
    doors = path.parent.glob(path.name.replace("?", "*", 1))
    # One that was killed leaves its door behind.
    owners = [owner for door in doors if ask(owner := door.name.removesuffix(path.name[1:])) is not None]
    return owners[0] if len(owners) == 1 else None


# --- suspending ------------------------------------------------------------------------------------------------------


def suspension_file(owner: str) -> Path:
    """Where a suspension stands."""
    return _beside_the_lock(owner, ".suspended")


def suspend(owner: str, until: float | None, reason: str) -> None:
    """Nothing is to be changed `until` then, in seconds since the epoch (None: until it is resumed). Raises OSError."""
    path = suspension_file(owner)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps({"until": until, "reason": reason, "since": time.time()}))
    draft.replace(path)


def resume(owner: str) -> bool:
    """Ends a suspension. Returns whether there was one. Raises OSError."""
    path = suspension_file(owner)
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def suspension(owner: str, now: float) -> tuple[str, float | None]:
    """Why nothing is to be changed (a sentence, "" if things are), and until when."""
    try:
        body = json.loads(suspension_file(owner).read_text())
        until = body["until"] if body["until"] is None else float(body["until"])
        reason = str(body["reason"])
    except FileNotFoundError:
        return "", None
    except (OSError, ValueError, KeyError, TypeError):
        # Somebody meant to stop it: a damaged file is no reason to go on.
        return "suspended, by a file that cannot be read", None
    if until is not None and until <= now:
        return "", None
    when = "until resumed" if until is None else f"until {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(until))}"
    return f"suspended {when}" + (f": {reason}" if reason else ""), until


def until(text: str, now: float) -> float:
    """When `text` is, in seconds since the epoch: a span (90s, 15m, 2h, 1d) from `now`, or an ISO 8601 time. Raises UsageError."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if text[:-1].isdigit() and text[-1:] in units:
        return now + int(text[:-1]) * units[text[-1]]
    from datetime import datetime

    try:
        when = datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(
            f"--until {text}: write a span, such as 30m or 2h, or a time, such as 2026-11-24T18:00"
        ) from None
    if when <= now:
        raise UsageError(f"--until {text} is over")
    return when
