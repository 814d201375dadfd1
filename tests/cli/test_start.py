"""Starting is quick because little is imported: what a command does not need it does not load."""

from __future__ import annotations

import pytest

from tests.cli.host import WEB, Host

HEAVY = ("pyroute2", "nftables", "watchdog", "asyncio", "jsonschema", "shtab", "subprocess", "docker", "requests")


def imported(host: Host, *arguments: str) -> set[str]:
    """The modules that the command imports, by their top packages."""
    answer = host.child(*arguments, python=("-X", "importtime"))
    assert answer.code == 0, answer.err
    names = {line.rpartition("|")[2].strip() for line in answer.err.splitlines() if line.startswith("import time:")}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("command", [["validate"], ["exposure"], ["--version"], ["--help"], ["schema"]])
def test_what_reads_no_kernel_loads_nothing_of_it(host: Host, command: list[str]) -> None:
    host.write(WEB)
    loaded = imported(host, *command)
    assert "reconciler" in loaded
    assert loaded.isdisjoint(set(HEAVY) - {"subprocess"})


def test_help_does_not_even_load_yaml(host: Host) -> None:
    assert "yaml" not in imported(host, "--help")


def test_a_run_with_nothing_to_do_loads_no_encoder(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    for command in (["--dry-run"], [], ["status"]):
        assert imported(host, *command).isdisjoint({"pyroute2", "watchdog", "asyncio"}), command


def test_an_apply_loads_nothing_of_pyroute2(host: Host) -> None:
    """Its import takes as long as thirty containers."""
    host.write(WEB)
    assert imported(host).isdisjoint({"pyroute2", "watchdog", "asyncio"})


def test_no_engines_library_is_loaded_for_a_file_without_its_containers(host: Host) -> None:
    host.write(WEB)
    for command in ([], ["status"], ["show"], ["down"]):
        assert imported(host, *command).isdisjoint({"docker", "requests", "urllib3", "http"}), command


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_no_matter(host: Host, closed: str) -> None:
    """As under some cron or init: else the first socket would be standard output, and Python has None for it."""
    host.write(WEB)
    answer = host.child(before=("sh", "-c", f'"$@" {closed}', "sh"))
    assert (answer.code, answer.err) == (0, "")
    assert ("Done and verified" in answer.out) == (">&-" not in closed.replace("2>&-", ""))
    assert host.reconcile("--dry-run", "--detailed-exitcode").code == 0


def test_what_is_for_a_closed_standard_error_does_not_go_to_standard_output(host: Host) -> None:
    answer = host.child("-f", "missing.yaml", "--format", "json", before=("sh", "-c", '"$@" 2>&-', "sh"))
    assert answer.code == 3
    assert "reconcile:" not in answer.out
