"""Commit-confirm, on the model kernel: whatever was applied, and however far, what the journal says is brought back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler import confirm, management, reconcile
from reconciler.confirm import Journal
from reconciler.core.messages import Scope
from reconciler.core.plan import Plan, schedule
from reconciler.core.resource import State
from reconciler.errors import PlatformError
from reconciler.kernel.model import ModelKernel
from reconciler.kinds import decode
from reconciler.management import Way
from tests.laws.doing import OWNER, apply, desired, plan_for, reaches_into_a_process, without_switches
from tests.laws.strategies import documents, hosts

LINE = "link eth1 physical up\naddress 192.0.2.2/24 on eth1\n"


@pytest.fixture(scope="module", autouse=True)
def _directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(confirm.DIRECTORY_VARIABLE, str(tmp_path_factory.mktemp("state") / "journals"))
        yield


class Crash(BaseException):
    """Our process dies here."""


def begun(kernel: ModelKernel, wish: State) -> tuple[Plan, reconcile.View]:
    """The plan for `wish`, with the journal of it on disk."""
    plan, view = reconcile.plan(kernel, wish, OWNER)
    confirm.write(confirm.begin(kernel, wish, view.found, plan, 600, "a law"))
    return plan, view


def read() -> Journal:
    """What is on disk."""
    found = confirm.find(OWNER)
    assert found is not None
    return found


@given(hosts(), documents(), documents(), st.data())
def test_whatever_was_done_is_undone(host: str, one: Any, other: Any, data: st.DataObject) -> None:
    assume(not reaches_into_a_process(one))
    kernel, wish = ModelKernel.parse(host, data.draw(st.sampled_from([1, 32]), label="datagram")), desired(other)
    apply(kernel, desired(one))
    before = without_switches(str(kernel))
    plan, view = begun(kernel, wish)
    count = len(schedule(plan.steps).requests)
    dying = data.draw(st.integers(0, count), label="dying request")
    if dying:
        kernel.fail_at(dying, Crash())
        with pytest.raises(Crash):
            reconcile.apply(kernel, wish, plan, view.found)
    else:
        reconcile.apply(kernel, wish, plan, view.found)
    confirm.roll_back(kernel, read(), "a law")
    assert without_switches(str(kernel)) == before
    assert confirm.find(OWNER) is None


@given(hosts(), documents(), documents(), st.booleans())
def test_after_a_boot_what_was_ours_is_there_again(host: str, one: Any, other: Any, booted: bool) -> None:
    """Whether or not the boot has applied something already: all that carries our mark, and the host's settings. Those inside of a
    container are known only where the file that was applied last speaks of them (docs/confirm.md)."""
    assume(not reaches_into_a_process(one))
    kernel, wish = ModelKernel.parse(host), desired(other)
    apply(kernel, desired(one))
    scope = reconcile.scope_of(desired(one), OWNER)
    ours = owned(kernel, scope)
    begun(kernel, wish)
    anew = ModelKernel.parse(host)
    if booted:
        apply(anew, wish)
    confirm.roll_back(anew, read()._replace(boot="an earlier one"), "a law")
    assert owned(anew, scope) == ours
    left = [step for step in plan_for(anew, desired(one)).steps if step.key.space != "sysctl" or not step.key.namespace]
    assert left == list(plan_for(kernel, desired(one)).steps)


def owned(kernel: ModelKernel, scope: Scope) -> dict[Any, Any]:
    """All that carries our mark."""
    return {item.key: item for item in decode(kernel.observe(scope)).owned_by(OWNER)}


@given(hosts(), documents(), documents())
def test_a_journal_is_read_as_it_was_written(host: str, one: Any, other: Any) -> None:
    kernel, wish = ModelKernel.parse(host), desired(other)
    apply(kernel, desired(one))
    plan, view = reconcile.plan(kernel, wish, OWNER)
    journal = confirm.begin(kernel, wish, view.found, plan, 600, "a law")
    confirm.write(journal)
    assert read() == journal
    confirm.remove(journal)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
def test_what_is_no_journal_is_refused_by_name(body: Any) -> None:
    import json

    path = Path(confirm.directory()) / "pending-law-host.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(json.dumps(body))
    with pytest.raises(PlatformError, match=r"pending-law-host\.json cannot be read"):
        confirm.load(path)
    path.unlink()


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_time_is_over_at_the_deadline_and_at_a_boot(deadline: float, now: float) -> None:
    journal = Journal(
        id="", owner=OWNER, place="", cookie=0, boot="one", by="", revision="", since=0, seconds=1, deadline=deadline,
        applied=True, touched=frozenset(), made=frozenset(), snapshot=ModelKernel().observe(Scope()),
    )  # fmt: skip
    assert journal.due("one", now) == (now >= deadline)
    assert journal.due("another", now)


@given(documents(), documents())
def test_what_is_wanted_is_known_again_and_told_from_the_rest(one: Any, other: Any) -> None:
    assert confirm.revision(desired(one)) == confirm.revision(desired(one))
    same = desired(one).resources == desired(other).resources
    assert (confirm.revision(desired(one)) == confirm.revision(desired(other))) == same


@given(hosts(), documents())
def test_a_plan_that_does_nothing_cuts_nothing(host: str, document: Any) -> None:
    kernel, wish = ModelKernel.parse(LINE + host.replace("link eth1 physical up", "")), desired(document)
    apply(kernel, wish)
    plan, view = reconcile.plan(kernel, wish, OWNER)
    for address in management.own_addresses(view.snapshot):
        assert management.cuts(Way("any", local=address, port=8000), view.snapshot, plan) == ()


@given(documents(), documents())
def test_an_uplink_is_cut_exactly_when_it_is_taken(one: Any, other: Any) -> None:
    """eth1 has an address, and no file gives it one."""
    from ipaddress import ip_address

    kernel = ModelKernel.parse(LINE)
    apply(kernel, desired(one))
    plan, view = reconcile.plan(kernel, desired(other), OWNER)
    takes = any("eth1" in bridge.get("uplinks", ()) for bridge in other["bridges"].values())
    taken = any("eth1" in bridge.get("uplinks", ()) for bridge in one["bridges"].values())
    cuts = management.cuts(Way("any", local=ip_address("192.0.2.2")), view.snapshot, plan)
    assert bool(cuts) == (takes and not taken)
