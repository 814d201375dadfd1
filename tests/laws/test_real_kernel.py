"""The laws on the kernel that runs here. Everything happens in the scratch namespace that tests/conftest.py makes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from reconciler import reconcile
from reconciler.core.messages import (
    HOST,
    Attributes,
    Failure,
    Netlink,
    Nft,
    NftElement,
    Outcome,
    Request,
    Scope,
    Snapshot,
)
from reconciler.core.plan import schedule
from reconciler.core.resource import State, differences
from reconciler.errors import RolledBackError
from reconciler.exposure import exposure
from reconciler.kernel.live import LiveKernel
from tests.laws.doing import OWNER, apply, desired, plan_for
from tests.laws.strategies import UPLINKS, documents
from tests.laws.wiping import wipe

few = settings(max_examples=15, phases=(Phase.explicit, Phase.generate))
"""A failure here is better made small on the model kernel, which does not take a minute for it."""


@contextlib.contextmanager
def real() -> Iterator[LiveKernel]:
    """The kernel, with nothing in it but `lo`, two ends of pairs for uplinks, and things that are not ours."""
    wipe()
    links = [(name, _pair(f"{name}-far")) for name in UPLINKS]
    links.append(("docker0", Attributes.of(IFLA_INFO_KIND="bridge")))
    requests: list[Request] = [
        Netlink(HOST, "RTM_NEWLINK", ("create", "excl"), (), Attributes.of(IFLA_IFNAME=name, IFLA_LINKINFO=info))
        for name, info in links
    ]
    requests.append(Nft("add table inet theirs"))
    with LiveKernel() as kernel:
        assert kernel.submit(requests).failures == ()
        yield kernel
    wipe()


def _pair(far: str) -> Attributes:
    peer = Attributes.of(VETH_INFO_PEER=Attributes.of(IFLA_IFNAME=far))
    return Attributes.of(IFLA_INFO_KIND="veth", IFLA_INFO_DATA=peer)


def files() -> st.SearchStrategy[dict[str, Any]]:
    return documents(processes=False)


@few
@given(files(), files())
def test_applying_converges_and_then_rests_from_any_file_to_any_other(one: Any, other: Any) -> None:
    with real() as kernel:
        for wish in (desired(one), desired(other), State()):
            apply(kernel, wish)
            written = kernel.written
            assert plan_for(kernel, wish).steps == ()
            assert apply(kernel, wish) == 0
            assert kernel.written == written


@few
@given(files())
def test_what_is_decoded_is_what_was_encoded(document: Any) -> None:
    with real() as kernel:
        wish = desired(document)
        apply(kernel, wish)
        view = reconcile.look(kernel, wish, OWNER)
        different = {key: differences(item, view.found.resources[key]) for key, item in view.desired.resources.items()}
        assert {key: found for key, found in different.items() if found} == {}


@few
@given(files())
def test_after_an_apply_the_exposure_is_that_of_the_file(document: Any) -> None:
    with real() as kernel:
        wish = desired(document)
        apply(kernel, wish)
        found = reconcile.look(kernel, wish, OWNER).found
        assert exposure(replace(found, origins=wish.origins), OWNER) == exposure(wish, OWNER)


def foreign(kernel: LiveKernel) -> Any:
    """What is there of those that are not ours."""
    snapshot = kernel.observe(Scope(tables=frozenset({"inet theirs"})))
    names = ("lo", "docker0", *UPLINKS)
    links = [(link.name, link.kind, link.mac, link.mtu, link.master) for link in snapshot.namespaces[HOST].links]
    return [link for link in links if link[0] in names], snapshot.tables


@few
@given(files())
def test_what_is_foreign_survives_untouched(document: Any) -> None:
    with real() as kernel:
        before = foreign(kernel)
        apply(kernel, desired(document))
        apply(kernel, State())
        assert foreign(kernel) == before


@dataclass
class Stumbling:
    """A kernel that refuses one request: it is left out, and all that would come after it."""

    kernel: LiveKernel
    number: int

    def observe(self, scope: Scope) -> Snapshot:
        return self.kernel.observe(scope)

    def submit(self, requests: Sequence[Request], on_progress: Any = None) -> Outcome:
        if self.number >= len(requests):
            self.number -= len(requests)
            return self.kernel.submit(requests, on_progress)
        position, self.number = self.number, 1_000_000
        first = position
        while isinstance(requests[position], Nft | NftElement) and isinstance(requests[first - 1], Nft | NftElement):
            first -= 1  # all of its transaction
            if first == 0:
                break
        outcome = self.kernel.submit(requests[:first], on_progress)
        failure = Failure(position, requests[position], 5, "a test says no")
        return Outcome(outcome.done, position + 1, (*outcome.failures, failure))


@few
@given(files(), files(), st.data())
def test_a_failure_anywhere_is_undone_and_the_next_run_finishes(one: Any, other: Any, data: st.DataObject) -> None:
    with real() as kernel:
        apply(kernel, desired(one))
        wish = desired(other)
        plan, view = reconcile.plan(kernel, wish, OWNER)
        count = len(schedule(plan.steps).requests)
        assume(count)
        number = data.draw(st.integers(0, count - 1), label="failing request")
        with pytest.raises(RolledBackError):
            reconcile.apply(Stumbling(kernel, number), wish, plan, view.found)
        assert reconcile.undo(kernel, view.found, OWNER) == ()
        apply(kernel, wish)
        assert plan_for(kernel, wish).steps == ()
