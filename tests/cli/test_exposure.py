"""reconcile exposure, and the gate of that name."""

from __future__ import annotations

import json

import pytest

from tests.cli.host import WEB, WITHOUT_WEB, Host, absent_pid

LOCAL = WEB.replace('"8080:80"', '"127.0.0.1:8080:80"')

OF_WEB = """\
  WHAT        ON                  LEADS TO  CONTAINER   PLACE
From anywhere (outside, this host, containers)
  tcp 8080    every IPv4 address  web:80    br-web/web  reconcile.yaml:8:17
From this host and containers of br-web
  everything  10.88.0.10          itself    br-web/web  reconcile.yaml:6:7
  everything  10.88.0.11          itself    br-web/db   reconcile.yaml:9:7
"""


def known(text: str) -> str:
    """What stands above what is not known, which is there."""
    before, found, after = text.partition("\nNot known here:\n")
    assert found
    assert "other nftables and iptables tables" in after
    return before


def test_a_file_says_it_with_no_kernel(host: Host) -> None:
    host.write(WEB)
    before = host.state()
    answer = host.reconcile("exposure")
    assert (answer.code, known(answer.out), answer.err) == (0, OF_WEB, "")
    assert host.state() == before
    host.write("version: 1\n", "empty.yaml")
    assert known(host.reconcile("exposure", "-f", "empty.yaml").out) == "Nothing can be reached.\n"


def test_the_kernel_says_the_same_with_the_file_and_without(host: Host) -> None:
    path = host.write(WEB)
    host.reconcile()
    assert known(host.reconcile("exposure", "--live").out) == OF_WEB
    path.unlink()
    bare = [line.split("  reconcile.yaml")[0].removesuffix("  PLACE").rstrip() for line in OF_WEB.splitlines()]
    found = known(host.reconcile("exposure", "--live").out).splitlines()
    assert [line.removesuffix("PLACE").rstrip() for line in found] == bare


def test_against_another_file(host: Host) -> None:
    host.write(WEB)
    host.write(LOCAL, "old.yaml")
    answer = host.reconcile("exposure", "--against", "old.yaml")
    assert (answer.code, answer.err) == (0, "")
    assert known(answer.out) == (
        "widened: tcp 8080 → web:80, now also on every IPv4 address, from anywhere (so far on 127.0.0.1, from this host)"
        "  (reconcile.yaml:8:17)\n\n1 widened.\n"
    )
    same = host.reconcile("exposure", "--against", "reconcile.yaml")
    assert known(same.out) == "Nothing is reached otherwise than before.\n"


def test_the_kernel_against_its_file(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    nothing = "Nothing is reached otherwise than before.\n"
    assert known(host.reconcile("exposure", "--live", "--against", "reconcile.yaml").out) == nothing
    host.run("nft add element inet reconciler by_any4 '{ tcp . 2222 : 10.88.0.11 . 22 }'")
    assert known(host.reconcile("exposure", "--live", "--against", "reconcile.yaml").out) == (
        "opened: tcp 2222 on every IPv4 address → 10.88.0.11:22, from anywhere\n\n1 opened.\n"
    )


def test_what_stands_in_the_way_on_this_host_is_said(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    host.run(
        "nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'"
    )
    host.run("sysctl -q -w net.ipv4.ip_forward=0; nft flush chain inet reconciler forward")
    said = host.reconcile("exposure", "--live").out
    assert "chain ip filter FORWARD drops forwarded packets" in said
    assert "net.ipv4.ip_forward is 0: " in said
    assert "chain forward of table inet reconciler is not as it should be" in said
    assert "chain ip filter FORWARD" not in host.reconcile("exposure").out


def test_json(host: Host) -> None:
    host.write(WEB)
    host.write(LOCAL, "old.yaml")
    body = json.loads(host.reconcile("exposure", "--format", "json").out)
    assert (body["owner"], body["basis"], body["changes"]) == ("default", "file", None)
    published, *inside = body["exposure"]
    assert published["ports"] == [8080, 8080]
    assert published["position"] == {"file": "reconcile.yaml", "line": 8, "column": 17}
    assert [item["ports"] for item in inside] == [None, None]
    assert body["unknown"]
    body = json.loads(host.reconcile("exposure", "--format", "json", "--against", "old.yaml").out)
    (change,) = body["changes"]
    assert (change["verb"], change["beside"]) == ("widened", [{"address": "127.0.0.1", "sources": ["this host"]}])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-f", "not-there.yaml"], 3),
        (["--live", "-f", "not-there.yaml"], 3),
        (["--against", "not-there.yaml"], 3),
        (["--live", "--against", "not-there.yaml"], 3),
        (["--name", "edge"], 64),
        (["-f", "bad.yaml"], 3),
        (["--against", "bad.yaml"], 3),
        (["--live", "-f", "bad.yaml"], 3),
    ],
)
def test_errors_are_those_of_other_commands(host: Host, arguments: list[str], code: int) -> None:
    host.write(WEB)
    host.write("version: 1\nbridges: {br-web: {mode: none}}\n", "bad.yaml")
    assert host.reconcile("exposure", *arguments).code == code


def test_the_gate_is_closed_for_what_opens_and_for_what_widens_only(host: Host) -> None:
    path = host.write(WEB)
    gate = ("--dry-run", "--fail-on", "exposure")
    answer = host.reconcile(*gate)
    assert answer.code == 2
    assert "--fail-on exposure: 3 ways in are opened or widened\n" in answer.err
    assert "  reconcile.yaml:8:17: opened: tcp 8080 on every IPv4 address → web:80, from anywhere\n" in answer.err
    host.reconcile()
    for closing in (LOCAL, WITHOUT_WEB, WEB.replace('"8080:80"', '"8080:81"')):
        path.write_text(closing)
        assert host.reconcile(*gate).code == 0, closing
    path.write_text(LOCAL)
    host.reconcile()
    path.write_text(WEB)
    answer = host.reconcile(*gate)
    assert (answer.code, "1 way in is opened or widened" in answer.err) == (2, True)
    host.write(LOCAL, "old.yaml")
    assert host.reconcile(*gate, "--basis", "file:old.yaml").code == 2


def test_what_a_plan_leaves_undone_opens_nothing(host: Host) -> None:
    host.write(WEB.replace("      web:\n", f"      web:\n        attach: {{pid: {absent_pid()}}}\n"))
    answer = host.reconcile("--dry-run", "--fail-on", "exposure")
    assert (answer.code, "(db)" in answer.err, "(web)" in answer.err) == (2, True, False)


def test_without_any_file_only_the_kernel_can_be_asked(host: Host) -> None:
    assert host.reconcile("exposure").code == 64
    assert known(host.reconcile("exposure", "--live").out) == "Nothing can be reached.\n"
