"""Plans from another basis than the live kernel, and snapshots of one."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.cli.host import WEB, WITHOUT_WEB, Host


def steps(host: Host, basis: str, *more: str) -> list[tuple[str, str]]:
    """(action, label) of each step of the plan."""
    answer = host.reconcile("--dry-run", "--basis", basis, "--format", "json", *more)
    assert answer.code == 0, answer.err
    body = json.loads(answer.out)
    assert body["basis"] == basis
    return [(step["action"], step["label"]) for step in body["steps"]]


def test_an_empty_host_in_memory_and_a_real_one_give_the_same_plan(host: Host) -> None:
    host.write(WEB)
    assert steps(host, "empty") == steps(host, "live")


def test_a_host_as_a_file_says_differs_by_just_the_change(host: Host) -> None:
    host.write(WITHOUT_WEB, "old.yaml")
    host.write(WEB)
    in_memory = steps(host, "file:old.yaml")
    assert in_memory
    assert host.reconcile("-f", "old.yaml").code == 0
    assert in_memory == steps(host, "live")
    assert steps(host, "file:old.yaml", "-f", "old.yaml") == []


def test_a_host_as_a_revision_says(host: Host) -> None:
    path = host.write(WITHOUT_WEB)
    git = ["git", "-C", str(path.parent), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", path.name], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    assert steps(host, "git:HEAD") == []
    path.write_text(WEB)
    host.write(WITHOUT_WEB, "old.yaml")
    assert steps(host, "git:HEAD") == steps(host, "file:old.yaml")
    answer = host.reconcile("--dry-run", "--basis", "git:nowhere")
    assert (answer.code, "no such revision" in answer.err) == (64, True)


def test_a_snapshot_stands_for_its_host(host: Host) -> None:
    path = host.write(WITHOUT_WEB)
    host.reconcile()
    path.write_text(WEB)
    assert host.reconcile("snapshot", "-o", "host.json").code == 0
    assert steps(host, "snapshot:host.json") == steps(host, "live")
    answer = host.reconcile("--dry-run", "--basis", "snapshot:host.json", "--host", "another")
    assert (answer.code, "is of the host" in answer.err) == (64, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body | {"version": 99}, "has the version 99"),
        (lambda body: body | {"owner": "somebody"}, "was made for the owner 'somebody'"),
        (lambda body: body | {"snapshot": {}}, "is damaged"),
        (lambda body: body | {"format": "other"}, "is no snapshot"),
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused(host: Host, change, said: str) -> None:  # type: ignore[no-untyped-def]
    path = host.write(WEB)
    text = host.reconcile("snapshot").out
    path.with_name("bad.json").write_text(json.dumps(change(json.loads(text))))
    answer = host.reconcile("--dry-run", "--basis", "snapshot:bad.json")
    assert (answer.code, said in answer.err) == (64, True), answer.err


def test_half_a_snapshot_is_refused(host: Host) -> None:
    path = host.write(WEB)
    text = host.reconcile("snapshot").out
    path.with_name("half.json").write_text(text[: len(text) // 2])
    assert host.reconcile("--dry-run", "--basis", "snapshot:half.json").code == 64


@pytest.mark.parametrize("text", ["", "live:x", "file:", "git", "nonsense:1"])
def test_a_basis_that_is_none_is_wrong_usage(host: Host, text: str) -> None:
    host.write(WEB)
    assert host.reconcile("--dry-run", "--basis", text).code == 64


def test_only_a_live_plan_is_applied_or_saved(host: Host) -> None:
    host.write(WEB)
    before = host.state()
    assert host.reconcile("--basis", "empty").code == 64
    assert host.reconcile("plan", "--basis", "empty", "--out", "plan.json").code == 64
    assert host.state() == before


def test_gates(host: Host) -> None:
    path = host.write(WEB)
    host.write(WEB, "old.yaml")
    assert host.reconcile("--dry-run", "--fail-on", "delete,disruption").code == 0
    assert host.reconcile("--dry-run", "--fail-on", "drift").code == 2
    assert host.reconcile("--dry-run", "--fail-on", "drift", "--basis", "empty").code == 0
    path.write_text(WITHOUT_WEB)
    answer = host.reconcile("--dry-run", "--basis", "file:old.yaml", "--fail-on", "delete")
    assert (answer.code, "for good" in answer.err) == (2, True)
    assert host.reconcile("--dry-run", "--fail-on", "nonsense").code == 64
