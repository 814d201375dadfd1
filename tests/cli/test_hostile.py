"""Files of an enemy, on a host: names that read like commands reach the kernel as names, and root obeys no file that others can write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reconciler.cli import trust
from tests.cli.host import WEB, Host

NAMES = [
    "a;b",
    "{}",
    "a{b}c",
    "$(x)",
    "`x`",
    "<a|b>",
    "#a",
    "@within",
    "accept",
    "tcp",
    "comment",
    "-",
    "--help",
    "ö{;}",
    "𝕨",
    "!=",
    "a&b=c",
]


def test_names_that_read_like_commands_are_names(host: Host) -> None:
    host.run("nft add table inet theirs")
    bridges = {
        name: {
            "addresses": [f"10.{number}.0.1/24"],
            "icc": number % 2 == 0,
            "containers": {f"c{number}": {"ports": [f"{9000 + number}:80"]}},
        }
        for number, name in enumerate(NAMES)
    }
    host.write(json.dumps({"version": 1, "bridges": bridges}, ensure_ascii=False))
    answer = host.reconcile()
    assert (answer.code, answer.err) == (0, "")
    assert set(NAMES) <= host.links()
    assert host.reconcile("--dry-run", "--detailed-exitcode").code == 0
    assert host.run("nft list tables").split("\n") == [
        "table inet theirs",
        "table inet reconciler",
        "table bridge reconciler",
        "",
    ]
    assert host.reconcile("down").code == 0
    assert host.run("nft list tables") == "table inet theirs\n"
    assert not set(NAMES) & host.links()


# --- whose file it is -------------------------------------------------------------------------------------------------

COMMANDS = [("-f",), ("down", "-f")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("mode", [0o646, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused_to_root(host: Host, command: tuple[str, ...], mode: int) -> None:
    path = host.write(WEB)
    path.chmod(mode)
    before = host.state()
    answer = host.reconcile(*command, str(path))
    assert answer.code == 4
    assert f"{path} can be written by everyone (mode {mode:04o})\n" in answer.err
    assert "--trust-file" in answer.err
    assert host.state() == before
    assert host.reconcile(*command, str(path), "--trust-file").code == 0


def test_a_directory_counts_and_so_does_the_way_to_it(host: Host) -> None:
    inner = host.folder / "open" / "closed"
    inner.mkdir(parents=True)
    (inner / "a.yaml").write_text(WEB)
    inner.parent.chmod(0o777)
    for named in (inner, inner / "a.yaml"):
        answer = host.reconcile("-f", str(named))
        assert answer.code == 4
        assert f"{named}: {inner.parent} can be written by everyone (mode 0777)\n" in answer.err
    # In a sticky directory, as /tmp is, nobody can exchange what is root's.
    inner.parent.chmod(0o1777)
    assert host.reconcile("-f", str(inner)).code == 0


def test_what_a_link_leads_to_counts(host: Host) -> None:
    path = host.write(WEB, "real.yaml")
    (host.folder / "reconcile.yaml").symlink_to(path)
    path.chmod(0o666)
    answer = host.reconcile()
    assert answer.code == 4
    assert f"reconcile.yaml: {path} can be written by everyone" in answer.err


def test_who_only_looks_may_look_at_any_file(host: Host) -> None:
    path = host.write(WEB)
    path.chmod(0o666)
    assert host.reconcile("--dry-run").code == 0
    assert host.reconcile("validate").code == 0
    assert host.reconcile("down", "--dry-run").code == 0


def test_a_saved_plan_that_others_can_write_is_refused(host: Host) -> None:
    host.write(WEB)
    assert host.reconcile("plan", "--out", "plan.json").code == 0
    (host.folder / "plan.json").chmod(0o622)
    assert host.reconcile("apply", "plan.json").code == 4
    assert host.reconcile("apply", "plan.json", "--trust-file").code == 0


def test_standard_input_is_whatever_roots_shell_puts_there(host: Host) -> None:
    answer = host.child("-f", "-", stdin=WEB)
    assert (answer.code, answer.err) == (0, "")


def test_who_is_not_root_may_have_files_as_he_likes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    path = host.write(WEB)
    path.chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    trust.refuse_untrusted([str(path)])


@pytest.mark.parametrize(
    ("mode", "owner", "group", "why"),
    [
        (0o100644, 0, 0, ""),
        (0o100664, 0, 0, ""),
        (0o100640, 0, 7, ""),
        (0o100664, 0, 7, "can be written by the group 7 (mode 0664)"),
        (0o100646, 0, 0, "can be written by everyone (mode 0646)"),
        (0o100644, 1000, 0, "belongs to the user 1000"),
        (0o100644, 65534, 65534, ""),
        (0o040755, 0, 0, ""),
        (0o041777, 0, 0, ""),
        (0o041777, 1000, 0, "belongs to the user 1000"),
        (0o040777, 0, 0, "can be written by everyone (mode 0777)"),
    ],
)
def test_what_lets_others_write(mode: int, owner: int, group: int, why: str) -> None:
    status = os.stat_result((mode, 1, 1, 1, owner, group, 0, 0, 0, 0))
    assert trust.judged(status, outside=65534) == why
    if owner == 65534:
        assert trust.judged(status) == "belongs to the user 65534"


def test_an_ordinary_users_file_is_refused_to_root(host: Host) -> None:
    path = host.write(WEB)
    try:
        os.chown(path, 1000, 1000)
    except OSError:
        pytest.skip("this user namespace has one user only")
    assert f"{Path(path)} belongs to the user 1000" in host.reconcile().err
