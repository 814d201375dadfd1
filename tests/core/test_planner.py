"""The rules of reconciler.core.planner, by the numbers of its text."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.messages import HOST
from reconciler.core.plan import Action, Plan, Step
from reconciler.core.planner import Policy, plan
from reconciler.core.resource import UNKNOWN, Key, Origin, Resource, State
from reconciler.kinds import (
    Address,
    Bridge,
    BridgePort,
    Element,
    HostLink,
    Netns,
    Peer,
    Route,
    Set,
    Sysctl,
    Table,
    Veth,
)

US = "default"
ORIGIN = Origin("net.yaml:3:1", "br-web", "web")

BRIDGE = Bridge(owner=US, name="br-web")
NETNS = Netns(owner=US, name="web", loopback=True)
VETH = Veth(owner=US, name="web-1", peer=("web", "eth0"))
PORT = BridgePort(owner=US, link="web-1", bridge="br-web", hairpin=True)
PEER = Peer(owner=US, namespace="web", name="eth0", host="web-1")
ADDRESS = Address(owner=US, namespace="web", link="eth0", address=ip_interface("10.88.0.10/24"))
ROUTE = Route(owner=US, namespace="web", destination=ip_network("0.0.0.0/0"), metric=0, link="eth0")
TABLE = Table(owner=US, name="inet reconciler")
SET = Set(
    owner=US,
    table="inet reconciler",
    name="by_any4",
    type=("inet_proto", "inet_service"),
    data=("ipv4_addr", "inet_service"),
)
ALL = (BRIDGE, NETNS, VETH, PORT, PEER, ADDRESS, ROUTE)


def made(wanted: tuple[Resource, ...], found: tuple[Resource, ...] = (), policy: Policy = Policy()) -> Plan:
    """The plan from `found` to `wanted`."""
    return plan(State.of(wanted), State.of(found), US, policy)


def does(plan: Plan) -> set[tuple[Action, Key]]:
    """What is done to what."""
    return {(step.action, step.key) for step in plan.steps}


def changed(item: Resource, **fields: object) -> Resource:
    """`item` with other fields."""
    from dataclasses import replace

    return replace(item, **fields)


def step(plan: Plan, item: Resource) -> Step:
    """The one step about `item`."""
    (found,) = [step for step in plan.steps if step.key == item.key]
    return found


# --- 1: what rests on something that is away waits ------------------------------------------------------------------


def test_what_rests_on_what_is_away_waits_with_all_that_rests_on_it() -> None:
    result = made((BRIDGE, VETH, PORT, PEER, ADDRESS, ROUTE))
    assert {item.resource.key for item in result.pending} == {item.key for item in (VETH, PORT, PEER, ADDRESS, ROUTE)}
    assert {item.missing for item in result.pending} == {NETNS.key}
    assert does(result) == {(Action.CREATE, BRIDGE.key)}


def test_what_is_ours_and_about_to_go_cannot_be_rested_on() -> None:
    result = made((VETH,), (NETNS,))
    assert [item.missing for item in result.pending] == [NETNS.key]
    assert does(result) == {(Action.DELETE, NETNS.key)}


def test_what_others_made_can_be_rested_on() -> None:
    result = made((BRIDGE, VETH, PORT, PEER, ADDRESS, ROUTE), (Netns(name="web"),))
    assert result.pending == ()
    assert (Action.CREATE, VETH.key) in does(result)


def test_what_waits_is_taken_back_and_says_why() -> None:
    uplink = BridgePort(owner=US, link="eth1", bridge="br0", up=True)
    lost = Address(owner=US, namespace=HOST, link="gone", address=ip_interface("10.0.0.1/24"))
    result = made((uplink,), (uplink, lost))
    assert does(result) == {(Action.DELETE, uplink.key), (Action.DELETE, lost.key)}
    assert step(result, uplink).reason == "what it needs is not there"
    assert step(result, lost).reason == "not in the file"


def test_pending_keeps_its_place_in_the_file() -> None:
    result = plan(State({VETH.key: VETH}, {VETH.key: ORIGIN}), State(), US)
    assert [item.origin for item in result.pending] == [ORIGIN]


# --- 2: a foreign thing is a conflict ---------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [None, "second"])
def test_a_foreign_thing_is_a_conflict_and_no_step_touches_it(owner: str | None) -> None:
    theirs = changed(BRIDGE, owner=owner)
    result = made((BRIDGE, NETNS), (theirs,))
    assert [(item.desired, item.found) for item in result.conflicts] == [(BRIDGE, theirs)]
    assert does(result) == {(Action.CREATE, NETNS.key)}
    assert not result.empty


def test_adopting_writes_our_mark() -> None:
    result = made((BRIDGE,), (changed(BRIDGE, owner=None),), Policy(adopt=True))
    assert result.conflicts == ()
    assert (step(result, BRIDGE).action, step(result, BRIDGE).reason) == (Action.UPDATE, "adopted")


def test_a_foreign_namespace_is_as_good_as_ours() -> None:
    result = made((NETNS,), (changed(NETNS, owner=None),))
    assert (result.conflicts, result.steps) == ((), ())


def test_what_cannot_be_marked_on_this_kernel_is_taken_for_ours_if_wanted_and_left_if_not() -> None:
    unknown = changed(ADDRESS, owner=UNKNOWN)
    assert made((NETNS, VETH, PEER, ADDRESS), (NETNS, VETH, PEER, unknown)).steps == ()
    left = made((NETNS, VETH, PEER), (NETNS, VETH, PEER, unknown))
    assert left.steps == ()
    assert left.foreign == (unknown,)


def test_a_link_of_another_kind_is_in_the_way() -> None:
    theirs = HostLink(name="br-web", kind="dummy")
    assert [item.found for item in made((BRIDGE,), (theirs,)).conflicts] == [theirs]
    adopted = made((BRIDGE,), (theirs,), Policy(adopt=True))
    assert [item.action for item in adopted.steps] == [Action.DELETE, Action.CREATE]


# --- 3: create, update, replace ---------------------------------------------------------------------------------------


def test_what_is_missing_is_created_and_what_differs_updated() -> None:
    result = made((changed(BRIDGE, mtu=1400), NETNS), (changed(BRIDGE, mtu=1500),))
    assert does(result) == {(Action.UPDATE, BRIDGE.key), (Action.CREATE, NETNS.key)}
    assert [(item.field, item.before, item.after) for item in step(result, BRIDGE).differences] == [("mtu", 1500, 1400)]


def test_what_is_not_managed_is_not_compared() -> None:
    assert made((BRIDGE,), (changed(BRIDGE, mtu=9000, mac="02:00:00:00:00:01", stp=True),)).steps == ()


def test_a_fixed_field_replaces_with_all_that_is_inside() -> None:
    found = (BRIDGE, NETNS, changed(VETH, peer=("web", "eth9")), PORT, ADDRESS)
    result = made((BRIDGE, NETNS, VETH, PORT), found)
    assert {(Action.DELETE, VETH.key), (Action.CREATE, VETH.key), (Action.CREATE, PORT.key)} <= does(result)


def test_a_set_of_another_type_replaces_its_table() -> None:
    other = changed(SET, type=("ipv4_addr",))
    result = made((TABLE, SET), (TABLE, other))
    assert {(Action.DELETE, TABLE.key), (Action.CREATE, TABLE.key), (Action.CREATE, SET.key)} <= does(result)


# --- 4: what is ours and not wanted goes ------------------------------------------------------------------------------


def test_what_is_ours_and_not_wanted_goes_and_what_is_not_ours_stays() -> None:
    theirs = Bridge(owner="second", name="br-two")
    foreign = Bridge(name="docker0")
    assert does(made((), (BRIDGE, theirs, foreign))) == {(Action.DELETE, BRIDGE.key)}


def test_settings_are_never_taken_away() -> None:
    setting = Sysctl(owner=US, namespace=HOST, name="net.ipv4.ip_forward", value="1")
    assert made((), (setting,)).steps == ()


def test_foreign_things_on_ours_are_named_and_pruned_only_when_told_to() -> None:
    foreign = Address(namespace=HOST, link="br-web", address=ip_interface("10.99.0.1/24"))
    elsewhere = Address(namespace=HOST, link="eth0", address=ip_interface("10.99.0.2/24"))
    left = made((BRIDGE,), (BRIDGE, foreign, elsewhere))
    assert (left.steps, left.foreign) == ((), (foreign,))
    pruned = made((BRIDGE,), (BRIDGE, foreign, elsewhere), Policy(prune_foreign=True))
    assert does(pruned) == {(Action.DELETE, foreign.key)}
    assert (step(pruned, foreign).reason, pruned.foreign) == ("foreign, pruned", ())


# --- 5: what goes along is made anew ----------------------------------------------------------------------------------


def test_what_goes_along_with_something_deleted_is_made_anew_if_wanted() -> None:
    elsewhere = changed(VETH, name="web-2")
    found = (NETNS, VETH, PEER, ADDRESS, ROUTE)
    result = made((NETNS, elsewhere, changed(PEER, host="web-2"), ADDRESS, ROUTE), found)
    for item in (PEER, ADDRESS, ROUTE):
        assert {(Action.DELETE, item.key), (Action.CREATE, item.key)} <= does(result), item.label


def test_a_foreign_thing_inside_of_what_goes_is_told_to_go_along() -> None:
    foreign = Address(namespace=HOST, link="br-web", address=ip_interface("10.99.0.1/24"))
    result = made((), (BRIDGE, foreign))
    assert step(result, foreign).implied
    assert step(result, foreign).reason == "goes with what it is inside of"


# --- laws -------------------------------------------------------------------------------------------------------------

subsets = st.lists(st.sampled_from(ALL), unique=True).map(tuple)


@given(subsets)
def test_a_state_is_at_rest_with_itself(items: tuple[Resource, ...]) -> None:
    away = {item.resource for item in made(items).pending}
    whole = tuple(item for item in items if item not in away)
    assert made(whole, whole).steps == ()


@given(subsets, subsets)
def test_nothing_is_made_before_what_it_is_inside_of(wanted: tuple[Resource, ...], found: tuple[Resource, ...]) -> None:
    there = {item.key for item in found}
    for item in made(wanted, found).steps:
        if item.action is Action.DELETE:
            there.discard(item.key)
        else:
            assert set(item.subject.inside()) <= there
            there.add(item.key)


@given(subsets, subsets)
def test_every_wanted_thing_is_there_in_the_end_or_waits(
    wanted: tuple[Resource, ...], found: tuple[Resource, ...]
) -> None:
    result = made(wanted, found)
    there = {item.key: item for item in found}
    for item in result.steps:
        if item.after is None:
            there.pop(item.key, None)
        else:
            there[item.key] = item.after
    waiting = {item.resource.key for item in result.pending}
    assert {key for key, item in there.items() if item.owner == US} == {item.key for item in wanted} - waiting


def test_a_port_waits_for_the_interface_that_it_leads_to() -> None:
    port = Element(
        owner=US, table=SET.table, set="by_any4", match=("tcp", "80"), data=("10.88.0.10", "80"), waits_for=(PEER.key,)
    )
    result = made((TABLE, SET, port), (TABLE, SET, port))
    assert [item.missing for item in result.pending] == [PEER.key]
    assert does(result) == {(Action.DELETE, port.key)}


# --- what is not known -----------------------------------------------------------------------------------------------

AWAY = "docker:web"
LINK = Veth(owner=US, name="web-1", peer=(AWAY, "eth0"))
INNER = (
    Peer(owner=US, namespace=AWAY, name="eth0", host="web-1"),
    Address(owner=US, namespace=AWAY, link="eth0", address=ip_interface("10.88.0.10/24")),
)
PUBLISHED = Element(
    owner=US,
    table=SET.table,
    set="by_any4",
    match=("tcp", "80"),
    data=("10.88.0.10", "80"),
    waits_for=(INNER[0].key,),
)
WISH = (BRIDGE, LINK, PORT, *INNER, TABLE, SET, PUBLISHED)
SEEN = (BRIDGE, Veth(owner=US, name="web-1", peer=None), PORT, TABLE, SET, PUBLISHED)
"""A container as it looks while nothing can be said of its namespace."""


def unseen(found: tuple[Resource, ...], wanted: tuple[Resource, ...] = WISH) -> Plan:
    """The plan while nobody knows of the namespace of the container."""
    return plan(State.of(wanted), replace(State.of(found), unknown=frozenset({AWAY})), US)


def test_what_rests_on_something_unknown_waits_and_stays() -> None:
    result = unseen(SEEN)
    assert result.steps == ()
    assert {item.resource.key for item in result.pending} == {item.key for item in (LINK, PORT, *INNER, PUBLISHED)}
    assert {item.missing for item in result.pending} == {Netns(name=AWAY).key}


def test_what_is_known_to_be_gone_goes() -> None:
    assert does(made(WISH, SEEN)) == {(Action.DELETE, item.key) for item in (LINK, PORT, PUBLISHED)}


def test_nothing_new_is_made_on_something_unknown() -> None:
    assert unseen((TABLE, SET)).steps == (*unseen((TABLE, SET), (BRIDGE, TABLE, SET)).steps,)


def test_a_port_into_the_unknown_closes_when_the_link_is_gone() -> None:
    assert does(unseen((BRIDGE, TABLE, SET, PUBLISHED))) == {(Action.DELETE, PUBLISHED.key)}


def test_what_no_file_wants_any_more_goes_whatever_is_known() -> None:
    result = unseen(SEEN, (BRIDGE, TABLE, SET))
    assert does(result) == {(Action.DELETE, item.key) for item in (LINK, PORT, PUBLISHED)}


@given(st.sets(st.sampled_from(SEEN), min_size=1), st.sets(st.sampled_from(WISH), min_size=1))
def test_of_the_unknown_only_what_was_there_stays_and_it_rests(found: set[Resource], wanted: set[Resource]) -> None:
    """As far as the sets hold together: what is inside of something is wanted with it."""
    keys = {item.key for item in wanted}
    whole = tuple(
        item for item in WISH if item in wanted and {*item.inside(), *item.needs()} <= keys | {Netns(name=AWAY).key}
    )
    there = tuple(found)
    for _ in range(2):
        result = unseen(there, whole)
        left = {item.key: item for item in there}
        for step in result.steps:
            if step.after is None:
                del left[step.key]
            else:
                assert step.key not in {item.resource.key for item in result.pending}
                left[step.key] = step.after
        there = tuple(left.values())
    assert unseen(there, whole).steps == ()
