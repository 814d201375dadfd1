"""The board between an agent and its readers, and what the agent counts."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.watch.served import BUCKETS, OUTCOMES, Board, Served, Tally

EMPTY = Served(owner="default")


def test_each_thing_shown_has_a_version_of_its_own() -> None:
    board = Board(EMPTY)
    first = board.snapshot()
    board.show(replace(EMPTY, host="a"))
    second = board.snapshot()
    board.show(replace(EMPTY, host="b", version=1))
    versions = [first.version, second.version, board.snapshot().version]
    assert len(set(versions)) == 3
    assert versions == sorted(versions)


def test_what_says_the_same_wakes_nobody() -> None:
    board = Board(EMPTY)
    before = board.snapshot().version
    board.show(EMPTY)
    assert board.wait(before, 0) == before


def test_a_reader_that_is_behind_does_not_wait() -> None:
    board = Board(EMPTY)
    before = board.snapshot().version
    board.show(replace(EMPTY, host="a"))
    assert board.wait(before, 600) == before + 1


def test_all_who_wait_are_woken() -> None:
    board = Board(EMPTY)
    seen: list[int] = []
    begun = threading.Barrier(9)

    def read() -> None:
        begun.wait()
        seen.append(board.wait(1, 60))

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    begun.wait()
    board.show(replace(EMPTY, host="a"))
    for reader in readers:
        reader.join(60)
    assert seen == [2] * 8


@given(st.lists(st.floats(0, 100)))
def test_every_heal_is_counted_once(durations: list[float]) -> None:
    tally = Tally()
    for seconds in durations:
        tally = tally.healed(seconds)
    assert sum(tally.heals) == len(durations)
    for place, bound in enumerate(BUCKETS):
        assert sum(tally.heals[: place + 1]) == sum(seconds <= bound for seconds in durations)
    assert tally.heal_seconds == pytest.approx(sum(durations))


@given(st.lists(st.sampled_from(OUTCOMES)))
def test_applies_are_counted_by_their_outcome(outcomes: list[str]) -> None:
    tally = Tally()
    for outcome in outcomes:
        tally = tally.applied(outcome, 2)
    assert tally.applies == {outcome: outcomes.count(outcome) for outcome in OUTCOMES}
    assert tally.requests == 2 * len(outcomes)


def test_there_is_no_outcome_without_a_name() -> None:
    with pytest.raises(KeyError):
        Tally().applied("well")


def test_what_was_not_looked_at_for_long_is_stale() -> None:
    seen = replace(EMPTY, looked_at=100.0, stale_after=60.0)
    assert EMPTY.stale(0.0)
    assert not seen.stale(160.0)
    assert seen.stale(161.0)
