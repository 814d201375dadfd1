"""What is measured, and what it is held to.

A measurement gives a sample, numbers by name (seconds, or bytes). A row makes one figure of a sample; the figure of several
samples is their median. What is to be compared is measured side by side in one sample, since a machine is never as fast as it was.
NAME_cpu in a sample is the processor time of NAME: on a machine that others use too, that is nearest to what it would take alone.
"""

from __future__ import annotations

import json
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import agent, work
from benchmarks.stage import Run, environment, isolated, reconcile, timed

Sample = Mapping[str, float]
START_UP = 0.25
"""Seconds that the start of Python and its imports may take, besides."""
MANY_PORTS = 10_000


@dataclass(frozen=True)
class Setting:
    """How to measure: the program that says what the kernel takes, and a folder for files."""

    floor: Path
    folder: str

    def file(self, name: str, text: str) -> str:
        """The path of a file of that text."""
        return work.write(self.folder, name, text)


@dataclass(frozen=True)
class Row:
    """One line of the table. `what` is ours, `against` what it is compared with, by their names in the sample."""

    title: str
    measurement: str
    figure: Callable[[Sample], float]
    bound: float
    unit: str
    what: str
    against: str = ""


# --- measurements ----------------------------------------------------------------------------------------------------

SIZES = (100, 300, 1000)


def cold(setting: Setting) -> Sample:
    """Applies files of several sizes to an empty host, and beside each what the floor and a script take."""
    empty = _apply(setting, 0)
    sample = {"ours_0": empty["ours"], "ours_0_cpu": empty["ours_cpu"]}
    for size in SIZES:
        ours, floor = _apply(setting, size), _floor(setting, size)
        sample |= {f"ours_{size}": ours["ours"], f"floor_{size}": floor["apply"]}
        sample |= {f"ours_{size}_cpu": ours["ours_cpu"], f"floor_{size}_cpu": floor.get("apply_cpu", floor["apply"])}
        sample |= {f"by_hand_{size}": _by_hand(setting, size)}
    return sample


def _apply(setting: Setting, containers: int, ports: int = 1) -> Sample:
    file = setting.file(f"{containers}x{ports}.yaml", work.desired(containers, ports))

    def run() -> Sample:
        done = reconcile("-f", file)
        return _spans("ours", done) | {"memory": done.memory}

    return dict(isolated(run))


def _spans(name: str, run: Run) -> dict[str, float]:
    return {name: run.seconds, f"{name}_cpu": run.processor}


def _floor(setting: Setting, containers: int, rest: float = 0.0) -> Sample:
    """What the floor program says, in seconds. It rests before it reads."""
    command = (sys.executable, str(setting.floor), str(containers), str(rest))
    said = isolated(lambda: json.loads(timed(*command).out))
    return {name: said[name] / 1000 for name in ("apply", "observe", "apply_cpu", "observe_cpu") if name in said}


def _by_hand(setting: Setting, containers: int) -> float:
    script, rules = work.by_hand(containers)
    nft = setting.file(f"{containers}.nft", rules)
    return float(isolated(lambda: timed("sh", "-e", "/dev/stdin", nft, stdin=script).seconds))


_REST = 20.0
"""Seconds in which the kernel gets over a thousand new carriers: what each namespace says to everybody goes to all ports of the bridge.
MLD and DAD keep a processor busy for some six seconds, and routers are asked for after 1, 5, 13 and 29 (RFC 7559, addrconf_rs_timer)."""


def idle(setting: Setting) -> Sample:
    """A dry run that finds nothing to do among 1,000 containers."""
    file = setting.file("idle.yaml", work.desired(1000))

    def run() -> Sample:
        reconcile("-f", file)
        time.sleep(_REST)
        return _spans("ours", reconcile("--dry-run", "-f", file))

    floor = _floor(setting, 1000, _REST)
    return isolated(run) | {"floor": floor["observe"], "floor_cpu": floor.get("observe_cpu", floor["observe"])}


def small(setting: Setting) -> Sample:
    """Dry runs of a small file: where nothing is made yet, and where all is."""
    file = setting.file("small.yaml", work.desired(3))

    def run() -> Sample:
        empty = reconcile("--dry-run", "-f", file)
        reconcile("-f", file)
        made = reconcile("--dry-run", "-f", file)
        return _spans("ours", max(empty, made, key=lambda one: one.seconds))

    return dict(isolated(run))


def validate(setting: Setting) -> Sample:
    """The check of a file with 1,000 containers, which sees no kernel."""
    file = setting.file("validate.yaml", work.desired(1000))
    return _spans("ours", reconcile("validate", "-f", file))


def ports(setting: Setting) -> Sample:
    """10,000 published ports come to ten containers that are there, then one more."""
    each = MANY_PORTS // 10
    files = [
        setting.file("no-ports.yaml", work.desired(10, 0)),
        setting.file("all-ports.yaml", work.desired(10, each)),
        setting.file("one-more.yaml", work.uneven(10, each, 1)),
    ]

    def run() -> Sample:
        _, load, add = (reconcile("-f", file) for file in files)
        return _spans("load", load) | _spans("add", add)

    return dict(isolated(run))


def down(setting: Setting) -> Sample:
    """1,000 containers taken down, by us and by `ip netns del` of each in one batch, which returns before their interfaces are gone."""
    file = setting.file("down.yaml", work.desired(1000))
    batch = "".join(f"netns del c{number}\n" for number in range(1000))

    def ours() -> Sample:
        reconcile("-f", file)
        return _spans("ours", reconcile("down", "-f", file))

    def bare() -> Sample:
        reconcile("-f", file)
        ends = {name for _, name in socket.if_nameindex()} - {"lo", "br-bench"}
        began = time.perf_counter()
        returned = timed("ip", "-batch", "-", stdin=batch)
        while ends & {name for _, name in socket.if_nameindex()}:
            time.sleep(0.005)
        return _spans("bare", returned) | {"gone": time.perf_counter() - began}

    return isolated(ours) | isolated(bare)


def memory(setting: Setting) -> Sample:
    """The most memory that an apply has, of 1,000 containers with ten ports each."""
    return {"ours": _apply(setting, 1000, MANY_PORTS // 1000)["memory"]}


def connect(setting: Setting) -> Sample:
    """A new TCP connection through a published port, from a neighbour on the LAN: with few of them and with many, in turns."""
    few = setting.file("few.yaml", work.desired(1, 10))
    many = setting.file("many.yaml", work.desired(1, MANY_PORTS))

    def run() -> Sample:
        subprocess.run(["sh", "-ec", _LAN], check=True, env=environment())
        reconcile("-f", few)
        server = subprocess.Popen(["ip", "netns", "exec", "c0", sys.executable, __file__, "serve"], env=environment())
        try:
            spans: dict[str, list[float]] = {"few": [], "many": []}
            for _ in range(_TURNS):
                for name, file, count in (("few", few, 10), ("many", many, MANY_PORTS)):
                    reconcile("-f", file, "--max-deletes", str(MANY_PORTS))
                    command = ("ip", "netns", "exec", "lan", sys.executable, __file__, "connect", str(count))
                    spans[name].append(float(timed(*command).out))
        finally:
            server.kill()
            server.wait()
        return {name: statistics.median(values) for name, values in spans.items()}

    return dict(isolated(run))


_TURNS = 3
_CONNECTIONS = 1500
_HOST = "192.0.2.1"
_LAN = f"""
ip netns add lan
ip link add lan0 up type veth peer name eth0 netns lan
ip addr add {_HOST}/24 dev lan0
ip -n lan link set eth0 up
ip -n lan addr add 192.0.2.2/24 dev eth0
"""


def serve() -> None:
    """Takes connections at port 80 and lets go of them, until killed."""
    with socket.create_server(("", 80), backlog=1000) as server:
        while True:
            server.accept()[0].close()


def connections(count: int) -> float:
    """Seconds that connect(2) takes in the middle, over ports spread across the `count` published ones."""
    reset = struct.pack("ii", 1, 0)  # SO_LINGER of no time: no socket is left behind that waits
    spans = []
    for number in range(_CONNECTIONS):
        port = work.FIRST_PORT + number * 7919 % count
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            client.settimeout(10)
            for patience in range(200):
                began = time.perf_counter()
                try:
                    client.connect((_HOST, port))
                except ConnectionRefusedError:
                    if number or patience == 199:
                        raise
                    time.sleep(0.02)  # the server has just been started
                    continue
                spans.append(time.perf_counter() - began)
                break
    return statistics.median(spans)


def watch(setting: Setting) -> Sample:
    """An agent that keeps 10 containers, and one that keeps 1,000."""
    return agent.sample()


MEASUREMENTS: Mapping[str, Callable[[Setting], Sample]] = {
    "cold": cold,
    "idle": idle,
    "small": small,
    "validate": validate,
    "ports": ports,
    "down": down,
    "memory": memory,
    "connect": connect,
    "agent": watch,
}


# --- rows ------------------------------------------------------------------------------------------------------------


def _above_start_up(ours: str, floor: str) -> Callable[[Sample], float]:
    return lambda sample: (sample[ours] - START_UP) / sample[floor]


def _growth(sample: Sample) -> float:
    """What a container costs among 1,000 against among 100, less what a file without one costs; divided by the floor's quotient."""
    ours, floor = (
        (sample[f"{who}_1000"] - base) / 1000 / ((sample[f"{who}_100"] - base) / 100)
        for who, base in (("ours", sample["ours_0"]), ("floor", 0.0))
    )
    return ours / floor


def by_processor(sample: Sample) -> Sample:
    """`sample` with processor times in the place of times, as far as they were measured."""
    return {name: sample.get(f"{name}_cpu", value) for name, value in sample.items()}


def _value(name: str) -> Callable[[Sample], float]:
    return lambda sample: sample[name]


def _scaled(name: str, factor: float) -> Callable[[Sample], float]:
    return lambda sample: sample[name] * factor


def _ratio(ours: str, other: str) -> Callable[[Sample], float]:
    return lambda sample: sample[ours] / sample[other]


ROWS = (
    *(
        Row(
            f"cold apply, {size:,} containers: (ours - 0.25 s) / floor",
            "cold",
            _above_start_up(f"ours_{size}", f"floor_{size}"),
            2.0,
            "×",
            f"ours_{size}",
            f"floor_{size}",
        )
        for size in SIZES
    ),
    Row(
        "cost per container, 1,000 against 100, over the floor's", "cold", _growth, 1.2, "×", "ours_1000", "floor_1000"
    ),
    Row(
        "dry run, nothing to do, 1,000 containers: (ours - 0.25 s) / floor",
        "idle",
        _above_start_up("ours", "floor"),
        3.0,
        "×",
        "ours",
        "floor",
    ),
    Row("dry run, 3 containers", "small", _value("ours"), 0.30, "s", "ours"),
    Row("validate, 1,000 containers", "validate", _value("ours"), 0.6, "s", "ours"),
    Row("10,000 published ports: load all", "ports", _value("load"), 0.6, "s", "load"),
    Row("10,000 published ports: add one", "ports", _value("add"), 0.5, "s", "add"),
    Row("down, 1,000 containers: ours / ip -batch netns del", "down", _ratio("ours", "bare"), 1.5, "×", "ours", "bare"),
    Row(
        "down, 1,000 containers: ours / the same until its interfaces are gone",
        "down",
        _ratio("ours", "gone"),
        1.5,
        "×",
        "ours",
        "gone",
    ),
    Row(
        "memory, 1,000 containers, 10,000 ports",
        "memory",
        lambda sample: sample["ours"] / 1e6,
        150,
        "MB",
        "ours",
    ),
    Row(
        "new connection, one of 10,000 ports / one of 10",
        "connect",
        _ratio("many", "few"),
        1.1,
        "×",
        "many",
        "few",
    ),
    *(
        row
        for name in ("link", "element")
        for row in (
            Row(
                f"agent, 1,000 containers: a deleted {name} is healed",
                "agent",
                _scaled(f"{name}_1000", 1e3),
                20,
                "ms",
                f"{name}_1000",
            ),
            Row(
                f"agent: a deleted {name} is healed, 1,000 containers / 10",
                "agent",
                _ratio(f"{name}_1000", f"{name}_10"),
                1.5,
                "×",
                f"{name}_1000",
                f"{name}_10",
            ),
        )
    ),
    Row(
        "agent, 1,000 containers: from a file with another port to the kernel, less the debounce",
        "agent",
        _scaled("file_1000", 1e3),
        60,
        "ms",
        "file_1000",
    ),
    Row("agent, 1,000 containers: at rest, of a processor", "agent", _scaled("rest_1000", 100), 0.1, "%", "rest_1000"),
    Row("agent, 1,000 containers: memory", "agent", _scaled("memory_1000", 1e-6), 120, "MB", "memory_1000"),
)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        print(connections(int(sys.argv[2])))
