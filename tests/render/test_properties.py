"""Whatever states there are, every rendering of them ends, and nothing but text comes out."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.plan import Plan, Step
from reconciler.core.planner import Policy, plan
from reconciler.core.resource import Key, Level, Note, Origin, Resource, State
from reconciler.kinds.address import Address
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.hostlink import HostLink
from reconciler.kinds.netns import Netns
from reconciler.kinds.nftables import Chain, Element, Set, Table
from reconciler.kinds.peer import Peer
from reconciler.kinds.route import Route
from reconciler.kinds.sysctl import Sysctl
from reconciler.kinds.tap import Tap
from reconciler.kinds.veth import Veth
from reconciler.render.changes import SIGNS
from reconciler.render.json import plan_json
from reconciler.render.outline import Row, outline
from reconciler.render.places import short_position
from reconciler.render.ports import ports_text
from reconciler.render.status import status_json, status_text
from reconciler.render.text import plan_text
from reconciler.render.tree import tree

OWNERS = st.sampled_from(["me", "other", None])
LINKS = st.sampled_from(["br0", "br1", "veth0", "eth0", "e\x1b[31m", "é\u202e"])
SPACES = st.sampled_from(["", "web", "pid:7", "docker:w\n"])
INSIDE = st.sampled_from(["web", "pid:7", "docker:w\n"])
MTUS = st.sampled_from([None, 1400, 1500])
ADDRESSES = st.sampled_from(["10.0.0.1/24", "10.0.0.2/24", "fd00::1/64"]).map(ip_interface)
COMMENTS = st.sampled_from(["", "br0", "br0/web", "br1/\x1b]0;x\x07", "x" * 100])
MATCHES = st.sampled_from([("tcp", "80"), ("10.0.0.1", "tcp", "80-90"), ("br0",), ("br0", "br0"), ("x", "y", "z")])
DATA = st.sampled_from([(), ("10.0.0.1",), ("fd00::1", "80"), ("goto only_open",)])
SETS = st.sampled_from(["by_any4", "by_address_range4", "arrive", "isolated", "odd\r"])

RESOURCES: st.SearchStrategy[Resource] = st.one_of(
    st.builds(Netns, owner=OWNERS, name=INSIDE, loopback=st.booleans()),
    st.builds(Bridge, owner=OWNERS, name=LINKS, mtu=MTUS, uplinks=st.sampled_from([(), ("eth0",)])),
    st.builds(Veth, owner=OWNERS, name=LINKS, peer=st.one_of(st.none(), st.tuples(SPACES, LINKS)), mtu=MTUS),
    st.builds(Tap, owner=OWNERS, name=LINKS, mtu=MTUS),
    st.builds(HostLink, name=LINKS, kind=st.sampled_from(["", "vlan"])),
    st.builds(BridgePort, owner=OWNERS, link=LINKS, bridge=LINKS, hairpin=st.booleans()),
    st.builds(Peer, owner=OWNERS, namespace=INSIDE, name=LINKS, host=st.one_of(st.none(), LINKS), mtu=MTUS),
    st.builds(Sysctl, namespace=SPACES, name=st.sampled_from(["net.a", "net.ipv4.conf.br0.x"]), value=LINKS),
    st.builds(Address, owner=OWNERS, namespace=SPACES, link=LINKS, address=ADDRESSES),
    st.builds(
        Route,
        owner=OWNERS,
        namespace=SPACES,
        destination=st.sampled_from(["0.0.0.0/0", "::/0", "10.1.0.0/16"]).map(ip_network),
        metric=st.sampled_from([0, 7]),
        link=LINKS,
        via=st.sampled_from(["on-link", None, ip_address("10.0.0.254")]),
    ),
    st.builds(Table, owner=OWNERS, name=st.just("t")),
    st.builds(Set, owner=OWNERS, table=st.just("t"), name=SETS, type=st.sampled_from([("a",), ("b",)])),
    st.builds(
        Chain,
        owner=OWNERS,
        table=st.just("t"),
        name=st.sampled_from(["forward", "raw"]),
        rules=st.lists(COMMENTS, max_size=3).map(tuple),
    ),
    st.builds(Element, owner=OWNERS, table=st.just("t"), set=SETS, match=MATCHES, data=DATA, comment=COMMENTS),
)
ORIGINS = st.builds(
    Origin,
    position=st.sampled_from(["", "f.yaml:3:1", "a\x1b:b.yaml:12:9"]),
    bridge=st.sampled_from(["", "br0", "br1"]),
    container=st.sampled_from(["", "web", "\x9b"]),
)
NOTES = st.builds(Note, level=st.sampled_from(Level), text=COMMENTS, position=st.sampled_from(["", "f.yaml:3:1"]))


@st.composite
def states(draw: st.DrawFn) -> State:
    """Any resources, sensible together or not, each from somewhere in a file."""
    # What cannot be changed in place replaces its table, so whoever wants a set wants a table.
    table: list[Resource] = [draw(st.builds(Table, owner=OWNERS, name=st.just("t")))]
    resources: dict[Key, Resource] = {item.key: item for item in table + draw(st.lists(RESOURCES, max_size=14))}
    origins = {key: draw(ORIGINS) for key in resources}
    return State(resources, origins, tuple(draw(st.lists(NOTES, max_size=2))))


def is_clean(text: str) -> bool:
    """Nothing in `text` but what can be seen, and the ends of lines."""
    return all(character.isprintable() or character == "\n" for character in text)


def without_colors(text: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", text)


@settings(deadline=None)
@given(states(), states(), st.booleans(), st.booleans())
def test_any_plan_can_be_shown(desired: State, found: State, adopt: bool, verbose: bool) -> None:
    made = plan(desired, State(found.resources), "me", Policy(adopt=adopt))
    for given_states in ((), (desired, found)):
        text = plan_text(made, color=False, verbose=verbose and _can_be_sent(desired, found), states=given_states)
        assert is_clean(text)
        assert text.endswith(".\n")
        assert all(line == line.rstrip() for line in text.splitlines())
    assert is_clean(without_colors(plan_text(made, color=True)))
    assert is_clean(status_text(made, found, desired, color=False))
    data = plan_json(made, requests=_can_be_sent(desired, found))
    assert json.loads(json.dumps(data)) == data
    assert "object at 0x" not in json.dumps([data, status_json(made, found, desired)])


@settings(deadline=None)
@given(states(), states(), st.booleans())
def test_any_state_can_be_shown(desired: State, found: State, alone: bool) -> None:
    wanted = None if alone else desired
    assert is_clean(tree(found, wanted, "me", color=False))
    assert is_clean(without_colors(tree(found, wanted, "me", color=True)))
    assert is_clean(ports_text(found))


@settings(deadline=None)
@given(states(), states())
def test_what_is_folded_is_still_counted(desired: State, found: State) -> None:
    """A plan with steps shows at least one line that has a sign."""
    made = plan(desired, found, "me")
    signs = {line[0] for line in plan_text(made, color=False).splitlines() if line}
    assert not made.steps or signs & set("+~-±")


# --- published ports -------------------------------------------------------------------------------------------------

PORTS = st.integers(1, 9)
TARGETS = {4: "10.0.0.1", 6: "fd00::1"}


@st.composite
def published(draw: st.DrawFn) -> State:
    """Many ports that lie next to each other, of both families and on several addresses, from a few lines of a file."""
    resources: dict[Key, Resource] = {}
    origins: dict[Key, Origin] = {}
    for _ in range(draw(st.integers(1, 6))):
        version = draw(st.sampled_from([4, 6]))
        address = draw(st.sampled_from([(), ("::1",) if version == 6 else ("127.0.0.1",)]))
        container = draw(st.sampled_from(["web", "db"]))
        line, column, inner = draw(st.integers(1, 3)), draw(st.integers(1, 12)), draw(PORTS)
        step, protocol = draw(st.sampled_from([0, 1])), draw(st.sampled_from(["tcp", "udp"]))
        numbers = draw(st.one_of(st.lists(PORTS, unique=True), PORTS.map(lambda last: list(range(1, last)))))
        for place, port in enumerate(numbers):
            ranges = draw(st.sampled_from([""] * 7 + ["_range"]))
            ports = f"{port}-{port + draw(st.integers(0, 3))}" if ranges else str(port)
            element = Element(
                owner="me",
                table="t",
                set=f"by_{'address' if address else 'any'}{ranges}{version}",
                match=(*address, protocol, ports),
                data=(TARGETS[version],) if ranges else (TARGETS[version], str(inner + step * port)),
                comment=draw(st.sampled_from([f"br0/{container}"] * 7 + ["br0", ""])),
            )
            resources[element.key] = element
            origins[element.key] = Origin(f"f.yaml:{line}:{column + place}", *element.comment.split("/"))
    return State(resources, origins)


@settings(deadline=None)
@given(published(), published(), st.booleans())
def test_what_is_folded_into_a_range_of_ports_is_each_of_them(desired: State, found: State, named: bool) -> None:
    given = State(found.resources, found.origins if named else {})
    made = plan(desired, given, "me")
    shown = defaultdict(set)
    for row in _port_rows(made, desired, given):
        for port, targets in _unfolded(row):
            # What goes has no line in the file.
            where = short_position(row.position) if row.sign != "-" else ""
            shown[row.sign, where, port] |= targets
    wanted = defaultdict(set)
    for step in made.steps:
        where = short_position(step.origin.position) if step.after else ""
        for port, target in _each(step):
            wanted[str(SIGNS[step.action]), where, port].add(target)
    assert shown == wanted


def _port_rows(made: Plan, *states: State) -> Iterator[Row]:
    yield from (row for block in outline(made, states).blocks for row in block if row.noun == "port")


_Port = tuple[str, int, str]
"""Of the host: address, port, protocol."""
_Target = tuple[str, int]


def _unfolded(row: Row) -> Iterator[tuple[_Port, set[_Target]]]:
    """The ports that a line tells of, each with what it leads to."""
    told, _, _ = row.text.partition(" (")
    outside, targets = told.split(" → ")
    outside, each, _ = outside.partition(", each")
    host, _, protocol = outside.rpartition("/")
    address, _, ports = host.rpartition(":")
    ends = [target.rpartition(":") for target in targets.split(", ")]
    for place, port in enumerate(_numbers(ports)):
        yield (
            (address, port, protocol),
            {(target, _numbers(numbers)[0 if each else place]) for target, _, numbers in ends},
        )


def _each(step: Step) -> Iterator[tuple[_Port, _Target]]:
    element = step.subject
    assert isinstance(element, Element)
    *address, protocol, ports = element.match
    target, *inner = element.data
    for place, port in enumerate(_numbers(ports)):
        to = _numbers(inner[0])[place] if inner else port
        yield ("".join(map(_bracketed, address)), port, protocol), (_bracketed(target), to)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _numbers(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _can_be_sent(*states: State) -> bool:
    """Whether the requests of these can be made at all: elements of odd shapes, veths without a peer,
    nobody's namespaces cannot."""
    for state in states:
        for item in state.resources.values():
            if isinstance(item, Element) or (isinstance(item, Veth) and item.peer is None):
                return False
            if isinstance(item, Netns) and item.owner is None:
                return False
    return True
