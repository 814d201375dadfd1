"""A host for the tests of the commands: what a user types, and what is there afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from reconciler.cli import main
from reconciler.core.messages import HOST, Scope
from reconciler.kernel.live import LiveKernel
from tests.support.ruleset import without_handles

ROOT = Path(__file__).resolve().parents[2]

WEB = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24]
    containers:
      web:
        addresses: [10.88.0.10]
        ports: ["8080:80"]
      db:
        addresses: [10.88.0.11]
"""
WITHOUT_WEB = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24]
    containers:
      db:
        addresses: [10.88.0.11]
"""
SETTINGS = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


class Host:
    """The host that the test process is in."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    # --- the tool ---

    def write(self, text: str, name: str = "reconcile.yaml") -> Path:
        """A file of the user's."""
        path = self.folder / name
        path.write_text(text)
        return path

    def reconcile(self, *arguments: str) -> Answer:
        """The command, in this process."""
        self._capture.readouterr()
        try:
            code = main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
        said = self._capture.readouterr()
        return Answer(code, said.out, said.err)

    def child(
        self,
        *arguments: str,
        stdin: str | None = None,
        python: tuple[str, ...] = (),
        before: tuple[str, ...] = (),
        **variables: str,
    ) -> Answer:
        """The command, as a process of its own. `python` are options of Python, `before` is a command that starts it."""
        command = [*before, sys.executable, *python, "-m", "reconciler", *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=environment(variables), timeout=60
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def tool(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, as a process that goes on beside the test and ends with it."""
        return self.start(sys.executable, "-m", "reconciler", *arguments)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A process that ends with the test."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment({}),
        )
        self._processes.append(process)
        return process

    def inhabited_namespace(self) -> subprocess.Popen[str]:
        """A process in a network namespace of its own, as a container's is."""
        process = self.start("unshare", "--net", "sh", "-c", "echo in; exec sleep 600")
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        return process

    # --- the host ---

    def run(self, command: str) -> str:
        """A shell command, which is to succeed. Returns what it said."""
        return subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=True, timeout=30).stdout

    def state(self) -> str:
        """All there is, as text to compare: links, addresses, routes, namespaces, settings, nftables."""
        with LiveKernel(read_only=True) as kernel:
            settings = frozenset((HOST, name) for name in SETTINGS)
            snapshot = kernel.observe(Scope(sysctls=settings))
        lines = []
        for name, record in sorted(snapshot.namespaces.items()):
            lines.append(f"netns {name!r} {dict(record.sysctls)}")
            lines += sorted(
                f"  {item!r}" for item in (*record.links, *record.addresses, *record.routes) if "fe80" not in repr(item)
            )
        return "\n".join([*lines, *sorted(rules())])

    def links(self) -> set[str]:
        """The names of the host's links."""
        with LiveKernel(read_only=True) as kernel:
            return {link.name for link in kernel.observe(Scope()).namespaces[HOST].links}

    def namespaces(self) -> set[str]:
        """The names of the namespaces that have one."""
        with LiveKernel(read_only=True) as kernel:
            return set(kernel.observe(Scope()).namespaces) - {HOST}


def rules() -> list[str]:
    """The whole ruleset, one line for each thing, without the numbers that the kernel counts on and what goes by itself."""
    said = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return [json.dumps(without_handles(item), sort_keys=True) for item in json.loads(said)["nftables"]]


def environment(variables: dict[str, str]) -> dict[str, str]:
    """What a child sees."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "100"} | variables


def absent_pid() -> int:
    """A number that no process has."""
    number = int(Path("/proc/sys/kernel/pid_max").read_text()) - 1
    while Path(f"/proc/{number}").exists():
        number -= 1
    return number


def until(condition: Any, seconds: float = 10) -> None:
    """Waits for `condition`, and fails if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
