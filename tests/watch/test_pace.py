"""When the agent does what, with a clock that the test moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.resource import Key
from reconciler.kinds import places
from reconciler.watch.pace import Pace, Rates, Task

RATES = Rates(debounce=1, file_debounce=2, full=1000, poll=500, first_retry=10, last_retry=80)
WEB = places.link("web")
KEY, OTHER = Key("link", "", "web"), Key("link", "", "db")


def run(pace: Pace, now: float, until: float) -> list[tuple[float, Task]]:
    """What is done from `now` on, by somebody who does it at once."""
    done = []
    while (wait := pace.wait(now)) is not None and now + wait <= until:
        now += wait
        while (task := pace.take(now)) is not None:
            done.append((now, task))
    return done


@given(st.lists(st.floats(0, 30), min_size=1))
def test_a_hint_is_looked_at_after_a_pause_and_within_ten_of_them(times: list[float]) -> None:
    pace = Pace(RATES)
    looked: list[float] = []
    for time in sorted(times):
        looked += [when for when, task in run(pace, 0, time) if task is Task.MEND]
        pace.hint(time, [WEB])
    looked += [when for when, task in run(pace, 0, 100) if task is Task.MEND]
    for time in times:
        assert any(time <= when <= time + 10 * RATES.debounce + 1e-9 for when in looked)
    assert len(looked) <= len(times)


def test_a_swarm_of_hints_is_one_look() -> None:
    pace = Pace(RATES)
    for step in range(9):
        pace.hint(step / 10, [WEB])
    assert run(pace, 0, 100) == [(1.8, Task.MEND)]


def test_a_full_look_sees_what_was_to_be_looked_at_in_part() -> None:
    pace = Pace(RATES)
    pace.hint(0, [WEB])
    pace.hint_everything(0)
    assert [task for _, task in run(pace, 0, 10)] == [Task.FULL]
    assert pace.places == set()


def test_files_that_are_being_written_are_read_before_everything_is_looked_at() -> None:
    pace = Pace(RATES)
    pace.hint_files(0)
    pace.hint(0, [WEB])
    pace.at(0, Task.FULL)
    assert run(pace, 0, 100) == [(2, Task.READ), (2, Task.FULL)]


def test_files_that_are_always_written_keep_nobody_from_looking_at_everything() -> None:
    pace, done = Pace(RATES), list[tuple[float, Task]]()
    for now in range(100):
        pace.hint_files(now)
        pace.hint_everything(now)
        done += run(pace, now, now + 0.9)
    looked = [when for when, task in done if task is Task.FULL]
    assert looked[0] <= 10 * RATES.file_debounce + 1
    assert len(looked) >= 4


def test_everything_is_looked_at_and_the_files_are_read_from_time_to_time() -> None:
    pace = Pace(RATES)
    pace.at(0, Task.READ)
    pace.at(0, Task.FULL)
    done = run(pace, 0, 2100)
    assert [when for when, task in done if task is Task.FULL] == [0, 1000, 2000]
    assert [when for when, task in done if task is Task.READ] == [0, 500, 1000, 1500, 2000]


def test_what_fails_is_held_back_for_longer_each_time_and_the_rest_is_not() -> None:
    pace, now = Pace(RATES), 0.0
    pauses = []
    for _ in range(6):
        pauses.append(pace.failed(now, {KEY: "no"})[KEY])
        assert pace.held(now) == {KEY}
        ((now, task), *_) = run(pace, now, now + 100)
        assert task is Task.FULL
        assert pace.held(now) == set()
    assert pauses == [10, 20, 40, 80, 80, 80]


def test_what_works_again_is_forgotten() -> None:
    pace = Pace(RATES)
    pace.failed(0, {KEY: "no", OTHER: "no"})
    run(pace, 0, 10)
    pace.settled(10, [OTHER])
    assert set(pace.holds) == {OTHER}
    pace.failed(10, {KEY: "again"})
    assert pace.holds[KEY].tries == 1


def test_what_is_held_is_not_forgotten_by_a_look_that_left_it_alone() -> None:
    pace = Pace(RATES)
    pace.failed(0, {KEY: "no"})
    pace.settled(5)
    assert set(pace.holds) == {KEY}


def test_what_has_to_be_healed_again_and_again_is_fought_over() -> None:
    pace = Pace(RATES)
    assert [pace.healed(now, [KEY]) for now in range(4)] == [{}] * 4
    pause = pace.healed(4, [KEY])[KEY]
    assert pause == 80
    assert pace.held(5) == {KEY}
    # After the truce it is tried once more, and the next change is enough.
    run(pace, 4, 4 + pause)
    now = 4 + pause
    assert pace.healed(now, [KEY]) == {}
    pace.settled(now)
    assert pace.healed(now + 1, [KEY]) == {KEY: 80}


def test_a_truce_that_holds_ends_the_quarrel() -> None:
    pace = Pace(RATES)
    for now in range(5):
        pace.healed(now, [KEY])
    run(pace, 4, 84)
    pace.healed(84, [KEY])
    pace.settled(84 + RATES.quarrel_time + 1)
    assert pace.holds == {}


def test_what_had_to_wait_in_between_is_no_quarrel() -> None:
    pace = Pace(RATES)
    for now in range(20):
        assert pace.healed(now, [KEY]) == {}
        if now % 3 == 0:
            pace.excuse([KEY])


def test_heals_far_apart_are_no_quarrel() -> None:
    pace = Pace(RATES)
    assert all(pace.healed(now, [KEY]) == {} for now in range(0, 10_000, 20))


def test_a_look_that_fails_as_a_whole_is_tried_again_later_each_time() -> None:
    pace = Pace(RATES)
    assert [pace.could_not_look(0) for _ in range(5)] == [10, 20, 40, 80, 80]
    pace.looked()
    assert pace.could_not_look(0) == 10


def test_years_of_failures_are_no_matter() -> None:
    pace = Pace(RATES)
    for _ in range(5000):
        assert pace.could_not_look(0) <= 80
