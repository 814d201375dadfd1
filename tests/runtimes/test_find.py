"""From the name of a container to its process, whatever an engine says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.core.messages import Absence
from reconciler.kernel.processes import Process
from reconciler.runtimes.containers import Containers
from reconciler.runtimes.engine import Container, EngineError
from tests.cli.host import Host, absent_pid
from tests.support.standin import StandIns

WEB = "docker:web"


class Scripted:
    """An engine that says what a function says."""

    def __init__(self, say: Callable[[str], Container | None]) -> None:
        self.say = say
        self.asked = 0

    @contextlib.contextmanager
    def connected(self) -> Iterator[Scripted]:
        yield self

    def container(self, name: str) -> Container | None:
        self.asked += 1
        return self.say(name)


def containers(say: Callable[[str], Container | None]) -> Containers:
    return Containers(lambda runtime: Scripted(say))  # type: ignore[arg-type, return-value]


@pytest.fixture
def web(host: Host) -> Iterator[Container]:
    """A container that runs."""
    with StandIns(WEB) as made:
        yield Container("web", "abc", made.pid(WEB), "2026-01-01T00:00:00Z", "none")


def test_one_that_runs_is_its_process(web: Container) -> None:
    assert containers(lambda name: web).find([WEB]) == {WEB: Process.of(web.pid)}


def test_of_one_that_does_not_run_there_is_nothing_to_say(web: Container) -> None:
    assert containers(lambda name: None).find([WEB]) == {}
    assert containers(lambda name: web._replace(pid=0)).find([WEB]) == {}
    assert containers(lambda name: web._replace(pid=absent_pid())).find([WEB]) == {}


def test_one_that_is_another_when_asked_again_is_asked_for_anew(web: Container) -> None:
    """Else the number could be that of a process which got it when the container ended."""
    with StandIns("docker:new") as others:
        other = web._replace(pid=others.pid("docker:new"), started="2026-01-01T00:00:01Z")
        says = iter([other, web, web, web])
        assert containers(lambda name: next(says)).find([WEB]) == {WEB: Process.of(web.pid)}
        flapping = iter([other, web] * 10)
        assert containers(lambda name: next(flapping)).find([WEB]) == {}


def test_one_that_is_still_the_same_is_asked_for_once(web: Container) -> None:
    scripted = Scripted(lambda name: web)
    known = Containers(lambda runtime: scripted)  # type: ignore[arg-type, return-value]
    known.find([WEB])
    before = scripted.asked
    assert known.find([WEB]) == {WEB: Process.of(web.pid)}
    assert scripted.asked == before + 1


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("host", "has the host's own network"),
        ("container:0123456789abcdef", "shares the network of the container 0123456789ab:"),
        ("ns:/run/netns/blue", "{netns: blue}"),
    ],
)
def test_a_network_that_is_not_its_own_is_refused(web: Container, network: str, said: str) -> None:
    found = containers(lambda name: web._replace(network=network)).find([WEB])[WEB]
    assert isinstance(found, Absence)
    assert not found.unknown
    assert said in found.why
    assert "Docker container web" in found.why
    assert "--network none" in found.why


def test_the_hosts_own_namespace_is_refused_whatever_the_engine_calls_it(web: Container) -> None:
    found = containers(lambda name: web._replace(pid=os.getpid())).find([WEB])[WEB]
    assert isinstance(found, Absence)
    assert "host's own network namespace" in found.why


def test_while_the_engine_is_silent_a_process_that_was_seen_is_still_known(host: Host) -> None:
    with StandIns(WEB, "docker:db") as made:
        pids = {name: made.pid(f"docker:{name}") for name in ("web", "db")}
        silent = False

        def say(name: str) -> Container | None:
            if silent:
                raise EngineError("Docker does not answer")
            return Container(name, name, pids[name], "then", "none") if name in pids else None

        known = containers(say)
        known.find([WEB, "docker:db"])
        silent = True
        made.stop("docker:db")
        assert known.find([WEB, "docker:db", "docker:new"]) == {
            WEB: Process.of(pids["web"]),
            "docker:db": Absence("Docker container db has ended, and Docker does not answer"),
            "docker:new": Absence("Docker does not answer", unknown=True),
        }


def test_one_engine_is_silent_and_the_other_is_not(web: Container) -> None:
    def say(name: str) -> Container | None:
        if name == "gone":
            raise EngineError("it does not answer")
        return web

    found = containers(say).find([WEB, "podman:gone"])
    assert found == {WEB: Process.of(web.pid), "podman:gone": Absence("it does not answer", unknown=True)}


def test_without_the_sdk_it_is_said_what_to_install(host: Host, tmp_path: Path) -> None:
    (tmp_path / "docker.py").write_text("raise ImportError('there is none')\n")
    host.write(
        "version: 1\nbridges: {br0: {addresses: [10.88.0.1/24], containers: {web: {attach: {podman: web}, addresses: [10.88.0.10]}}}}\n"
    )
    for command in ([], ["--dry-run"], ["status"]):
        answer = host.child(
            *command,
            PYTHONPATH=f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        )
        assert answer.code == 1
        assert "pip install 'reconcile-network[runtimes]'" in answer.err
    assert host.links() == {"lo"}
