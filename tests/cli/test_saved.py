"""Saved plans: what was reviewed is applied, once, or nothing is."""

from __future__ import annotations

import pytest

from tests.cli.host import WEB, WITHOUT_WEB, Host


def saved(host: Host) -> str:
    assert host.reconcile("plan", "--out", "plan.json").code == 0
    return "plan.json"


def test_a_saved_plan_does_what_it_says_whatever_becomes_of_the_file(host: Host) -> None:
    path = host.write(WEB)
    name = saved(host)
    before = host.state()
    path.write_text(WITHOUT_WEB)
    assert host.reconcile("apply", name).code == 0
    assert host.state() != before
    path.write_text(WEB)
    assert host.reconcile("--dry-run", "--detailed-exitcode").code == 0


def test_it_is_applied_once(host: Host) -> None:
    path = host.write(WITHOUT_WEB)
    host.reconcile()
    path.write_text(WEB)
    name = saved(host)
    assert host.reconcile("apply", name).code == 0
    path.write_text(WITHOUT_WEB)
    host.reconcile()  # all that it rests on is as it was again
    before = host.state()
    answer = host.reconcile("apply", name)
    assert (answer.code, "applied before" in answer.err) == (5, True)
    assert host.state() == before


@pytest.mark.parametrize(
    "meddle",
    [
        ["ip", "link", "add", "br-web", "type", "bridge"],
        ["sysctl", "-qw", "net.ipv4.ip_forward=1"],
        ["nft", "add", "table", "inet", "reconciler"],
    ],
)
def test_it_is_refused_when_something_it_rests_on_has_changed(host: Host, meddle: list[str]) -> None:
    import subprocess

    host.write(WEB)
    name = saved(host)
    subprocess.run(meddle, check=True)
    before = host.state()
    answer = host.reconcile("apply", name)
    assert (answer.code, "Nothing was touched" in answer.err) == (5, True)
    assert host.state() == before


@pytest.mark.parametrize("boot", ["boot_id", "network_namespace"])
def test_it_is_refused_after_a_boot_and_elsewhere(host: Host, boot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler import saved as module
    from reconciler.errors import StalePlanError

    host.write(WEB)
    path = host.write("", "place.txt").with_name(saved(host))
    plan = module.read(str(path))
    module.check_place(plan)
    monkeypatch.setattr(module, boot, lambda: "another")
    with pytest.raises(StalePlanError):
        module.check_place(plan)


def test_one_that_was_cut_off_or_edited_is_refused(host: Host) -> None:
    path = host.write(WEB)
    name = saved(host)
    text = path.with_name(name).read_text()
    before = host.state()
    for bad in (text[: len(text) // 2], text.replace("8080", "8099"), "", "[]", "[" * 100_000):
        path.with_name("bad.json").write_text(bad)
        answer = host.reconcile("apply", "bad.json")
        assert answer.code == 64, answer.err
    assert host.reconcile("apply", "not-there.json").code == 64
    assert host.state() == before
