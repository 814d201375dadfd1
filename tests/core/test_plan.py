"""Order: of steps (arrange), of requests (schedule); and the inverse."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.messages import FlushConntrack, Netlink, Nft, NftElement
from reconciler.core.plan import Action, Counts, Plan, Step, arrange, schedule
from reconciler.core.planner import plan
from reconciler.core.resource import Difference, Resource, Stage, State
from reconciler.kinds import Address, Element, Netns, Veth
from reconciler.lower import lower
from reconciler.manifest import loads

FILE = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24]
    containers:
      web: {addresses: [10.88.0.10], ports: ["8080:80", "53:53/udp"]}
      db: {addresses: [10.88.0.11]}
"""
WISH = lower(loads(FILE))
CREATION = plan(WISH, State(), "default")
REMOVAL = plan(State(), WISH, "default")


def stages(steps: tuple[Step, ...]) -> list[Stage]:
    """When each is done."""
    return [step.stage for step in steps]


def test_ports_open_last_and_guards_stand_first() -> None:
    order = stages(CREATION.steps)
    assert order == sorted(order)
    ports = [number for number, step in enumerate(CREATION.steps) if is_port(step.subject)]
    assert ports == list(range(len(order) - len(ports), len(order)))
    assert stages(CREATION.steps)[0] is Stage.GUARD


def test_ports_close_first_and_guards_go_last() -> None:
    ports = [number for number, step in enumerate(REMOVAL.steps) if is_port(step.subject)]
    assert ports == list(range(len(ports)))
    assert REMOVAL.steps[-1].stage is Stage.DISARM


def is_port(item: Resource) -> bool:
    """Whether it is a published port."""
    return isinstance(item, Element) and item.set.startswith("by_")


def test_each_namespace_is_dealt_with_in_one_go() -> None:
    sent = [
        request.namespace
        for request in schedule(CREATION.steps).requests
        if isinstance(request, Netlink) and request.namespace
    ]
    runs = [name for number, name in enumerate(sent) if number == 0 or sent[number - 1] != name]
    assert runs == ["web", "db"]


def test_nothing_is_sent_for_what_the_kernel_takes_along() -> None:
    implied = [step for step in REMOVAL.steps if step.implied]
    assert implied
    assert all(list(step.requests()) == [] for step in implied)
    assert {type(step.subject) for step in implied} >= {Address}
    assert not any(step.implied for step in REMOVAL.steps if isinstance(step.subject, Netns))


def test_flushes_of_conntrack_stand_behind_the_transaction_they_belong_to() -> None:
    requests = schedule(CREATION.steps).requests
    flushes = [number for number, item in enumerate(requests) if isinstance(item, FlushConntrack)]
    rules = [number for number, item in enumerate(requests) if isinstance(item, Nft | NftElement)]
    assert flushes
    assert min(flushes) > max(rules)


def test_a_schedule_knows_the_step_of_each_request() -> None:
    made = schedule(CREATION.steps)
    assert len(made.requests) == len(made.steps)
    for request, position in zip(made.requests, made.steps, strict=True):
        assert request in list(CREATION.steps[position].requests())


def test_a_replaced_address_goes_before_the_new_one_comes() -> None:
    old = next(item for item in WISH.resources.values() if isinstance(item, Address))
    steps = arrange([Step(None, old), Step(old, None)])
    assert [step.action for step in steps] == [Action.DELETE, Action.CREATE]


def test_an_address_that_is_no_more_goes_after_the_new_one_is_there() -> None:
    first, second, *_ = (item for item in WISH.resources.values() if isinstance(item, Address))
    steps = arrange([Step(first, None), Step(None, second)])
    assert [step.action for step in steps] == [Action.CREATE, Action.DELETE]


@given(st.permutations(CREATION.steps))
def test_stages_keep_their_order_however_the_steps_are_given(steps: list[Step]) -> None:
    order = stages(arrange(steps))
    assert order == sorted(order)


@given(st.lists(st.sampled_from((*CREATION.steps, *REMOVAL.steps)), unique_by=lambda step: step.key))
def test_arranging_loses_nothing_and_is_stable(steps: list[Step]) -> None:
    once = arrange(steps)
    assert sorted(str(step.key) for step in once) == sorted(str(step.key) for step in steps)
    assert {step.key: step.action for step in once} == {step.key: step.action for step in steps}


def test_the_inverse_of_the_inverse_is_the_plan() -> None:
    twice = CREATION.inverse().inverse()
    assert {(step.action, step.key, step.after) for step in twice.steps} == {
        (step.action, step.key, step.after) for step in CREATION.steps
    }


def test_the_inverse_of_a_change_turns_its_differences() -> None:
    old = next(item for item in WISH.resources.values() if isinstance(item, Netns))
    step = Step(old, old, (Difference("loopback", False, True),), "differs").inverse()
    assert step.differences == (Difference("loopback", True, False),)
    assert step.reason == "undoes: differs"


def test_counts_are_those_of_the_steps() -> None:
    assert Counts.of(CREATION) == Counts(create=len(CREATION.steps))
    assert Counts.of(Plan("default")) == Counts()


def test_to_put_a_link_up_interrupts_nothing_and_to_put_it_down_does() -> None:
    up = Veth(name="v0", peer=("web", "eth0"))
    down = Veth(name="v0", peer=("web", "eth0"), up=False)
    assert not Step(down, up, (Difference("up", False, True),)).disruptive
    assert Step(up, down, (Difference("up", True, False),)).disruptive
