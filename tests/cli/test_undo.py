"""A step fails half way: what was done is undone, and the host is as it was (exit 7)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reconciler.core.messages import Failure, Outcome, Request
from reconciler.kernel.live import LiveKernel
from tests.cli.host import WEB, WITHOUT_WEB, Host
from tests.support.tun import needs_tun

DUAL = """\
version: 1
bridges:
  br-web:
    mode: routed
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    mtu: 1400
    containers:
      web:
        addresses: [10.88.0.20, "fd00:88::10"]
        ports: ["8080:80", "9000-9009:9000-9009/udp"]
        routes: [{to: 10.9.0.0/16, via: 10.88.0.200}]
  br0:
    mode: bridged
    uplinks: [eth1]
    containers:
      vm: {attach: {tap: vnet0}}
"""
UPLINK = "ip link add eth1 up type veth peer name cable; ip link set cable up"


# --- steps that the kernel refuses -----------------------------------------------------------------------------------


@needs_tun
def test_a_refused_uplink_is_named_with_its_line_and_all_is_as_before(host: Host) -> None:
    host.run("ip link add br-theirs up type bridge")
    before = host.state()
    host.write(
        "version: 1\nbridges:\n  br0:\n    mode: bridged\n    uplinks: [br-theirs]\n    containers:\n      vm: {attach: {tap: vnet0}}\n"
    )
    answer = host.reconcile()
    assert answer.code == 7
    assert "reconcile.yaml:3:3: cannot create port br-theirs of br0: " in answer.err
    assert "ELOOP" in answer.err
    assert answer.err.endswith("What had been done was undone: the host is as it was before.\n")
    assert host.state() == before


def test_a_refused_setting_in_a_container_undoes_the_whole(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    before = host.state()
    host.write(
        WEB
        + '        sysctls: {net.ipv4.ip_local_port_range: "9000 1000"}\n      cache: {addresses: [10.88.0.12], ports: ["81:81"]}\n'
    )
    answer = host.reconcile()
    assert answer.code == 7
    assert "sysctl net.ipv4.ip_local_port_range" in answer.err
    assert "reconcile.yaml:9:7: cannot" in answer.err
    assert host.state() == before
    assert host.reconcile("-f", str(host.write(WEB, "old.yaml")), "--dry-run", "--detailed-exitcode").code == 0


def test_an_mtu_that_a_foreign_uplink_cannot_have_is_undone(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    before = host.state()
    host.write(WEB.replace("  br-web:\n", "  br-web:\n    mac: 02:00:00:00:00:05\n    mtu: 65536\n"))
    answer = host.reconcile()
    assert answer.code in (3, 7)
    assert host.state() == before


# --- a fault at every request ----------------------------------------------------------------------------------------


def failing_at(number: int, fault: int = errno.EIO) -> Callable[..., Outcome]:
    """LiveKernel.submit whose `number`th request is refused; those before it are done."""
    submit, seen = LiveKernel.submit, 0

    def refuse(kernel: LiveKernel, requests: Sequence[Request], on_progress: Any = None) -> Outcome:
        nonlocal seen
        place = number - seen - 1
        seen += len(requests)
        if not 0 <= place < len(requests):
            return submit(kernel, requests, on_progress)
        outcome = submit(kernel, requests[:place], on_progress)
        assert outcome.failures == ()
        return Outcome(outcome.done, place + 1, (Failure(place, requests[place], fault, "the test refuses this"),))

    return refuse


PLANS = {
    "the first file": ("", DUAL),
    "a container goes": (WEB, WITHOUT_WEB),
    "much changes": (WEB, DUAL),
    "all goes": (DUAL, "version: 1\nbridges:\n  br-new: {mode: isolated}\n"),
}


@needs_tun
@pytest.mark.parametrize(("old", "new"), PLANS.values(), ids=PLANS)
def test_a_fault_at_any_request_is_undone(host: Host, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    host.run(UPLINK)
    if old:
        host.write(old)
        assert host.reconcile().code == 0
    before = host.state()
    host.write(new)
    submit, number = LiveKernel.submit, 1
    while True:
        monkeypatch.setattr(LiveKernel, "submit", failing_at(number))
        answer = host.reconcile("--max-deletes", "10000")
        monkeypatch.setattr(LiveKernel, "submit", submit)
        if answer.code == 0:
            break
        assert answer.code == 7, (number, answer.err)
        assert "the test refuses this (EIO)" in answer.err
        assert host.state() == before, number
        number += STRIDE
    assert number > 1
    assert host.reconcile("--dry-run", "--detailed-exitcode").code == 0


STRIDE = 5
"""Every fifth request: the laws go through all of them on the model kernel."""
