"""A host brought to where a fault is to come, and the command that it is to come into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.host import FaultyHost, Run
from tests.faults.plans import FOREIGN, Way
from tests.faults.seam import NONE, Fault


@dataclass
class Scene:
    """A way on a host. `before` and `after` are what an undisturbed run starts from and comes to."""

    host: FaultyHost
    start: tuple[str, ...]
    command: tuple[str, ...]
    before: Sequence[str]
    after: Sequence[str]
    wholes: dict[int, Run]
    untouched: bool = False
    """The host is as `before`."""

    def set_up(self) -> None:
        """A host as it is before the run."""
        if not self.untouched:
            set_up(self.host, self.start)
        self.untouched = True

    def run(self, fault: Fault = NONE, datagram: int = 32) -> Run:
        """The run, with a fault."""
        self.untouched = False
        return self.host.reconcile(*self.command, fault=fault, datagram=datagram)

    def whole(self, datagram: int = 32) -> Run:
        """The run without a fault, with so many requests in a datagram."""
        if datagram not in self.wholes:
            self.set_up()
            self.wholes[datagram] = self.run(datagram=datagram)
        return self.wholes[datagram]

    def rests(self) -> bool:
        """Whether a plan finds nothing to do."""
        if self.command[0] == "down":
            return "Nothing to do" in self.host.reconcile("down", "--dry-run").out
        return self.host.reconcile(*self.command, "--dry-run", "--detailed-exitcode").code == 0


def set_up(host: FaultyHost, start: Sequence[str]) -> None:
    host.fresh()
    host.shell(FOREIGN)
    done = host.reconcile(*(start or ["down"]))  # which leaves the file of the lock, if nothing else
    assert done.code == 0, done.err


def scene(host: FaultyHost, way: Way) -> Scene:
    """The scene of `way`: what it is like before and after is seen on a run with no fault."""
    start = ("-f", host.write(way.before, "before.yaml")) if way.before else ()
    command = ("-f", host.write(way.after, "after.yaml"), "--max-deletes", "10000") if way.after else ("down",)
    set_up(host, start)
    before = host.state()
    whole = host.reconcile(*command)
    assert whole.code == 0, whole.err
    return Scene(host, start, command, before, host.state(), {32: whole})


def difference(expected: Sequence[str], actual: Sequence[str]) -> list[str]:
    """What is there too much (+) and what is missing (-), lest two thousand lines be compared by eye."""
    extra = [f"+ {line}" for line in actual if line not in set(expected)]
    return extra + [f"- {line}" for line in expected if line not in set(actual)]
