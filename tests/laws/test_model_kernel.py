"""The laws, on the model kernel."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler import reconcile
from reconciler.core.messages import HOST
from reconciler.core.plan import Action, Plan, schedule
from reconciler.core.resource import State, differences
from reconciler.errors import RolledBackError
from reconciler.kernel.model import ModelKernel
from reconciler.kinds import KINDS, decode
from tests.laws.doing import (
    OWNER,
    apply,
    desired,
    follows_its_ports,
    plan_for,
    reaches_into_a_process,
    without_switches,
)
from tests.laws.strategies import documents, hosts


class Crash(BaseException):
    """Our process dies here."""


@given(hosts(), documents(), st.sampled_from([1, 32]))
def test_applying_converges_and_then_rests(host: str, document: Any, datagram: int) -> None:
    kernel, wish = ModelKernel.parse(host, datagram), desired(document)
    apply(kernel, wish)
    sent = len(kernel.sent)
    assert plan_for(kernel, wish).steps == ()
    assert apply(kernel, wish) == 0
    assert len(kernel.sent) == sent


@given(hosts(), documents(), documents())
def test_from_any_file_to_any_other_in_one_plan(host: str, one: Any, other: Any) -> None:
    kernel = ModelKernel.parse(host)
    apply(kernel, desired(one))
    wish = desired(other)
    assume(not follows_its_ports(kernel, wish))
    plan = plan_for(kernel, wish)
    assert reconcile.perform(kernel, plan.steps).failures == ()
    assert plan_for(kernel, wish).steps == ()


@given(hosts(), documents(), documents())
def test_the_requests_shown_are_the_requests_sent(host: str, one: Any, other: Any) -> None:
    kernel = ModelKernel.parse(host)
    apply(kernel, desired(one))
    wish = desired(other)
    assume(not follows_its_ports(kernel, wish))
    shown = schedule(plan_for(kernel, wish).steps).requests
    already = len(kernel.sent)
    apply(kernel, wish)
    assert tuple(kernel.sent[already:]) == shown


@given(hosts(), documents(), documents(), st.data())
def test_a_failure_anywhere_is_undone(host: str, one: Any, other: Any, data: st.DataObject) -> None:
    assume(not reaches_into_a_process(one))
    kernel = ModelKernel.parse(host, data.draw(st.sampled_from([1, 32]), label="datagram"))
    apply(kernel, desired(one))
    wish = desired(other)
    count = len(schedule(plan_for(kernel, wish).steps).requests)
    if not count:
        return
    before = without_switches(str(kernel))
    kernel.fail_at(data.draw(st.integers(1, count), label="failing request"), errno.EIO)
    with pytest.raises(RolledBackError):
        apply(kernel, wish)
    assert without_switches(str(kernel)) == before


@given(hosts(), documents(), documents(), st.data())
def test_interrupted_anywhere_the_next_run_finishes(host: str, one: Any, other: Any, data: st.DataObject) -> None:
    kernel = ModelKernel.parse(host)
    apply(kernel, desired(one))
    wish = desired(other)
    count = len(schedule(plan_for(kernel, wish).steps).requests)
    if not count:
        return
    kernel.fail_at(data.draw(st.integers(1, count), label="dying request"), Crash())
    with pytest.raises(Crash):
        apply(kernel, wish)
    apply(kernel, wish)
    assert plan_for(kernel, wish).steps == ()


@given(hosts(), documents(), documents())
def test_what_is_foreign_survives_untouched(host: str, one: Any, other: Any) -> None:
    kernel = ModelKernel.parse(host)
    before = without_switches(str(kernel), ports=False)
    apply(kernel, desired(one))
    apply(kernel, desired(other))
    apply(kernel, State())
    assert without_switches(str(kernel), ports=False) == before


@given(hosts(), documents())
def test_what_is_decoded_is_what_was_encoded(host: str, document: Any) -> None:
    kernel, wish = ModelKernel.parse(host), desired(document)
    plan = plan_for(kernel, wish)
    apply(kernel, wish)
    waiting = {item.resource.key for item in plan.pending}
    view = reconcile.look(kernel, wish, OWNER)
    wanted = [item for key, item in view.desired.resources.items() if key not in waiting]
    different = {item.key: differences(item, view.found.resources[item.key]) for item in wanted}
    assert {key: found for key, found in different.items() if found} == {}


@given(hosts(), documents(), documents())
def test_a_plan_followed_by_its_inverse_is_nothing(host: str, one: Any, other: Any) -> None:
    assume(not reaches_into_a_process(one))
    kernel = ModelKernel.parse(host)
    apply(kernel, desired(one))
    plan = plan_for(kernel, desired(other))
    before = without_switches(str(kernel), ports=False)
    assert reconcile.perform(kernel, plan.steps).failures == ()
    assert reconcile.perform(kernel, plan.inverse().steps).failures == ()
    assert without_switches(str(kernel), ports=False) == before


@given(hosts(), documents(), st.data())
def test_drift_is_healed(host: str, document: Any, data: st.DataObject) -> None:
    kernel, wish = ModelKernel.parse(host), desired(document)
    apply(kernel, wish)
    for _ in range(data.draw(st.integers(1, 4), label="meddlings")):
        meddle(kernel, data.draw)
    apply(kernel, wish)
    assert plan_for(kernel, wish).steps == ()


def meddle(kernel: ModelKernel, draw: Callable[..., Any]) -> None:
    """One thing of ours, or on ours, is changed by somebody else."""
    network = kernel.network
    ours = [
        link
        for space in network.namespaces.values()
        for link in space.links.values()
        if link.alias.startswith("reconciler:") and link.name != "lo"
    ]
    if not ours:
        return
    link = draw(st.sampled_from(ours))
    doing = draw(
        st.sampled_from(["delete", "down", "mtu", "master", "address", "foreign", "route", "sysctl", "nft", "port"])
    )
    match doing:
        case "delete":
            network.delete_link(link)
        case "down":
            network.set_up(link, False)
        case "mtu":
            network.set_mtu(link, 1350)
        case "master":
            network.enslave(link, None)
        case "address" if link.addresses:
            network.delete_address(link, draw(st.sampled_from(link.addresses)).address)
        case "foreign":
            where = f" in {link.namespace.name}" if link.namespace.name != HOST else ""
            if not any(str(held.address) == "10.222.0.1/24" for held in link.addresses):
                kernel.meddle(f"address 10.222.0.1/24 on {link.name}{where}")
        case "route":
            link.routes.clear()
        case "sysctl":
            kernel.network.namespaces[HOST].write_sysctl("net.ipv4.ip_forward", "0")
        case "nft" if ("inet", "reconciler") in kernel.ruleset.tables:
            kernel.ruleset.execute(draw(st.sampled_from(["flush ruleset", "flush table inet reconciler"])))
        case "port":
            for table in kernel.ruleset.tables.values():
                for item in table.sets.values():
                    item.elements.clear()


@given(hosts(), documents(), documents())
def test_a_plan_is_deterministic(host: str, one: Any, other: Any) -> None:
    kernel = ModelKernel.parse(host)
    apply(kernel, desired(one))
    assert plan_for(kernel, desired(other)) == plan_for(kernel, desired(other))


@given(hosts(), documents(), documents())
def test_what_holds_a_thing_is_there_before_it_and_goes_after_it(host: str, one: Any, other: Any) -> None:
    kernel = ModelKernel.parse(host)
    apply(kernel, desired(one))
    plan = plan_for(kernel, desired(other))
    for turned in (plan, plan.inverse()):
        check_order(turned)


def check_order(plan: Plan) -> None:
    """Created after what it is inside of, deleted (if it has to be said) before that."""
    created = {step.key: at for at, step in enumerate(plan.steps) if step.action is Action.CREATE}
    deleted = {step.key: at for at, step in enumerate(plan.steps) if step.action is Action.DELETE}
    for at, step in enumerate(plan.steps):
        for key in step.subject.inside():
            if step.action is not Action.DELETE and key in created:
                assert created[key] < at
            if step.action is Action.DELETE and not step.implied and key in deleted:
                assert at < deleted[key]
        if step.key in created and step.key in deleted:
            assert deleted[step.key] < created[step.key]


def test_kinds_are_in_the_order_of_their_ranks() -> None:
    assert sorted(KINDS, key=lambda kind: kind.rank) == list(KINDS)


@given(hosts(), documents(), documents(owner="edge"))
def test_owners_leave_each_other_alone(host: str, one: Any, other: Any) -> None:
    names = set(one["bridges"])
    taken = {name for bridge in one["bridges"].values() for name in bridge.get("containers", {})}
    other["bridges"] = {
        name: bridge
        for name, bridge in other["bridges"].items()
        if name not in names and not taken & set(bridge.get("containers", {})) and "uplinks" not in bridge
    }
    kernel = ModelKernel.parse(host)
    apply(kernel, desired(one))
    before = without_switches(str(kernel))
    apply(kernel, desired(other), "edge")
    apply(kernel, State(), "edge")
    assert without_switches(str(kernel)) == before


@given(hosts(), documents())
def test_the_text_of_a_kernel_makes_the_same_kernel(host: str, document: Any) -> None:
    kernel = ModelKernel.parse(host)
    apply(kernel, desired(document))
    assert str(ModelKernel.parse(str(kernel))) == str(kernel)
    scope = reconcile.scope_of(desired(document), OWNER)
    again = ModelKernel.parse(str(kernel)).observe(scope)
    assert decode(again).resources == decode(kernel.observe(scope)).resources
