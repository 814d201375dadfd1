#!/usr/bin/env python3
"""N containers with a published port each: what we take for them, whole process, against what the kernel takes.

The floor is a program that does the same work with raw netlink and no diff, no check, no nftables: give it as FLOOR (it is to print
JSON with `apply` in milliseconds). Without one, the time of `ip -batch` and `nft -f` for the same work stands in.

usage: benchmarks/apply.py [-n N] [--runs R] [--floor FLOOR.py]       needs no root
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reconciler import scratch

START_UP = 0.25
"""Seconds that the start of Python and its imports may take, besides."""


def desired(count: int) -> str:
    """A file with `count` containers."""
    lines = ["version: 1", "bridges:", "  br-bench:", "    addresses: [10.100.0.1/16]", "    containers:"]
    lines += [
        f'      c{n}: {{addresses: [10.100.{1 + n // 250}.{n % 250 + 1}], ports: ["{10000 + n}:80"]}}'
        for n in range(count)
    ]
    return "\n".join(lines) + "\n"


def script(count: int) -> tuple[str, str]:
    """The same by hand: (commands for ip -batch in a shell, for nft -f)."""
    ip = ["link add br-bench up type bridge", "addr add 10.100.0.1/16 dev br-bench"]
    ip += [f"netns add c{n}" for n in range(count)]
    ip += [f"link add v{n} up master br-bench type veth peer name eth0 netns c{n}" for n in range(count)]
    inside = [
        f"printf 'link set lo up\\nlink set eth0 up\\naddr add 10.100.{1 + n // 250}.{n % 250 + 1}/16 dev eth0\\n"
        f"route add default via 10.100.0.1\\n' | ip -n c{n} -batch -"
        for n in range(count)
    ]
    ports = ", ".join(f"tcp . {10000 + n} : 10.100.{1 + n // 250}.{n % 250 + 1} . 80" for n in range(count))
    nft = (
        "table inet bench {\n map ports { type inet_proto . inet_service : ipv4_addr . inet_service; "
        f"elements = {{ {ports} }}; }}\n}}\n"
    )
    return "ip -batch - <<END\n" + "\n".join(ip) + "\nEND\n" + "\n".join(inside), nft


def in_scratch(command: list[str], stdin: str = "") -> tuple[float, str]:
    """Seconds that `command` takes in fresh namespaces, and what it printed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        scratch.enter()
        began = time.perf_counter()
        done = subprocess.run(command, input=stdin, text=True, capture_output=True)
        result = {
            "seconds": time.perf_counter() - began,
            "out": done.stdout,
            "err": done.stderr,
            "code": done.returncode,
        }
        os.write(writing, json.dumps(result).encode()[:60000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        result = json.load(pipe)
    os.waitpid(child, 0)
    if result["code"]:
        sys.exit(f"{command} failed: {result['err']}")
    return result["seconds"], result["out"]


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=100, help="containers")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--floor", type=Path, help="a program that prints the floor")
    options = parser.parse_args()
    ours, floor, byhand = [], [], []
    commands, table = script(options.n)
    with tempfile.TemporaryDirectory() as directory:
        file, nft = Path(directory, "reconcile.yaml"), Path(directory, "bench.nft")
        file.write_text(desired(options.n))
        nft.write_text(table)
        reconcile = [sys.executable, "-m", "reconciler", "-f", str(file)]
        # As an installed package is: with its bytecode.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        in_scratch(reconcile)
        for _ in range(options.runs):
            ours.append(in_scratch(reconcile)[0])
            byhand.append(in_scratch(["sh", "-ec", f"{commands}\nnft -f {nft}"])[0])
            if options.floor:
                floor.append(
                    json.loads(in_scratch([sys.executable, str(options.floor), str(options.n)])[1])["apply"] / 1000
                )
    mine = statistics.median(ours)
    print(f"{options.n} containers, a published port each; medians of {options.runs} runs")
    print(f"  reconcile, whole process: observe, apply, verify   {mine * 1000:8.0f} ms")
    print(f"  ip -batch and nft -f by hand, nothing checked      {statistics.median(byhand) * 1000:8.0f} ms")
    if floor:
        base = statistics.median(floor)
        print(f"  floor, raw netlink, nothing checked                {base * 1000:8.0f} ms")
        print(
            f"  (reconcile - {START_UP * 1000:.0f} ms of start-up) / floor              {(mine - START_UP) / base:8.2f}"
        )


if __name__ == "__main__":
    main()
