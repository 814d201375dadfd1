"""Plans that are refused although they could be carried out."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core import guards
from reconciler.core.messages import HOST
from reconciler.core.plan import Conflict, Plan
from reconciler.core.planner import plan
from reconciler.core.resource import Origin, State
from reconciler.errors import ConflictError, GuardError
from reconciler.kinds import Address, Bridge, Netns

NAMES = tuple(Netns(owner="default", name=f"n{number}", loopback=True) for number in range(20))


def removing(going: int, staying: int) -> Plan:
    """A plan by which so many of our things go, of so many more."""
    there = NAMES[: going + staying]
    return plan(State.of(there[going:]), State.of(there), "default")


@given(st.integers(0, 10), st.integers(0, 10))
def test_more_than_half_does_not_go_from_ten_things_on(going: int, staying: int) -> None:
    total = going + staying
    if total >= guards.JUDGED_FROM and going > total / 2:
        with pytest.raises(GuardError, match=rf"deletes {going} things, more than half of the {total} things"):
            guards.refuse_many_deletes(removing(going, staying), None)
    else:
        guards.refuse_many_deletes(removing(going, staying), None)


@given(st.integers(0, 10), st.integers(0, 10))
def test_a_limit_is_what_may_go_and_no_more(going: int, limit: int) -> None:
    if going > limit:
        with pytest.raises(GuardError, match=f"--max-deletes {going}"):
            guards.refuse_many_deletes(removing(going, 3), limit)
    else:
        guards.refuse_many_deletes(removing(going, 3), limit)


def test_what_is_replaced_or_foreign_does_not_count() -> None:
    old = Address(owner="default", namespace=HOST, link="br0", address=ip_interface("10.0.0.1/24"))
    new = replace(old, address=ip_interface("10.0.0.1/16"))
    bridge = Bridge(owner="default", name="br0")
    foreign = Address(namespace=HOST, link="br0", address=ip_interface("10.9.0.1/24"))
    changed = plan(State.of([bridge, new]), State.of([bridge, old, foreign]), "default")
    assert guards.deletions(changed) == 0
    gone = plan(State(), State.of([bridge, old, foreign]), "default")
    assert guards.deletions(gone) == 2


def test_an_empty_file_is_refused_by_name() -> None:
    guards.refuse_empty(1, "net.yaml")
    with pytest.raises(GuardError, match=r"net\.yaml names no bridge.*--allow-empty"):
        guards.refuse_empty(0, "net.yaml")


def test_conflicts_are_all_named() -> None:
    ours, theirs = Bridge(owner="default", name="br0"), Bridge(name="br0")
    conflicts = tuple(Conflict(ours, theirs, Origin(f"net.yaml:{line}:1")) for line in (3, 9))
    guards.refuse_conflicts(Plan("default"))
    with pytest.raises(ConflictError) as refused:
        guards.refuse_conflicts(Plan("default", conflicts=conflicts))
    assert "(wanted by net.yaml:3:1)" in str(refused.value)
    assert "(wanted by net.yaml:9:1)" in str(refused.value)
    assert refused.value.exit_code == 4
