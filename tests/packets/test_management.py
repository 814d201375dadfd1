"""The management path: what is said to cut a session does cut it, and what is not does not, by real sessions over real links."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from reconciler import confirm, management, reconcile
from reconciler.cli import main
from reconciler.core.plan import Plan
from reconciler.core.resource import State
from reconciler.kinds.marks import DEFAULT_OWNER
from reconciler.management import Way
from tests.packets.site import Site, desired
from tests.packets.world import PATIENCE, REFUSED, TIMEOUT, UNREACHABLE, Flow, Namespace, Outcome, World

SSH = 22
HEAD = "version: 1\nbridges:\n"
WEB = HEAD + "  br-web:\n    addresses: [10.88.0.1/24]\n    containers:\n      web: {addresses: [10.88.0.10]}\n"
DB = "      db: {addresses: [10.88.0.11]}\n"
OFFICE = HEAD + "  br0:\n    mode: bridged\n    addresses: [10.98.0.1/24]\n    uplinks: [eth1]\n"
EMPTY = ""


def port(text: str) -> str:
    """WEB with one published port."""
    return WEB.replace("[10.88.0.10]}", f'[10.88.0.10], ports: ["{text}"]}}')


@dataclass(frozen=True)
class Case:
    """A session from `peer` to `local`, with the file `before` applied, while `after` is."""

    peer: str
    local: str
    before: str
    after: str
    cut: str
    """A part of what is said of it; "" if the session lives on."""


CASES = {
    "its link becomes an uplink": Case("lan", "10.99.0.1", EMPTY, OFFICE.replace("eth1", "eth0"), "a port of br0"),
    "its link becomes an uplink, IPv6": Case("lan", "fd99::1", EMPTY, OFFICE.replace("eth1", "eth0"), "a port of br0"),
    "another link becomes an uplink": Case("lan", "10.99.0.1", EMPTY, OFFICE, ""),
    "a bridge": Case("outside", "10.99.0.1", EMPTY, WEB, ""),
    "a bridge with its subnet": Case(
        "outside", "10.99.0.1", EMPTY, WEB.replace("10.88.0", "192.0.2"), "goes by br-web, to 192.0.2.0/24"
    ),
    "a bridge with its subnet, IPv6": Case(
        "outside",
        "fd99::1",
        EMPTY,
        HEAD + '  br-web:\n    addresses: ["2001:db8:2::1:1/64"]\n',
        "goes by br-web, to 2001:db8:2::/64",
    ),
    "a bridge with another's subnet": Case("lan", "10.99.0.1", EMPTY, WEB.replace("10.88.0", "192.0.2"), ""),
    "its port": Case("lan", "10.99.0.1", EMPTY, port("22:80"), "port 22 of 10.99.0.1"),
    "its port, of its address": Case("lan", "10.99.0.1", EMPTY, port("10.99.0.1:22:80"), "port 22 of 10.99.0.1"),
    "its port, of another address": Case("lan", "10.99.0.1", EMPTY, port("10.99.0.4:22:80"), ""),
    "its port, of 127.0.0.1": Case("lan", "10.99.0.1", EMPTY, port("127.0.0.1:22:80"), ""),
    "its port, of UDP": Case("lan", "10.99.0.1", EMPTY, port("22:80/udp"), ""),
    "its port, in a range": Case("lan", "10.99.0.1", EMPTY, port("20-30:20-30"), "port 22 of 10.99.0.1"),
    "its port, of the other family": Case("lan", "fd99::1", EMPTY, port("22:80"), ""),
    "another port": Case("lan", "10.99.0.1", EMPTY, port("23:80"), ""),
    "its bridge loses the uplink": Case(
        "office", "10.98.0.1", OFFICE, OFFICE.replace("    uplinks: [eth1]\n", ""), "eth1 leaves the bridge br0"
    ),
    "its bridge gets a container": Case(
        "office", "10.98.0.1", OFFICE, OFFICE + "    containers: {web: {addresses: [10.98.0.40/24]}}\n", ""
    ),
    "its bridge gets another MTU": Case("office", "10.98.0.1", OFFICE, OFFICE + "    mtu: 1400\n", ""),
    "its bridge goes": Case("office", "10.98.0.1", OFFICE, WEB, "br0, which holds 10.98.0.1, is deleted"),
    "its bridge gets another address": Case(
        "office", "10.98.0.1", OFFICE, OFFICE.replace("10.98.0.1/", "10.98.0.77/"), "10.98.0.1 is removed from br0"
    ),
    "it comes from a container, which goes": Case(
        "web", "10.88.0.1", WEB + DB, WEB.replace("web:", "db:"), "is in web"
    ),
    "it comes from a container, another goes": Case("web", "10.88.0.1", WEB + DB, WEB, ""),
}


def seen(site: Site, text: str, way: Way) -> tuple[Plan, tuple[str, ...]]:
    """The plan for `text`, and what it is said to cut of `way`."""
    with site.world.host.entered():
        wish = desired(text) if text else State()
        plan, view = reconcile.plan(site.kernel, wish, DEFAULT_OWNER)
    return plan, management.cuts(way, view.snapshot, plan)


def forget_neighbours(world: World) -> None:
    """As the host does by itself after a minute (gc_stale_time, arp(7)). Until then it still sends to where its peers were, and a session
    by a link that became a bridge's port lives on; the answers to its next questions go to the bridge."""
    for family in ("-4", "-6"):
        world.host.run("ip", family, "neighbour", "flush", "all")


def origin(site: Site, name: str) -> Namespace:
    """Where the session comes from."""
    found = getattr(site.world, name, None)
    return found if isinstance(found, Namespace) else site.container(name)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_said_to_cut_a_session_does(site: Site, case: Case) -> None:
    if case.before:
        site.apply(case.before)
    site.world.host.serve("tcp", case.local, SSH)
    with origin(site, case.peer).flow("tcp", case.local, SSH) as session:
        assert session.first.outcome is Outcome.REACHED
        way = Way("the session", ip_address(session.first.client), ip_address(case.local), SSH)
        plan, cuts = seen(site, case.after, way)
        assert plan.steps
        assert bool(cuts) == bool(case.cut), cuts
        assert case.cut in "\n".join(cuts)
        # The other side alone says as much, but of the port, and of an address that goes while the link stays.
        if "port 22" not in case.cut and "removed" not in case.cut:
            assert bool(seen(site, case.after, replace(way, local=None))[1]) == bool(case.cut)
        site.apply(case.after)
        forget_neighbours(site.world)
        if case.cut:
            assert session.ask() in (TIMEOUT, REFUSED, UNREACHABLE)
        else:
            assert session.ask(PATIENCE) == session.first


def test_a_bridge_that_becomes_isolated_lets_no_other_session_in(site: Site) -> None:
    site.apply(WEB)
    isolated = WEB.replace("    addresses: [10.88.0.1/24]", "    mode: isolated\n    addresses: [10.88.0.1/24]")
    site.world.host.serve("tcp", "10.88.0.1", SSH)
    with site.container("web").flow("tcp", "10.88.0.1", SSH) as session:
        way = Way("the session", ip_address(session.first.client), ip_address("10.88.0.1"), SSH)
        for same in (way, replace(way, local=None), replace(way, peer=None)):
            (cut,) = seen(site, isolated, same)[1]
            assert "br-web becomes isolated" in cut
        assert seen(site, isolated, replace(way, peer=ip_address("10.99.0.2")))[1] == ()
        site.apply(isolated)
        assert session.ask(PATIENCE) == session.first
        with site.container("web").flow("tcp", "10.88.0.1", SSH) as another:
            assert another.first.outcome is Outcome.TIMEOUT
    assert seen(site, isolated, way)[1] == ()


def test_a_second_look_finds_nothing_to_cut(site: Site) -> None:
    """What is there was accepted before; only a change is judged."""
    site.apply(OFFICE)
    way = Way("the session", ip_address("10.98.0.2"), ip_address("10.98.0.1"), SSH)
    assert seen(site, OFFICE, way)[1] == ()
    assert seen(site, EMPTY, way)[1] != ()


def test_a_session_of_another_network_namespace_is_none_of_ours(site: Site) -> None:
    way = Way("the session", ip_address("10.99.0.2"), ip_address("203.0.113.7"), SSH)
    assert seen(site, OFFICE.replace("eth1", "eth0"), way)[1] == ()


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that takes the link of the LAN for an uplink."""
    monkeypatch.setenv("RECONCILE_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "reconcile.yaml"
    path.write_text(OFFICE.replace("eth1", "eth0"))
    return path


def ssh(monkeypatch: pytest.MonkeyPatch, session: Flow, local: str) -> None:
    """Has sshd tell of the session, as it does to what runs in it."""
    monkeypatch.setenv("SSH_CONNECTION", f"{session.first.client} 50112 {local} {SSH}")


def test_who_saws_off_the_branch_is_stopped_and_with_a_timeout_lands_softly(
    world: World, file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The whole story: an ssh session, in which somebody enslaves the link that it comes by."""
    world.host.serve("tcp", "10.99.0.1", SSH)
    flow = world.lan.flow
    # Of the one that asks while it is cut off, the question comes late, and with the next one.
    with flow("tcp", "10.99.0.1", SSH) as session, flow("tcp", "10.99.0.1", SSH) as other, world.host.entered():
        ssh(monkeypatch, session, "10.99.0.1")
        assert main(["-f", str(file)]) == 4
        said = capfd.readouterr().err
        assert "this session (ssh from 10.99.0.2 to 10.99.0.1)" in said
        assert "eth0, which holds 10.99.0.1, becomes a port of br0" in said
        assert "--allow-cutoff" in said
        assert main(["-f", str(file), "--dry-run"]) == 0
        assert "would be refused" in capfd.readouterr().err
        assert session.ask(PATIENCE) == session.first
        assert main(["-f", str(file), "--allow-cutoff"]) == 64
        assert session.ask(PATIENCE) == session.first
        heard: list[object] = []

        def ask(_: object) -> str:
            forget_neighbours(world)
            heard.append(session.ask())
            journal = confirm.find(DEFAULT_OWNER)
            assert journal is not None
            confirm.write(journal._replace(deadline=0.0))  # its time is over
            confirm.fifo_of(journal).write_bytes(b"!")
            return ""

        monkeypatch.setattr("reconciler.cli.safety.what_to_do", ask)
        assert main(["-f", str(file), "--allow-cutoff", "--confirm-timeout", "600"]) == 7
        assert heard == [TIMEOUT]
        assert other.ask(30) == other.first


def test_a_saved_plan_that_was_refused_is_not_used_up(
    world: World, file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = str(tmp_path / "plan.json")
    with world.host.entered():
        assert main(["plan", "-f", str(file), "--out", plan]) == 0
        assert main(["apply", plan, "--protect", "10.99.0.1"]) == 4
        capfd.readouterr()
        assert main(["apply", plan, "--protect", "10.99.0.1", "--allow-cutoff", "--confirm-timeout", "1"]) == 7
        assert capfd.readouterr().err.count("the plan cuts") == 1


@pytest.mark.parametrize("address", ["10.99.0.2", "10.99.0.1", "192.0.2.1", "fd99::2"])
def test_ways_can_be_named(
    world: World,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    address: str,
) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    with world.host.entered():
        assert main(["-f", str(file), "--protect", address]) == 4
        assert f"the plan cuts --protect {address}" in capfd.readouterr().err
        file.write_text(WEB)
        assert main(["-f", str(file), "--protect", address]) == 0
        assert main(["down"]) == 0


def test_a_way_that_is_none_is_not_quietly_protected(
    world: World, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with world.host.entered():
        for family in ("-4", "-6"):
            world.host.run("ip", family, "route", "del", "default")
        for address in ("203.0.113.9", "host.example", "2001:db8:99::1"):
            assert exit_code(["-f", str(file), "--protect", address]) == 64
            assert address in capfd.readouterr().err


def exit_code(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
