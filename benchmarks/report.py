"""A result as a table and as a plot. A result is plain JSON: samples by measurement, seconds by peer, and where that was."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.rows import ROWS, Row, Sample, by_processor

Result = Mapping[str, Any]


def figure(row: Row, samples: Iterable[Sample]) -> float:
    """The median of a row's figure over `samples`."""
    return statistics.median(map(row.figure, samples))


def _runs(result: Result) -> str:
    """How often things were measured: `3`, or `3 to 8`."""
    counts = sorted({len(samples) for samples in result["samples"].values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _of_peers(result: Result) -> int:
    """How often each peer was measured."""
    return max((len(peer["seconds"]) for peer in result["peers"].values() if "seconds" in peer), default=0)


def table(result: Result) -> str:
    """The table, in Markdown."""
    machine = result["machine"]
    lines = [
        f"Linux {machine['kernel']}, {machine['processors']} processors, Python {machine['python']}; load average {machine['load']}; "
        f"medians of {_runs(result)} runs",
        "",
        "| what | ours | against | figure | by processor time | bound | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *_rows(result),
    ]
    if result["peers"]:
        lines += [
            "",
            f"| {result['containers']} containers | version | seconds | ms for each | |",
            "| --- | --- | ---: | ---: | --- |",
        ]
        lines += [
            f"| {name} | {version} | {seconds:.2f} | {seconds * 1000 / result['containers']:.1f} | {note} |"
            for name, version, seconds, note in compared(result)
        ]
        lines += [f"| {name} | not here: {peer['lacking']} | | | |" for name, peer in _absent(result)]
    return "\n".join(lines) + "\n"


def _rows(result: Result) -> Iterator[str]:
    for row in ROWS:
        samples = result["samples"].get(row.measurement)
        if not samples:
            continue
        value = figure(row, samples)
        processor = (
            f"{figure(row, map(by_processor, samples)):.2f} {row.unit}" if f"{row.what}_cpu" in samples[0] else ""
        )
        verdict = "met" if value <= row.bound else "**not met**"
        ours, against = _middle(samples, row, row.what), _middle(samples, row, row.against)
        yield f"| {row.title} | {ours} | {against} | {value:.2f} {row.unit} | {processor} | {row.bound:g} {row.unit} | {verdict} |"


def _middle(samples: Sequence[Sample], row: Row, name: str) -> str:
    if name not in samples[0]:
        return ""
    value = statistics.median(sample[name] for sample in samples)
    if row.unit == "MB":
        return f"{value / 1e6:.0f} MB"
    if row.unit == "%":
        return f"{value:.2%}"
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1e6:.0f} µs" if value < 1e-3 else f"{value * 1e3:.1f} ms"


def compared(result: Result) -> list[tuple[str, str, float, str]]:
    """(name, version, seconds, what to know) of everybody who did the same work, the quickest first."""
    count = result["containers"]
    cold = result["samples"].get("cold", [])
    found = [
        (name, peer["version"], statistics.median(peer["seconds"]), peer["note"])
        for name, peer in result["peers"].items()
        if not peer["lacking"]
    ]
    if cold:
        ours = statistics.median(sample[f"ours_{count}"] for sample in cold)
        floor = statistics.median(sample[f"floor_{count}"] for sample in cold)
        found.append(("reconcile", result["version"], ours, "whole process: looked at before, verified after"))
        found.append(("floor: raw netlink", "", floor, "no ports, nothing compared, nothing checked"))
    return sorted(found, key=lambda entry: entry[2])


def _absent(result: Result) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((name, peer) for name, peer in result["peers"].items() if peer["lacking"])


# --- the plot --------------------------------------------------------------------------------------------------------

_LEFT, _WIDTH, _BAR, _GAP, _TOP = 370, 400, 22, 12, 56


def plot(result: Result) -> str:
    """Milliseconds for each container as bars, as an SVG of its own."""
    count = result["containers"]
    bars = [(f"{name} {version}".strip(), seconds * 1000 / count) for name, version, seconds, _ in compared(result)]
    longest = max(value for _, value in bars)
    height = _TOP + len(bars) * (_BAR + _GAP) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 90} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_LEFT + _WIDTH + 90}" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-size="15" font-weight="bold">Milliseconds for each of {count} containers with a published port</text>',
        f'<text x="12" y="41" fill="#555">less is better; Linux {escape(result["machine"]["kernel"])}, '
        f"medians of {len(result['samples']['cold'])} runs, each peer's of {_of_peers(result)}, docs/performance.md</text>",
    ]
    for place, (name, value) in enumerate(bars):
        y = _TOP + place * (_BAR + _GAP)
        color = "#2f7d4f" if name.startswith("reconcile") else "#b9c3cc"
        middle = y + _BAR / 2 + 4.5
        lines += [
            f'<text x="{_LEFT - 10}" y="{middle}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{max(1.0, value / longest * _WIDTH):.1f}" height="{_BAR}" fill="{color}"/>',
            f'<text x="{_LEFT + value / longest * _WIDTH + 8:.1f}" y="{middle}">{value:.1f}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
