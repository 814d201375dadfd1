"""kill -9 anywhere: the next run finishes, nothing is left behind, and what is foreign is as it was.

Every boundary between two steps that change something is tried, with one request in a datagram, so that there is a boundary between any
two requests. (The messages that mark a link travel with the one that makes it: the kernel works a datagram off whatever becomes of us.)
"""

from __future__ import annotations

import os

from tests.faults.host import FaultyHost
from tests.faults.outcome import OPENING
from tests.faults.plans import MANY, Way
from tests.faults.scene import Scene, difference, scene
from tests.faults.seam import Fault
from tests.faults.spread import spread

EVERY = 1 if os.environ.get("FAULTS") == "all" else 5
"""Every so many boundaries a run that is to be confirmed is killed at."""
CONFIRMED = ("--confirm-timeout", "600")


def test_the_run_after_a_crash_anywhere_finishes_and_leaves_nothing(stages: list[Scene], counted: list[str]) -> None:
    boundaries = stages[0].whole(datagram=1).written
    assert spread(stages, after_a_crash, list(enumerate(boundaries, 1))) == [[]] * len(boundaries)
    counted.append(f"killed at each of {len(boundaries)} boundaries")
    stages[0].set_up()
    assert stages[0].run(Fault("kill", len(boundaries) + 1), datagram=1).code == 0


def after_a_crash(stage: Scene, case: tuple[int, str]) -> list[str]:
    """What is wrong when the run is killed before the step `case` and started again."""
    number, step = case
    stage.set_up()
    killed = stage.run(Fault("kill", number), datagram=1)
    if (killed.code, killed.hit) != (-9, (step,)):
        return [f"the run did not die at {case}: {killed}"]
    finished = stage.run()
    wrong = difference(stage.after, stage.host.state())
    if finished.code or not stage.rests():
        wrong.append(f"the next run came to {finished.code}: {finished.err}")
    return [f"killed at {case}: {line}" for line in wrong]


def test_after_a_crash_while_many_names_are_taken_away_at_a_time_the_next_run_finishes(host: FaultyHost) -> None:
    stage = scene(host, Way(MANY, ""))
    boundaries = [number for number, step in enumerate(stage.whole().written, 1) if step in ("umount2", "unlink")]
    for number in boundaries[::23]:
        stage.set_up()
        assert stage.run(Fault("kill", number)).code == -9
        finished = stage.run()
        assert (finished.code, difference(stage.after, stage.host.state())) == (0, []), finished.err
        assert stage.rests()


def test_a_crash_anywhere_of_a_run_that_is_to_be_confirmed_is_rolled_back_to_what_was_there(
    stages: list[Scene], counted: list[str]
) -> None:
    # Before these there is no journal, and nothing but the file of the lock.
    boundaries = list(enumerate(stages[0].whole(datagram=1).written, 1))[len(OPENING) :: EVERY]
    assert spread(stages, after_a_rollback, boundaries) == [[]] * len(boundaries)
    counted.append(f"killed at {len(boundaries)} boundaries, and rolled back")


def after_a_rollback(stage: Scene, case: tuple[int, str]) -> list[str]:
    """What is wrong when a run that is to be confirmed is killed before the step `case` and rolled back."""
    number, step = case
    stage.set_up()
    stage.untouched = False
    killed = stage.host.reconcile(*stage.command, *CONFIRMED, fault=Fault("kill", number), datagram=1)
    if (killed.code, killed.hit) != (-9, (step,)):
        return [f"the run did not die at {case}: {killed}"]
    refused = stage.host.reconcile(*stage.command)
    undone = stage.host.reconcile("rollback")
    wrong = difference(stage.before, [line for line in stage.host.state() if not line.startswith("file /run/state")])
    if (refused.code, undone.code) != (4, 0):
        wrong.append(f"the next run came to {refused.code}, the rollback to {undone.code}: {refused.err}{undone.err}")
    return [f"killed at {case}: {line}" for line in wrong]
