"""`--rehearse`: the plan done in a scratch namespace, with flows kept open through what stays published."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from reconciler import reconcile
from reconciler.core.messages import Nft, NftElement
from reconciler.core.plan import schedule
from reconciler.core.planner import Policy
from reconciler.kernel.model import ModelKernel
from reconciler.kinds import Element, nftables
from reconciler.kinds.layout import CHAINS, Rule
from reconciler.rehearsal import Rehearsal, rehearse, shared, ways
from tests.cli.host import ROOT, WEB, Host, absent_pid, until
from tests.cli.test_expect import children, has_own_network, lives, where_user_namespaces_are_forbidden
from tests.cli.test_sandbox import as_nobody
from tests.golden import test_plans as golden
from tests.laws import strategies
from tests.laws.doing import desired
from tests.support.tun import needs_tun

OLD = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web:
        addresses: [10.88.0.10, "fd00:88::10"]
        ports: ["8080:80", "127.0.0.1:8443:443", "192.0.2.77:25:25", "7000-7009:7000-7009", "53:53/udp"]
      db:
        addresses: [10.88.0.11]
        ports: ["9000:9000"]
"""
FLOWS = {
    "0.0.0.0:8080", "[::]:8080", "127.0.0.1:8443", "192.0.2.77:25", "0.0.0.0:7000", "0.0.0.0:7009", "[::]:7000", "[::]:7009",
    "0.0.0.0:9000",
}  # fmt: skip
"""A flow for each published TCP port, for the first and the last one of a range."""


def rehearsed(host: Host, old: str, new: str, *arguments: str) -> Any:
    """The rehearsal of the way from one file to the other, as JSON has it."""
    host.write(old, "old.yaml")
    host.write(new)
    answer = host.reconcile("plan", "--basis", "file:old.yaml", "--rehearse", "--format", "json", *arguments)
    assert answer.err == ""
    said = json.loads(answer.out)["rehearsal"]
    assert answer.code == (0 if said["ok"] else 1)
    return said


def cut(said: Any) -> set[str]:
    """What was published, and whose flow was cut."""
    return {one["published"] for one in said["cut"]}


# --- which flows are cut ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "flows", "lost"),
    [
        (('"9000:9000"', '"9000:9000", "9001:9001"'), FLOWS, set()),
        (('"9000:9000"', '"9001:9000"'), FLOWS - {"0.0.0.0:9000"}, set()),
        (('"9000:9000"', '"9000:9001"'), FLOWS, {"0.0.0.0:9000"}),
        (("[10.88.0.11]", "[10.88.0.12]"), FLOWS, {"0.0.0.0:9000"}),
        (('"8080:80"', '"0.0.0.0:8080:80"'), FLOWS - {"[::]:8080"}, set()),
        (('"7000-7009:7000-7009"', '"7000-7004:7000-7004", "7005-7009:8005-8009"'), None, None),
        (("      db:\n", "      db:\n        mtu: 1400\n"), FLOWS, set()),
        (('"127.0.0.1:8443:443"', '"127.0.0.1:8443:444"'), FLOWS, {"127.0.0.1:8443"}),
        (('"192.0.2.77:25:25"', '"192.0.2.77:25:26"'), FLOWS, {"192.0.2.77:25"}),
    ],
    ids=["added", "removed", "moved", "address", "family", "range", "mtu", "loopback", "one-address"],
)
def test_the_flows_that_a_change_cuts_are_told(
    host: Host, change: tuple[str, str], flows: set[str] | None, lost: set[str] | None
) -> None:
    said = rehearsed(host, OLD, OLD.replace(*change))
    if flows is None or lost is None:
        # Within the range, too, something begins and ends now.
        lost = {f"{address}:{port}" for address in ("0.0.0.0", "[::]") for port in range(7005, 7010)}
        flows = FLOWS | lost | {"0.0.0.0:7004", "[::]:7004"}
    assert (said["ok"], said["flows"], cut(said)) == (True, len(flows), lost)
    assert all(one["marked"] for one in said["cut"])


def test_a_port_moved_to_another_container_is_cut(host: Host) -> None:
    said = rehearsed(host, OLD, OLD.replace('"8080:80", ', "").replace('"9000:9000"', '"8080:80", "9000:9000"'))
    assert (said["ok"], said["flows"]) == (True, len(FLOWS) - 1)
    assert [(one["published"], one["to"]) for one in said["cut"]] == [("0.0.0.0:8080", "web 10.88.0.10:80")]


def test_a_neighbour_that_does_not_hear_of_a_new_mac_is_cut_off(host: Host) -> None:
    said = rehearsed(host, OLD, OLD.replace("      db:\n", "      db:\n        mac: 02:00:00:00:00:05\n"))
    assert (said["ok"], cut(said)) == (True, {"0.0.0.0:9000"})
    assert said["cut"][0]["marked"] == ["update eth0 in db"]


def test_a_mark_that_cuts_nothing_is_told(host: Host) -> None:
    said = rehearsed(host, OLD, OLD.replace("br-web", "br-new"))
    assert (said["ok"], said["flows"], said["cut"]) == (True, len(FLOWS), [])
    (told,) = [line for line in said["lines"] if line.startswith("marked as disruptive")]
    assert (
        told == "marked as disruptive, though every flow on the way lived on: replace eth0 in web, replace eth0 in db"
    )


def test_a_cut_that_the_plan_does_not_mark_is_a_failure(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Element, "disruptive", frozenset())
    said = rehearsed(host, OLD, OLD.replace('"9000:9000"', '"9000:9001"'))
    assert (said["ok"], [one["marked"] for one in said["cut"]]) == (False, [[]])
    assert "warning: cut, and the plan does not say so: 0.0.0.0:9000 → db 10.88.0.11:9000" in said["lines"]


def test_of_a_range_ports_are_watched_where_something_begins_or_ends() -> None:
    old = desired({"version": 1, "bridges": {"br": {"addresses": ["10.1.0.1/24"], "containers": {
        "a": {"addresses": ["10.1.0.2"], "ports": ["80-90:80-90"]},
        "b": {"addresses": ["10.1.0.3"], "ports": ["192.0.2.9:100:100"]},
    }}}})  # fmt: skip
    new = desired({"version": 1, "bridges": {"br": {"addresses": ["10.1.0.1/24"], "containers": {
        "a": {"addresses": ["10.1.0.2"], "ports": ["80-84:80-84", "86:86"]},
        "b": {"addresses": ["10.1.0.3"], "ports": ["100:100"]},
    }}}})  # fmt: skip
    found = {(str(way.address), port, *map(str, way.target(port))) for way, port in shared(ways(old), ways(new))}
    assert found == {
        ("None", 80, "10.1.0.2", "80"),
        ("None", 84, "10.1.0.2", "84"),
        ("None", 86, "10.1.0.2", "86"),
        ("192.0.2.9", 100, "10.1.0.3", "100"),
    }


# --- what a look cannot find --------------------------------------------------------------------------------------------


def test_it_finds_what_nft_in_check_mode_does_not(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dnat that a filter hook leads to is refused only when it is loaded."""
    broken = tuple(
        chain._replace(rules=(Rule("ip daddr 192.0.2.99 jump publish", "a mistake"), *chain.rules))
        if chain.name == "forward"
        else chain
        for chain in CHAINS
    )
    monkeypatch.setattr(nftables, "CHAINS", broken)
    host.write(WEB)
    answer = host.reconcile("plan", "--basis", "empty")
    assert answer.code == 0
    wish = golden.desired(golden.load(["reconcile.yaml"]))
    plan, view = reconcile.plan(ModelKernel(), wish, "default")
    lines = [_as_text(one) for one in schedule(plan.steps).requests if isinstance(one, Nft | NftElement)]
    checked = subprocess.run(["nft", "-c", "-f", "-"], input="\n".join(lines), capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    said = rehearse(plan, view)
    assert not said.ok
    assert said.lines[0].startswith("the rehearsal failed:")
    assert "nftables" in said.lines[0]


def _as_text(request: Nft | NftElement) -> str:
    if isinstance(request, Nft):
        return request.text
    return f"{request.verb} element {request.table} {request.set} {{ {request.text} }}"


def test_what_the_kernel_refuses_is_told_with_its_place(host: Host) -> None:
    host.write(WEB + '        sysctls: {net.ipv4.ip_local_port_range: "9000 1000"}\n')
    assert host.reconcile("plan", "--basis", "empty").code == 0
    answer = host.reconcile("--dry-run", "--basis", "empty", "--rehearse")
    assert (answer.code, answer.err) == (1, "")
    assert "\nRehearsal failed:\n  the rehearsal failed: reconcile.yaml:9:7: cannot " in answer.out
    assert answer.out.startswith("+ bridge br-web")


# --- on a host ----------------------------------------------------------------------------------------------------------


def inner_state(host: Host, pid: int) -> str:
    """What that process sees of its network. That the kernel still looks whether an address is taken goes by itself."""
    seen = host.run(
        f"nsenter --net=/proc/{pid}/ns/net sh -c 'ip link; ip address; ip route; ip -6 route show scope global'"
    )
    return seen.replace(" tentative", "")


def test_a_live_host_is_rehearsed_and_not_touched(host: Host) -> None:
    host.run("ip link add eth1 type veth peer name far1; ip netns add theirs")
    process = host.inhabited_namespace()
    lan = "  br-lan: {mode: bridged, uplinks: [eth1]}\n"
    more = f'      own: {{attach: {{pid: {process.pid}}}, addresses: [10.88.0.20], ports: ["7700:7700"]}}\n'
    more += '      old: {attach: {netns: theirs}, addresses: [10.88.0.21], ports: ["7800:7800"]}\n'
    host.write(OLD + more + lan)
    assert host.reconcile().code == 0
    host.run("nft add table inet theirs; ip address add 192.0.2.2/24 dev eth1; ip address add 10.88.0.99/24 dev br-web")
    host.write((OLD + more).replace('"7700:7700"', '"7700:7701"'))
    before = host.state()
    inside = inner_state(host, process.pid)
    answer = host.reconcile("--dry-run", "--rehearse", "--format", "json")
    said = json.loads(answer.out)["rehearsal"]
    assert (answer.code, answer.err) == (0, ""), said
    assert (said["ok"], said["flows"]) == (True, len(FLOWS) + 2)
    (lost,) = said["cut"]
    assert (lost["published"], lost["to"]) == ("0.0.0.0:7700", f"pid:{process.pid} 10.88.0.20:7700")
    assert [line for line in said["lines"] if "rehearsed" in line] == []
    assert said["lines"][-1] == (
        f"stand-ins for what others made: the link eth1, the network namespace pid:{process.pid}, the network namespace theirs"
    )
    assert host.state() == before
    assert inner_state(host, process.pid) == inside


def test_a_snapshot_can_be_rehearsed_on(host: Host) -> None:
    host.write(OLD)
    assert host.reconcile().code == 0
    host.write(host.reconcile("snapshot").out, "snapshot.json")
    host.write(OLD.replace('"9000:9000"', '"9000:9001"'))
    answer = host.reconcile("plan", "--basis", "snapshot:snapshot.json", "--rehearse", "--format", "json")
    said = json.loads(answer.out)["rehearsal"]
    assert (answer.code, said["ok"], said["flows"], cut(said)) == (0, True, len(FLOWS), {"0.0.0.0:9000"})


def test_what_is_in_the_way_is_not_rehearsed_unless_it_is_taken_over(host: Host) -> None:
    host.run("ip link add br-web type bridge")
    host.write(WEB)
    answer = host.reconcile("--dry-run", "--rehearse")
    assert answer.code == 1
    assert "Rehearsal failed:\n  nothing was rehearsed: what is in the way has to be settled first\n" in answer.out
    answer = host.reconcile("--dry-run", "--rehearse", "--adopt")
    assert answer.code == 0
    assert "done in a scratch namespace; a second look finds nothing to change" in answer.out


def test_what_waits_is_told(host: Host) -> None:
    number = absent_pid()
    host.write(WEB.replace("      db:\n", f"      db:\n        attach: {{pid: {number}}}\n"))
    answer = host.reconcile("--dry-run", "--rehearse")
    assert answer.code == 0
    assert f"  not rehearsed, since it waits for what is not there: all that needs netns pid:{number}\n" in answer.out


@needs_tun
def test_a_machine_is_told_to_have_no_flow(host: Host) -> None:
    machine = '      vm: {attach: {tap: vnet0}, addresses: [10.88.0.9], ports: ["2222:22"]}\n'
    said = rehearsed(host, WEB + machine, (WEB + machine).replace("10.88.0.11", "10.88.0.12"))
    assert (said["ok"], said["flows"]) == (True, 1)
    assert said["lines"][-1].startswith("1 published port leads to no container that is there (but to a machine, say)")


def test_a_plan_that_is_saved_can_be_rehearsed(host: Host) -> None:
    host.write(WEB)
    answer = host.reconcile("plan", "--out", "saved", "--rehearse")
    assert answer.code == 0
    assert "Rehearsal passed:\n" in answer.out
    assert host.reconcile("apply", "saved").code == 0


def test_it_goes_with_a_dry_run(host: Host) -> None:
    host.write(WEB)
    answer = host.reconcile("--rehearse")
    assert (answer.code, answer.out) == (64, "")
    assert "--rehearse goes with --dry-run" in answer.err


# --- laws ---------------------------------------------------------------------------------------------------------------


def rehearsed_on(kernel: ModelKernel, wish: Any, owner: str = "default", policy: Policy = Policy()) -> Rehearsal:
    """The rehearsal of the plan from what that kernel shows."""
    plan, view = reconcile.plan(kernel, wish, owner, policy)
    said = rehearse(plan, view, policy)
    assert said.ok or plan.conflicts, said.lines
    return said


CASES = [case for case in sorted(golden.CASES.iterdir()) if "{tap:" not in (case / "desired.yaml").read_text()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_golden_case_can_be_rehearsed(host: Host, case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, file = golden.host(case, monkeypatch), golden.document(case, "desired.yaml", monkeypatch)
    options = golden.text_of(case, "options").split()
    policy = Policy(adopt="--adopt" in options, prune_foreign="--prune=foreign" in options)
    rehearsed_on(kernel, golden.desired(file), file.name, policy)


@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(strategies.hosts(), strategies.documents(), strategies.documents())
def test_any_change_can_be_rehearsed_and_cuts_only_what_is_marked(host: Host, there: str, old: Any, new: Any) -> None:
    kernel = ModelKernel.parse(there)
    wish = desired(old)
    plan, view = reconcile.plan(kernel, wish, "default", Policy(adopt=True))
    reconcile.apply(kernel, wish, plan, view.found, Policy(adopt=True))
    rehearsed_on(kernel, desired(new), policy=Policy(adopt=True))


# --- without root, and without a trace ----------------------------------------------------------------------------------


def test_without_root_it_works_on_what_files_say(host: Host) -> None:
    host.write(OLD, "old.yaml")
    host.write(OLD.replace('"9000:9000"', '"9000:9001"'))
    done = as_nobody(host.folder, "plan", "--basis", "file:old.yaml", "--rehearse")
    if "gives no scratch namespaces" in done.stdout:
        pytest.skip(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  {len(FLOWS)} TCP flows through what is published before and after: the change cut 1\n" in done.stdout


def test_where_user_namespaces_are_forbidden_the_plan_is_there_and_the_setting_named(host: Host) -> None:
    host.write(WEB)
    done = where_user_namespaces_are_forbidden(host, "plan", "--basis", "empty", "--rehearse")
    if "unshare:" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stderr) == (1, "")
    assert "Plan (basis: empty)" in done.stdout
    assert "Rehearsal failed:\n  nothing was rehearsed: this system gives no scratch namespaces" in done.stdout
    assert "user.max_user_namespaces=10000" in done.stdout


def test_killed_it_leaves_no_process(host: Host) -> None:
    # Its flow is cut without a word, which takes a while to be sure of.
    host.write(OLD, "old.yaml")
    host.write(OLD.replace("      db:\n", "      db:\n        mac: 02:00:00:00:00:05\n"))
    process = host.start(sys.executable, "-m", "reconciler", "plan", "--basis", "file:old.yaml", "--rehearse")
    until(lambda: any(map(has_own_network, children(process.pid))))
    started = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not any(map(lives, started)))


def test_the_page_shows_what_is_printed(host: Host) -> None:
    page = (ROOT / "docs" / "rehearsal.md").read_text()
    old, new = re.findall(r"```yaml\n(version: 1\n.*?)```", page, re.DOTALL)
    (shown,) = re.findall(r"```console\n\$ reconcile (.*?)\n(.*?)```", page, re.DOTALL)
    host.write(old, "old.yaml")
    host.write(new)
    answer = host.reconcile(*shown[0].split())
    assert (answer.code, answer.out) == (0, shown[1])
