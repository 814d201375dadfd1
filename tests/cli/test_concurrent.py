"""Runs at the same time: one works, the others wait or are told who does (exit 6), and no harm is done."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler import confirm
from tests.cli.host import WEB, WITHOUT_WEB, Host

ROUNDS = 6
AT_ONCE = 3


def at_once(host: Host, *commands: tuple[str, ...]) -> list[subprocess.Popen[str]]:
    """The commands, as close to one another as it goes: all are started, and begin when told to."""
    start = f'read go; exec {sys.executable} -m reconciler "$@"'
    processes = [host.start("sh", "-c", start, "sh", *command) for command in commands]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return processes


def ends(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """The exit codes, with what was said on standard error."""
    errors = [process.communicate(timeout=120)[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def test_of_runs_at_once_one_works_and_the_others_are_told_who(host: Host) -> None:
    host.write(WEB, "one.yaml")
    host.write(WITHOUT_WEB, "two.yaml")
    busy = 0
    for number in range(ROUNDS):
        name = ("one.yaml", "two.yaml")[number % 2]
        processes = at_once(host, *[("-f", name, "--max-deletes", "1000")] * AT_ONCE)
        pids = {str(process.pid) for process in processes}
        done = ends(processes)
        assert {code for code, _ in done} <= {0, 6}, done
        assert any(code == 0 for code, _ in done)
        for code, error in done:
            if code == 6:
                busy += 1
                holder = re.search(r"process (\S+), for \d+ s already", error)
                assert holder, error
                assert holder[1] in pids - {"?"}
        assert host.reconcile("-f", name, "--dry-run", "--detailed-exitcode").code == 0
    assert busy, "no two ever met"


def test_runs_that_may_wait_all_succeed_whatever_they_want(host: Host) -> None:
    """Who comes last has it his way, and whole."""
    for name, text in (("one.yaml", WEB), ("two.yaml", WITHOUT_WEB)):
        host.write(text, name)
    wait = ("--max-deletes", "1000", "--lock-timeout", "60")
    commands = [("-f", "one.yaml", *wait), ("-f", "two.yaml", *wait), ("down", "--lock-timeout", "60")]
    for _ in range(ROUNDS):
        done = ends(at_once(host, *commands))
        assert [code for code, _ in done] == [0, 0, 0], done
        wholes = [
            host.reconcile("-f", name, "--dry-run", "--detailed-exitcode").code == 0
            for name in ("one.yaml", "two.yaml")
        ]
        assert sum(wholes) + (host.links() == {"lo"}) == 1


def test_owners_at_once_do_not_hinder_each_other(host: Host) -> None:
    names = []
    for number in range(AT_ONCE):
        text = WEB.replace("version: 1", f"version: 1\nname: o{number}").replace("br-web", f"br{number}")
        text = text.replace("10.88.", f"10.{number}.").replace("8080", f"808{number}")
        names.append(
            str(host.write(text.replace("web:", f"web{number}:").replace("db:", f"db{number}:"), f"{number}.yaml"))
        )
    for _ in range(2):
        done = ends(at_once(host, *[("-f", name) for name in names]))
        assert [code for code, _ in done] == [0] * AT_ONCE, done
        for name in names:
            assert host.reconcile("-f", name, "--dry-run", "--detailed-exitcode").code == 0
        ends(at_once(host, *[("down", "-f", name) for name in names]))
        assert host.links() == {"lo"}


@pytest.mark.parametrize("commands", [("confirm", "rollback"), ("confirm", "confirm"), ("rollback", "rollback")])
def test_of_two_decisions_at_once_one_counts(host: Host, commands: tuple[str, str]) -> None:
    host.write(WEB)
    before = host.state()
    run = host.start(sys.executable, "-m", "reconciler", "--confirm-timeout", "600")
    assert run.stdout is not None
    assert any(line.startswith("It awaits") for line in run.stdout)
    after = host.state()
    done = ends(at_once(host, *[(command, "--lock-timeout", "60") for command in commands]))
    assert sorted(code for code, _ in done) == [0, 1], done
    (winner,) = [command for command, (code, _) in zip(commands, done, strict=True) if code == 0]
    assert run.wait(timeout=60) == (0 if winner == "confirm" else 7)
    assert host.state() == (after if winner == "confirm" else before)
    assert list(Path(confirm.directory()).glob("pending-*")) == []
