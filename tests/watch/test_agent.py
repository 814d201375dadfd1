"""The agent as a user meets it: started as a process, on a host of its own, with things done to that host and its files."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler import confirm
from reconciler.kernel.lock import Lock
from reconciler.watch import control
from tests.cli.host import WEB, WITHOUT_WEB, Host, until
from tests.support.timers import kill_timer

INVALID = "version: 1\nbridges: {br-web: [\n"
FORBIDDEN = WEB.replace("[10.88.0.11]", "[10.88.0.11]\n        sysctls: {net.ipv4.no_such_thing: 1}")
"""Fails in the container db, and nowhere else."""


class Agent:
    """`reconcile watch`, and what it says of itself, line by line (JSON)."""

    def __init__(self, host: Host, *arguments: str, before: tuple[str, ...] = ()) -> None:
        """`before` is a command that starts it."""
        self.host = host
        log = ("--log-format", "json", "--log-level", "debug")
        self.process = host.start(*before, sys.executable, "-m", "reconciler", "watch", *log, *arguments)
        self.said: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.said.append(json.loads(line) if line.startswith("{") else {"event": "?", "text": line})
                self._news.notify_all()

    def hears(
        self, event: str, text: str = "", *, since: int = 0, times: int = 1, seconds: float = 15
    ) -> dict[str, Any]:
        """The (nth) line about `event` with `text` in it, waited for."""

        def found() -> list[dict[str, Any]]:
            return [item for item in self.said[since:] if item["event"] == event and text in item["text"]]

        with self._news:
            heard = self._news.wait_for(lambda: len(found()) >= times, seconds)
            assert heard, f"no {event} {text!r} in\n" + "\n".join(map(str, self.said))
            return found()[times - 1]

    @property
    def mark(self) -> int:
        """How many lines it has said, for `since`."""
        return len(self.said)

    def status(self) -> dict[str, Any]:
        answer = control.ask("default")
        assert answer is not None
        return answer

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(15)
        self._reader.join(15)
        return code


@pytest.fixture
def agent(host: Host) -> Iterator[Agent]:
    """An agent that has made the host as WEB says."""
    host.write(WEB)
    made = Agent(host)
    made.hears("applied")
    made.hears("status", "Synced")
    yield made
    made.stop()


def in_sync(host: Host) -> bool:
    return host.reconcile("--dry-run", "--detailed-exitcode").code == 0


def in_sync_with(host: Host, text: str) -> bool:
    return host.reconcile("--dry-run", "--detailed-exitcode", "-f", str(host.write(text, "expected.yaml"))).code == 0


# --- the kernel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "ip netns del web",
        "ip link del br-web",
        "ip link del $(ip -br link | grep -o '^web-[0-9a-f]*')",
        "ip link set $(ip -br link | grep -o '^web-[0-9a-f]*') nomaster",
        "ip link set br-web down",
        "ip addr del 10.88.0.1/24 dev br-web",
        "ip netns exec web ip addr flush dev eth0",
        "ip netns exec web ip link set eth0 down",
        "ip netns exec web ip route del default",
        "nft delete element inet reconciler by_any4 '{ tcp . 8080 }'",
        "nft 'delete element inet reconciler by_any4 { tcp . 8080 }; "
        "add element inet reconciler by_any4 { tcp . 8080 : 10.88.0.11 . 80 }'",
        "nft add element inet reconciler by_any4 '{ tcp . 9999 : 10.88.0.11 . 80 }'",
        "nft flush chain inet reconciler forward",
        "nft delete element inet reconciler nat4 '{ 10.88.0.0/24 }'",
        "nft flush ruleset",
        "sysctl -qw net.ipv4.ip_forward=0",
    ],
)
def test_whatever_of_ours_is_deleted_or_changed_comes_back(agent: Agent, host: Host, damage: str) -> None:
    since = agent.mark
    host.run(damage)
    agent.hears("healed", since=since)
    until(lambda: in_sync(host))
    assert agent.status()["health"] == "Synced"


def test_a_container_that_was_wired_anew_answers(agent: Agent, host: Host) -> None:
    host.run("ip link del br-web; ip netns del web")
    until(lambda: in_sync(host))
    host.run("ip netns exec web ping -c 1 -W 5 10.88.0.11")


def test_our_own_changes_do_not_wake_it_again(agent: Agent, host: Host) -> None:
    since = agent.mark
    host.run("nft flush ruleset")
    agent.hears("healed", since=since)
    # What was still to be heard by then is heard before this is.
    host.run("ip netns exec web ip link set eth0 down")
    agent.hears("healed", "eth0 in web", since=since)
    looks = [item for item in agent.said[since:] if item["event"] == "looked"]
    assert len(looks) <= 1


def test_what_concerns_nobody_does_not_wake_it(agent: Agent, host: Host) -> None:
    counts = agent.status()["counts"]
    host.run(
        "ip link add foreign type veth peer name foreign2; ip addr add 10.1.1.1/24 dev foreign; ip link set foreign up"
    )
    host.run("nft add table inet theirs; nft add chain inet theirs c; ip netns add strange; ip link del foreign")
    since = agent.mark
    host.run("ip link set br-web down")
    agent.hears("healed", since=since)
    assert agent.status()["counts"]["heals"] == counts.get("heals", 0) + 1
    assert agent.status()["counts"]["looks"] == counts["looks"]


def test_it_does_nothing_while_nothing_happens(agent: Agent, host: Host) -> None:
    def switches() -> int:
        text = Path(f"/proc/{agent.process.pid}/status").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary"))

    def one_second() -> int:
        before = switches()
        threading.Event().wait(1.0)
        return switches() - before

    # What came with the containers (carriers, IPv6 addresses that are tried for being free) is over after some seconds; then it sleeps.
    assert any(one_second() <= 1 for _ in range(15))


@pytest.mark.parametrize(
    "rename", ["ip link set br-web name br-new", "ip link set $(ip -br link | grep -o '^web-[0-9a-f]*') name new"]
)
def test_what_of_ours_got_another_name_is_not_left_behind(agent: Agent, host: Host, rename: str) -> None:
    links = host.links()
    host.run(rename)
    agent.hears("healed")
    until(lambda: in_sync(host))
    assert host.links() == links


def test_what_another_run_of_the_same_owner_made_is_removed(agent: Agent, host: Host) -> None:
    more = host.write(f"{WEB}  br-more: {{mode: isolated}}\n", "more.yaml")
    assert host.reconcile("-f", str(more)).code == 0
    agent.hears("healed", "delete bridge br-more")
    until(lambda: in_sync(host))


def test_what_goes_by_itself_while_it_is_removed_is_no_failure(agent: Agent, host: Host) -> None:
    """A namespace's veth goes a moment after its name did."""
    for times in range(1, 4):
        host.run("ip netns del web; ip netns del db; ip link del br-web; nft flush ruleset")
        agent.hears("healed", "namespace", times=times)
        until(lambda: in_sync(host))
    assert not [item for item in agent.said if item["event"] == "failed" and "cannot delete" in item["text"]]


def test_where_notifications_were_lost_it_looks_at_everything(agent: Agent, host: Host) -> None:
    host.run("ip link add br-other type bridge; ip link set br-other up")
    changes = [
        f"addr {verb} 10.1.{a}.{b}/32 dev br-other" for verb in ("add", "del") for a in range(60) for b in range(100)
    ]
    agent.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            subprocess.run(["ip", "-b", "-"], input="\n".join(changes), text=True, check=True)
        host.run("ip netns del web")
    finally:
        agent.process.send_signal(signal.SIGCONT)
    agent.hears("overrun")
    agent.hears("healed", "namespace web")
    until(lambda: in_sync(host))


# --- the file --------------------------------------------------------------------------------------------------------


def replace(path: Path, text: str) -> None:
    """As an editor does, or git."""
    draft = path.with_name(".draft")
    draft.write_text(text)
    draft.rename(path)


def test_a_file_that_is_written_in_place_or_renamed_is_applied(agent: Agent, host: Host) -> None:
    file = host.folder / "reconcile.yaml"
    for number, (write, text) in enumerate(
        [(Path.write_text, WITHOUT_WEB), (replace, WEB), (replace, WEB.replace("8080", "8081")), (Path.write_text, WEB)]
    ):
        write(file, text)
        agent.hears("applied", times=number + 2)
        assert in_sync(host)


def test_another_port_is_opened_at_once_and_everything_is_read_and_looked_at_afterwards(
    agent: Agent, host: Host
) -> None:
    file, moved, mark = host.folder / "reconcile.yaml", WEB.replace("8080:80", "8090:80"), agent.mark
    replace(file, moved)
    agent.hears("applied", since=mark)
    assert "looked" not in [item["event"] for item in agent.said[mark:]]
    assert in_sync_with(host, moved)
    agent.hears("looked", since=mark)
    assert not {item["event"] for item in agent.said[mark:]} & {"healed", "failed", "invalid"}
    # What cannot be, read by its lines, is read as a whole and told.
    mark = agent.mark
    replace(file, moved.replace("[10.88.0.11]", "[10.88.0.11]\n        ports: ['8090:80']"))
    agent.hears("invalid", "8090", since=mark)
    assert in_sync_with(host, moved)


def test_another_container_is_made_at_once_and_watched(agent: Agent, host: Host) -> None:
    file, mark = host.folder / "reconcile.yaml", agent.mark
    more = WEB.replace("      db:", "      new: {addresses: [10.88.0.12], ports: ['8099:80']}\n      db:")
    replace(file, more)
    agent.hears("applied", since=mark)
    assert "looked" not in [item["event"] for item in agent.said[mark:]]
    assert in_sync_with(host, more)
    host.run("ip -n new link del eth0")
    agent.hears("healed", since=mark)
    assert in_sync_with(host, more)


def test_a_file_that_is_away_for_a_while_is_no_worse_for_it(agent: Agent, host: Host) -> None:
    file = host.folder / "reconcile.yaml"
    away = file.rename(host.folder / "away")
    agent.hears("status", "Degraded")
    away.rename(file)
    agent.hears("status", "Synced", times=2)


def test_a_directory_that_another_one_took_the_place_of_is_followed(host: Host) -> None:
    folder = host.folder / "many"
    folder.mkdir()
    (folder / "a.yaml").write_text(WITHOUT_WEB)
    agent = Agent(host, "-f", str(folder))
    agent.hears("applied")
    for times, text in ((2, WEB), (4, WEB.replace("8080", "8090"))):
        (folder / "a.yaml").unlink()
        folder.rmdir()
        folder.mkdir()  # most file systems give it the inode number that has just become free
        (folder / "a.yaml").write_text(text)
        agent.hears("applied", times=times)
        # And it is still heard of, in less time than it takes to ask for it (Rates.poll).
        (folder / "a.yaml").write_text(WITHOUT_WEB)
        agent.hears("applied", times=times + 1)
    assert agent.stop() == 0


def test_a_link_that_leads_elsewhere_is_followed(host: Host) -> None:
    """As Kubernetes mounts a ConfigMap: FILE → ..data/FILE, ..data → a directory of that revision."""
    for name, text in (("..1", WEB), ("..2", WITHOUT_WEB)):
        (host.folder / name).mkdir()
        (host.folder / name / "reconcile.yaml").write_text(text)
    (host.folder / "..data").symlink_to("..1")
    (host.folder / "reconcile.yaml").symlink_to("..data/reconcile.yaml")
    agent = Agent(host)
    agent.hears("applied")
    (host.folder / "..new").symlink_to("..2")
    (host.folder / "..new").rename(host.folder / "..data")
    agent.hears("applied", times=2)
    assert host.namespaces() == {"db"}
    assert agent.stop() == 0


def test_a_directory_of_files_is_followed(host: Host) -> None:
    folder = host.folder / "many"
    folder.mkdir()
    (folder / "a.yaml").write_text(WITHOUT_WEB)
    agent = Agent(host, "-f", str(folder))
    agent.hears("applied")
    (folder / "b.yaml").write_text("version: 1\nbridges: {br-two: {mode: isolated}}")
    agent.hears("applied", times=2)
    assert "br-two" in host.links()
    (folder / "b.yaml").unlink()
    agent.hears("applied", times=3)
    assert "br-two" not in host.links()
    assert agent.stop() == 0


def test_an_invalid_file_is_told_and_the_last_good_one_is_kept_up(agent: Agent, host: Host) -> None:
    replace(host.folder / "reconcile.yaml", INVALID)
    agent.hears("invalid", "reconcile.yaml:")
    agent.hears("status", "Degraded")
    since = agent.mark
    host.run("ip netns del web")
    agent.hears("healed", since=since)
    assert agent.status()["health"] == "Degraded"
    # It can still be told to stop for a while, although whose it is stands in the file.
    assert host.reconcile("suspend", "--reason", "repairs").code == 0
    agent.hears("suspended")
    assert host.reconcile("resume").code == 0
    replace(host.folder / "reconcile.yaml", WEB)
    agent.hears("status", "Synced", since=since)


def test_a_file_that_others_can_write_is_not_obeyed_until_it_is_roots_again(agent: Agent, host: Host) -> None:
    path = host.write(WITHOUT_WEB, "next.yaml")
    path.chmod(0o666)
    path.replace(host.folder / "reconcile.yaml")
    agent.hears("invalid", "can be written by everyone")
    assert in_sync_with(host, WEB)
    since = agent.mark
    path.write_text(WITHOUT_WEB)
    path.chmod(0o644)
    path.replace(host.folder / "reconcile.yaml")
    agent.hears("applied", since=since)
    assert in_sync(host)


def test_a_revision_that_deletes_too_much_is_refused_and_not_tried_again(host: Host) -> None:
    file = host.write(WEB)
    agent = Agent(host, "--max-deletes", "2")
    agent.hears("applied")
    replace(file, "version: 1\nbridges: {br-other: {mode: isolated}}\n")
    agent.hears("refused", "delet")
    since = agent.mark
    host.run("ip netns del web")
    agent.hears("healed", since=since)
    assert "web" in host.namespaces()
    assert not [item for item in agent.said[since:] if item["event"] == "refused"]
    assert agent.status()["health"] == "Degraded"
    assert agent.stop() == 0


def test_a_revision_that_cuts_a_protected_way_is_refused(host: Host) -> None:
    host.run(
        "ip link add eth0 type veth peer cable; ip link set cable up; ip link set eth0 up; ip address add 192.0.2.1/24 dev eth0"
    )
    file = host.write(WEB)
    agent = Agent(host, "--protect", "192.0.2.7", "--protect", "198.51.100.1")  # to the latter there is no way
    agent.hears("applied")
    replace(file, WEB + "  br0: {mode: bridged, uplinks: [eth0]}\n")
    agent.hears("refused", "it cuts --protect 192.0.2.7: eth0 becomes a port of br0")
    assert "br0" not in host.links()
    host.run("ip netns del web")
    agent.hears("healed")
    since = agent.mark
    replace(file, WEB + "  br0: {mode: isolated}\n")
    agent.hears("applied", since=since)
    assert "br0" in host.links()
    assert agent.stop() == 0


def test_what_is_refused_is_refused_after_a_suspension_too(host: Host) -> None:
    file = host.write(WEB)
    agent = Agent(host, "--max-deletes", "2")
    agent.hears("status", "Synced")
    host.reconcile("suspend")
    agent.hears("status", "Suspended")
    replace(file, "version: 1\nbridges: {br-other: {mode: isolated}}\n")
    agent.hears("drifted", "delete")
    good = agent.status()["revision"]
    host.reconcile("resume")
    agent.hears("refused", "delet")
    since = agent.mark
    agent.process.send_signal(signal.SIGHUP)
    agent.hears("refused", since=since)
    host.run("ip netns exec web ip link set eth0 down")
    agent.hears("healed", "eth0 in web", since=since)
    assert in_sync_with(host, WEB)
    assert agent.status()["revision"] == good
    assert agent.stop() == 0


@pytest.mark.parametrize("port", ["9001", "9002"])
def test_what_waits_is_nothing_to_start_from(host: Host, port: str) -> None:
    """A file that differs by a port, or not at all, from one that waits and is to be refused: it is read before everything is looked at."""
    other = "version: 1\nbridges:\n  br-other:\n    addresses: [10.88.9.1/24]\n    containers:\n"
    other += "      new:\n        addresses: [10.88.9.9]\n"
    file = host.write(WEB)
    agent = Agent(host, "--max-deletes", "2")
    agent.hears("status", "Synced")
    host.reconcile("suspend")
    agent.hears("status", "Suspended")
    replace(file, f'{other}        ports: ["9001:80"]\n')
    agent.hears("drifted", "delete")
    agent.process.send_signal(signal.SIGSTOP)
    host.reconcile("resume", "--name", "default")
    replace(file, f'{other}        ports: ["{port}:80"]\n')
    agent.process.send_signal(signal.SIGHUP)
    since = agent.mark
    agent.process.send_signal(signal.SIGCONT)
    agent.hears("refused", "delet", since=since)
    agent.hears("looked", since=since, times=2)
    assert in_sync_with(host, WEB)
    assert not {item["event"] for item in agent.said[since:]} & {"applied", "healed"}
    assert agent.stop() == 0


def test_what_waited_and_is_not_in_the_file_any_more_is_not_done(host: Host) -> None:
    file = host.write(WEB)
    agent = Agent(host)
    agent.hears("status", "Synced")
    host.reconcile("suspend")
    agent.hears("status", "Suspended")
    replace(file, WITHOUT_WEB)
    agent.hears("drifted", "delete network namespace web")
    links = host.run("ip -o link")
    agent.process.send_signal(signal.SIGSTOP)  # both are told at once
    host.reconcile("resume", "--name", "default")
    replace(file, WEB.replace("8080", "8090"))
    since = agent.mark
    agent.process.send_signal(signal.SIGCONT)
    assert agent.hears("applied", since=since)["changes"] == 2
    assert host.run("ip -o link") == links
    assert agent.stop() == 0


@pytest.mark.parametrize("then", [WEB, INVALID])
def test_what_waited_and_was_taken_back_is_told_no_more(agent: Agent, host: Host, then: str) -> None:
    host.reconcile("suspend")
    agent.hears("status", "Suspended")
    replace(host.folder / "reconcile.yaml", WITHOUT_WEB)
    until(lambda: agent.status()["drift"])
    replace(host.folder / "reconcile.yaml", then)
    until(lambda: not agent.status()["drift"])
    host.reconcile("resume")
    agent.hears("looked", since=agent.said.index(agent.hears("resumed")))
    assert in_sync_with(host, WEB)


def test_a_refused_revision_that_is_tried_again_is_not_called_synced_meanwhile(host: Host) -> None:
    file = host.write(WEB)
    agent = Agent(host, "--max-deletes", "2")
    agent.hears("status", "Synced")
    replace(file, "version: 1\nbridges: {br-other: {mode: isolated}}\n")
    agent.hears("status", "was refused")
    since = agent.mark
    agent.process.send_signal(signal.SIGHUP)
    agent.hears("refused", since=since)
    replace(file, "version: 1\nbridges: {br-another: {mode: isolated}}\n")
    agent.hears("refused", since=since, times=2)
    assert not [item for item in agent.said[since:] if item["event"] == "status" and "Synced" in item["text"]]
    assert agent.stop() == 0


def test_what_is_refused_after_a_restart_too_changes_nothing(host: Host) -> None:
    """Files do not remember what was good: what is there stays, until there is a file that may be done."""
    file = host.write(WEB)
    agent = Agent(host, "--max-deletes", "2")
    agent.hears("status", "Synced")
    replace(file, "version: 1\nbridges: {br-other: {mode: isolated}}\n")
    agent.hears("refused")
    assert agent.stop() == 0
    before = host.state()
    again = Agent(host, "--max-deletes", "2")
    again.hears("status", "was refused")
    host.reconcile("suspend")
    again.hears("suspended")
    host.reconcile("resume")
    again.hears("resumed")
    assert host.state() == before
    assert again.status()["revision"] == ""
    replace(file, WEB.replace("8080", "8090"))
    again.hears("status", "Synced")
    assert again.stop() == 0


def test_half_is_half_of_all_that_is_there_where_only_some_of_it_is_looked_at(agent: Agent, host: Host) -> None:
    file, mark = host.folder / "reconcile.yaml", agent.mark
    more = ", ".join(f'"{port}:80"' for port in range(8080, 8141))
    replace(file, WEB.replace('"8080:80"', more))
    agent.hears("applied", since=mark)
    agent.hears("looked", since=mark)
    mark = agent.mark
    replace(file, WEB)
    assert agent.hears("applied", since=mark)["changes"] == 60
    assert "later" not in [item["event"] for item in agent.said[mark:]]
    assert in_sync(host)


def test_a_refused_revision_that_is_there_again_is_not_called_synced(host: Host) -> None:
    refused = "version: 1\nbridges: {br-other: {mode: isolated}}\n"
    file = host.write(WEB)
    agent = Agent(host, "--max-deletes", "2")
    agent.hears("status", "Synced")
    for times, between in ((1, WEB), (2, INVALID)):
        replace(file, refused)
        agent.hears("status", "was refused", times=times)
        since = agent.mark
        replace(file, between)
        agent.hears("status", "", since=since)
        replace(file, refused)
    agent.hears("status", "was refused", times=3)
    assert agent.stop() == 0


def test_an_empty_file_is_refused(agent: Agent, host: Host) -> None:
    replace(host.folder / "reconcile.yaml", "version: 1\n")
    agent.hears("invalid")
    assert host.namespaces() == {"web", "db"}
    # Nor does an agent begin with one, unless it may.
    assert agent.stop() == 0
    answer = host.reconcile("watch", "--max-deletes", "1000")
    assert (answer.code, "names no bridge" in answer.err) == (4, True)
    assert host.namespaces() == {"web", "db"}
    allowed = Agent(host, "--max-deletes", "1000", "--allow-empty")
    allowed.hears("status", "Synced")
    assert host.namespaces() == set()
    assert allowed.stop() == 0


def test_another_owner_is_refused(agent: Agent, host: Host) -> None:
    replace(host.folder / "reconcile.yaml", WEB.replace("version: 1", "version: 1\nname: other"))
    agent.hears("invalid", "another owner")


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_fault_in_one_container_does_not_hold_up_the_others(host: Host) -> None:
    host.write(FORBIDDEN)
    agent = Agent(host)
    agent.hears("failed", "no_such_thing")
    agent.hears("status", "Degraded")
    host.run("ip netns exec web ping -c 1 -W 5 10.88.0.1")
    since = agent.mark
    host.run("ip netns exec web ip link set eth0 down")
    agent.hears("healed", "eth0 in web", since=since)
    # And it is tried again, later each time.
    first = agent.hears("failed", "no_such_thing")["again"]
    again = agent.hears("failed", "no_such_thing", times=2)["again"]
    assert again > first
    replace(host.folder / "reconcile.yaml", WEB)
    agent.hears("status", "Synced", since=since)
    assert agent.stop() == 0


def test_a_revision_that_was_rolled_back_is_not_tried_again_by_itself(host: Host) -> None:
    file = host.write(WEB)
    agent = Agent(host, "--atomic")
    agent.hears("applied")
    before = host.state()
    replace(file, FORBIDDEN)
    agent.hears("refused", "rolled back")
    assert host.state() == before
    since = agent.mark
    host.run("ip netns del web")
    agent.hears("healed", since=since)
    replace(file, FORBIDDEN)  # the same revision
    host.run("ip netns exec web ip link set eth0 down")
    agent.hears("healed", "eth0 in web", since=since)
    assert not [item for item in agent.said[since:] if item["event"] == "refused"]
    agent.process.send_signal(signal.SIGHUP)
    agent.hears("refused", "rolled back", since=since)
    assert agent.stop() == 0


def test_a_bridge_of_others_is_in_the_way_and_is_left_alone_until_it_goes(host: Host) -> None:
    host.run("ip link add br-x type bridge; ip link set br-x up")
    before = host.run("ip -o link show br-x")
    host.write(WEB.replace("bridges:", "bridges:\n  br-x: {mode: isolated}"))
    agent = Agent(host)
    agent.hears("status", "br-x is in the way")
    host.run("ip netns exec web ping -c 1 -W 5 10.88.0.1")
    # Nor is anything set that would concern it by its name.
    assert "br-x" not in host.run("nft list table inet reconciler")
    assert host.run("ip -o link show br-x") == before
    # Not only when its time to be tried again comes, which is later each time.
    agent.hears("failed", "br-x", times=4)
    since = agent.mark
    host.run("ip link del br-x")
    agent.hears("status", "Synced", since=since, seconds=3)
    assert "br-x" in host.run("nft list set inet reconciler isolated")
    assert agent.stop() == 0


def test_two_that_fight_over_one_thing_are_told_and_parted(agent: Agent, host: Host) -> None:
    stop = threading.Event()

    def fight() -> None:
        while not stop.is_set():
            subprocess.run(["ip", "link", "set", "br-web", "mtu", "1400"], check=True)
            subprocess.run(["ip", "link", "set", "br-web", "down"], check=True)
            stop.wait(0.05)

    other = threading.Thread(target=fight)
    other.start()
    try:
        agent.hears("fought", "br-web")
        agent.hears("status", "Degraded")
        since = agent.mark
        # The rest is healed all the same.
        host.run("ip netns exec web ip link set eth0 down")
        agent.hears("healed", "eth0 in web", since=since)
    finally:
        stop.set()
        other.join()
    assert "br-web" in next(iter(agent.status()["failures"]))


def test_what_waits_is_done_as_soon_as_it_can_be(agent: Agent, host: Host) -> None:
    replace(host.folder / "reconcile.yaml", f"{WEB}  br0: {{mode: bridged, uplinks: [eth1]}}\n")
    agent.hears("status", "Pending")
    since = agent.mark
    host.run("ip link add eth1 type veth peer name far")
    agent.hears("healed", "port eth1", since=since)
    agent.hears("status", "Synced", since=since)


def test_the_namespace_of_a_process_goes_with_it_and_its_ports_close(host: Host) -> None:
    process = host.inhabited_namespace()
    child = process.pid
    host.write(
        WEB.replace(
            "        addresses: [10.88.0.10]\n", f"        addresses: [10.88.0.10]\n        attach: {{pid: {child}}}\n"
        )
    )
    agent = Agent(host)
    agent.hears("applied")
    agent.hears("status", "Synced")
    assert "8080" in host.run("nft list map inet reconciler by_any4")
    process.kill()
    process.wait()
    agent.hears("status", "Pending")
    until(lambda: "8080" not in host.run("nft list map inet reconciler by_any4"))
    assert agent.stop() == 0


# --- its life --------------------------------------------------------------------------------------------------------


def test_it_leaves_the_network_as_it_is_when_it_ends(agent: Agent, host: Host) -> None:
    before = host.state()
    assert agent.stop() == 0
    assert host.state() == before
    assert agent.said[-1]["event"] == "stopped"
    assert control.ask("default") is None


def test_there_is_one_at_a_time(agent: Agent, host: Host) -> None:
    second = host.reconcile("watch")
    assert second.code == 6
    assert "an agent keeps 'default' here already" in second.err
    assert str(agent.process.pid) in second.err


def test_a_run_by_hand_goes_beside_it(agent: Agent, host: Host) -> None:
    assert host.reconcile().code == 0
    assert host.reconcile("status").code == 0


def test_status_asks_it(agent: Agent, host: Host) -> None:
    text = host.reconcile("status")
    assert text.out.startswith("agent: Synced, the host is as the file says\n  since ")
    told = json.loads(host.reconcile("status", "--format", "json").out)["agent"]
    assert (told["health"], told["revision"]) == ("Synced", agent.status()["revision"])
    agent.stop()
    assert json.loads(host.reconcile("status", "--format", "json").out)["agent"] is None


def test_status_asks_it_where_no_file_can_be_read(agent: Agent, host: Host) -> None:
    file = host.folder / "reconcile.yaml"
    assert host.reconcile("suspend").code == 0
    agent.hears("status", "Suspended")
    replace(file, INVALID)
    agent.hears("status", "Degraded")
    invalid = host.reconcile("status")
    assert invalid.out.startswith("agent: Degraded, the files are invalid")
    assert "  also Suspended, suspended until resumed\n" in invalid.out
    assert (invalid.code, "reconcile.yaml:" in invalid.err) == (3, True)
    file.unlink()
    away = host.reconcile("status", "--format", "json")
    assert away.code == 0
    told = json.loads(away.out)["agent"]
    assert {item["condition"] for item in told["conditions"] if item["holds"]} == {
        "Degraded",
        "Suspended",
        "Healthy",
        "Synced",
    }
    agent.stop()
    assert host.reconcile("status").code == 64


def test_suspended_it_changes_nothing_and_resumed_it_heals(agent: Agent, host: Host) -> None:
    assert "suspended until resumed: a test" in host.reconcile("suspend", "--reason", "a test").out
    agent.hears("status", "Suspended")
    host.run("ip netns exec web ip link set eth0 down")
    agent.hears("drifted", "eth0 in web")
    assert not in_sync(host)
    assert "resumed" in host.reconcile("resume").out
    agent.hears("healed", "eth0 in web")
    agent.hears("status", "Synced", times=2)


def test_what_differs_is_told_as_it_comes_and_goes(agent: Agent, host: Host) -> None:
    host.reconcile("suspend")
    agent.hears("status", "Suspended")
    host.run("ip netns del web; ip link set br-web down")
    until(lambda: {"create network namespace web", "update bridge br-web"} <= set(agent.status()["drift"]))
    host.run("ip link set br-web up")
    until(lambda: "update bridge br-web" not in agent.status()["drift"])
    # A name goes in two steps: what was seen between them is over.
    until(lambda: not any("leftover" in text for text in agent.status()["drift"]))
    assert host.reconcile().code == 0
    until(lambda: agent.status()["drift"] == [])


def test_a_suspension_ends_by_itself(agent: Agent, host: Host) -> None:
    host.reconcile("suspend", "--until", "2s")
    agent.hears("status", "Suspended")
    host.run("ip netns exec web ip link set eth0 down")
    agent.hears("healed", "eth0 in web")


def test_a_suspension_holds_for_an_agent_that_is_started_later(host: Host) -> None:
    host.write(WEB)
    host.reconcile("suspend")
    agent = Agent(host)
    agent.hears("status", "Suspended")
    assert host.namespaces() == set()
    assert agent.stop() == 0


def test_what_awaits_confirmation_is_left_alone_and_healed_afterwards(agent: Agent, host: Host) -> None:
    other = host.write(WEB.replace("8080", "8090"), "other.yaml")
    waiting = host.tool("-f", str(other), "--confirm-timeout", "600")
    agent.hears("status", "AwaitingConfirm")
    assert "8090" in host.run("nft list map inet reconciler by_any4")
    assert host.reconcile("confirm").code == 0
    assert waiting.wait(15) == 0
    # Confirmed it is over; and what the agent's own file says holds again.
    agent.hears("status", "Synced", times=2)
    until(lambda: in_sync(host))


def test_what_was_rolled_back_by_hand_is_not_taken_up(agent: Agent, host: Host) -> None:
    text = WEB.replace("8080", "8090")
    other = host.write(text, "other.yaml")
    waiting = host.tool("-f", str(other), "--confirm-timeout", "600")
    agent.hears("status", "AwaitingConfirm")
    assert host.reconcile("rollback").code in (0, 7)
    assert waiting.wait(15) == 7
    agent.hears("status", "Synced", times=2)
    replace(host.folder / "reconcile.yaml", text)
    agent.hears("refused", "rolled back")
    assert in_sync_with(host, WEB)


def test_what_is_overdue_and_has_no_timer_any_more_is_rolled_back_by_the_agent(agent: Agent, host: Host) -> None:
    other = host.write(WEB.replace("8080", "8090"), "other.yaml")
    waiting = host.tool("-f", str(other), "--confirm-timeout", "3")
    agent.hears("status", "AwaitingConfirm")
    kill_timer()
    waiting.kill()
    waiting.wait()
    agent.hears("rolled-back", "nobody confirmed it in time")
    agent.hears("status", "Synced", times=2)
    assert in_sync_with(host, WEB)
    assert confirm.find("default") is None


def test_a_note_of_a_rollback_that_nobody_can_trust_is_told_and_no_end_of_it(agent: Agent, host: Host) -> None:
    note = Path(f"/run/state/rolled-back-default-{confirm.here()}.json")
    note.parent.mkdir(mode=0o700)
    note.write_text("{}")
    note.chmod(0o666)
    replace(host.folder / "reconcile.yaml", WEB.replace("8080", "8090"))
    agent.hears("refused", "not trusted")
    assert in_sync_with(host, WEB)
    note.unlink()
    agent.process.send_signal(signal.SIGHUP)
    agent.hears("applied", times=2)


def is_open(path: Path, pid: int) -> bool:
    """Whether the process has the file open."""
    return subprocess.run(["find", f"/proc/{pid}/fd", "-lname", str(path)], capture_output=True).stdout != b""


@pytest.mark.parametrize("command", ["confirm", "rollback"])
def test_what_awaits_confirmation_is_settled_while_the_agent_is_at_work(agent: Agent, host: Host, command: str) -> None:
    other = host.write(WEB.replace("8080", "8090"), "other.yaml")
    waiting = host.tool("-f", str(other), "--confirm-timeout", "600")
    agent.hears("status", "AwaitingConfirm")
    with Lock("default") as lock:
        process = host.tool(command)
        until(lambda: process.poll() is not None or is_open(lock.path, process.pid))
        assert process.poll() is None
    assert process.wait(15) == 0
    assert waiting.wait(15) == (0 if command == "confirm" else 7)


def test_suspended_means_that_what_the_agent_had_begun_is_over(agent: Agent, host: Host) -> None:
    with Lock("default") as lock:
        process = host.tool("suspend")
        until(lambda: process.poll() is not None or is_open(lock.path, process.pid))
        assert process.poll() is None
        agent.process.send_signal(signal.SIGSTOP)
    assert process.wait(15) == 0
    # However soon something happens after it, and whatever of both is heard first.
    host.run("ip netns exec web ip link set eth0 down")
    agent.process.send_signal(signal.SIGCONT)
    agent.hears("drifted", "eth0 in web")
    assert not in_sync(host)


@pytest.mark.parametrize("when", ["soon", "5x", "2001-01-01", ""])
def test_a_time_that_makes_no_sense_is_refused(host: Host, when: str) -> None:
    host.write(WEB)
    assert host.reconcile("suspend", "--until", when).code == 64
    assert "was not suspended" in host.reconcile("resume").out


def test_reporting_changes_nothing(host: Host) -> None:
    host.write(WEB)
    before = host.state()
    agent = Agent(host, "--drift", "report")
    agent.hears("drifted", "br-web")
    agent.hears("status", "OutOfSync")
    assert host.state() == before
    assert host.reconcile().code == 0
    agent.hears("status", "Synced")
    assert agent.stop() == 0


def test_it_begins_with_a_good_file_or_not_at_all(host: Host) -> None:
    host.write(INVALID)
    assert host.reconcile("watch").code == 3
    assert host.reconcile("watch", "-f", "-").code == 64


# --- systemd ---------------------------------------------------------------------------------------------------------


def test_it_tells_systemd_how_it_goes(host: Host) -> None:
    host.write(WEB)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(host.folder / "notify"))
        manager.settimeout(15)
        os.environ |= {"NOTIFY_SOCKET": str(host.folder / "notify"), "WATCHDOG_USEC": "200000"}
        try:
            agent = Agent(host)
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]

        def told() -> str:
            return manager.recv(4096).decode()

        first = told()
        while first == "WATCHDOG=1":
            first = told()
        assert first.startswith("READY=1\nSTATUS=")
        assert [told() for _ in range(3)].count("WATCHDOG=1") >= 2
        agent.process.send_signal(signal.SIGHUP)
        while not told().startswith("RELOADING=1\nMONOTONIC_USEC="):
            pass
        # Until it says so, `systemctl reload` waits, and the unit is reloading.
        while not told().startswith("READY=1"):
            pass
        agent.process.send_signal(signal.SIGTERM)
        while told() != "STOPPING=1":
            pass
        assert agent.stop() == 0


# --- the page --------------------------------------------------------------------------------------------------------


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=15) as answer:
        return str(answer.read().decode())


def test_the_page_shows_the_host_and_follows_it(host: Host) -> None:
    host.write(WEB)
    agent = Agent(host, "--listen", "127.0.0.1:0")
    url = agent.hears("serving")["text"]
    agent.hears("status", "Synced")
    until(lambda: "Synced" in get(f"{url}state.json"))
    assert "web" in get(url)
    assert get(f"{url}picture.svg").startswith("<svg")
    assert (get(f"{url}healthz").strip(), get(f"{url}readyz").strip()) == ("ok", "ok")
    version = json.loads(get(f"{url}state.json"))["version"]
    host.run("ip netns exec web ip link set eth0 down")
    agent.hears("healed")
    until(lambda: json.loads(get(f"{url}state.json"))["version"] > version)
    assert "eth0 in web" in get(f"{url}state.json")
    assert agent.stop() == 0


def test_metrics_count_what_it_does(host: Host) -> None:
    pytest.importorskip("prometheus_client")
    host.write(WEB)
    agent = Agent(host, "--listen", "127.0.0.1:0")
    url = agent.hears("serving")["text"]
    agent.hears("status", "Synced")
    host.run("ip netns exec web ip link set eth0 down")
    agent.hears("healed")
    until(lambda: "reconcile_heal_duration_seconds_count 1.0" in get(f"{url}metrics"))
    text = get(f"{url}metrics")
    assert 'reconcile_condition{condition="Synced"} 1.0' in text
    assert float(text.partition("\nreconcile_last_success_timestamp_seconds ")[2].split()[0]) > 1e9
    written = re.search(r"^reconcile_requests_total (.*)$", text, re.MULTILINE)
    assert written is not None
    assert float(written[1]) > 10
    assert agent.stop() == 0


def test_metrics_tell_what_was_refused_from_what_was_rolled_back(host: Host) -> None:
    pytest.importorskip("prometheus_client")
    file = host.write(WEB)
    agent = Agent(host, "--listen", "127.0.0.1:0", "--atomic", "--max-deletes", "2")
    url = agent.hears("serving")["text"]
    agent.hears("status", "Synced")
    replace(file, FORBIDDEN)
    agent.hears("refused", "rolled back")
    replace(file, "version: 1\nbridges: {br-other: {mode: isolated}}\n")
    agent.hears("refused", "delet")
    for outcome in ("rolled_back", "refused"):
        until(lambda outcome=outcome: f'reconcile_applies_total{{outcome="{outcome}"}} 1.0' in get(f"{url}metrics"))
    assert agent.stop() == 0


def test_an_address_that_is_taken_is_told(host: Host) -> None:
    host.write(WEB)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = host.reconcile("watch", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert answer.code == 1
    assert "cannot listen" in answer.err
    assert host.reconcile("watch", "--listen", "here").code == 64
