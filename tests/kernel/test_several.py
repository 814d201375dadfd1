"""One thing done to many items by a few threads."""

from __future__ import annotations

import errno
import threading

import pytest

from reconciler.kernel.several import attempts


def test_each_item_is_tried_once_and_what_failed_is_told_at_its_place() -> None:
    tried: list[int] = []

    def action(item: int) -> None:
        tried.append(item)
        if item % 3 == 0:
            raise OSError(errno.EBUSY, str(item))

    refusals = attempts(action, range(100, 200), 4)
    assert sorted(tried) == list(range(100, 200))
    assert [str(error.strerror) for error in refusals if error] == [str(item) for item in range(102, 200, 3)]
    assert [place for place, error in enumerate(refusals, 100) if error] == list(range(102, 200, 3))


def test_they_are_tried_at_the_same_time_and_no_thread_is_left() -> None:
    meeting = threading.Barrier(3, timeout=10)  # where fewer come it breaks
    before = threading.active_count()
    assert attempts(lambda item: (meeting.wait(), None)[1], range(6), 3) == [None] * 6
    assert threading.active_count() == before


def test_one_thread_is_the_callers() -> None:
    seen: set[threading.Thread] = set()
    attempts(lambda item: seen.add(threading.current_thread()), range(5), 1)
    assert seen == {threading.current_thread()}
    assert attempts(lambda item: None, (), 4) == []


def test_an_interrupt_ends_it_when_what_is_begun_is_finished() -> None:
    finished: list[int] = []
    going, stopped = threading.Event(), threading.Event()

    def action(item: int) -> None:
        if threading.current_thread() is threading.main_thread():
            assert going.wait(10)
            stopped.set()
            raise KeyboardInterrupt
        going.set()
        assert stopped.wait(10)
        finished.append(item)

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        attempts(action, range(1000), 2)
    assert 1 <= len(finished) < 900
    assert threading.active_count() == before


def test_where_no_threads_may_be_started_the_caller_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    done: list[int] = []
    assert attempts(done.append, range(9), 4) == [None] * 9
    assert done == list(range(9))
