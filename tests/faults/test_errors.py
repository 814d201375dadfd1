"""The kernel says no anywhere: the run is done, or all is as before and it says so; never a half state called done.

Here every second step that writes is refused, each with another error than the one before it, and every eighth that only reads.
With FAULTS=all every step is, with every error: some five thousand runs, which take half an hour.
"""

from __future__ import annotations

import errno
import itertools
import os
import sys
from collections.abc import Iterator, Sequence

from tests.faults.host import FaultyHost, Run
from tests.faults.outcome import AS_BEFORE, HALF_DONE, OPENING, after_a_fault
from tests.faults.plans import MANY, ONE, WAYS, Way
from tests.faults.scene import Scene, difference, scene
from tests.faults.seam import FOREVER, Fault
from tests.faults.spread import spread

CODES = (
    errno.EPERM,
    errno.EBUSY,
    errno.ENOMEM,
    errno.ENOBUFS,
    errno.EEXIST,
    errno.ENODEV,
    errno.EINTR,
    errno.ERESTART,
)
EVERY = os.environ.get("FAULTS") == "all"
WRITES, READS = (1, 1) if EVERY else (2, 8)
"""Every so many of the steps that write, and of those that read."""


def test_a_refusal_anywhere_is_got_over_or_undone(stages: list[Scene], counted: list[str]) -> None:
    cases = list(refusals(stages[0].whole()))
    assert wrong(spread(stages, after_a_fault, cases)) == []
    counted.append(f"{len(cases)} refusals of {len(stages[0].whole().steps)} steps")


def refusals(whole: Run) -> Iterator[Fault]:
    """Which steps of a run are refused, and with what."""
    codes, reads, writes = itertools.cycle(CODES), itertools.count(), itertools.count()
    for number, step in enumerate(whole.steps, 1):
        changes = step in whole.written or step.startswith("request ")
        if next(writes) % WRITES if changes else next(reads) % READS:
            continue
        for code in CODES if EVERY else (next(codes),):
            yield Fault("error", number, code)


def test_an_acknowledgement_that_does_not_come_is_no_reason_to_believe_either(
    stages: list[Scene], counted: list[str]
) -> None:
    requests = sum(step.startswith("request ") for step in stages[0].whole().steps)
    cases = [Fault("lost", number) for number in range(1, requests + 1)]
    assert wrong(spread(stages, after_a_fault, cases)) == []
    counted.append(f"{len(cases)} acknowledgements lost")


def test_a_dump_that_is_interrupted_is_repeated_and_one_that_always_is_changes_nothing_unsaid(
    stages: list[Scene], counted: list[str]
) -> None:
    dumps = sum(step.startswith("answer to RTM_GET") for step in stages[0].whole().steps)
    once = [Fault("interrupted", number) for number in range(1, dumps + 1, READS // 2 or 1)]
    assert wrong(spread(stages, done_after, once)) == []
    always = [Fault("interrupted", number, times=FOREVER) for number in range(1, dumps + 1, READS)]
    assert wrong(spread(stages, half_done_at_most, always)) == []
    counted.append(f"{len(once)} dumps interrupted once, {len(always)} always, of {dumps}")


def test_when_everything_is_refused_from_somewhere_on_what_is_half_done_is_said_and_the_next_run_finishes(
    stages: list[Scene], counted: list[str]
) -> None:
    stages[0].set_up()
    writes = len(stages[0].run(Fault("error", writes=True)).steps)
    cases = [
        Fault("error", number, CODES[number % len(CODES)], FOREVER, writes=True)
        for number in range(1, writes + 1, 1 if EVERY else 9)
    ]
    assert wrong(spread(stages, half_done_at_most, cases)) == []
    counted.append(f"{len(cases)} runs refused from somewhere on")


def half_done_at_most(stage: Scene, fault: Fault) -> list[str]:
    return after_a_fault(stage, fault, half=True)


def done_after(stage: Scene, fault: Fault) -> list[str]:
    """What is wrong with a run that is to get over `fault`."""
    stage.set_up()
    run = stage.run(fault)
    found = difference(stage.after, stage.host.state()) + ([] if run.code == 0 else [f"{run.code}: {run.err}"])
    return [f"{fault} ({run.hit}): {line}" for line in found]


def wrong(results: Sequence[list[str]]) -> list[str]:
    return [line for lines in results for line in lines][:40]


# --- a look that fails ------------------------------------------------------------------------------------------------

REMOVING = ("RTM_DEL", "umount", "unlink", "nftables transaction")


def test_no_look_that_fails_or_shows_a_part_makes_a_run_remove_anything(host: FaultyHost, counted: list[str]) -> None:
    """On a host that is as the file says, whatever cannot be seen is no reason to change it."""
    stage = scene(host, WAYS["create all"])
    settled, whole = stage.after, host.reconcile(*stage.command)
    assert not removals(whole)
    cases = [
        Fault(kind, number, code, times)
        for number in range(1, len(whole.steps) + 1, READS // 2 or 1)
        for kind, code, times in (("error", CODES[number % len(CODES)], 1), ("error", errno.EMFILE, FOREVER))
    ]
    for fault in cases:
        run = host.reconcile(*stage.command, fault=fault)
        assert run.code in (0, 1), (fault, run)
        assert "Traceback" not in run.err, (fault, run)
        assert not removals(run), (fault, run)
    assert difference(settled, host.state()) == []
    counted.append(f"{len(cases)} looks failed")


def removals(run: Run) -> list[str]:
    return [step for step in run.written if any(word in step for word in REMOVING)]


# --- single ones ------------------------------------------------------------------------------------------------------


def test_a_transaction_that_another_one_came_before_is_made_again(host: FaultyHost) -> None:
    stage = scene(host, WAYS["change much"])
    for number in positions(stage.whole().steps, "nftables transaction"):
        assert done_after(stage, Fault("error", number, errno.ERESTART)) == []


def test_links_that_were_to_be_deleted_at_once_and_were_not_are_in_no_group(host: FaultyHost) -> None:
    """More of them than requests go into a datagram: a link left in the group would go with the next one of that number."""
    stage = scene(host, Way(MANY, ""))
    (deletion, *_) = positions(stage.whole().steps, "request RTM_DELLINK")
    assert after_a_fault(stage, Fault("error", deletion, errno.EBUSY)) == []
    assert stage.untouched


def test_of_many_names_that_go_at_a_time_one_that_does_not_brings_all_back(host: FaultyHost) -> None:
    """Which name it is that a step is about is another one each time: several threads take them away."""
    stage = scene(host, Way(MANY, ""))
    for number in positions(stage.whole().steps, "umount2")[::19]:
        assert after_a_fault(stage, Fault("error", number, errno.EBUSY)) == []


def test_who_cannot_leave_a_container_does_nothing_more(host: FaultyHost) -> None:
    """What comes next would be done to the container, an undo too."""
    stage = scene(host, WAYS["create all"])
    first = stage.whole().steps.index("unshare") + 1
    home = next(number for number in positions(stage.whole().steps, "setns") if number > first)
    stage.set_up()
    run = stage.run(Fault("error", home, errno.EPERM, times=FOREVER))
    assert (run.code, HALF_DONE in run.err) == (1, True), run.err
    assert "could not leave a container's network namespace" in run.err
    passed = [step for step in stage.whole().steps[: home - 1] if step in stage.whole().written]
    assert [step for step in run.written if step not in OPENING] == [step for step in passed if step not in OPENING]
    assert stage.run().code == 0
    assert difference(stage.after, host.state()) == []


def test_namespaces_that_an_undo_makes_anew_are_named(host: FaultyHost) -> None:
    stage = scene(host, WAYS["remove all"])
    *_, last = positions(stage.whole().steps, "nftables transaction")
    stage.set_up()
    run = stage.run(Fault("error", last, errno.EBUSY))
    assert (run.code, AS_BEFORE in run.err) == (7, True), run.err
    assert "Made anew: the network namespace db, web." in run.err
    assert difference(stage.before, host.state()) == []


def test_an_undo_that_is_refused_too_lists_what_is_not_as_it_was(host: FaultyHost) -> None:
    stage = scene(host, WAYS["create all"])
    stage.set_up()
    writes = stage.run(Fault("error", writes=True)).steps
    *_, last = positions(writes, "nftables transaction")
    stage.set_up()
    run = stage.run(Fault("error", last, errno.EBUSY, times=FOREVER, writes=True))
    assert run.code == 1
    assert "Device or resource busy" in run.err
    assert "Not as it was before:\n" in run.err
    assert "  nftables table inet reconciler is there and was not\n" in run.err
    assert "run it again" in run.err
    assert stage.run().code == 0
    assert difference(stage.after, host.state()) == []


def test_a_full_disk_behind_standard_output_is_told_in_a_line(host: FaultyHost) -> None:
    path = host.write(ONE, "one.yaml")
    said = host.shell(f"{sys.executable} -m reconciler schema > /dev/full 2> {path}.err || echo $?; cat {path}.err")
    assert said == "1\nreconcile: No space left on device\n"


def positions(steps: Sequence[str], what: str) -> list[int]:
    return [number for number, step in enumerate(steps, 1) if step == what]
