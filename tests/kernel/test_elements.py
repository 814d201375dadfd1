"""Single elements, asked for over netlink: they read as a listing of all of them does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import reconcile
from reconciler.core.messages import Part, Scope
from reconciler.kernel.elements import LAYOUTS, packed, unpacked
from reconciler.kernel.live import LiveKernel
from reconciler.kinds import Element, decode
from reconciler.lower import lower
from reconciler.manifest import loads

RICH = """
version: 1
bridges:
  br-a:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web: {addresses: [10.88.0.10, "fd00:88::10"], ports: ["8080:80", "127.0.0.1:53:5353/udp", "9000-9009:9000-9009/sctp"]}
  "tcp":
    mode: routed
    icc: false
    addresses: [10.89.0.1/24, "fd00:89::1/64"]
    containers: {db: {ports: ["5432:5432"]}, other: {}}
  br-i: {mode: isolated}
"""


def test_each_element_reads_as_in_a_listing_of_all(kernel: LiveKernel) -> None:
    wish = lower(loads(RICH))
    plan, view = reconcile.plan(kernel, wish, "default")
    reconcile.apply(kernel, wish, plan, view.found)
    listed = {
        (item.table, item.set, " . ".join(item.match)): item
        for item in decode(reconcile.observe(kernel, wish, "default")).resources.values()
        if isinstance(item, Element) and item.set in LAYOUTS[item.table.split()[0]]
    }
    assert {item.set for item in listed.values()} >= {
        "by_any4",
        "by_any6",
        "by_address4",
        "within",
        "arrive",
        "isolated",
    }
    for place, item in listed.items():
        snapshot = kernel.observe(Scope(part=Part(elements=frozenset({place}))))
        (found,) = (item for item in decode(snapshot).resources.values() if isinstance(item, Element))
        assert found == item


def test_one_that_is_not_there_is_not_in_the_answer(kernel: LiveKernel) -> None:
    wish = lower(loads(RICH))
    plan, view = reconcile.plan(kernel, wish, "default")
    reconcile.apply(kernel, wish, plan, view.found)
    absent = frozenset({("inet reconciler", "by_any4", "tcp . 1"), ("inet other", "by_any4", "tcp . 1")})
    assert kernel.observe(Scope(part=Part(elements=absent))).tables == {"inet reconciler": (), "inet other": ()}


PARTS = {
    "ipv4_addr": st.ip_addresses(v=4).map(str),
    "ipv6_addr": st.ip_addresses(v=6).map(str),
    "inet_proto": st.sampled_from(["tcp", "udp", "sctp", "47"]),
    "inet_service": st.integers(0, 65535).map(str),
    "ifname": st.text("abc.-_é", min_size=1, max_size=7),
    "ether_addr": st.binary(min_size=6, max_size=6).map(lambda value: value.hex(":")),
}


@pytest.mark.parametrize(
    "layout", [item for family in LAYOUTS.values() for item in family.values()], ids=lambda x: x.name
)
@given(data=st.data())
def test_a_key_survives_the_kernels_form(layout, data) -> None:
    parts = tuple(data.draw(PARTS[kind]) for kind in layout.type)
    assert unpacked(layout.type, packed(layout.type, parts)) == parts
