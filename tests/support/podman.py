"""A real Podman with its API on a socket, in the network namespace of the calling thread, with an image made of busybox."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.support import docker

IMAGE = docker.IMAGE
_PATIENCE = 30.0
_CONFIGURATION = """\
[containers]
# Not more than this process may have: a container lacks the privilege to raise it.
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/tmp"
"""
_STORAGE = """\
[storage]
driver = "vfs"
runroot = "{folder}/run"
graphroot = "{folder}/graph"
"""


def refusal() -> str:
    """Why there can be no Podman here; "" if there can."""
    missing = [name for name in ("podman", "busybox") if not shutil.which(name)]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: podman, busybox-static)"
    if os.geteuid() != 0 or Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        return "this Podman takes real root"
    return ""


class Podman:
    """The engine, as a context manager: up when entered, gone with all its containers when left.

    `folder` must be short, since the path of a socket has at most 107 bytes (unix(7)).
    """

    runtime = "podman"
    variable = "CONTAINER_HOST"

    def __init__(self, folder: Path, before: tuple[str, ...] = ()) -> None:
        """`before` is a command that starts it."""
        self._folder = folder
        self._before = before
        self.socket = folder / "podman.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Podman:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "containers.conf").write_text(_CONFIGURATION.format(folder=self._folder))
        (self._folder / "storage.conf").write_text(_STORAGE.format(folder=self._folder))
        try:
            self.begin()
            (self._folder / "image.tar").write_bytes(docker.image())
            self("import", str(self._folder / "image.tar"), IMAGE)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.clear()
        finally:
            self.end()

    def __call__(self, *arguments: str) -> str:
        """A podman command, which is to succeed. Returns what it printed, stripped."""
        done = subprocess.run(
            ["podman", "--remote", "--url", f"unix://{self.socket}", *arguments], capture_output=True, timeout=_PATIENCE
        )
        assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def clear(self) -> None:
        """Removes all containers, those that share another's network first."""
        names = self("ps", "--all", "--quiet").split()
        for name in names:
            self("rm", "--force", "--depend", "--ignore", "--time", "0", name)

    def run(self, name: str, *options: str) -> int:
        """Starts a container that does nothing, with a network of its own and nothing in it unless `options` say otherwise. Returns its
        first process."""
        network = () if "--network" in options else ("--network", "none")
        self("run", "--detach", "--name", name, *network, *options, IMAGE, "sleep", "1000")
        return self.pid(name)

    def pid(self, container: str) -> int:
        """The first process of a container, 0 if it is not running."""
        return int(self("inspect", "--format", "{{.State.Pid}}", container))

    def begin(self) -> None:
        """Starts the engine's service, which answers when this returns."""
        variables = {
            "CONTAINERS_CONF": str(self._folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self._folder / "storage.conf"),
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        }
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._before, "podman", "system", "service", "--time=0", f"unix://{self.socket}"],
                stdout=log,
                stderr=log,
                # Were the variable there, this would be a client.
                env={name: value for name, value in os.environ.items() if name != self.variable} | variables,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            said = (self._folder / "log").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, f"podman ended: {said}"
            assert time.monotonic() < deadline, f"podman does not answer: {said}"
            time.sleep(0.05)

    def is_away(self) -> bool:
        """Whether it does not run."""
        return self._process is None or self._process.poll() is not None

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        command = ["podman", "--remote", "--url", f"unix://{self.socket}", "version"]
        return subprocess.run(command, capture_output=True, timeout=_PATIENCE).returncode == 0

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends the engine's service, by that signal. Its containers go on."""
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
