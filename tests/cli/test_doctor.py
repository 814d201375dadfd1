"""reconcile doctor: each thing that stands in the way, put there for real."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler import trials
from reconciler.core.diagnosis import Level
from reconciler.core.resource import State
from reconciler.doctor import Facts, examine
from reconciler.kernel import survey
from tests.cli.host import WEB, Answer, Host

KVM = "version: 1\nbridges: {br0: {mode: bridged, uplinks: [eth1]}}\n"
HERE = f"pid {os.getpid()}"


def findings(answer: Answer, check: str) -> list[tuple[str, str, str | None]]:
    """(level, text, remedy) of one check, of the answer in JSON."""
    found = json.loads(answer.out)["findings"]
    return [(item["level"], item["text"], item["remedy"]) for item in found if item["check"] == check]


@contextmanager
def listening(address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[None]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as server:
        server.bind((address, port))
        if kind is socket.SOCK_STREAM:
            server.listen()
        yield


def test_after_an_apply_nothing_stands_in_the_way(host: Host) -> None:
    host.write(WEB)
    assert host.reconcile().code == 0
    answer = host.reconcile("doctor", "--format", "json")
    levels = {item["level"] for item in json.loads(answer.out)["findings"]}
    assert answer.code == 0
    assert "error" not in levels
    assert ("ok", "net.ipv4.ip_forward is on", None) in findings(answer, "forwarding")


def test_every_feature_that_an_apply_needs_is_tried(host: Host) -> None:
    said = findings(host.reconcile("doctor", "--format", "json"), "features")
    tun = os.access("/dev/net/tun", os.W_OK)
    assert [text for _, text, _ in said] == [item.name for item in trials.FEATURES if tun or item.modules != "tun"]
    assert {level for level, _, _ in said} == {"ok"}


def test_trying_leaves_nothing_on_the_host(host: Host) -> None:
    before = host.state()
    host.reconcile("doctor")
    assert host.state() == before


def test_a_feature_that_is_missing_is_an_error_with_its_modules(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "version: 1\nbridges: {b: {mode: isolated, containers: {c: {addresses: [10.0.0.2/24], sysctls: {net.no.such: 1}}}}}"
    lacking = trials.Feature("strange settings", "nonesuch", (file,), lambda state: True)
    monkeypatch.setattr(trials, "FEATURES", (lacking,))
    features = trials.tried().features
    assert "net.no.such" in features["strange settings"]
    monkeypatch.setattr("reconciler.doctor.FEATURES", (lacking,))
    (found,) = (item for item in examine(Facts("6.1", "1.0.6", trials=features)) if item.check == "features")
    assert found.level is Level.ERROR
    assert "nonesuch" in found.remedy


def test_a_feature_that_the_file_does_not_need_is_a_note() -> None:
    tap = next(item for item in trials.FEATURES if item.modules == "tun")
    (found,) = (
        item
        for item in examine(Facts("6.1", "1.0.6", trials={tap.name: "no"}, desired=State()))
        if item.check == "features"
    )
    assert found.level is Level.NOTE


@pytest.mark.parametrize(
    ("address", "kind", "ports", "captured"),
    [
        ("0.0.0.0", socket.SOCK_STREAM, "8080:80", True),
        ("::", socket.SOCK_STREAM, "8080:80", True),
        ("127.0.0.1", socket.SOCK_STREAM, "8080:80", True),
        ("127.0.0.1", socket.SOCK_STREAM, "127.0.0.1:8080:80", True),
        ("127.0.0.2", socket.SOCK_STREAM, "127.0.0.1:8080:80", False),
        ("127.0.0.53", socket.SOCK_DGRAM, "8080:80/udp", False),
        ("::1", socket.SOCK_STREAM, "8080:80", False),
        ("0.0.0.0", socket.SOCK_DGRAM, "8080:80", False),
        ("0.0.0.0", socket.SOCK_DGRAM, "8000-8100:8000-8100/udp", True),
        ("0.0.0.0", socket.SOCK_STREAM, "8081:80", False),
    ],
)
def test_a_process_on_a_published_port_is_named(
    host: Host, address: str, kind: socket.SocketKind, ports: str, captured: bool
) -> None:
    host.write(WEB.replace("8080:80", ports))
    with listening(address, 8080, kind):
        answer = host.reconcile("doctor", "--format", "json")
    said = findings(answer, "listeners")
    if captured:
        assert answer.code == 1
        assert [(level, HERE in text, "web" in text) for level, text, _ in said] == [("error", True, True)]
    else:
        assert answer.code == 0
        assert [level for level, _, _ in said] == ["ok"]


def test_a_dropping_forward_policy_is_named_with_the_way_out(host: Host) -> None:
    host.write(WEB)
    host.run(
        "nft add table inet hand; nft 'add chain inet hand fw { type filter hook forward priority 0; policy drop; }'"
    )
    ((level, text, remedy),) = findings(host.reconcile("doctor", "--format", "json"), "forward chains")
    assert (level, "inet hand fw" in text) == ("warning", True)
    assert remedy is not None
    assert "nft insert rule inet hand fw iifname BRIDGE accept" in remedy


def test_forwarding_that_is_off_is_named_and_who_turns_it_off_at_boot(tmp_path: Path) -> None:
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    (tmp_path / "usr/lib/sysctl.d").mkdir(parents=True)
    (tmp_path / "usr/lib/sysctl.d/10-x.conf").write_text("net.ipv4.ip_forward = 1\n")
    (tmp_path / "etc/sysctl.d/10-x.conf").write_text("# net.ipv4.ip_forward=1\n-net/ipv4/ip_forward = 0\n")
    (tmp_path / "usr/lib/sysctl.d/50-y.conf").write_text("net.ipv6.conf.all.forwarding=1\nnonsense\n")
    names = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
    assert survey.settings_at_boot(names, tmp_path) == {
        "net.ipv4.ip_forward": (str(tmp_path / "etc/sysctl.d/10-x.conf"), "0"),
        "net.ipv6.conf.all.forwarding": (str(tmp_path / "usr/lib/sysctl.d/50-y.conf"), "1"),
    }


def test_a_missing_uplink_and_one_of_another_bridge(host: Host) -> None:
    host.write(KVM)
    ((level, text, _),) = findings(host.reconcile("doctor", "--format", "json"), "uplinks")
    assert (level, "eth1" in text) == ("warning", True)
    host.run("ip link add eth1 type veth peer name far; ip link add other type bridge; ip link set eth1 master other")
    ((level, text, remedy),) = findings(host.reconcile("doctor", "--format", "json"), "uplinks")
    assert (level, "is a port of other" in text, remedy) == ("error", True, "ip link set eth1 nomaster")


def test_text_tells_what_to_do_and_counts(host: Host) -> None:
    host.write(WEB)
    with listening("0.0.0.0", 8080):
        said = host.reconcile("doctor").out.splitlines()
    place = next(number for number, line in enumerate(said) if line.startswith("error"))
    assert "listens on 0.0.0.0:8080/tcp" in said[place]
    assert said[place + 1].strip().startswith("→ publish another port")
    assert said[-1].startswith("1 error")


def test_without_a_file_the_machine_is_looked_at(host: Host) -> None:
    assert host.reconcile("doctor").code == 0
    assert host.reconcile("doctor", "-f", "none.yaml").code != 0


def test_without_privilege_it_says_what_it_could_not_see(host: Host) -> None:
    host.write(WEB)
    bare = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
    done = subprocess.run([*bare, "true"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"setpriv: {done.stderr.strip()}")
    answer = host.child("doctor", "--format", "json", before=bare)
    ((level, text, _),) = findings(answer, "privilege")
    assert (level, "CAP_NET_ADMIN" in text) == ("note", True)
    assert not findings(answer, "forward chains")


@pytest.mark.parametrize(
    ("facts", "check", "level"),
    [
        (Facts("5.10.0", "1.0.6"), "kernel", Level.WARNING),
        (Facts("5.15.0-100-generic", "1.0.6"), "kernel", Level.NOTE),
        (Facts("6.1.0", "1.0.6"), "kernel", Level.OK),
        (Facts("6.1.0", "0.9.8"), "nftables", Level.WARNING),
        (Facts("6.1.0", OSError("it is not there")), "nftables", Level.ERROR),
        (Facts("6.1.0", "1.0.6", connections=(900, 1000)), "connections", Level.WARNING),
        (Facts("6.1.0", "1.0.6", connections=(9, 1000)), "connections", Level.OK),
        (Facts("6.1.0", "1.0.6", tun=False), "tun", Level.NOTE),
    ],
)
def test_what_this_machine_has_not(facts: Facts, check: str, level: Level) -> None:
    assert [item.level for item in examine(facts) if item.check == check] == [level]
