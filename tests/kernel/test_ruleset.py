"""nftables read from the kernel: what libnftables lists is what is read past it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from reconciler.core.messages import Nft, Request, Snapshot
from reconciler.core.resource import State
from reconciler.kernel import ruleset
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.meter import Meter
from reconciler.kinds import decode
from reconciler.kinds.nftables import skeleton
from tests.kernel.requests import do, look

ELEMENTS = {
    "bridges": ['"br.1"', '"a23456789012345"'],
    "within": ['"br0" . "br0" : accept', '"br1" . "br1" : drop', '"br2" . "br2" : goto only_published'],
    "arrive": ['"br0" : goto only_open'],
    "nat4": ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.5", "10.0.3.1-10.0.3.9", "255.255.255.0/24"],
    "inside6": ["fd00::/64", "fd00:0:0:1::1", "fd00:0:0:2::1-fd00:0:0:2::9"],
    "inside4": ["0.0.0.0/0"],
    "snat4": ["10.0.0.0/24 : 192.0.2.1", "10.0.1.0/24 : 192.0.2.2"],
    "bridged6": ["fd00::1"],
    "open4": ["10.0.0.2 . tcp . 80", "10.0.0.2 . sctp . 65535"],
    "open_range6": ["fd00::2 . udp . 1000-2000"],
    "by_any4": ['tcp . 8080 comment "br0/käse" : 10.0.0.2 . 80', "udp . 53 : 10.0.0.2 . 53"],
    "by_any_range4": ["tcp . 8000-8015 : 10.0.0.2", "tcp . 9000-9001 : 10.0.0.2"],
    "by_address6": ["2001:db8::1 . tcp . 443 : fd00::2 . 443"],
    "by_address_range4": ["192.0.2.1 . udp . 1-65535 : 10.0.0.2"],
    "retired4": ["10.0.0.9 . tcp . 80 timeout 1h"],
}


def table(owner: str = "default", name: str = "inet reconciler") -> list[Request]:
    return [request for item in skeleton(owner, name) for request in item.create()]


def listed(name: str) -> tuple[Mapping[str, Any], ...]:
    said = subprocess.run(["nft", "-j", "list", "table", *name.split()], capture_output=True, text=True, check=True)
    return tuple(item for item in json.loads(said.stdout)["nftables"] if "metainfo" not in item)


def same(found: State, expected: State) -> None:
    assert set(found.resources) == set(expected.resources)
    for key, item in expected.resources.items():
        assert found.resources[key] == item


@pytest.mark.parametrize("name", ["inet reconciler", "bridge reconciler"])
def test_what_is_read_is_what_is_listed(kernel: LiveKernel, name: str) -> None:
    elements = ELEMENTS if name.startswith("inet") else {"private_ports": ['"veth0"']}
    do(kernel, *table(name=name))
    do(kernel, *(Nft(f"add element {name} {set} {{ {', '.join(items)} }}") for set, items in elements.items()))
    found, expected = decode(look(kernel, name)), decode(Snapshot({}, {name: listed(name)}))
    same(State.of(item for item in found.resources.values() if item.key.space.startswith("nft")), expected)


def test_what_others_put_into_our_table_is_read_too(kernel: LiveKernel) -> None:
    do(kernel, *table())
    for command in (
        "add set inet reconciler odd { type mark; elements = { 7 } }",
        "add chain inet reconciler theirs { type filter hook ingress device lo priority 3; }",
        "add rule inet reconciler forward counter",
    ):
        subprocess.run(["nft", command], check=True)
    found = decode(look(kernel, "inet reconciler"))
    names = {key.name for key in found.resources}
    assert {"inet reconciler odd", "inet reconciler theirs"} <= names


def test_a_look_while_others_write_is_repeated(kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    do(kernel, *table())
    generations = iter((1, 2, 3, 3))
    monkeypatch.setattr(ruleset, "_generation", lambda socket: next(generations))
    meter = Meter()
    assert list(ruleset.tables(meter, ["inet reconciler"])) == ["inet reconciler"]
    assert meter.sent["NFT_MSG_GETSET"] == 3


def test_a_look_that_never_sees_the_same_twice_is_refused(kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(100))
    monkeypatch.setattr(ruleset, "_generation", lambda socket: next(numbers))
    with pytest.raises(ruleset.RefusedError, match="changed during each of 12 looks"):
        ruleset.tables(Meter(), ["inet reconciler"])
