"""The tests' end of tests/faults/server.py: a host, what is on it, and runs of the tool with a fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.faults.seam import NONE, Fault

ROOT = Path(__file__).resolve().parents[2]


class NoScratch(Exception):
    """This system gives no namespaces to play in."""


@dataclass(frozen=True)
class Run:
    """How a run of the tool ended, and what it passed on the way."""

    code: int
    out: str
    err: str
    hit: tuple[str, ...]
    written: tuple[str, ...]
    steps: tuple[str, ...]


class FaultyHost:
    """A host of its own. Raises NoScratch where there can be none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path},
        )
        hello = self._read()
        if "refused" in hello:
            self.close()
            raise NoScratch(hello["refused"])

    def __enter__(self) -> FaultyHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """The host is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def fresh(self) -> None:
        """From here on it is another host, with nothing on it; the old one is gone."""
        self._ask({"do": "fresh"})

    def reconcile(self, *argv: str, fault: Fault = NONE, datagram: int = 32) -> Run:
        """A run of the tool."""
        said = self._ask({"do": "run", "argv": argv, "fault": asdict(fault), "datagram": datagram})
        said |= {key: tuple(said[key]) for key in ("hit", "written", "steps")}
        return Run(**said)

    def shell(self, command: str) -> str:
        """A shell command, which is to succeed."""
        return str(self._ask({"do": "shell", "command": command}))

    def state(self, *, settings: bool = True) -> list[str]:
        """All there is on the host (tests/faults/look.py)."""
        return list(self._ask({"do": "state", "settings": settings}))

    def write(self, text: str, name: str) -> str:
        """A file of the user's. Returns its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        said = self._read()
        if "error" in said:
            raise RuntimeError(said["error"])
        return said["answer"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended with {self._process.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said
