"""Others on the host: Docker, firewalls, hand-made rules. None of theirs changes by us, and ours work beside them."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.resource import Level
from tests.packets.site import Site
from tests.packets.world import TIMEOUT, Namespace, Outcome, Probe, World, mismatches, reached
from tests.support import docker
from tests.support.docker import Docker

HOST, LAN = "10.99.0.1", "10.99.0.2"
WEB = """
version: 1
bridges:
  br-a:
    addresses: [10.88.0.1/24]
    containers:
      web: {addresses: [10.88.0.10], ports: ["8080:80"]}
      db: {addresses: [10.88.0.11]}
"""
MOVED = WEB.replace('ports: ["8080:80"]}', "}").replace("10.88.0.11]}", '10.88.0.11], ports: ["8080:80"]}')
NOTHING = "version: 1\nbridges: {}\n"


def theirs(host: Namespace) -> list[str]:
    """All rules that are not ours, one line for each, without counters and handles."""
    listing = json.loads(host.run("nft", "-j", "list", "ruleset"))["nftables"]
    lines = []
    for item in listing:
        ((kind, body),) = item.items()
        table = body.get("table", body.get("name", "")) if kind != "metainfo" else ""
        if kind != "metainfo" and not table.startswith("reconciler"):
            lines.append(json.dumps({kind: _plain(body)}, sort_keys=True))
    return sorted(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _plain(item) for key, item in value.items() if key not in ("handle", "index")}
        return {key: None if key == "counter" else item for key, item in kept.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def links(host: Namespace) -> set[str]:
    return {item["ifname"] for item in json.loads(host.run("ip", "-j", "link"))}


def accept_all(host: Namespace, chain: str) -> None:
    """As the warning says."""
    for direction in ("-i", "-o"):
        host.run("iptables", "-I", chain, direction, "br-a", "-j", "ACCEPT")


@pytest.fixture
def iptables(world: World) -> None:
    """iptables as today's distributions have it, over nftables."""
    if shutil.which("iptables", path="/usr/sbin:/sbin:/usr/bin") is None:
        pytest.skip("not installed: iptables")
    said = subprocess.run(["iptables", "--version"], capture_output=True, text=True).stdout
    if "nf_tables" not in said:
        pytest.skip(f"not over nftables: {said.strip()}")


@pytest.fixture
def engine(iptables: None, world: World) -> Iterator[Docker]:
    """Docker on the host of the world."""
    reason = docker.refusal()
    if reason:
        pytest.skip(reason)
    # Not tmp_path: a socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="docker-", dir="/tmp"))
    try:
        with world.host.entered():
            engine = Docker(folder)
            engine.__enter__()
        try:
            yield engine
        finally:
            engine.__exit__(None, None, None)
    finally:
        subprocess.run(["umount", "--recursive", "--quiet", str(folder / "exec")], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_docker_and_ours_side_by_side(engine: Docker, site: Site, world: World) -> None:
    engine("run", "--detach", "--name", "dee", "--publish", "9090:90", docker.IMAGE, "sleep", "1000")
    inside = world.opened(Path(f"/proc/{engine.pid('dee')}/ns/net"), "d")
    inside.serve("tcp", "0.0.0.0", 90)
    rules, before = theirs(world.host), links(world.host)
    dockers = (Probe(world.lan, "tcp", HOST, 9090), reached("d", LAN))
    assert mismatches([dockers]) == []

    # Docker's forward policy drops what is not its own. That is named, with the way out, which is then gone.
    plan = site.apply(WEB)
    (named,) = (note.text for note in plan.notes if note.level is Level.WARNING and "(of docker)" in note.text)
    assert "iptables -I DOCKER-USER -i BRIDGE -j ACCEPT" in named
    site.container("web").serve("tcp", "0.0.0.0", 80)
    site.container("db").serve("tcp", "0.0.0.0", 80)
    asked = Probe(world.lan, "tcp", HOST, 8080)
    assert mismatches([(asked, TIMEOUT), (Probe(world.host, "tcp", HOST, 8080), reached("web", HOST))]) == []
    accept_all(world.host, "DOCKER-USER")
    rules_with_ours_accepted = theirs(world.host)
    assert mismatches([(asked, reached("web", LAN)), dockers]) == []

    # While ours come, change and go, nothing of Docker's does.
    site.apply(MOVED)
    assert mismatches([(asked, reached("db", LAN)), dockers]) == []
    assert theirs(world.host) == rules_with_ours_accepted
    site.apply(NOTHING)
    assert theirs(world.host) == rules_with_ours_accepted
    assert set(rules) <= set(rules_with_ours_accepted)
    assert links(world.host) == before
    assert mismatches([dockers]) == []

    # Nor does anything of ours while Docker's come and go.
    site.apply(WEB)
    engine("rm", "--force", "dee")
    engine("run", "--detach", "--name", "eff", "--publish", "9091:91", docker.IMAGE, "sleep", "1000")
    assert site.plan(WEB).empty


def test_rules_of_iptables_stay_and_ours_work(iptables: None, site: Site, world: World) -> None:
    for line in (
        "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-A INPUT -i lo -j ACCEPT",
        "-A INPUT -p tcp --dport 22 -j ACCEPT",
        "-P INPUT DROP",
        "-t nat -A PREROUTING -p tcp --dport 2222 -j REDIRECT --to-ports 22",
        "-t nat -A POSTROUTING -s 192.168.7.0/24 -j MASQUERADE",
        "-t mangle -A PREROUTING -p udp -j MARK --set-mark 7",
    ):
        world.host.run("iptables", *line.split())
    rules = theirs(world.host)
    for text in (WEB, MOVED, NOTHING, WEB):
        site.apply(text)
        assert theirs(world.host) == rules
    site.container("web").serve("tcp", "0.0.0.0", 80)
    assert mismatches([(Probe(world.lan, "tcp", HOST, 8080), reached("web", LAN))]) == []


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("table inet fw { chain through { type filter hook forward priority 0; policy drop; }; }", "drops"),
        (
            "table inet fw { chain through { type filter hook forward priority 0; policy accept; "
            "ct state established accept; counter reject with icmpx admin-prohibited; }; }",
            "rejects",
        ),
    ],
    ids=["by policy", "by a last rule"],
)
def test_a_firewall_that_drops_our_packets_is_named_and_the_way_out_is_one(
    site: Site, world: World, rules: str, said: str
) -> None:
    world.host.nft(rules)
    plan = site.apply(WEB)
    (named,) = (note.text for note in plan.notes if "inet fw through" in note.text)
    assert said in named
    site.container("web").serve("tcp", "0.0.0.0", 80)
    asked = Probe(world.lan, "tcp", HOST, 8080)
    assert world.lan.probe("tcp", HOST, 8080).outcome is not Outcome.REACHED
    way_out = named.rpartition("(nft ")[2].rstrip(")").replace("BRIDGE", "br-a")
    world.host.nft("\n".join(part.strip().removeprefix("nft ") for part in way_out.split(";")))
    assert mismatches([(asked, reached("web", LAN))]) == []


def test_a_firewall_that_drops_what_concerns_nobody_else_is_not_named(site: Site, world: World) -> None:
    world.host.nft(
        "table inet fw { chain through { type filter hook forward priority 0; policy accept; "
        'iifname "elsewhere" drop; ip daddr 192.168.0.0/16 reject; }; }'
    )
    assert [note.text for note in site.apply(WEB).notes if "through" in note.text] == []


@pytest.mark.parametrize("with_iptables", [False, True], ids=["alone", "beside iptables"])
def test_a_ruleset_that_somebody_flushed_is_healed_by_the_next_run(
    site: Site, world: World, with_iptables: bool, request: pytest.FixtureRequest
) -> None:
    site.apply(WEB)
    site.container("web").serve("tcp", "0.0.0.0", 80)
    if with_iptables:
        request.getfixturevalue("iptables")
        world.host.run("iptables", "-A", "INPUT", "-j", "ACCEPT")
    world.host.nft("flush ruleset")
    assert world.lan.probe("tcp", HOST, 8080).outcome is not Outcome.REACHED
    assert not site.apply(WEB).empty
    assert mismatches([(Probe(world.lan, "tcp", HOST, 8080), reached("web", LAN))]) == []
