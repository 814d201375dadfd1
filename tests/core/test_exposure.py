"""Exposure of a State, and what its differences are called."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

import pytest

from reconciler.core.messages import HOST
from reconciler.core.resource import Key, Level, Note, State
from reconciler.exposure import difference, exposure, unknowns
from reconciler.exposure.state import ALWAYS_UNKNOWN
from reconciler.kinds import Address, Chain, Element, Sysctl
from reconciler.kinds.marks import DEFAULT_OWNER
from reconciler.lower import lower
from reconciler.manifest import loads


def state(text: str) -> State:
    """What a file comes to."""
    return lower(loads(textwrap.dedent(text), "f.yaml"), "a host")


def reaches(found: State, owner: str = DEFAULT_OWNER) -> list[str]:
    """The exposure, a line each."""
    return [str(item) for item in exposure(found, owner)]


def one_bridge(
    web: str = "", *, db: str = "", mode: str = "nat", more: str = "", addresses: str = "10.88.0.1/24"
) -> State:
    """A bridge with two containers, which publish `web` and `db`."""
    return state(f"""\
        version: 1
        bridges:
          br-web:
            mode: {mode}
            addresses: [{addresses}]
            {more}
            containers:
              web: {{addresses: [10.88.0.10], ports: [{web}]}}
              db: {{addresses: [10.88.0.11], ports: [{db}]}}
        """)


ALL = "from anywhere"
NEAR = "from this host and containers of br-web"
FAR = "from outside and containers of other bridges"
WEB, DB = "everything on 10.88.0.10 (web)", "everything on 10.88.0.11 (db)"


def test_a_nat_bridge() -> None:
    assert reaches(one_bridge("8080:80, 127.0.0.1:8443:443, 192.0.2.7:53:53/udp")) == [
        f"tcp 8080 on every IPv4 address → web:80, {ALL}",
        f"udp 53 on 192.0.2.7 → web:53, {ALL}",
        "tcp 8443 on 127.0.0.1 → web:443, from this host",
        f"{WEB}, {NEAR}",
        f"{DB}, {NEAR}",
    ]


def test_a_routed_bridge_can_be_asked_at_its_containers_own_addresses() -> None:
    assert reaches(one_bridge("8080:80, 8081:81", mode="routed", more="icc: false")) == [
        f"tcp 8080 on every IPv4 address → web:80, {ALL}",
        f"tcp 8081 on every IPv4 address → web:81, {ALL}",
        f"ICMP on 10.88.0.10 (web), {FAR}",
        f"tcp 80 on 10.88.0.10 (web), {FAR}",
        f"tcp 81 on 10.88.0.10 (web), {FAR}",
        f"ICMP on 10.88.0.11 (db), {FAR}",
        f"{WEB}, from this host",
        f"{DB}, from this host",
    ]


def test_isolated_and_bridged() -> None:
    assert reaches(one_bridge(mode="isolated")) == [f"{WEB}, {NEAR}", f"{DB}, {NEAR}"]
    assert reaches(one_bridge(mode="isolated", more="icc: false")) == [
        f"{WEB}, from this host",
        f"{DB}, from this host",
    ]
    apart = """\
        version: 1
        bridges:
          br0:
            mode: %s
            containers: {web: {addresses: [10.88.0.10/24]}}
        """
    assert reaches(state(apart % "isolated")) == [f"{WEB}, from containers of br0"]
    assert reaches(state(apart % "bridged")) == [f"{WEB}, from layer 2 of br0"]
    assert unknowns(state(apart % "bridged"), DEFAULT_OWNER)[0].startswith("layer 2 of br0: ")


def test_what_is_behind_a_tap_has_no_address_and_its_containers_name() -> None:
    machine = state("""\
        version: 1
        bridges:
          br0:
            addresses: [10.88.0.1/24]
            containers: {vm: {attach: {tap: vnet0}, addresses: [10.88.0.10], ports: ["22:22"]}}
        """)
    assert reaches(machine) == [
        f"tcp 22 on every IPv4 address → vm:22, {ALL}",
        "everything on IPv4 behind vnet0 (vm), from this host and containers of br0",
    ]


def test_each_port_has_its_line_also_where_one_element_stands_for_several() -> None:
    found = exposure(
        state("""\
            version: 1
            bridges:
              br0:
                mode: routed
                addresses: [10.88.0.1/24]
                containers:
                  web:
                    addresses: [10.88.0.10]
                    ports:
                      - 8080:80
                      - 9000-9002:80-82
            """),
        DEFAULT_OWNER,
    )
    assert {str(item).partition(",")[0]: item.position for item in found} == {
        "tcp 8080 on every IPv4 address → web:80": "f.yaml:10:13",
        "tcp 9000-9002 on every IPv4 address → web:80-82": "f.yaml:11:13",
        "ICMP on 10.88.0.10 (web)": "f.yaml:7:7",
        "tcp 80 on 10.88.0.10 (web)": "f.yaml:10:13",
        "tcp 81-82 on 10.88.0.10 (web)": "f.yaml:11:13",
        "everything on 10.88.0.10 (web)": "f.yaml:7:7",
    }


def test_other_owners_things_are_theirs() -> None:
    found = one_bridge("8080:80")
    assert reaches(found, "edge") == []
    theirs = {key: replace(item, owner="edge") if item.owner else item for key, item in found.resources.items()}
    assert reaches(State(theirs), DEFAULT_OWNER) == []
    assert reaches(State(theirs), "edge") == reaches(State(found.resources))


def test_without_a_file_names_are_those_of_comments_and_of_namespaces() -> None:
    found = state("""\
        version: 1
        bridges:
          br-web:
            addresses: [10.88.0.1/24]
            containers:
              web: {addresses: [10.88.0.10], ports: ["8080:80"], attach: {netns: one}}
              db: {addresses: [10.88.0.11], attach: {netns: two}}
        """)
    assert reaches(State(found.resources))[1:] == [f"{WEB}, {NEAR}", f"{DB}, {NEAR}".replace("(db)", "(two)")]


def test_an_address_that_others_gave_to_a_container_counts() -> None:
    found = one_bridge()
    theirs = Address(owner=None, namespace="web", link="eth0", address=ip_interface("10.222.0.1/24"))
    assert reaches(State({**found.resources, theirs.key: theirs}, found.origins))[-1] == (
        "everything on 10.222.0.1 (web), from containers of br-web"
    )


# --- what changed ----------------------------------------------------------------------------------------------------

CHANGES = [
    ("", "8080:80", [f"opened: tcp 8080 on every IPv4 address → web:80, {ALL}"]),
    ("8080:80", "", [f"closed: tcp 8080 on every IPv4 address → web:80, {ALL}"]),
    (
        "8080:80",
        "8080:81",
        [f"moved: tcp 8080 on every IPv4 address → web:81 (was web:80), {ALL}"],
    ),
    (
        "127.0.0.1:8080:80",
        "8080:80",
        [f"widened: tcp 8080 → web:80, now also on every IPv4 address, {ALL} (so far on 127.0.0.1, from this host)"],
    ),
    (
        "8080:80",
        "127.0.0.1:8080:80",
        [f"narrowed: tcp 8080 → web:80, no longer on every IPv4 address, {ALL} (still on 127.0.0.1, from this host)"],
    ),
    (
        "192.0.2.7:8080:80",
        "192.0.2.8:8080:80",
        [
            f"opened: tcp 8080 on 192.0.2.8 → web:80, {ALL}",
            f"closed: tcp 8080 on 192.0.2.7 → web:80, {ALL}",
        ],
    ),
    ("8000-8009:8000-8009", "8000-8004:8000-8004, 8005-8009:8005-8009", []),
    (
        "8000-8009:9000-9009",
        "8003-8012:9003-9012",
        [
            f"opened: tcp 8010-8012 on every IPv4 address → web:9010-9012, {ALL}",
            f"closed: tcp 8000-8002 on every IPv4 address → web:9000-9002, {ALL}",
        ],
    ),
    (
        "8000-8009:8000-8009",
        "8000-8009:9000-9009",
        [
            f"moved: tcp 8000-8009 on every IPv4 address → web:9000-9009 (was web:8000-8009), {ALL}",
        ],
    ),
    (
        "192.0.2.7:80:80",
        "80:81",
        [
            f"opened: tcp 80 on every IPv4 address → web:81, {ALL}",
            f"moved: tcp 80 on 192.0.2.7 → web:81 (was web:80), {ALL}",
        ],
    ),
]


@pytest.mark.parametrize(("before", "after", "said"), CHANGES)
def test_what_becomes_of_ports(before: str, after: str, said: list[str]) -> None:
    found = difference(*(exposure(one_bridge(ports), DEFAULT_OWNER) for ports in (before, after)))
    assert [str(item) for item in found] == said


def test_a_port_that_moves_to_another_container() -> None:
    (change,) = difference(
        exposure(one_bridge("8080:80"), DEFAULT_OWNER), exposure(one_bridge(db="8080:80"), DEFAULT_OWNER)
    )
    assert str(change) == f"moved: tcp 8080 on every IPv4 address → db:80 (was web:80), {ALL}"
    assert change.position == "f.yaml:9:45"


def test_what_becomes_of_the_bridge() -> None:
    def said(**options: Any) -> list[str]:
        before, after = one_bridge("8080:80"), one_bridge("8080:80", **options)
        return [str(item) for item in difference(exposure(before, DEFAULT_OWNER), exposure(after, DEFAULT_OWNER))]

    assert said(more="icc: false") == [
        f"narrowed: {WEB}, no longer from containers of br-web (still from this host)",
        f"narrowed: {DB}, no longer from containers of br-web (still from this host)",
    ]
    assert said(mode="routed") == [
        f"opened: tcp 80 on 10.88.0.10 (web), {FAR}",
        f"opened: ICMP on 10.88.0.10 (web), {FAR}",
        f"opened: ICMP on 10.88.0.11 (db), {FAR}",
    ]


def test_what_is_gone_has_its_old_place() -> None:
    (change,) = difference(exposure(one_bridge("8080:80"), DEFAULT_OWNER), exposure(one_bridge(), DEFAULT_OWNER))
    assert change.position == "f.yaml:8:46"
    bare = State(one_bridge("8080:80").resources)
    (change,) = (item for item in difference(exposure(bare, DEFAULT_OWNER), exposure(one_bridge(), DEFAULT_OWNER)))
    assert change.position == ""


def test_json_says_the_same() -> None:
    (change,) = difference(
        exposure(one_bridge("8080:80"), DEFAULT_OWNER), exposure(one_bridge("8080:81"), DEFAULT_OWNER)
    )
    body = change.json()
    assert (body["verb"], body["text"], body["position"]) == ("moved", str(change), "f.yaml:8:46")
    assert body["sources"] == ["outside", "this host", "containers"]
    assert (body["version"], body["address"], body["protocol"], body["ports"]) == (4, None, "tcp", [8080, 8080])
    assert (body["container"], body["target_address"], body["target_ports"]) == ("web", "10.88.0.10", [81, 81])
    assert body["was"]["target_ports"] == [80, 80]


# --- what is not known -----------------------------------------------------------------------------------------------


def test_a_state_as_it_should_be_gives_no_cause_to_doubt() -> None:
    assert unknowns(one_bridge("8080:80", more="icc: false"), DEFAULT_OWNER) == ALWAYS_UNKNOWN


def test_what_gives_cause_to_doubt_is_said() -> None:
    found = one_bridge("8080:80")
    resources = dict(found.resources)
    chain = next(item for item in resources.values() if isinstance(item, Chain) and item.name == "forward")
    resources[chain.key] = replace(chain, rules=chain.rules[1:])
    off = Sysctl(namespace=HOST, name="net.ipv4.ip_forward", value="0")
    resources[off.key] = off
    notes = (Note(Level.WARNING, "chain ip filter FORWARD drops"), Note(Level.INFO, "nothing"))
    said = unknowns(State(resources, notes=notes), DEFAULT_OWNER)[: -len(ALWAYS_UNKNOWN)]
    assert said == (
        "chain ip filter FORWARD drops",
        "chain forward of table inet reconciler is not as it should be: what it lets through is computed as if it were",
        "net.ipv4.ip_forward is 0: nothing from another host or container is let through, although it is listed",
    )


def test_an_element_with_no_comment_leads_to_an_address() -> None:
    stray = Element(
        owner=DEFAULT_OWNER, table="inet reconciler", set="by_any4", match=("tcp", "99"), data=("10.88.0.11", "22")
    )
    assert reaches(State({Key("nft element", HOST, "x"): stray})) == [
        f"tcp 99 on every IPv4 address → 10.88.0.11:22, {ALL}"
    ]
