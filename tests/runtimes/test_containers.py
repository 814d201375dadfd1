"""Containers of real engines, as users run them: `--network none`, wired by the tool, stopped, started again, mistaken."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.cli.host import Host, until
from tests.runtimes.conftest import AnyEngine

FILE = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web:
        attach: {%s: web}
        addresses: [10.88.0.10, "fd00:88::10"]
        ports: ["8080:80"]
        sysctls: {net.ipv4.ip_unprivileged_port_start: 80}
      db: {addresses: [10.88.0.11], ports: ["5432:5432"]}
"""


@pytest.fixture
def host(host: Host, engine: AnyEngine, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with the file, which knows the engine."""
    monkeypatch.setenv(engine.variable, f"unix://{engine.socket}")
    host.write(FILE % engine.runtime)
    return host


def inside(host: Host, pid: int, command: str = "ip -json address show eth0") -> str:
    """What a command says in the network namespace of a process."""
    return host.run(f"nsenter --target {pid} --net {command}")


def addresses(host: Host, pid: int) -> set[str]:
    """Those of the container's interface."""
    (link,) = json.loads(inside(host, pid))
    return {item["local"] for item in link["addr_info"] if item["scope"] == "global"}


def published(host: Host) -> str:
    """What is published of web."""
    return host.reconcile("ports", "web").out


def is_at_rest(host: Host) -> bool:
    return host.reconcile("--dry-run", "--detailed-exitcode").code == 0


def test_a_container_is_wired_and_rests(host: Host, engine: AnyEngine) -> None:
    pid = engine.run("web")
    answer = host.reconcile()
    assert (answer.code, answer.err) == (0, ""), answer
    assert "wait" not in answer.out
    assert addresses(host, pid) == {"10.88.0.10", "fd00:88::10"}
    assert "default via 10.88.0.1" in inside(host, pid, "ip route")
    assert "0.0.0.0:8080" in published(host)
    assert inside(host, pid, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "80\n"
    again = host.reconcile("--dry-run", "--detailed-exitcode")
    assert (again.code, "wait" in again.out) == (0, False)
    assert "web" in host.reconcile("show").out
    assert "waiting" not in host.reconcile("status").out


def test_down_takes_the_link_and_leaves_the_container(host: Host, engine: AnyEngine) -> None:
    pid = engine.run("web")
    host.reconcile()
    assert host.reconcile("down").code == 0
    assert host.links() == {"lo"}
    assert engine.pid("web") == pid
    assert "eth0" not in inside(host, pid, "ip link")


def test_one_that_does_not_run_waits_and_the_rest_goes_on(host: Host, engine: AnyEngine) -> None:
    answer = host.reconcile()
    assert (answer.code, answer.err) == (0, ""), answer
    assert f"container web on br-web waits for {engine.runtime.title()} container web" in answer.out
    assert "warning: " not in answer.out.replace("warning: net.", "")
    assert "0.0.0.0:5432" in host.reconcile("ports").out
    assert published(host) == ""
    assert is_at_rest(host)


@pytest.mark.parametrize("how", ["stop", "kill", "crash"])
def test_when_it_ends_the_next_run_closes_its_ports(host: Host, engine: AnyEngine, how: str) -> None:
    pid = engine.run("web")
    host.reconcile()
    if how == "crash":
        os.kill(pid, signal.SIGKILL)
        until(lambda: engine.pid("web") == 0)
    else:
        engine(how, *(["--time", "0"] if how == "stop" else []), "web")
    until(lambda: engine.pid("web") == 0)
    answer = host.reconcile()
    assert (answer.code, answer.err) == (0, ""), answer
    assert "8080/tcp → [fd00:88::10]:80, 10.88.0.10:80  what it needs is not there" in answer.out
    assert published(host) == ""
    assert {name for name in host.links() if name.startswith("web-")} == set()
    assert is_at_rest(host)


def test_one_that_is_started_again_is_the_same_container(host: Host, engine: AnyEngine) -> None:
    before = engine.run("web")
    host.reconcile()
    mac = json.loads(inside(host, before))[0]["address"]
    engine("restart", "--time", "0", "web")
    after = engine.pid("web")
    assert after != before
    answer = host.reconcile()
    assert (answer.code, answer.err) == (0, ""), answer
    assert "8080/tcp" not in answer.out
    assert addresses(host, after) == {"10.88.0.10", "fd00:88::10"}
    assert json.loads(inside(host, after))[0]["address"] == mac
    assert "0.0.0.0:8080" in published(host)
    assert is_at_rest(host)


def test_another_container_of_the_same_name_takes_its_place(host: Host, engine: AnyEngine) -> None:
    engine.run("web")
    host.reconcile()
    engine("rm", "--force", "web")
    pid = engine.run("web")
    assert host.reconcile().code == 0
    assert addresses(host, pid) == {"10.88.0.10", "fd00:88::10"}


def test_the_beginning_of_an_id_is_no_name(host: Host, engine: AnyEngine) -> None:
    engine.run("other")
    beginning = engine("inspect", "--format", "{{.Id}}", "other")[:12]
    host.write((FILE % engine.runtime).replace(": web}", f': "{beginning}"}}'))
    assert f"waits for {engine.runtime.title()} container {beginning}" in host.reconcile().out


@pytest.mark.parametrize("network", ["host", "container:other"])
def test_a_network_that_is_not_its_own_is_not_touched(host: Host, engine: AnyEngine, network: str) -> None:
    other = engine.run("other")
    engine.run("web", "--network", network)
    answer = host.reconcile()
    assert answer.code == 0
    label = f"{engine.runtime.title()} container web"
    said = "has the host's own network" if network == "host" else "shares the network of the container"
    (warning,) = (line for line in answer.out.splitlines() if said in line)
    assert "warning" in warning
    assert label in warning
    assert "--network none" in answer.out
    assert published(host) == ""
    assert "eth0" not in inside(host, other, "ip link")
    assert f"waits for {label}" in answer.out
    assert is_at_rest(host)


def test_one_of_a_network_of_the_engines_gets_a_second_interface(host: Host, engine: AnyEngine) -> None:
    pid = engine.run("web", "--network", "bridge")
    theirs = addresses(host, pid)
    default = inside(host, pid, "ip route show default")
    answer = host.reconcile()
    assert answer.code == 4
    assert "eth0" in answer.err
    assert "was not made by reconcile" in answer.err
    with_another = (FILE % engine.runtime).replace(
        "        sysctls:", "        interface: eth1\n        default_route: false\n        sysctls:"
    )
    host.write(with_another)
    answer = host.reconcile()
    assert (answer.code, answer.err) == (0, ""), answer
    assert addresses(host, pid) == theirs
    assert inside(host, pid, "ip route show default") == default
    assert "10.88.0.10/24" in inside(host, pid, "ip address show eth1")
    assert is_at_rest(host)
    assert host.reconcile("down").code == 0
    assert "eth1" not in inside(host, pid, "ip link")
    assert addresses(host, pid) == theirs


def test_while_the_engine_is_silent_what_is_wired_stays_and_the_rest_goes_on(host: Host, engine: AnyEngine) -> None:
    """Both engines can be started anew while their containers go on: nobody is cut off by that."""
    pid = engine.run("web")
    host.reconcile()
    engine.end()
    try:
        host.write((FILE % engine.runtime).replace("5432:5432", "5433:5432"))
        answer = host.reconcile()
        assert (answer.code, answer.err) == (0, "")
        assert f"{engine.runtime.title()} does not answer at {engine.socket}" in answer.out
        assert "5433" in host.reconcile("ports").out
        assert "0.0.0.0:8080" in published(host)
        assert addresses(host, pid) == {"10.88.0.10", "fd00:88::10"}
        assert is_at_rest(host)
        # Not so when the link is gone.
        host.run(f"nsenter --target {pid} --net ip link delete eth0")
        answer = host.reconcile()
        assert "what it needs is not there" in answer.out
        assert published(host) == ""
        assert is_at_rest(host)
    finally:
        engine.begin()
    assert engine.pid("web") == pid
    assert host.reconcile().code == 0
    assert "0.0.0.0:8080" in published(host)
    assert addresses(host, pid) == {"10.88.0.10", "fd00:88::10"}


def test_an_engine_that_is_not_there_concerns_its_own_containers_only(
    host: Host, engine: AnyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(engine.variable)
    answer = host.reconcile()
    assert (answer.code, answer.err) == (0, ""), answer
    assert f"{engine.runtime.title()} does not answer at /run/" in answer.out
    assert "No such file or directory" in answer.out
    assert "0.0.0.0:5432" in host.reconcile("ports").out


def test_a_saved_plan_survives_a_restart_and_a_snapshot_needs_no_engine(host: Host, engine: AnyEngine) -> None:
    engine.run("web")
    assert host.reconcile("plan", "--out", "saved").code == 0
    engine("restart", "--time", "0", "web")
    assert host.reconcile("apply", "saved").code == 0
    assert addresses(host, engine.pid("web")) == {"10.88.0.10", "fd00:88::10"}
    assert host.reconcile("snapshot", "--out", "now.json").code == 0
    engine("rm", "--force", "web")
    answer = host.reconcile("plan", "--basis", "snapshot:now.json", "--detailed-exitcode")
    assert (answer.code, answer.err) == (0, ""), answer
