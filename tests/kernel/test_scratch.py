"""Work done in a child in scratch namespaces: what it returns and raises comes back, and the caller stays where it is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from reconciler import scratch
from reconciler.errors import PlatformError, RefusedError, UsageError


def namespaces() -> tuple[str, ...]:
    """Where the calling process is."""
    return tuple(os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt", "user"))


def test_the_work_is_done_elsewhere_and_its_value_comes_back() -> None:
    before = namespaces()
    inside, entries = scratch.run(lambda: (namespaces(), sorted(os.listdir("/run"))))
    assert inside[:2] != before[:2]
    assert entries == ["netns"]
    assert namespaces() == before


@pytest.mark.parametrize("error", [UsageError("wrong"), RefusedError("wrong"), OSError("wrong")])
def test_what_it_raises_comes_back_as_a_refusal(error: Exception) -> None:
    def work() -> None:
        raise error

    with pytest.raises(RefusedError, match=r"^wrong$"):
        scratch.run(work)


def test_what_the_platform_lacks_stays_that() -> None:
    def work() -> None:
        raise PlatformError("no such thing")

    with pytest.raises(PlatformError, match=r"^no such thing$"):
        scratch.run(work)


def test_a_mistake_comes_back_with_its_place() -> None:
    def work() -> None:
        raise LookupError("a mistake")

    with pytest.raises(RefusedError, match=r"(?s)test_scratch\.py.*LookupError: a mistake"):
        scratch.run(work)


def test_what_cannot_come_back_is_a_mistake_too() -> None:
    with pytest.raises(RefusedError, match="pickle"):
        scratch.run(lambda: lambda: None)


def test_a_child_that_is_killed_is_told() -> None:
    with pytest.raises(RefusedError, match="ended without a word"):
        scratch.run(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_when_the_caller_is_interrupted_the_child_ends(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()

    with pytest.raises(KeyboardInterrupt):
        scratch.run(work)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()
