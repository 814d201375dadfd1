"""Each file under examples/ is one that people start from: it is valid, it applies, it rests, and it leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from reconciler import reconcile, sandbox
from reconciler.core.messages import HOST, Scope, by_process
from reconciler.core.resource import State
from reconciler.errors import PlatformError
from reconciler.kernel.live import LiveKernel
from reconciler.lower import lower
from reconciler.manifest import Document, load
from reconciler.scratch import enter
from tests.support.standin import StandIns
from tests.support.tun import needs_tun

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))
MODELINE = "# yaml-language-server: $schema=../docs/schema.json"

_CASES = [
    pytest.param(path, marks=[needs_tun] if "{tap:" in path.read_text() else [], id=path.stem) for path in EXAMPLES
]
pytestmark = pytest.mark.parametrize("path", _CASES)


@pytest.fixture
def document(path: Path) -> Document:
    """The example, checked."""
    return load([path])


@pytest.fixture
def kernel(document: Document) -> Iterator[LiveKernel]:
    """A host in a scratch namespace, with the world around it that the example needs."""
    try:
        enter()
    except PlatformError as error:
        pytest.skip(str(error))
    # What an example takes for granted: that its containers run.
    names = filter(by_process, reconcile.scope_of(lower(document), document.name).namespaces)
    with StandIns(*names) as containers, LiveKernel(containers=containers) as live:
        assert live.submit(list(sandbox.requests(document, sandbox.world(document)))).failures == ()
        yield live


def seen(kernel: LiveKernel) -> dict[str, object]:
    """What is on the host, by namespace. Link-local addresses come when they like."""
    snapshot = kernel.observe(Scope())
    return {
        name: (
            {link.name: (link.kind, link.mac, link.mtu, link.up, link.alias, link.master) for link in record.links},
            {str(item) for item in record.addresses if not item.address.is_link_local},
            {str(item) for item in record.routes if not item.destination.is_link_local},
        )
        for name, record in snapshot.namespaces.items()
    }


def test_it_begins_with_the_modeline_of_editors_and_says_what_it_is(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == MODELINE
    assert lines[1].startswith("# ")
    assert yaml.safe_load(path.read_text())["version"] == 1


def test_it_applies_and_the_second_plan_is_empty(path: Path, document: Document, kernel: LiveKernel) -> None:
    wish = lower(document, "this host")
    plan, view = reconcile.plan(kernel, wish, document.name)
    assert (plan.conflicts, plan.pending, plan.foreign) == ((), (), ())
    assert reconcile.apply(kernel, wish, plan, view.found) > 0
    before, written = seen(kernel), kernel.written
    again, view = reconcile.plan(kernel, wish, document.name)
    assert again.steps == ()
    assert reconcile.apply(kernel, wish, again, view.found) == 0
    assert kernel.written == written
    assert seen(kernel) == before


def test_down_leaves_nothing_of_it(path: Path, document: Document, kernel: LiveKernel) -> None:
    before = seen(kernel)
    wish = lower(document, "this host")
    plan, view = reconcile.plan(kernel, wish, document.name)
    reconcile.apply(kernel, wish, plan, view.found)
    assert seen(kernel) != before
    plan, view = reconcile.plan(kernel, State(), document.name)
    reconcile.apply(kernel, State(), plan, view.found)
    assert seen(kernel) == before
    assert set(before) == {HOST, sandbox.GATEWAY, sandbox.CLIENT}


def test_it_has_no_name_that_another_example_has(path: Path, document: Document) -> None:
    others = [load([other]) for other in EXAMPLES if other != path]
    taken = {bridge.name for other in others for bridge in other.bridges}
    assert taken.isdisjoint(bridge.name for bridge in document.bridges)
