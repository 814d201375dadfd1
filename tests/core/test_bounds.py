"""A file that meets a bound of the kernel is told so before it does."""

from __future__ import annotations

from reconciler import bounds
from reconciler.core.messages import HOST, LinkRecord, NamespaceRecord, Snapshot
from reconciler.core.resource import Level, Note, State
from reconciler.lower import lower
from reconciler.manifest import loads


def wish(containers: int, *, v6: bool = False) -> State:
    own = "10.100.0.1/16, 'fd00::1/64'" if v6 else "10.100.0.1/16"
    lines = ["version: 1", "bridges:", "  br0:", f"    addresses: [{own}]", "    containers:"]
    return lower(loads("\n".join([*lines, *(f"      c{number}:" for number in range(containers))])))


def host(*links: LinkRecord, **settings: int) -> Snapshot:
    """A host with these links and settings (by the last part of their names)."""
    names = {name.rpartition(".")[2]: name for name in (bounds.CONNECTIONS, bounds.NEIGHBOURS[4])}
    names |= {"gc_thresh3_of_6": bounds.NEIGHBOURS[6]}
    values = {names[name]: str(value) for name, value in settings.items()}
    return Snapshot({HOST: NamespaceRecord(links, sysctls=values)})


def told(desired: State, snapshot: Snapshot) -> list[Note]:
    found = list(bounds.notes(desired, snapshot))
    assert all(note.level is Level.WARNING for note in found)
    return found


def test_a_bridge_has_1023_ports() -> None:
    assert told(wish(1023), host()) == []
    (note,) = told(wish(1024), host())
    assert note.text.startswith("br0 would have 1,024 ports, and the kernel gives a bridge 1,023")
    assert note.position == "<string>:3:3"


def test_ports_that_others_put_on_our_bridge_count_too() -> None:
    theirs = LinkRecord("tap0", "tun", None, 1500, True, master="br0")
    ours = LinkRecord("gone-1", "veth", None, 1500, True, alias="reconciler:default", master="br0")
    assert told(wish(1023), host(ours)) == []
    assert len(told(wish(1023), host(theirs))) == 1
    elsewhere = LinkRecord("tap0", "tun", None, 1500, True, master="br-other")
    assert told(wish(1023), host(elsewhere)) == []


def test_neighbours_take_two_entries_each_in_one_table_of_the_kernel() -> None:
    assert told(wish(512), host(gc_thresh3=1024)) == []
    (note,) = told(wish(513), host(gc_thresh3=1024))
    assert "net.ipv4.neigh.default.gc_thresh3 is 1,024" in note.text
    assert "sysctl -w net.ipv4.neigh.default.gc_thresh3=4096" in note.text


def test_each_family_has_its_own_neighbours() -> None:
    assert told(wish(600), host(gc_thresh3=2048, gc_thresh3_of_6=1024)) == []
    (note,) = told(wish(600, v6=True), host(gc_thresh3=2048, gc_thresh3_of_6=1024))
    assert "net.ipv6.neigh.default.gc_thresh3" in note.text


def test_a_small_connection_table_is_told() -> None:
    assert told(wish(100), host(nf_conntrack_max=6400)) == []
    (note,) = told(wish(100), host(nf_conntrack_max=6399))
    assert note.text.startswith("net.netfilter.nf_conntrack_max is 6,399: 63 connections for each of 100 containers")


def test_what_cannot_be_read_is_not_judged() -> None:
    assert told(wish(600), host()) == []


def test_settings_are_read_only_where_a_bound_can_be_near() -> None:
    assert bounds.settings(wish(99)) == frozenset()
    assert {name for _, name in bounds.settings(wish(100))} == {bounds.CONNECTIONS, *bounds.NEIGHBOURS.values()}
