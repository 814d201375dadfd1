"""nftables: one transaction for what is adjacent, and which request it failed at."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from reconciler.core.messages import HOST, ForwardChain, Nft, NftElement, Request
from reconciler.errors import PlatformError
from reconciler.kernel.live import LiveKernel
from tests.kernel.requests import bridge, do, look

TABLE = [
    Nft("add table inet t"),
    Nft("add map inet t m { type inet_proto . inet_service : ipv4_addr . inet_service; }"),
    Nft("add chain inet t c { type filter hook forward priority 0; policy drop; }"),
    Nft('add rule inet t c ct state established accept comment "est"'),
]


def element(port: int, *, verb: str = "add", target: str = "10.0.0.2") -> NftElement:
    if verb == "delete":
        return NftElement("delete", "inet t", "m", f"tcp . {port}")
    return NftElement("add", "inet t", "m", f'tcp . {port} comment "käse {port}" : {target} . 80')


def test_a_listing_has_elements_and_rules_with_their_comments(kernel: LiveKernel) -> None:
    do(kernel, *TABLE, element(8080))
    listing = look(kernel, "inet t").tables["inet t"]
    assert [next(iter(item)) for item in listing] == ["table", "map", "chain", "rule"]
    (elements,) = (item["map"]["elem"] for item in listing if "map" in item)
    assert elements == [(("tcp", "8080"), ("10.0.0.2", "80"), "käse 8080")]
    assert next(item["rule"]["comment"] for item in listing if "rule" in item) == "est"


def test_a_table_that_is_not_there_is_not_in_the_snapshot(kernel: LiveKernel) -> None:
    do(kernel, *TABLE)
    assert list(look(kernel, "inet t", "inet u").tables) == ["inet t"]


def test_forward_chains_of_all_tables_are_told(kernel: LiveKernel) -> None:
    subprocess.run(
        ["nft", "add table ip docker; add chain ip docker f { type filter hook forward priority 0; }"],
        check=True,
    )
    do(kernel, *TABLE)
    expected = {ForwardChain("inet", "t", "c", "drop"), ForwardChain("ip", "docker", "f", "accept")}
    assert set(look(kernel, "inet t").forward_chains) == expected
    assert look(kernel).forward_chains == ()


@pytest.mark.parametrize(
    ("rules", "policy"),
    [
        ("accept", "accept"),
        ("drop", "drop"),
        ("counter log reject", "reject"),
        ("drop; accept", "accept"),
        ("ip saddr 10.0.0.1 drop", "accept"),
        ("ct state established accept; reject with icmpx admin-prohibited", "reject"),
    ],
)
def test_a_last_rule_that_decides_on_everything_counts_as_the_policy(
    kernel: LiveKernel, rules: str, policy: str
) -> None:
    hook = "type filter hook forward priority 0; policy accept;"
    subprocess.run(["nft", f"table inet firewalld {{ chain filter_FORWARD {{ {hook} {rules}; }}; }}"], check=True)
    do(kernel, *TABLE)
    (found,) = (chain for chain in look(kernel, "inet t").forward_chains if chain.table == "firewalld")
    assert found == ForwardChain("inet", "firewalld", "filter_FORWARD", policy, "firewalld")


def test_what_others_change_is_seen(kernel: LiveKernel) -> None:
    do(kernel, *TABLE)
    look(kernel, "inet t")
    subprocess.run(["nft", "flush ruleset"], check=True)
    assert look(kernel, "inet t").tables == {}
    do(kernel, *TABLE, element(1))


def test_adjacent_requests_are_done_together_or_not_at_all(kernel: LiveKernel) -> None:
    do(kernel, *TABLE, element(1))
    requests: list[Request] = [
        bridge("br0"),
        element(2),
        element(1, target="10.0.0.3"),
        element(3),
        bridge("br1"),
    ]
    outcome = kernel.submit(requests)
    (failure,) = outcome.failures
    assert (failure.position, failure.errno, failure.message) == (2, errno.EEXIST, "File exists")
    assert (set(outcome.done), outcome.attempted) == ({0}, 4)
    (elements,) = (item["map"]["elem"] for item in look(kernel, "inet t").tables["inet t"] if "map" in item)
    assert len(elements) == 1


@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_the_request_that_nft_points_at_is_the_failure(kernel: LiveKernel, position: int) -> None:
    do(kernel, *TABLE)
    requests: list[Request] = [element(1), element(2), Nft("add chain inet t d"), element(3)]
    requests[position] = Nft("delete chain inet t nothing")
    failure = kernel.submit(requests).failures[0]
    assert (failure.position, failure.errno) == (position, errno.ENOENT)


def test_an_update_deletes_and_adds_in_one_transaction(kernel: LiveKernel) -> None:
    do(kernel, *TABLE, element(1), element(2))
    do(kernel, element(1, verb="delete"), element(1, target="10.0.0.9"), element(2, verb="delete"))
    (elements,) = (item["map"]["elem"] for item in look(kernel, "inet t").tables["inet t"] if "map" in item)
    assert [data[0] for _, data, _ in elements] == ["10.0.0.9"]


def test_a_mistake_in_the_text_is_told_in_nfts_words(kernel: LiveKernel) -> None:
    failure = kernel.submit([Nft("add table inet t"), Nft("add nonsense")]).failures[0]
    assert failure.errno == 0
    assert failure.message.startswith("syntax error")


def test_ten_thousand_elements_are_taken_at_once(kernel: LiveKernel) -> None:
    do(kernel, *TABLE, *(element(port) for port in range(1, 10_001)))
    (elements,) = (item["map"]["elem"] for item in look(kernel, "inet t").tables["inet t"] if "map" in item)
    assert len(elements) == 10_000


def test_what_does_not_fit_one_transaction_is_split_and_counted(
    kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(kernel, *TABLE)
    whole = kernel._nftables._run

    def small(command: str) -> tuple[int, str, str]:
        too_long = command.count("tcp .") > 3
        return (-1, "", "Error: Could not process rule: Message too long") if too_long else whole(command)

    monkeypatch.setattr(kernel._nftables, "_run", small)
    outcome = kernel.submit([*(element(port) for port in range(1, 6)), element(1, target="10.0.0.9"), element(7)])
    assert (outcome.failures[0].position, set(outcome.done), outcome.attempted) == (5, {0, 1, 2, 3, 4}, 7)


def test_without_the_library_it_is_said_what_to_install(kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nftables", None)
    with pytest.raises(PlatformError, match=r"libnftables1.*pip-nftables"):
        kernel.submit([bridge("br0"), Nft("add table inet t")])
    assert "br0" not in {link.name for link in look(kernel).namespaces[HOST].links}


def test_to_look_takes_no_library(kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    do(kernel, *TABLE)
    monkeypatch.setitem(sys.modules, "nftables", None)
    with LiveKernel(read_only=True) as other:
        assert list(look(other, "inet t").tables) == ["inet t"]
