#!/usr/bin/env python3
"""Random changes, random damage and random faults for as long as you like, on a host in namespaces of its own; the laws are checked after
each, and the first that is broken ends it.

Every round gives the host another file, damages it or not, and has a run do it, which is killed, refused or left alone. Then:

- a run that says it is done has left nothing to do; one that says it was rolled back has left all as it was; one that says neither has
  said what is half done, or has touched nothing; none shows a traceback;
- the next run finishes, the plan after it is empty, and there is nothing of ours that the file does not want;
- what is not ours is as it was in the beginning.

usage: python -m benchmarks.soak [--minutes N | --rounds N] [--seed S]       needs no root
"""

from __future__ import annotations

import argparse
import errno
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.faults.host import FaultyHost, NoScratch, Run
from tests.faults.outcome import AS_BEFORE, HALF_DONE, OPENING
from tests.faults.plans import FOREIGN
from tests.faults.scene import difference
from tests.faults.seam import FOREVER, NONE, Fault
from tests.support.tun import HAVE_TUN

CODES = (errno.EPERM, errno.EBUSY, errno.ENOMEM, errno.ENOBUFS, errno.EEXIST, errno.ENODEV, errno.EINTR, errno.ERESTART)
STEPS = 400
"""A fault comes at a step up to here, if there are so many."""

# --- what is asked for -----------------------------------------------------------------------------------------------


def wish(chance: random.Random) -> dict[str, Any]:
    """A file: up to three bridges of any mode with up to five containers each."""
    names = [f"c{number}" for number in range(9)]
    chance.shuffle(names)
    ports = iter(chance.sample(range(1000, 1400), 40))
    bridges: dict[str, Any] = {}
    for number in chance.sample(range(5), chance.randrange(1, 4)):
        mode = chance.choice(("nat", "nat", "routed", "isolated"))
        subnets = [f"10.{80 + number}.0.1/24", *([f"fd00:{number}::1/64"] if chance.random() < 0.5 else [])]
        containers = {names.pop(): container(chance, mode, ports) for _ in range(min(len(names), chance.randrange(6)))}
        bridges[f"br-{number}"] = {"mode": mode, "addresses": subnets, "containers": containers}
        if chance.random() < 0.3:
            bridges[f"br-{number}"]["icc"] = False
        if chance.random() < 0.3:
            bridges[f"br-{number}"]["mtu"] = chance.choice((1400, 1450))
    if chance.random() < 0.3:
        machine = {"vm": {"attach": {"tap": "vnet0"}}} if HAVE_TUN and chance.random() < 0.7 else {}
        bridges["br-lan"] = {"mode": "bridged", "uplinks": ["eth1"], "containers": machine}
    return {"version": 1, "bridges": bridges}


def container(chance: random.Random, mode: str, ports: Iterator[int]) -> dict[str, Any]:
    """A container with a free address."""
    found: dict[str, Any] = {}
    if mode in ("nat", "routed"):
        found["ports"] = [
            f"{next(ports)}:{chance.randrange(1, 99)}{chance.choice(('', '/udp'))}" for _ in range(chance.randrange(3))
        ]
    if chance.random() < 0.2:
        found["sysctls"] = {"net.ipv4.ip_default_ttl": chance.randrange(50, 70)}
    return found


DAMAGES = (
    "nft delete table inet reconciler",
    "nft flush table inet reconciler",
    "nft flush set inet reconciler bridges",
    "nft add element inet reconciler isolated '{ \"eth1\" }'",
    "for n in $(ip -br link show type bridge | awk '/^br-[0-9l]/ {print $1}'); do ip link delete $n; break; done",
    "for n in $(ip -br link show type bridge | awk '/^br-[0-9]/ {print $1}'); do ip link set $n down mtu 1300; done",
    "for n in $(ip -br link show type veth | awk '/^c[0-9]-/ {print $1}' | cut -d@ -f1); do ip link delete $n; break; done",
    "for n in $(ip -br link show type veth | awk '/^c[0-9]-/ {print $1}' | cut -d@ -f1); do ip link set $n nomaster; done",
    "for n in $(ls /run/netns); do case $n in c?) ip -n $n link delete eth0; ip netns delete $n; break;; esac; done",
    "for n in $(ls /run/netns); do case $n in c?) ip -n $n address flush dev eth0; ip -n $n link set lo down;; esac; done",
    "for n in $(ls /run/netns); do case $n in c?) ip -n $n route flush table main;; esac; done",
    "sysctl -qw net.ipv4.ip_forward=0",
)
"""What others do to ours. One that finds nothing to do it to does nothing. (A namespace takes its links along only some time after it has
gone, which would look like a change by the run that comes next: so its link goes first.)"""


def fault(chance: random.Random) -> tuple[str, Fault]:
    """What happens to a run, and what to call it."""
    at = chance.randrange(1, STEPS) if chance.random() < 0.5 else chance.randrange(1, 60)
    match chance.randrange(8):
        case 0 | 1:
            return "none", NONE
        case 2 | 3:
            return "killed", Fault("kill", 1 + at % 60)
        case 4:
            return "ack lost", Fault("lost", 1 + at % 60)
        case 5:
            return "dump interrupted", Fault("interrupted", 1 + at % 60, times=chance.choice((1, FOREVER)))
        case 6:
            return "refused from there on", Fault("error", 1 + at % 90, chance.choice(CODES), FOREVER, writes=True)
        case _:
            writes = chance.random() < 0.6
            return "refused once", Fault("error", 1 + at % 90 if writes else at, chance.choice(CODES), writes=writes)


# --- the laws --------------------------------------------------------------------------------------------------------


class Broken(Exception):
    """A law does not hold."""


class Soak:
    """The host, and what was counted."""

    def __init__(self, host: FaultyHost) -> None:
        self._host = host
        host.fresh()
        host.shell(FOREIGN)
        host.reconcile("down")
        self._foreign = [line for line in host.state(settings=False) if is_foreign(line)]
        self.counts: Counter[str] = Counter()

    def round(self, chance: random.Random) -> None:
        """One file, some damage, one run with a fault, one without. Raises Broken."""
        file = self._host.write(json.dumps(wish(chance)), "reconcile.yaml")
        command = ("down",) if chance.random() < 0.1 else ("-f", file, "--max-deletes", "10000")
        if chance.random() < 0.4:
            damage = chance.choice(DAMAGES)
            self._host.shell(f"{{ {damage}; }} 2>/dev/null || true")
            self.counts["damaged"] += 1
        name, what = fault(chance)
        before = self._host.state(settings=False)
        run = self._host.reconcile(*command, fault=what, datagram=chance.choice((1, 32)))
        self.counts[f"{name if run.hit or what is NONE else 'none'} → {told(run)}"] += 1
        self._judge(run, what, before)
        again = self._host.reconcile(*command)
        require(again.code == 0, f"the run after it came to {again.code}: {again.err}")
        self._at_rest(command)

    def _judge(self, run: Run, what: Fault, before: Sequence[str]) -> None:
        require("Traceback" not in run.err, f"a traceback: {run.err}")
        after = self._host.state(settings=False)
        if run.code == 7:
            require(AS_BEFORE in run.err, f"rolled back, and does not say so: {run.err}")
            require_same(before, after, "rolled back, and not as before")
        elif run.code == 1 and HALF_DONE not in run.err:
            require(set(run.written) <= OPENING, f"failed, and does not say what is half done: {run.err}")
            require_same(before, after, "failed, and not as before")
        else:
            killed = run.code == -9 and what.kind == "kill"
            require(run.code in (0, 1) or killed, f"ended with {run.code}: {run.err}")

    def _at_rest(self, command: Sequence[str]) -> None:
        """Nothing to do, nothing left over, nothing of others' touched."""
        if command[0] == "down":
            require("Nothing to do" in self._host.reconcile("down", "--dry-run").out, "down leaves something to do")
            require_same([], self._ours(), "down leaves something of ours")
        else:
            plan = self._host.reconcile(*command, "--dry-run", "--detailed-exitcode")
            require(plan.code == 0, f"a plan after it is not empty: {plan.out}{plan.err}")
        missing = set(self._foreign) - set(self._host.state(settings=False))
        require(not missing, f"what is not ours has changed: {missing}")

    def _ours(self) -> list[str]:
        return [
            line for line in self._host.state(settings=False) if '"reconciler' in line or "file /run/netns/c" in line
        ]


def told(run: Run) -> str:
    """How a run ended, in a word."""
    return {0: "done", 7: "rolled back", -9: "killed"}.get(
        run.code, "half done, said" if HALF_DONE in run.err else "refused, untouched"
    )


def is_foreign(line: str) -> bool:
    """Whether a line of the state is of something that no file here concerns. An uplink is set up, and stays so."""
    return line.startswith(("netns", "nft")) and not any(word in line for word in ("eth1", "cable", "metainfo"))


def require(holds: bool, law: str) -> None:
    if not holds:
        raise Broken(law)


def require_same(expected: Sequence[str], actual: Sequence[str], law: str) -> None:
    found = difference(expected, actual)
    require(not found, "\n".join([f"{law}:", *found[:20]]))


# --- the program -----------------------------------------------------------------------------------------------------


def main() -> int:
    """Soaks, and says what was done. Returns 1 if a law was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=1.0)
    length.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=None, help="the same seed does the same (default: by chance)")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    began, number = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            host = FaultyHost(Path(folder))
        except NoScratch as error:
            sys.exit(f"soak: {error}")
        with host:
            soak = Soak(host)
            while number < options.rounds if options.rounds else time.monotonic() - began < options.minutes * 60:
                number += 1
                try:
                    soak.round(random.Random(f"{seed} {number}"))
                except Broken as law:
                    print(f"soak: seed {seed}, round {number}: {law}", file=sys.stderr)
                    return 1
    print(f"soak: {number} rounds in {time.monotonic() - began:.0f} s, seed {seed}, and every law held")
    for what, count in soak.counts.most_common():
        print(f"  {count:6}  {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
