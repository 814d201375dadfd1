"""Names and ranges that lowering makes."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.messages import HOST
from reconciler.kinds import Bridge, Element, Peer, Veth
from reconciler.lower import COMMENT_LIMIT, derived_mac, host_link_name, lower, merged
from reconciler.manifest import loads

spans = st.lists(
    st.tuples(st.integers(1, 300), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=12
)
names = st.text(st.characters(codec="ascii", categories=("L", "Nd")), min_size=1, max_size=60)


@given(spans)
def test_merged_covers_the_same_ports_and_nothing_overlaps_or_touches(given_spans: list[tuple[int, int]]) -> None:
    result = list(merged(given_spans))
    covered = {port for first, last in given_spans for port in range(first, last + 1)}
    assert {port for first, last in result for port in range(first, last + 1)} == covered
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(result))


@pytest.mark.parametrize(
    ("given_spans", "expected"),
    [
        ([], []),
        ([(80, 80)], [(80, 80)]),
        ([(80, 80), (81, 90)], [(80, 90)]),
        ([(80, 80), (82, 90)], [(80, 80), (82, 90)]),
        ([(1, 100), (5, 6), (50, 120)], [(1, 120)]),
    ],
)
def test_merged_by_example(given_spans: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    assert list(merged(given_spans)) == expected


@given(names, names, names)
def test_a_host_link_name_fits_the_kernel_and_tells_whose_it_is(owner: str, bridge: str, container: str) -> None:
    name = host_link_name(owner, bridge, container)
    assert len(name.encode()) <= 15
    assert name.startswith(container[:8])
    assert name == host_link_name(owner, bridge, container)


def test_names_that_run_together_are_still_apart() -> None:
    assert host_link_name("a", "bc", "d") != host_link_name("ab", "c", "d")
    assert derived_mac("a", "bc") != derived_mac("ab", "c")


@given(st.lists(names, max_size=4))
def test_a_derived_mac_is_local_and_unicast(parts: list[str]) -> None:
    mac = derived_mac(*parts)
    assert re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac)
    assert int(mac[:2], 16) & 0b11 == 0b10


FILE = "version: 1\nbridges: {br0: {addresses: [10.88.0.1/24], containers: {%s: {addresses: [10.88.0.10], ports: ['80:80']}}}}"


def test_a_container_keeps_its_mac_on_every_host_and_a_bridge_has_another_on_each() -> None:
    one, other = (lower(loads(FILE % "web"), host).resources.values() for host in ("one", "other"))
    assert {item.mac for item in one if isinstance(item, Peer)} == {
        item.mac for item in other if isinstance(item, Peer)
    }
    assert {item.birth_mac for item in one if isinstance(item, Bridge)} != {
        item.birth_mac for item in other if isinstance(item, Bridge)
    }


def test_a_comment_has_room_in_nftables_however_long_the_names_are() -> None:
    state = lower(loads(FILE % ("c" * 128)))
    comments = [item.comment for item in state.resources.values() if isinstance(item, Element)]
    assert max(len(comment.encode()) for comment in comments) <= COMMENT_LIMIT


def test_a_range_that_keeps_its_numbers_is_one_element_and_one_that_moves_is_one_a_port() -> None:
    text = FILE.replace("'80:80'", "'40000-59999:40000-59999/udp', '30000-30009:31000-31009'") % "web"
    ports = [
        item
        for item in lower(loads(text)).resources.values()
        if isinstance(item, Element) and item.set.startswith("by_")
    ]
    assert len([item for item in ports if item.set == "by_any_range4"]) == 1
    assert len([item for item in ports if item.set == "by_any4"]) == 10


def test_a_port_opens_only_when_the_interface_it_leads_to_is_there() -> None:
    state = lower(loads(FILE % "web"))
    (port,) = [item for item in state.resources.values() if isinstance(item, Element) and item.set == "by_any4"]
    (peer,) = [item for item in state.resources.values() if isinstance(item, Peer)]
    (veth,) = [item for item in state.resources.values() if isinstance(item, Veth)]
    assert peer.key in (*port.inside(), *port.needs())
    assert (veth.key.namespace, veth.peer) == (HOST, ("web", "eth0"))
