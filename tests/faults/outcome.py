"""What a run may come to when something was refused: done, or as before, or a plain word about what is half done."""

from __future__ import annotations

from tests.faults.scene import Scene, difference
from tests.faults.seam import Fault

HALF_DONE = "half done"
AS_BEFORE = "the host is as it was before"
OPENING = frozenset({"makedirs", "open (making)", "ftruncate", "pwrite"})
"""What a run makes before it touches anything: the file of its lock."""


def after_a_fault(stage: Scene, fault: Fault, *, half: bool = False) -> list[str]:
    """What is wrong with how a run with `fault` ended. With `half`, it may end half done, if it says so, and the next run finishes."""
    stage.set_up()
    run = stage.run(fault)
    state = stage.host.state()
    wrong = [f"a traceback: {run.err}"] if "Traceback" in run.err else []
    wrong += [] if run.hit else ["the fault did not come"]
    if run.code == 0:
        wrong += difference(stage.after, state)
        wrong += [] if stage.rests() else ["a plan after it is not empty"]
    elif run.code == 7:
        stage.untouched = state == stage.before
        wrong += difference(stage.before, state)
        wrong += [] if AS_BEFORE in run.err else [f"it does not say that it is as before: {run.err}"]
    elif run.code == 1 and set(run.written) <= OPENING:
        stage.untouched = state == stage.before
        wrong += difference(stage.before, state)
    elif run.code == 1 and half and HALF_DONE in run.err:
        again = stage.run()
        wrong += difference(stage.after, stage.host.state()) if again.code == 0 else [f"the next run: {again.err}"]
    else:
        wrong.append(f"it ended with {run.code}: {run.err}")
    return [f"{fault} ({', '.join(run.hit[:3])}) → {run.code}: {line}" for line in wrong]
