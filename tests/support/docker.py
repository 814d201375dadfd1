"""A real Docker engine, in the network namespace of the calling thread, with an image made of busybox."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from types import TracebackType

IMAGE = "box"
_PROGRAMS = ("sh", "sleep", "nc", "echo", "true", "ip")
_PATIENCE = 30.0


def refusal() -> str:
    """Why there can be no engine here; "" if there can."""
    missing = [name for name in ("dockerd", "docker", "busybox") if not _program(name)]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: docker.io, busybox-static)"
    if os.geteuid() != 0 or Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        return "dockerd takes real root"
    return ""


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Docker:
    """The engine, as a context manager: up when entered, gone with all its containers when left.

    `folder` must be short, since the path of a socket has at most 107 bytes (unix(7)).
    """

    runtime = "docker"
    variable = "DOCKER_HOST"

    def __init__(self, folder: Path, options: tuple[str, ...] = (), before: tuple[str, ...] = ()) -> None:
        """`options` are further ones of dockerd's, `before` is a command that starts it."""
        self._folder = folder
        self._options = options
        self._before = before
        self.socket = folder / "docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Docker:
        try:
            self.begin()
            self("import", "-", IMAGE, stdin=image())
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

    def clear(self) -> None:
        """Removes all containers."""
        names = self("ps", "--all", "--quiet").split()
        if names:
            self("rm", "--force", *names)

    def run(self, name: str, *options: str) -> int:
        """Starts a container that does nothing, with a network of its own and nothing in it unless `options` say otherwise. Returns its
        first process."""
        network = () if "--network" in options else ("--network", "none")
        self("run", "--detach", "--name", name, *network, *options, IMAGE, "sleep", "1000")
        return self.pid(name)

    def __call__(self, *arguments: str, stdin: bytes = b"") -> str:
        """A docker command, which is to succeed. Returns what it printed, stripped."""
        done = subprocess.run(
            ["docker", "-H", f"unix://{self.socket}", *arguments], input=stdin, capture_output=True, timeout=_PATIENCE
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def pid(self, container: str) -> int:
        """The first process of a container, 0 if it is not running."""
        return int(self("inspect", "--format", "{{.State.Pid}}", container))

    def begin(self) -> None:
        """Starts the engine, which answers when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = (self._folder / "log").open("wb")
        program = _program("dockerd")
        assert program is not None
        command = [
            *self._before,
            program,
            f"--host=unix://{self.socket}",
            f"--data-root={self._folder / 'data'}",
            f"--exec-root={self._folder / 'exec'}",
            f"--pidfile={self._folder / 'pid'}",
            *self._options,
        ]
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PATH": path})
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            said = (self._folder / "log").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, f"dockerd ended: {said}"
            assert time.monotonic() < deadline, f"dockerd does not answer: {said}"
            time.sleep(0.05)

    def is_away(self) -> bool:
        """Whether it does not run."""
        return self._process is None or self._process.poll() is not None

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        command = ["docker", "-H", f"unix://{self.socket}", "version"]
        return subprocess.run(command, capture_output=True, timeout=_PATIENCE).returncode == 0

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends the engine, by that signal. Its containers end with it, unless it was killed, or has the option `--live-restore`."""
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def image() -> bytes:
    """A tar of a root directory in which there is busybox, which must be static."""
    program = _program("busybox")
    assert program is not None
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(program, "bin/busybox")
        for name in _PROGRAMS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return packed.getvalue()
