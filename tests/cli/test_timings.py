"""--timings: every moment of a run belongs to a phase."""

from __future__ import annotations

import re

from tests.cli.host import WEB, Answer, Host


def phases(answer: Answer) -> dict[str, float]:
    """Milliseconds by phase."""
    found = re.findall(r"^reconcile: (\w+) +([0-9.]+) ms(?:  .*)?$", answer.err, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_an_apply_tells_its_phases_which_add_up(host: Host) -> None:
    host.write(WEB)
    answer = host.reconcile("--timings")
    assert answer.code == 0
    told = phases(answer)
    total = told.pop("total")
    assert list(told) == ["start", "file", "look", "plan", "print", "write", "end"]
    assert abs(sum(told.values()) - total) < 0.1 * len(told)
    assert re.search(r"look .*: 2 times, \d+ messages", answer.err)
    assert "reconcile:" not in answer.out


def test_a_dry_run_has_nothing_to_write(host: Host) -> None:
    host.write(WEB)
    assert list(phases(host.reconcile("--dry-run", "--timings"))) == [
        "start",
        "file",
        "look",
        "plan",
        "print",
        "end",
        "total",
    ]


def test_what_fails_is_timed_too(host: Host) -> None:
    host.write("version: 1\nbridges: {}")
    answer = host.reconcile("--timings")
    assert answer.code == 4
    assert "total" in phases(answer)


def test_without_it_nothing_is_said(host: Host) -> None:
    host.write(WEB)
    assert phases(host.reconcile("--dry-run")) == {}
