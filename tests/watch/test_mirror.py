"""Looking where something happened, against looking at everything: on a real kernel, for random files and random damage."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from reconciler import host_rules, reconcile
from reconciler.core.messages import Request
from reconciler.core.plan import Plan
from reconciler.core.resource import Key, Resource
from reconciler.errors import ManifestError
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.monitor import EVERYTHING, Monitor
from reconciler.kinds import Bridge, Netns, Peer, Veth, decode
from reconciler.kinds.links import set_link
from reconciler.kinds.marks import tables
from reconciler.watch.mirror import Mirror, is_small
from tests.laws.doing import OWNER, apply, desired
from tests.laws.test_real_kernel import files, real

few = settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate))


@contextlib.contextmanager
def kept(document: Any) -> Iterator[tuple[LiveKernel, Mirror, Monitor]]:
    """A host as the file says, and an agent's knowledge of it."""
    with real() as kernel:
        wish = desired(document)
        apply(kernel, wish)
        monitor = kernel.monitor(tables(OWNER))
        try:
            _, view = reconcile.plan(kernel, wish, OWNER)
            kernel.acquaint(monitor, reconcile.scope_of(wish, OWNER).namespaces)
            monitor.read()
            yield kernel, Mirror(view.desired, view.found, OWNER), monitor
        finally:
            monitor.close()


def damage(item: Resource, down: bool) -> list[Request]:
    """What somebody else might do to `item`."""
    if down and isinstance(item, Bridge | Veth):
        return list(set_link("", item.name, up=False))
    if down and isinstance(item, Peer):
        return list(set_link(item.namespace, item.name, up=False))
    # Only its name goes at once; what else becomes of a namespace, nobody can tell when.
    return [] if isinstance(item, Netns) else list(item.delete())


def told(plan: Plan) -> set[tuple[str, Key, tuple[Request, ...]]]:
    return {(step.action.value, step.key, tuple(step.requests())) for step in plan.steps}


@few
@given(files(), st.data())
def test_where_the_kernel_says_that_something_happened_is_all_that_is_to_be_mended(document: Any, data: Any) -> None:
    with kept(document) as (kernel, mirror, monitor):
        own = mirror.found.owned_by(OWNER)
        if not own:
            return
        for item in data.draw(st.lists(st.sampled_from(own), min_size=1, max_size=3, unique_by=lambda item: item.key)):
            kernel.submit(damage(item, data.draw(st.booleans())))
        heard = monitor.read()
        everything, _ = reconcile.plan(kernel, mirror.desired, OWNER)
        assert EVERYTHING not in heard
        around = mirror.around(place for place in heard if mirror.concerns(place))
        if any(place.sort == "table" for place in around):
            return
        mirror.refresh(around, decode(kernel.observe(mirror.scope(around))))
        assert told(mirror.plan(around)) == told(everything)


@few
@given(files())
def test_a_look_at_every_place_by_itself_is_a_look_at_everything(document: Any) -> None:
    with kept(document) as (kernel, mirror, _):
        before = mirror.found.resources
        places = {place for place in mirror.places() if place.sort != "table"}
        for place in sorted(places):
            around = mirror.around([place])
            mirror.refresh(around, decode(kernel.observe(mirror.scope(around))))
        assert mirror.found.resources == before
        assert told(mirror.plan(places)) == set()


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """`document` with a few things of a few containers changed, as one commit does."""
    other = copy.deepcopy(document)
    inner = [one for bridge in other["bridges"].values() for one in bridge.get("containers", {}).values()]
    for one in draw(st.lists(st.sampled_from(inner), max_size=3)) if inner else ():
        what = draw(st.sampled_from(["mtu", "ports", "no ports", "no sysctls"]))
        if what == "mtu":
            one["mtu"] = draw(st.sampled_from([1400, 1500]))
        elif what == "ports":
            one["ports"] = [f"{draw(st.integers(7000, 7999))}:80"]
        else:
            one.pop(what.removeprefix("no "), None)
    return other


@few
@given(files(), st.data())
def test_where_a_new_file_differs_is_all_that_is_to_be_done(document: Any, data: Any) -> None:
    try:
        wish = desired(data.draw(changed(document)))
    except ManifestError:
        return
    with kept(document) as (kernel, mirror, _):
        wish = host_rules.complete_like(wish, mirror.desired)
        around = mirror.around(mirror.unlike(wish))
        mirror.want(wish)
        assert mirror.unlike(wish) == frozenset()
        fresh = Mirror(wish, mirror.found, OWNER)
        assert (mirror._desired_at, mirror._order) == (fresh._desired_at, fresh._order)
        everything, view = reconcile.plan(kernel, wish, OWNER)
        assert view.desired.resources == wish.resources
        if any(place.sort == "table" for place in around):
            return
        mirror.refresh(around, decode(kernel.observe(mirror.scope(around))))
        plan = mirror.plan(around)
        if is_small(plan):
            assert told(plan) == told(everything)
