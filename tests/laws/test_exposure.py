"""Laws of exposure and of its difference, held against questions asked one by one."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler import reconcile
from reconciler.core.messages import HOST
from reconciler.core.planner import plan
from reconciler.core.resource import Origin, Resource, State
from reconciler.exposure import GROWING, Change, Reach, Verb, difference, exposure, of_plan
from reconciler.exposure.reach import ANYWHERE, THIS_HOST
from reconciler.kernel.model import ModelKernel
from reconciler.kinds import Address, Bridge, BridgePort, Element, Veth
from reconciler.kinds.layout import PUBLISHING
from reconciler.reconcile import View
from tests.laws.doing import OWNER, apply, desired
from tests.laws.strategies import documents, hosts

ADDRESSES = ("192.0.2.7", "192.0.2.8", "127.0.0.1", "127.0.0.53")
ELSEWHERE = "192.0.2.99"
"""An address of the host that nothing is published on by itself."""
PORTS = range(1, 14)

Point = tuple[str, int, str, str, int]
"""(source, IP version, address, protocol, port)."""
End = tuple[str, str, str, int]
"""(bridge, container, its address, its port)."""


def exposed(document: Any) -> tuple[Reach, ...]:
    """The exposure of a file."""
    return exposure(desired(document), OWNER)


# --- points, told one by one -----------------------------------------------------------------------------------------


def points(reaches: Iterable[Reach], *others: Reach) -> dict[Point, End]:
    """Where each point leads to. An address that only `others` name counts too, as does one that nobody names."""
    given = list(reaches)
    named = {item.address for item in (*given, *others) if item.address and not item.direct}
    found: dict[Point, End] = {}
    for item in sorted(given, key=lambda item: item.address is not None):
        for port in _told(item):
            end = item.bridge, item.container, item.target, item.target_first + port - item.ports[0]
            for address in (item.address,) if item.address else (*named, _elsewhere(item.version)):
                if ip_address(address).version != item.version or (not item.address and address == "127.0.0.53"):
                    continue
                loopback = not item.address and address.startswith("127.")
                for source in item.sources & {THIS_HOST} if loopback else item.sources:
                    found[source, item.version, address, item.protocol, port] = end
    return found


def _told(item: Reach) -> Iterable[int]:
    """All ports of what is small; of the rest none but one, since it begins and ends where no other does."""
    return range(item.ports[0], item.ports[1] + 1) if item.protocol in ("tcp", "udp", "sctp") else (item.ports[0],)


def _elsewhere(version: int) -> str:
    return ELSEWHERE if version == 4 else "2001:db8::99"


def changed(before: dict[Point, End], changes: Iterable[Change], *reaches: Reach) -> dict[Point, End]:
    """`before`, with the `changes` made, one after the other; that each is possible is asserted."""
    now = dict(before)
    for item in changes:
        taken, put = _sides(item)
        for point, end in _of(taken, reaches).items():
            assert now.pop(point) == end
        for point, end in _of(put, reaches).items():
            assert point not in now
            now[point] = end
    return now


def _sides(change: Change) -> tuple[tuple[Reach, ...], tuple[Reach, ...]]:
    """What goes, and what comes."""
    if change.verb is Verb.MOVED:
        assert change.was is not None
        return (change.was,), (change.reach,)
    return ((), (change.reach,)) if change.verb in GROWING else ((change.reach,), ())


def _of(changing: tuple[Reach, ...], reaches: Iterable[Reach]) -> dict[Point, End]:
    """The points of a side of a Change, in which every address is every one on which none of `reaches` publishes that port."""
    taken = {
        (item.version, item.address, item.protocol, port) for item in reaches if item.address for port in _told(item)
    }
    wild = {item.address is None for item in changing}
    return {point: end for point, end in points(changing, *reaches).items() if wild != {True} or point[1:] not in taken}


# --- states made of nothing but what is published --------------------------------------------------------------------


@st.composite
def published(draw: st.DrawFn) -> State:
    """Elements as the kernel would take them, and no file could say: on one address and on all, single ports and ranges, over each
    other."""
    elements: dict[Any, Element] = {}
    for _ in range(draw(st.integers(0, 8))):
        name = draw(st.sampled_from(["by_address4", "by_address_range4", "by_any4", "by_any_range4"]))
        kind = PUBLISHING[name]
        address = (draw(st.sampled_from(ADDRESSES)),) if kind.by_address else ()
        first = draw(st.integers(1, 9))
        last = first + draw(st.integers(1, 3)) if kind.ranges else first
        here = [item for item in elements.values() if item.set == name and item.match[:-2] == address]
        if any(first <= _last(item) and _first(item) <= last for item in here):
            continue  # intervals never overlap
        container = draw(st.sampled_from(["web", "db"]))
        target = INSIDE[container]
        data = (target,) if kind.ranges else (target, str(draw(st.integers(first, first + 1))))
        match = (*address, "tcp", f"{first}-{last}" if kind.ranges else str(first))
        made = _element(name, match, data, f"br-web/{container}")
        elements[made.key] = made
    return State(elements)


@st.composite
def sites(draw: st.DrawFn) -> State:
    """The same, with a bridge behind it and its containers, at whose own addresses something may be open."""
    resources: dict[Any, Resource] = dict(draw(published()).resources)
    kept = draw(st.lists(st.sampled_from(["web", "db"]), unique=True))
    resources |= {item.key: item for item in _wired(kept, routed=draw(st.booleans()))}
    for _ in range(draw(st.integers(0, 4))):
        ranges = draw(st.booleans())
        first = draw(st.integers(1, 9))
        ports = f"{first}-{first + draw(st.integers(1, 3))}" if ranges else str(first)
        container = draw(st.sampled_from(["web", "db"]))
        item = _element(f"open{'_range' * ranges}4", (INSIDE[container], "tcp", ports), (), f"br-web/{container}")
        if _fits(item, resources.values()):
            resources[item.key] = item
    places = st.sampled_from(["", "f.yaml:3:1", "f.yaml:3:9", "f.yaml:4:1"])
    containers = st.sampled_from(["web", "db", ""])
    origins = {key: Origin(draw(places), "br-web", draw(containers)) for key in resources if draw(st.integers(0, 3))}
    return State(resources, origins)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[State, State]:
    """Two of them, mostly the second one the first with little changed."""
    one, other = draw(sites()), draw(sites())
    if not draw(st.integers(0, 3)):
        return one, other
    resources = dict(one.resources)
    for key in draw(st.lists(st.sampled_from(sorted(one.resources)), max_size=3)):
        resources.pop(key, None)
    for key in draw(st.lists(st.sampled_from(sorted(other.resources)), max_size=3)):
        item = other.resources[key]
        rest = [there for there in resources.values() if there.key != key]
        if not isinstance(item, Element) or _fits(item, rest):
            resources[key] = item
    return one, State(resources, {**one.origins, **other.origins})


def _fits(item: Element, others: Iterable[Resource]) -> bool:
    """Intervals of a set never overlap."""
    alike = [
        other
        for other in others
        if isinstance(other, Element) and other.set == item.set and other.match[:-1] == item.match[:-1]
    ]
    return "range" not in item.set or not any(
        _first(item) <= _last(other) and _first(other) <= _last(item) for other in alike
    )


INSIDE = {"web": "10.88.0.10", "db": "10.88.0.11"}


def _wired(containers: Iterable[str], *, routed: bool) -> Iterator[Resource]:
    """A bridge, and what puts `containers` on it."""
    yield Bridge(owner=OWNER, name="br-web")
    yield Address(owner=OWNER, namespace=HOST, link="br-web", address=ip_interface("10.88.0.1/24"))
    yield _element("arrive", ("br-web",), ("goto only_open" if routed else "accept",), "br-web")
    yield _element("within", ("br-web", "br-web"), ("accept",), "br-web")
    for name in containers:
        yield Veth(owner=OWNER, name=f"v-{name}", peer=(name, "eth0"))
        yield BridgePort(owner=OWNER, link=f"v-{name}", bridge="br-web")
        yield Address(owner=OWNER, namespace=name, link="eth0", address=ip_interface(f"{INSIDE[name]}/24"))


def _element(set: str, match: tuple[str, ...], data: tuple[str, ...], comment: str) -> Element:
    return Element(owner=OWNER, table="inet reconciler", set=set, match=match, data=data, comment=comment)


def _first(item: Element) -> int:
    return int(item.match[-1].partition("-")[0])


def _last(item: Element) -> int:
    return int(item.match[-1].rpartition("-")[2])


def looked_up(state: State, source: str, address: str, port: int) -> End | None:
    """What the chain `publish` does with one packet, in the order of its rules."""
    if ip_address(address).is_loopback and source != THIS_HOST:
        return None
    elements = [item for item in state.resources.values() if isinstance(item, Element)]
    for name, kind in PUBLISHING.items():
        if not kind.by_address and address == "127.0.0.53":
            return None
        for item in elements:
            on = item.match[:-2] == (address,) if kind.by_address else True
            if item.set == name and on and _first(item) <= port <= _last(item):
                bridge, _, container = item.comment.partition("/")
                return bridge, container, item.data[0], int(item.data[1]) if len(item.data) > 1 else port
    return None


@given(published())
def test_what_is_published_is_what_the_rules_would_look_up(state: State) -> None:
    reaches = exposure(state, OWNER)
    asked = [
        (source, 4, address, "tcp", port)
        for source in ANYWHERE
        for address in (*ADDRESSES, ELSEWHERE)
        for port in PORTS
    ]
    others = [replace(_ANY_REACH, address=address) for address in ADDRESSES]
    found = points(reaches, *others)
    assert {point: found.get(point) for point in asked} == {
        point: looked_up(state, point[0], point[2], point[4]) for point in asked
    }
    assert set(found) <= set(asked)


_ANY_REACH = Reach(ANYWHERE, 4, None, "tcp", (1, 1), "br-web", "web", "10.88.0.10", 1)


# --- the difference --------------------------------------------------------------------------------------------------


def check_difference(before: tuple[Reach, ...], after: tuple[Reach, ...]) -> None:
    """The laws of difference that speak of points."""
    changes = difference(before, after)
    was, now = points(before, *after), points(after, *before)
    assert changed(was, changes, *before, *after) == now
    verbs = {item.verb for item in changes}
    assert bool(verbs & GROWING) == bool(set(now) - set(was))
    assert bool(verbs & {Verb.CLOSED, Verb.NARROWED}) == bool(set(was) - set(now))
    stays = _ways({point: end for point, end in was.items() if now.get(point) == end})
    for item in changes:
        if item.verb is not Verb.MOVED:
            partly = item.verb in (Verb.WIDENED, Verb.NARROWED)
            assert {way in stays for way in _ways(_of((item.reach,), (*before, *after)))} <= {partly}


def _ways(found: dict[Point, End]) -> set[tuple[int, str, int, End]]:
    """By which version, protocol and port each end is reached, by anybody at any address."""
    return {(version, protocol, port, end) for (_, version, _, protocol, port), end in found.items()}


@given(published(), published())
def test_of_ports_over_each_other_the_difference_makes_the_one_the_other(one: State, other: State) -> None:
    check_difference(exposure(one, OWNER), exposure(other, OWNER))


@given(documents(), documents())
def test_of_files_the_difference_makes_the_one_the_other(one: Any, other: Any) -> None:
    check_difference(seen(exposed(one)), seen(exposed(other)))


def seen(reaches: Iterable[Reach]) -> tuple[Reach, ...]:
    """Those with an address that is one."""
    return tuple(item for item in reaches if not (item.address or "").startswith("behind "))


@given(documents())
def test_nothing_differs_from_itself(document: Any) -> None:
    assert difference(exposed(document), exposed(document)) == ()
    assert {item.verb for item in difference(exposed(document), ())} <= {Verb.CLOSED}
    assert {item.verb for item in difference((), exposed(document))} <= {Verb.OPENED}


@given(documents(), documents(), st.randoms(use_true_random=False))
def test_order_is_of_no_account(one: Any, other: Any, shuffling: random.Random) -> None:
    states = [desired(one), desired(other)]
    found = [exposure(state, OWNER) for state in states]
    turned = [State(dict(_shuffled(state.resources.items(), shuffling)), state.origins) for state in states]
    assert [exposure(state, OWNER) for state in turned] == found
    assert difference(_shuffled(found[0], shuffling), _shuffled(found[1], shuffling)) == difference(*found)


def _shuffled(items: Iterable[Any], shuffling: random.Random) -> list[Any]:
    result = list(items)
    shuffling.shuffle(result)
    return result


@given(documents(), documents())
def test_there_and_back_is_the_same_turned_round(one: Any, other: Any) -> None:
    turned = {
        Verb.OPENED: Verb.CLOSED,
        Verb.CLOSED: Verb.OPENED,
        Verb.WIDENED: Verb.NARROWED,
        Verb.NARROWED: Verb.WIDENED,
        Verb.MOVED: Verb.MOVED,
    }
    there, back = difference(exposed(one), exposed(other)), difference(exposed(other), exposed(one))
    assert _pieces(there) == {(turned[verb], *rest) for verb, *rest in _pieces(back)}


def _pieces(changes: Iterable[Change]) -> set[tuple[Any, ...]]:
    """Verb, source, version, address, protocol, port."""
    return {
        (item.verb, source, item.reach.version, item.reach.address, item.reach.protocol, port)
        for item in changes
        for source in item.reach.sources
        for port in _told(item.reach)
    }


@given(st.one_of(documents().map(exposed), published().map(lambda state: exposure(state, OWNER))))
def test_ports_that_touch_are_one_range(reaches: tuple[Reach, ...]) -> None:
    for one, other in _alike(reaches):
        assert other.ports[0] > one.ports[1] + 1 or one.position != other.position


def _alike(reaches: Iterable[Reach]) -> Iterator[tuple[Reach, Reach]]:
    """Neighbours of those that differ in their ports alone."""
    rows: dict[Any, list[Reach]] = {}
    for item in reaches:
        rows.setdefault((item.sources, item.version, item.address, item.protocol, item.end), []).append(item)
    for row in rows.values():
        yield from pairwise(sorted(row, key=lambda item: item.ports))


# --- on a kernel -----------------------------------------------------------------------------------------------------


def look(kernel: ModelKernel, wish: State) -> tuple[Reach, ...]:
    """The exposure of what is there, with the names that the file has for it."""
    found = reconcile.look(kernel, wish, OWNER).found
    return exposure(replace(found, origins=wish.origins), OWNER)


@given(hosts(), documents(processes=False))
def test_after_an_apply_the_exposure_is_that_of_the_file(host: str, document: Any) -> None:
    kernel, wish = ModelKernel.parse(host), desired(document)
    apply(kernel, wish)
    found = look(kernel, wish)
    assert found == exposure(wish, OWNER)
    assert [item.position for item in found] == [item.position for item in exposure(wish, OWNER)]


@given(hosts(), documents(), documents())
def test_what_a_plan_says_of_exposure_is_what_comes_of_it(host: str, one: Any, other: Any) -> None:
    kernel, wish = ModelKernel.parse(host), desired(other)
    apply(kernel, desired(one))
    made, view = reconcile.plan(kernel, wish, OWNER)
    said = of_plan(made, view.found, view.desired)
    before = look_again(view)
    apply(kernel, wish)
    assert said == difference(before, look(kernel, wish))


@given(pairs(), st.booleans())
def test_what_a_plan_says_is_what_all_that_can_be_reached_says(pair: tuple[State, State], named: bool) -> None:
    """It looks at what its steps touch, and at the whole only where that has a say."""
    one, other = pair
    desired = other if named else replace(other, origins={})
    made = plan(desired, one, OWNER)
    after = dict(one.resources)
    for step in made.steps:
        after.pop(step.key, None)
        after |= {step.key: step.after} if step.after else {}
    whole = (exposure(State(resources, desired.origins), OWNER) for resources in (one.resources, after))
    assert [item.json() for item in of_plan(made, one, desired)] == [item.json() for item in difference(*whole)]


def look_again(view: View) -> tuple[Reach, ...]:
    """The exposure of what was found."""
    return exposure(replace(view.found, origins=view.desired.origins), OWNER)
