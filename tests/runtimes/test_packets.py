"""Real packets to containers that stop, are killed and started again: no rule leads to the dead, whenever it happens."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence

import pytest

from reconciler import reconcile
from reconciler.core.messages import Netlink, Outcome, Request, Scope, Snapshot
from reconciler.kernel.live import LiveKernel
from reconciler.kinds.marks import DEFAULT_OWNER
from reconciler.runtimes.containers import Containers
from tests.cli.host import until
from tests.packets.site import Site, desired
from tests.packets.world import REFUSED, Probe, World, mismatches, reached
from tests.runtimes.conftest import AnyEngine
from tests.support.standin import StandIns

FILE = """
version: 1
bridges:
  br-a:
    addresses: [10.88.0.1/24]
    containers:
      web: {{attach: {{{runtime}: web}}, addresses: [10.88.0.10], ports: ["8080:80"]}}
      db: {{addresses: [10.88.0.11], ports: ["8081:80"]}}
"""
HOST, LAN = "10.99.0.1", "10.99.0.2"


@pytest.fixture
def site(engine: AnyEngine, world: World) -> Iterator[Site]:
    """The reconciler on the host of a world, with an engine beside it."""
    made = Site(world, Containers())
    try:
        yield made
        made.down()
    finally:
        made.close()


def published(world: World, name: str) -> tuple[Probe, object]:
    """Somebody of the LAN reaches the container of that name by the host's port 8080."""
    return Probe(world.lan, "tcp", HOST, 8080), reached(name, LAN)


def serve(world: World, pid: int, name: str) -> None:
    world.opened(f"/proc/{pid}/ns/net", name).serve("tcp", "0.0.0.0", 80)


def closed(world: World) -> tuple[Probe, object]:
    return Probe(world.lan, "tcp", HOST, 8080), REFUSED


def no_trace(site: Site) -> None:
    """No rule leads to the container, and no link."""
    assert site.elements("by_any4") == 1
    assert [name for name in site.traces() if name.startswith("link web-")] == []


@pytest.mark.parametrize("how", ["stop", "kill", "crash"])
def test_a_container_is_reached_not_when_it_has_ended_and_again_when_it_is_back(
    site: Site,
    world: World,
    engine: AnyEngine,
    how: str,
) -> None:
    text = FILE.format(runtime=engine.runtime)
    pid = engine.run("web")
    assert site.apply(text).pending == ()
    assert world.lan.probe("tcp", HOST, 8080) == REFUSED  # by the container, in which nobody listens yet
    site.container("db").serve("tcp", "0.0.0.0", 80)

    if how == "crash":
        os.kill(pid, signal.SIGKILL)
    else:
        engine(how, *(["--time", "0"] if how == "stop" else []), "web")
    until(lambda: engine.pid("web") == 0)
    assert site.apply(text).pending
    no_trace(site)
    db = Probe(world.lan, "tcp", HOST, 8081), reached("db", LAN)
    assert mismatches([closed(world), db]) == []  # type: ignore[list-item]

    engine("start", "web")
    assert site.apply(text).pending == ()
    serve(world, engine.pid("web"), "again")
    assert mismatches([published(world, "again"), db]) == []  # type: ignore[list-item]
    engine("kill", "web")


def test_a_restart_between_two_runs_leads_to_the_new_process(site: Site, world: World, engine: AnyEngine) -> None:
    text = FILE.format(runtime=engine.runtime)
    engine.run("web")
    site.apply(text)
    engine("restart", "--time", "0", "web")
    site.apply(text)
    serve(world, engine.pid("web"), "web")
    assert mismatches([published(world, "web")]) == []  # type: ignore[list-item]
    site.container("db").serve("tcp", "0.0.0.0", 80)
    assert world.lan.probe("tcp", HOST, 8081) == reached("db", LAN)


@pytest.mark.parametrize("then", ["kill", "restart"])
def test_one_that_ends_between_the_look_and_the_apply(site: Site, world: World, engine: AnyEngine, then: str) -> None:
    wish = desired(FILE.format(runtime=engine.runtime))
    engine.run("web")
    with world.host.entered():
        plan, view = reconcile.plan(site.kernel, wish, DEFAULT_OWNER)
    engine(then, *(["--time", "0"] if then == "restart" else []), "web")
    with world.host.entered():
        reconcile.apply(site.kernel, wish, plan, view.found)
    site.container("db").serve("tcp", "0.0.0.0", 80)
    assert world.lan.probe("tcp", HOST, 8081) == reached("db", LAN)
    if then == "kill":
        no_trace(site)
        assert mismatches([closed(world)]) == []  # type: ignore[list-item]
    else:
        serve(world, engine.pid("web"), "web")
        assert mismatches([published(world, "web")]) == []  # type: ignore[list-item]
    assert site.plan(FILE.format(runtime=engine.runtime)).empty


# --- at each point of an apply ---------------------------------------------------------------------------------------


class Interrupted:
    """A kernel on which something happens before the `number`th request."""

    def __init__(self, kernel: LiveKernel, number: int, happens: Callable[[], None]) -> None:
        self._kernel = kernel
        self._left = number
        self._happens: Callable[[], None] | None = happens

    def observe(self, scope: Scope) -> Snapshot:
        return self._kernel.observe(scope)

    def submit(self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None) -> Outcome:
        at = self._left
        if self._happens is None or at >= len(requests):
            self._left -= len(requests)
            return self._kernel.submit(requests)
        first = self._kernel.submit(requests[:at])
        happens, self._happens = self._happens, None
        happens()
        if first.failures:
            return first
        second = self._kernel.submit(requests[at:])
        return Outcome(
            first.done | {at + position for position in second.done},
            at + second.attempted,
            tuple(type(item)(at + item.position, item.request, item.errno, item.message) for item in second.failures),
        )


def boundaries(requests: Sequence[Request]) -> list[int]:
    """Where something of another sort, or for another namespace, begins: what goes before that has gone to the kernel."""
    sorts = [(type(item), item.namespace) if isinstance(item, Netlink) else (type(item), "") for item in requests]
    return [0, *(number for number in range(1, len(sorts)) if sorts[number] != sorts[number - 1])]


@pytest.mark.parametrize("then", ["ends", "starts again"])
def test_a_container_that_goes_at_any_point_of_an_apply_leaves_no_rule_and_stops_nobody(
    world: World, then: str
) -> None:
    """With stand-ins for containers, so that every point can be tried."""
    text = FILE.format(runtime="docker")
    wish = desired(text)
    number = 0
    while True:
        with StandIns("docker:web") as containers, world.host.entered():
            site = Site(world, containers)

            def happens(containers: StandIns = containers) -> None:
                containers.stop("docker:web")
                if then == "starts again":
                    containers.start("docker:web")

            plan, view = reconcile.plan(site.kernel, wish, DEFAULT_OWNER)
            points = boundaries([request for step in plan.steps for request in step.requests()])
            reconcile.apply(Interrupted(site.kernel, points[number], happens), wish, plan, view.found)
            if then == "ends":
                # That it went after the last look, only the next one can tell.
                reconcile.apply(site.kernel, wish, *_again(site, text))
                no_trace(site)
            else:
                reconcile.apply(site.kernel, wish, *_again(site, text))
                assert site.elements("by_any4") == 2
            assert site.plan(text).empty
            db = {link for link in site.traces() if link.startswith("link db-")}
            assert len(db) == 1
            site.down()
            site.close()
        number += 1
        if number == len(points):
            break
    assert number > 5


def _again(site: Site, text: str) -> tuple[object, object]:
    plan, view = reconcile.plan(site.kernel, desired(text), DEFAULT_OWNER)
    return plan, view.found
