"""What the tool costs, by counting what crosses to the kernel and what is imported; the bounds stand in tests/bounds.toml."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.messages import Scope, Snapshot
from reconciler.kernel import netlink
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.meter import Meter
from tests.cli.host import WEB, Host

BOUNDS = tomllib.loads(Path(__file__).parents[1].joinpath("bounds.toml").read_text())
FEW, MANY = 3, 13
COMMANDS = {"apply": (), "dry_run": ("--dry-run",), "down": ("down",)}


def file(containers: int, ports: int = 1) -> str:
    """A file with so many containers, of which the first has so many published ports and the others one."""
    lines = ["version: 1", "bridges:", "  br0:", "    addresses: [10.88.0.1/16]", "    containers:"]
    for number in range(containers):
        count = 1 if number else ports
        published = ", ".join(f'"{2000 + 1000 * number + port}:80"' for port in range(count))
        lines.append(f"      c{number}: {{addresses: [10.88.1.{number + 1}], ports: [{published}]}}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What crosses to the kernel from now on."""
    count: Counter[str] = Counter()

    def watch(owner: Any, name: str, what: str) -> None:
        whole = getattr(owner, name)

        def passing(*arguments: Any, **options: Any) -> Any:
            count[what] += 1
            return whole(*arguments, **options)

        monkeypatch.setattr(owner, name, passing)

    observe = LiveKernel.observe

    def observed(kernel: LiveKernel, scope: Scope) -> Snapshot:
        count["observations"] += 1
        return observe(kernel, scope)

    watch(Meter, "write", "written")
    watch(Meter, "read", "read")
    watch(netlink.Socket, "_send", "datagrams")
    watch(netlink, "_open", "sockets")
    monkeypatch.setattr(LiveKernel, "observe", observed)
    return count


def costs(host: Host, counted: Counter[str], command: str, before: str | None, text: str) -> Counter[str]:
    """What `command` costs with the file `text`, where `before` was applied."""
    if before is not None:
        host.write(before)
        assert host.reconcile().code == 0
    host.write(text)
    counted.clear()
    answer = host.reconcile(*COMMANDS[command])
    assert answer.code == 0, answer.err
    cost = Counter(counted)
    assert host.reconcile("down").code == 0
    return cost


@pytest.mark.parametrize("command", BOUNDS["for_each_container"])
def test_a_container_more_costs_what_it_may(host: Host, counted: Counter[str], command: str) -> None:
    few, many = (
        costs(host, counted, command, None if command == "apply" else file(size), file(size)) for size in (FEW, MANY)
    )
    each = {what: (many[what] - few[what]) / (MANY - FEW) for what in BOUNDS["for_each_container"][command]}
    assert within(each, BOUNDS["for_each_container"][command]), each
    assert within(many, BOUNDS["in_all"][command]), many


def test_a_port_more_costs_what_it_may(host: Host, counted: Counter[str]) -> None:
    few, many = (costs(host, counted, "apply", file(1), file(1, ports)) for ports in (2, 202))
    each = {what: (many[what] - few[what]) / 200 for what in BOUNDS["for_each_port"]["apply"]}
    assert within(each, BOUNDS["for_each_port"]["apply"]), each


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("version", ("--version",)),
        ("validate", ("validate",)),
        ("dry_run", ("--dry-run",)),
        ("apply", ()),
        ("down", ("down",)),
    ],
)
def test_a_command_imports_no_more_than_it_may(host: Host, command: str, arguments: tuple[str, ...]) -> None:
    host.write(WEB)
    if command == "down":
        assert host.reconcile().code == 0
    answer = host.child(*arguments, python=("-X", "importtime"))
    assert answer.code == 0, answer.err
    modules = {line.rpartition("|")[2].strip() for line in answer.err.splitlines() if line.startswith("import time:")}
    count = {"own": sum(name.partition(".")[0] == "reconciler" for name in modules), "all": len(modules)}
    assert within(count, BOUNDS["start"][command]), count


def within(cost: dict[str, Any] | Counter[str], bounds: dict[str, float]) -> bool:
    return all(cost[what] <= bound for what, bound in bounds.items())
