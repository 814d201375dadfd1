"""Following a repository: new commits, bad ones, signed ones, and a remote that is away."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.host import WEB, WITHOUT_WEB, Host, until
from tests.watch.test_agent import Agent, in_sync_with

PATH = "hosts/edge-1.yaml"
OTHER = "version: 1\nbridges: {br-other: {mode: isolated}}\n"


class Repository:
    """Where the desired state is committed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.email", "a@example.org")
        self.git("config", "user.name", "A")

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(self.folder), *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, text: str, *options: str) -> str:
        """Returns the commit, short."""
        path = self.folder / PATH
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "change", *options)
        return self.git("rev-parse", "HEAD")[:12]


@pytest.fixture
def repository(host: Host) -> Repository:
    return Repository(host.folder / "origin")


@pytest.fixture
def agent(host: Host, repository: Repository) -> Iterator[Agent]:
    repository.commit(WEB)
    made = Agent(host, "--git", str(repository.folder), "--path", PATH, "--every", "1s")
    made.hears("status", "Synced")
    yield made
    made.stop()


def test_a_new_commit_is_applied_and_its_revision_told(agent: Agent, repository: Repository, host: Host) -> None:
    commit = repository.commit(WITHOUT_WEB)
    assert agent.hears("applied", times=2)["revision"] == commit
    assert in_sync_with(host, WITHOUT_WEB)
    assert agent.status()["revision"] == commit


def test_an_invalid_commit_is_told_with_its_line_and_the_last_good_one_is_healed(
    agent: Agent, repository: Repository, host: Host
) -> None:
    bad = repository.commit(WEB.replace("addresses: [10.88.0.1/24]", "adresses: [10.88.0.1/24]"))
    agent.hears("invalid", f"{bad[:7]}:{PATH}:")
    since = agent.mark
    host.run("ip netns del web")
    agent.hears("healed", since=since)
    until(lambda: in_sync_with(host, WEB))


def test_while_the_remote_is_away_the_last_revision_is_healed(agent: Agent, repository: Repository, host: Host) -> None:
    away = repository.folder.with_name("away")
    repository.folder.rename(away)
    agent.hears("away")
    agent.hears("status", "Degraded")
    since = agent.mark
    host.run("ip netns del web")
    agent.hears("healed", since=since)
    until(lambda: in_sync_with(host, WEB))
    # It is known after a restart, too.
    agent.stop()
    again = Agent(host, "--git", str(repository.folder), "--path", PATH, "--every", "1s")
    again.hears("status", "Degraded")
    away.rename(repository.folder)
    again.hears("status", "Synced")
    assert again.stop() == 0


def test_after_a_restart_too_an_invalid_commit_is_no_reason_to_give_up_the_last_good_one(
    agent: Agent, repository: Repository, host: Host
) -> None:
    good = agent.status()["revision"]
    repository.commit("version: 2")
    agent.hears("invalid")
    agent.stop()
    host.run("ip netns del web")
    again = Agent(host, "--git", str(repository.folder), "--path", PATH, "--every", "1s")
    assert again.hears("applied")["revision"] == good
    again.hears("status", "Degraded")
    assert in_sync_with(host, WEB)
    again.stop()
    # Nor is it one not to look for a better one.
    better = repository.commit(WITHOUT_WEB)
    last = Agent(host, "--git", str(repository.folder), "--path", PATH, "--every", "1h")
    assert last.hears("applied")["revision"] == better
    last.hears("status", "Synced")
    assert last.stop() == 0


def test_what_a_guard_refused_is_no_good_one_to_begin_with(host: Host, repository: Repository) -> None:
    good = repository.commit(WEB)
    arguments = ("--git", str(repository.folder), "--path", PATH, "--every", "1s", "--max-deletes", "2")
    agent = Agent(host, *arguments)
    agent.hears("status", "Synced")
    # Refused it is, and then the newest, and then before one that is invalid.
    for text, trouble in ((OTHER, "was refused"), ("version: 2", "invalid"), ("version: 1", "names no bridge")):
        repository.commit(text)
        agent.hears("status", trouble)
        assert agent.stop() == 0
        host.run("ip netns del web")
        agent = Agent(host, *arguments)
        assert agent.hears("applied")["revision"] == good
        agent.hears("status", trouble)
        assert in_sync_with(host, WEB)
        assert agent.status()["revision"] == good
    assert agent.stop() == 0


def test_another_branch_of_a_remote_that_is_away_is_not_taken_for_the_one_that_was_fetched(
    agent: Agent, repository: Repository, host: Host
) -> None:
    repository.folder.rename(repository.folder.with_name("away"))
    agent.stop()
    other = host.reconcile("watch", "--git", str(repository.folder), "--path", PATH, "--ref", "other")
    assert other.code == 1
    assert "nothing was fetched" in other.err


def test_status_and_suspend_need_no_file_here(repository: Repository, host: Host) -> None:
    commit = repository.commit(WEB.replace("version: 1", "version: 1\nname: edge-1"))
    agent = Agent(host, "--git", str(repository.folder), "--path", PATH)
    agent.hears("status", "Synced")
    status = host.reconcile("status", "--detailed-exitcode")
    assert (status.code, status.err) == (0, "")
    assert status.out.startswith("agent: Synced, the host is as the file says\n")
    assert f"revision {commit} of {PATH} at main" in status.out
    assert host.reconcile("suspend").out == "edge-1: suspended until resumed\n"
    agent.hears("status", "Suspended")
    assert agent.stop() == 0


def test_a_signal_fetches_at_once(host: Host, repository: Repository) -> None:
    repository.commit(WEB)
    agent = Agent(host, "--git", str(repository.folder), "--path", PATH, "--every", "1h")
    agent.hears("status", "Synced")
    commit = repository.commit(WITHOUT_WEB)
    agent.process.send_signal(signal.SIGHUP)
    assert agent.hears("applied", times=2)["revision"] == commit
    assert agent.stop() == 0


def test_only_commits_that_somebody_signed_who_may_are_taken(host: Host, repository: Repository) -> None:
    keys = {}
    for name in ("ours", "theirs"):
        key = host.folder / name
        made = subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], capture_output=True)
        if made.returncode:
            pytest.skip("ssh-keygen cannot make keys here")
        keys[name] = key
    signers = host.folder / "signers"
    signers.write_text(f"a@example.org {keys['ours'].with_suffix('.pub').read_text()}")

    def sign(name: str) -> tuple[str, ...]:
        repository.git("config", "gpg.format", "ssh")
        repository.git("config", "user.signingkey", str(keys[name]))
        return ("--gpg-sign",)

    good = repository.commit(WEB, *sign("ours"))
    arguments = ("--git", str(repository.folder), "--path", PATH, "--every", "1s", "--allowed-signers", str(signers))
    agent = Agent(host, *arguments)
    assert agent.hears("applied")["revision"] == good
    for options in ((), sign("theirs")):
        bad = repository.commit(WITHOUT_WEB, *options)
        agent.hears("invalid", f"commit {bad} is refused")
        assert in_sync_with(host, WEB)
    better = repository.commit(WITHOUT_WEB, *sign("ours"))
    assert agent.hears("applied", times=2)["revision"] == better
    assert agent.stop() == 0


def test_what_is_not_there_is_told_at_the_start(host: Host, repository: Repository) -> None:
    repository.commit(WEB)
    url = str(repository.folder)
    assert "nothing was fetched" in host.reconcile("watch", "--git", f"{url}-not").err
    assert "nothing was fetched" in host.reconcile("watch", "--git", url, "--ref", "nonesuch").err
    assert "there is no hosts/none.yaml" in host.reconcile("watch", "--git", url, "--path", "hosts/none.yaml").err
    assert host.reconcile("watch", "--git", url, "-f", "x.yaml").code == 64
