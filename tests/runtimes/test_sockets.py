"""Where engines are looked for."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconciler.runtimes import sockets
from reconciler.runtimes.engine import EngineError, engine


@pytest.mark.parametrize(
    ("runtime", "environment", "expected"),
    [
        ("docker", {}, ("/run/docker.sock",)),
        ("podman", {}, ("/run/podman/podman.sock",)),
        ("docker", {"XDG_RUNTIME_DIR": "/u"}, ("/run/docker.sock", "/u/docker.sock")),
        ("podman", {"XDG_RUNTIME_DIR": "/u"}, ("/run/podman/podman.sock", "/u/podman/podman.sock")),
        ("docker", {"XDG_RUNTIME_DIR": "/u", "DOCKER_HOST": "unix:///d.sock"}, ("/d.sock",)),
        ("podman", {"DOCKER_HOST": "unix:///d.sock"}, ("/run/podman/podman.sock",)),
        ("podman", {"CONTAINER_HOST": "unix:///p.sock"}, ("/p.sock",)),
        ("docker", {"DOCKER_HOST": ""}, ("/run/docker.sock",)),
    ],
)
def test_it_is_where_its_own_command_line_looks(
    runtime: str, environment: dict[str, str], expected: tuple[str, ...]
) -> None:
    assert sockets.candidates(runtime, environment) == expected


@pytest.mark.parametrize("named", ["tcp://10.0.0.7:2375", "ssh://root@host", "unix://docker.sock", "/run/docker.sock"])
def test_an_engine_of_another_machine_is_refused(named: str) -> None:
    with pytest.raises(EngineError, match="only containers of this machine"):
        sockets.candidates("docker", {"DOCKER_HOST": named})


def test_the_first_that_is_there_is_taken_else_where_it_should_be(tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert sockets.find("docker", environment) == "/run/docker.sock"
    (tmp_path / "docker.sock").touch()
    assert sockets.find("docker", environment) == str(tmp_path / "docker.sock")


def test_who_does_not_answer_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker", reason="not installed: the Docker SDK (pip install docker)")
    monkeypatch.chdir(tmp_path)
    Path("dead").touch()
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind("gone")
    for name, reason in (("none", "No such file"), ("dead", "refused"), ("gone", "refused")):
        path = tmp_path / name
        asked = engine("podman", {"CONTAINER_HOST": f"unix://{path}"})
        with pytest.raises(EngineError, match=f"does not answer at {path} .*{reason}"), asked.connected():
            pass


def test_who_answers_something_else_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker", reason="not installed: the Docker SDK (pip install docker)")
    monkeypatch.chdir(tmp_path)

    def answer(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                with contextlib.suppress(OSError):
                    connection.send(b"SSH-2.0-OpenSSH_9.2\r\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        asked = engine("docker", {"DOCKER_HOST": f"unix://{tmp_path}/s"})
        with pytest.raises(EngineError, match="no answer that is of use"), asked.connected():
            pass
        thread.join()


def test_an_engine_that_counts_processes_otherwise_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("docker", reason="not installed: the Docker SDK (pip install docker)")
    code = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(); print('in', flush=True); input()"
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "in\n"
        asked = engine("docker", {"DOCKER_HOST": f"unix://{tmp_path}/s"})
        with pytest.raises(EngineError, match="--pid=host"), asked.connected():
            pass
        child.stdin.close()
