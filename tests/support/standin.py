"""Containers with no engine: processes in network namespaces of their own, under the names that containers have."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from types import TracebackType

from reconciler.core.messages import Absence
from reconciler.kernel.processes import Process


class StandIns:
    """What reconciler.kernel.namespaces.Containers is, as a context manager; they end with it."""

    def __init__(self, *names: str) -> None:
        """`names` are those of the namespaces, as `docker:web`."""
        self._children: dict[str, subprocess.Popen[str]] = {}
        self.silent = ""
        """Set, it is why nothing can be said of any container."""
        for name in names:
            self.start(name)

    def __enter__(self) -> StandIns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._children):
            self.stop(name)

    def start(self, name: str) -> int:
        """One that runs. Returns its pid."""
        child = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo in; exec sleep 600"], stdout=subprocess.PIPE, text=True
        )
        self._children[name] = child
        assert child.stdout is not None
        assert child.stdout.readline() == "in\n"
        return child.pid

    def stop(self, name: str) -> None:
        """It ends, and its number is free for others."""
        child = self._children.pop(name)
        child.kill()
        child.communicate()

    def pid(self, name: str) -> int:
        """Its pid."""
        return self._children[name].pid

    def find(self, names: Iterable[str]) -> dict[str, Process | Absence]:
        """Those that run."""
        if self.silent:
            return {name: Absence(self.silent, unknown=True) for name in names}
        return {name: Process.of(self._children[name].pid) for name in names if name in self._children}
