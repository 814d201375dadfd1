"""How long the agent takes: from damage to healed, from a file to the kernel, and what it costs at rest.

A real `reconcile watch` keeps a host in namespaces of its own. The time is taken from the damage until the kernel shows the thing
again, which is looked at whenever the kernel tells anything.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reconciler import scratch
from reconciler.core.messages import HOST, Index, Netlink, NftElement, Part, Scope
from reconciler.kernel.live import LiveKernel
from reconciler.watch import control

ROOT = Path(__file__).resolve().parent.parent
RUNS = 11
PER_BRIDGE = 250


def manifest(number: int, moved: int | None = None) -> str:
    """A file with `number` containers, each with a published port; that of the first is `moved` elsewhere."""
    lines = ["version: 1", "bridges:"]
    for start in range(0, number, PER_BRIDGE):
        lines += [f"  br{start // PER_BRIDGE}:", f"    addresses: [10.{start // PER_BRIDGE}.0.1/16]", "    containers:"]
        for place in range(start, min(start + PER_BRIDGE, number)):
            port = moved if moved is not None and place == 0 else 10_000 + place
            lines.append(f"      c{place}: {{ports: ['{port}:80']}}")
    return "\n".join(lines) + "\n"


class Watched:
    """An agent on a host with so many containers, and what listens to the kernel beside it."""

    def __init__(self, number: int, folder: Path) -> None:
        self.file = folder / "reconcile.yaml"
        self.number = number
        self.file.write_text(manifest(number))
        command = [sys.executable, "-m", "reconciler", "watch", "-f", str(self.file), "--log-format", "json"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPATH"] = str(ROOT)
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self._wait_until_synced()
        self.kernel = LiveKernel()
        self.monitor = self.kernel.monitor(frozenset({"inet reconciler"}))
        self.kernel.acquaint(self.monitor, frozenset())
        # Carriers and addresses of what was just made settle for some seconds.
        self.quiet(2.0)

    def _wait_until_synced(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if not line.startswith("{"):
                raise RuntimeError(f"the agent says: {line.strip()}")
            event = json.loads(line)
            if event["event"] == "status" and event["text"].startswith("Synced"):
                return
        raise RuntimeError("the agent ended before the host was as the file says")

    def quiet(self, seconds: float) -> None:
        while select.select(self.monitor.descriptors(), [], [], seconds)[0]:
            self.monitor.read()

    def links(self) -> list[str]:
        """The host's ends of the pairs of the first containers, RUNS of them or as many as there are."""
        names = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
        ours = sorted(item["ifname"] for item in names if item["ifname"].startswith("c"))
        return ours[:RUNS]

    def until(self, there: Callable[[], bool]) -> float:
        """The time at which something is `there`, which is looked at whenever the kernel tells anything."""
        deadline = time.monotonic() + 10
        while not there():
            left = deadline - time.monotonic()
            if left <= 0:
                raise RuntimeError("it did not come back")
            select.select(self.monitor.descriptors(), [], [], left)
            self.monitor.read()
        return time.monotonic()

    def port(self, link: str) -> int | None:
        """The index of the link, if it is there and a port of its bridge."""
        try:
            index = socket.if_nametoindex(link)
        except OSError:
            return None
        record = self.kernel.observe(Scope(part=Part(links=frozenset({link})))).namespaces[HOST]
        return index if any(item.name == link and item.master for item in record.links) else None

    def publishes(self, port: int) -> bool:
        """Whether the port leads to a container."""
        part = Part(elements=frozenset({("inet reconciler", "by_any4", f"tcp . {port}")}))
        return any(self.kernel.observe(Scope(part=part)).tables.values())

    def heal_link(self, name: str) -> float:
        """Seconds from the request that deletes a link to another one being a port in its place."""
        self.quiet(0.3)
        before = self.port(name)
        # Beside it, since who deletes a link is kept waiting for some time after it is gone (netdev_run_todo), and nobody else.
        with ThreadPoolExecutor(1) as beside:
            began = time.monotonic()
            damage = beside.submit(self._damage, Netlink(HOST, "RTM_DELLINK", (), (("index", Index(name)),)))
            back = self.until(lambda: self.port(name) not in (None, before))
            damage.result()
        return back - began

    def heal_element(self, port: int) -> float:
        """Seconds from the request that deletes an element to its being back."""
        self.quiet(0.3)
        began = time.monotonic()
        self._damage(NftElement("delete", "inet reconciler", "by_any4", f"tcp . {port}"))
        return self.until(lambda: self.publishes(port)) - began

    @staticmethod
    def _damage(request: Netlink | NftElement) -> None:
        with LiveKernel() as kernel:
            outcome = kernel.submit([request])
        assert not outcome.failures, outcome.failures

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate()
        self.monitor.close()
        self.kernel.close()


def measured(watched: Watched) -> dict[str, float]:
    """Seconds that it takes to heal a link and an element, and for a file with another port to be done, in the middle; the share of a
    processor that it takes `rest`ing; and its `memory` in bytes."""
    # A different one each time: what is changed again and again counts as a quarrel, and is left alone.
    links = [watched.heal_link(name) for name in watched.links()]
    elements = [watched.heal_element(10_000 + place) for place in range(min(RUNS, watched.number))]
    result = {
        "link": statistics.median(links),
        "element": statistics.median(elements),
        "file": statistics.median(changed(watched, turn) for turn in range(RUNS)),
    }
    # The last new file is followed by a look at everything, some seconds later.
    watched.quiet(10.0)
    before = cpu(watched.process.pid)
    time.sleep(5)
    result["rest"] = (cpu(watched.process.pid) - before) / 5
    result["memory"] = memory(watched.process.pid)
    return result


def changed(watched: Watched, turn: int) -> float:
    """Seconds from a renamed file with another port to the port being there, less the debounce."""
    from reconciler.watch.pace import Rates

    watched.quiet(0.3)
    port = 30_000 + turn
    draft = watched.file.with_name(".draft")
    draft.write_text(manifest(watched.number, port))
    began = time.monotonic()
    draft.rename(watched.file)
    done = watched.until(lambda: watched.publishes(port))
    took = done - began - Rates().file_debounce
    watched.file.with_name(".draft").write_text(manifest(watched.number))
    watched.file.with_name(".draft").rename(watched.file)
    watched.until(lambda: watched.publishes(10_000))
    return took


def cpu(pid: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Bytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def in_scratch(number: int) -> dict[str, float]:
    """The figures for `number` containers, from a host that is gone afterwards."""

    def work() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["RECONCILE_STATE_DIR"] = f"{folder}/state"
            watched = Watched(number, Path(folder))
            try:
                return measured(watched)
            finally:
                watched.close()
                control.suspension_file("default").unlink(missing_ok=True)

    run: Callable[[Callable[[], dict[str, float]]], dict[str, float]] = scratch.run
    return run(work)


SIZES = (10, 1000)


def sample() -> dict[str, float]:
    """The figures for each of SIZES, as NAME_SIZE."""
    return {f"{name}_{size}": value for size in SIZES for name, value in in_scratch(size).items()}
