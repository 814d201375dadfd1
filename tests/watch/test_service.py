"""The unit for systemd: what it takes away, and when it is started."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.host import ROOT, WEB, Host
from tests.watch.test_agent import Agent, in_sync

UNITS = ROOT / "contrib/systemd"
DOCKER = """\
[Unit]
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=/bin/true
"""
"""As its packages order it."""


def capabilities() -> list[str]:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNITS / "reconcile.service")
    return unit["Service"]["CapabilityBoundingSet"].split()


@pytest.mark.parametrize(
    "kept",
    [capabilities(), ["CAP_NET_ADMIN", "CAP_NET_BROADCAST", "CAP_SYS_ADMIN"]],
    ids=["those of the unit", "the least"],
)
def test_its_capabilities_are_enough(host: Host, kept: list[str]) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("not installed: setpriv (util-linux)")
    host.write(WEB)
    only = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in kept)])
    agent = Agent(host, before=("setpriv", f"--bounding-set={only}", "--inh-caps=-all", "--no-new-privs"))
    agent.hears("status", "Synced")
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    assert int(status.partition("CapEff:")[2].split()[0], 16).bit_count() == len(kept)
    for damage in ("ip netns del web", "ip netns exec db ip link set eth0 down", "nft flush ruleset"):
        since = agent.mark
        host.run(damage)
        agent.hears("healed", since=since)
    assert in_sync(host)
    assert agent.stop() == 0


def test_without_one_it_says_what_is_missing(host: Host) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("not installed: setpriv (util-linux)")
    host.write(WEB)
    run = host.child("watch", before=("setpriv", "--bounding-set=-net_broadcast"))
    assert run.code == 1
    assert "CAP_NET_BROADCAST" in run.err


def test_the_units_are_valid_and_go_together_with_dockers(tmp_path: Path) -> None:
    """Whoever waits for the network waits for the agent; so it must not wait for them."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("not installed: systemd-analyze (Debian: systemd)")
    (tmp_path / "docker.service").write_text(DOCKER)
    for unit in UNITS.glob("*.service"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/local/sbin/reconcile", "/bin/true"))
    names = sorted(unit.name for unit in tmp_path.glob("*.service"))
    (tmp_path / "all.target").write_text(f"[Unit]\nWants=network-online.target {' '.join(names)}\n")
    command = ["systemd-analyze", "verify", "--man=no", *(f"./{name}" for name in ("all.target", *names))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if any(name in line for name in ("reconcile", *names))]
    assert said == []
