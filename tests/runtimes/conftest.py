"""Real engines, one of each for a whole module, in a network namespace of their own; and a host to work on, fresh for each test.

That an engine is at home elsewhere makes no difference to a container that has a network of its own: it is found by its process.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import PlatformError
from reconciler.scratch import enter
from tests.cli.host import Host
from tests.packets.conftest import leaving_nothing
from tests.packets.world import World
from tests.support import docker, podman
from tests.support.docker import Docker
from tests.support.podman import Podman

AnyEngine = Docker | Podman


@contextlib.contextmanager
def _elsewhere() -> Iterator[tuple[str, ...]]:
    """A command that starts others in namespaces which stay the same whatever the tests enter: the mounts of now, a new network."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo in; exec sleep 3600"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"
        yield ("nsenter", f"--target={holder.pid}", "--mount", "--net")
    finally:
        holder.kill()
        holder.communicate()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Not tmp_path: a socket's path has to be short."""
    folder = Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))
    try:
        yield folder
    finally:
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in reversed([one for one in mounts if one.startswith(f"{folder}/")]):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=["docker", "podman"])
def running(request: pytest.FixtureRequest) -> Iterator[AnyEngine]:
    """Each of the engines, running."""
    pytest.importorskip("docker", reason="not installed: the Docker SDK (pip install docker)")
    reason = docker.refusal() if request.param == "docker" else podman.refusal()
    if reason:
        pytest.skip(reason)
    with _folder() as folder, _elsewhere() as elsewhere:
        engine: AnyEngine
        engine = (
            Docker(folder, ("--live-restore",), elsewhere) if request.param == "docker" else Podman(folder, elsewhere)
        )
        with engine:
            yield engine


@pytest.fixture
def engine(running: AnyEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnyEngine]:
    """An engine with no container, to which the environment leads."""
    monkeypatch.setenv(running.variable, f"unix://{running.socket}")
    yield running
    running.clear()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Host]:
    """A host with nothing on it, and a user who stands in an empty folder."""
    try:
        enter()
    except PlatformError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    for name in ("RECONCILE_FILE", "XDG_RUNTIME_DIR", "DOCKER_HOST", "CONTAINER_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    with Host(tmp_path, capfd) as made:
        yield made


@pytest.fixture
def world() -> Iterator[World]:
    """A fresh world, gone after the test, of which nothing is left."""
    with leaving_nothing(), World() as made:
        yield made
