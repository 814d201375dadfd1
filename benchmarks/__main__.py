"""What `reconcile` costs, against what the kernel takes and against peers: measures, and prints one table.

Everything happens in scratch namespaces; the machine's own network is not touched. It needs no root, but for peers that do.
How each figure is measured stands in docs/performance.md. The machine should have nothing else to do.

  python -m benchmarks                          all of it, some minutes
  python -m benchmarks --only cold,ports        some of the measurements
  python -m benchmarks --from benchmarks/results.json --plot docs/performance.svg
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.peers import PEERS
from benchmarks.rows import MEASUREMENTS, Setting
from reconciler import __version__

PEERS_DO = 100
"""Containers that peers make."""


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """A result. Each run measures everything once, so that a bad minute spoils one sample of each and not all of one."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    result: dict[str, Any] = {
        "version": __version__,
        "machine": {
            "kernel": platform.release(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "load": load,
        },
        "runs": options.runs,
        "containers": PEERS_DO,
        "samples": {name: [] for name in options.only},
        "peers": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(options.floor, folder)
        for run in range(options.runs):
            for name in options.only:
                print(f"run {run + 1} of {options.runs}: {name}", file=sys.stderr)
                result["samples"][name].append(dict(MEASUREMENTS[name](setting)))
    for peer in PEERS if options.peers else ():
        why = peer.lacking()
        print(f"peer: {peer.name}{f': not here: {why}' if why else ''}", file=sys.stderr)
        result["peers"][peer.name] = {
            "lacking": why,
            "version": "" if why else peer.version(),
            "note": peer.note,
            "seconds": [] if why else [peer.seconds(PEERS_DO) for _ in range(options.peer_runs)],
        }
    return result


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(MEASUREMENTS)}")
    return names


def main() -> None:
    """Measures, or takes a result up again; prints the table, writes what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="samples of each measurement (default: 5)")
    parser.add_argument("--only", type=_names, default=list(MEASUREMENTS), help="measurements, separated by commas")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave peers out")
    parser.add_argument("--peer-runs", type=int, default=3, help="runs of each peer (default: 3)")
    parser.add_argument(
        "--floor",
        type=Path,
        default=Path(__file__).with_name("floor.py"),
        help="another program that says what the kernel takes, called with a number of containers",
    )
    parser.add_argument("--from", dest="given", type=Path, metavar="JSON", help="measure nothing: take this result")
    parser.add_argument("--json", type=Path, help="write the result there")
    parser.add_argument("--plot", type=Path, help="write an SVG of the comparison with peers there")
    options = parser.parse_args()
    result = json.loads(options.given.read_text()) if options.given else measured(options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.plot:
        options.plot.write_text(report.plot(result))
    print(report.table(result), end="")


if __name__ == "__main__":
    main()
