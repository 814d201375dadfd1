"""Starts and ends of containers, heard from real engines; and what is made of nonsense."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.runtimes import events
from reconciler.runtimes.engine import engine as engine_of
from reconciler.runtimes.events import Event, Kind, watch
from tests.runtimes.conftest import AnyEngine

PATIENCE = 20.0


class Ear:
    """What a watch has heard."""

    def __init__(self, runtime: str) -> None:
        self._heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._runtime = runtime
        self.stop = threading.Event()
        self.thread = threading.Thread(
            target=watch, args=(engine_of(runtime, dict(os.environ)), self._heard.put, self.stop)
        )
        self.thread.start()

    def next(self) -> tuple[str, str]:
        """The next event."""
        event = self._heard.get(timeout=PATIENCE)
        assert event.runtime == self._runtime
        return str(event.kind), event.name

    def expect(self, *expected: tuple[str, str]) -> None:
        """These come next, and nothing between them."""
        assert [self.next() for _ in expected] == list(expected)

    def end(self) -> None:
        """It ends when it is told to."""
        self.stop.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def listening(runtime: str) -> Iterator[Ear]:
    """An ear, closed in the end."""
    before = set(threading.enumerate())
    ear = Ear(runtime)
    try:
        yield ear
    finally:
        ear.end()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_starts_and_ends_are_heard(engine: AnyEngine) -> None:
    with listening(engine.runtime) as ear:
        ear.expect(("lost", ""))
        engine.run("web")
        ear.expect(("start", "web"))
        engine("kill", "web")
        ear.expect(("die", "web"))
        engine("start", "web")
        ear.expect(("start", "web"))
        engine("restart", "--time", "0", "web")
        ear.expect(("die", "web"), ("start", "web"))
        engine("stop", "--time", "0", "web")
        ear.expect(("die", "web"))
        engine("start", "web")
        ear.expect(("start", "web"))
        os.kill(engine.pid("web"), signal.SIGKILL)
        ear.expect(("die", "web"))


def test_another_name_may_mean_anything(engine: AnyEngine) -> None:
    with listening(engine.runtime) as ear:
        ear.expect(("lost", ""))
        engine.run("web")
        engine("rename", "web", "db")
        ear.expect(("start", "web"), ("lost", ""))


def test_an_engine_that_goes_and_comes_back_is_said(engine: AnyEngine) -> None:
    with listening(engine.runtime) as ear:
        ear.expect(("lost", ""))
        engine.run("web")
        ear.expect(("start", "web"))
        engine.end()
        try:
            ear.expect(("lost", ""))
        finally:
            engine.begin()
        ear.expect(("lost", ""))
        engine("kill", "web")
        ear.expect(("die", "web"))


def test_an_engine_that_comes_later_is_heard(engine: AnyEngine) -> None:
    engine.end()
    try:
        with listening(engine.runtime) as ear:
            engine.begin()
            ear.expect(("lost", ""))
    finally:
        if engine.is_away():
            engine.begin()


def test_it_ends_while_there_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker", reason="not installed: the Docker SDK (pip install docker)")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    with listening("docker"):
        pass


def test_what_the_listener_raises_comes_out(engine: AnyEngine) -> None:
    def fail(event: Event) -> None:
        raise ZeroDivisionError

    stop = threading.Event()
    with pytest.raises(ZeroDivisionError):
        watch(engine_of(engine.runtime, dict(os.environ)), fail, stop)
    stop.set()


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["Action", "Actor", "Attributes", "name"]), inner)
    ),
    max_leaves=6,
)


@given(st.lists(values, max_size=3))
def test_nonsense_is_passed_over(said: list[object]) -> None:
    known = {"Action": "start", "Actor": {"Attributes": {"name": "web"}}}
    heard = list(events.read("docker", [*said, known]))
    assert heard[-1] == Event(Kind.START, "docker", "web")
    assert all(event.kind in Kind for event in heard)


def test_an_events_namespace_is_the_one_of_keys() -> None:
    (event,) = events.read("podman", [json.loads('{"Action": "died", "Actor": {"Attributes": {"name": "web"}}}')])
    assert event == Event(Kind.DIE, "podman", "web")
    assert event.namespace == "podman:web"
