"""Measures all rows, and prints one table. See --help and docs/performance.md."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.rows import MEASUREMENTS, ROWS, Setting


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(MEASUREMENTS))
    parser.add_argument("--floor", type=Path, default=Path(__file__).with_name("floor.py"))
    options = parser.parse_args()
    samples = {}
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(options.floor, folder)
        for name in options.only.split(","):
            samples[name] = [MEASUREMENTS[name](setting) for _ in range(options.runs)]
            print(name, samples[name], file=sys.stderr)
    for row in ROWS:
        if row.measurement in samples:
            values = [row.figure(s) for s in samples[row.measurement]]
            v = statistics.median(values)
            print(
                f"{row.title:70} {v:8.3f} {row.unit:3} {'<=' if v <= row.bound else 'NOT'} {row.bound}   {[round(x, 3) for x in values]}"
            )


main()
