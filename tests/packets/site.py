"""The reconciler at work on the host of a World: YAML in, packets through.

    site.apply('''
    version: 1
    bridges:
      br-web:
        addresses: [10.88.0.1/24]
        containers:
          web: {ports: ["8080:80"]}
    ''')
    site.container("web").serve("tcp", "0.0.0.0", 80)
    assert world.lan.probe("tcp", "10.99.0.1", 8080) == reached("web", "10.99.0.2")

Everything goes the way it goes for users, less the command line: file, Document, State, Plan, requests to the kernel.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reconciler import reconcile
from reconciler.core.messages import Scope
from reconciler.core.plan import Plan
from reconciler.core.planner import Policy
from reconciler.core.resource import State
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.namespaces import Containers
from reconciler.kinds.marks import DEFAULT_OWNER
from reconciler.lower import lower
from reconciler.manifest import loads
from tests.packets.world import Namespace, Outcome, Probe, World, probe_many

RUN_NETNS = Path("/run/netns")


class Site:
    """What the reconciler makes of files on `world.host`."""

    def __init__(self, world: World, containers: Containers | None = None) -> None:
        self.world = world
        self._containers: dict[str, Namespace] = {}
        with world.host.entered():
            self.kernel = LiveKernel(containers=containers)
        self._others = self.traces()
        """What was made by others: what was there before, and what came between two runs."""
        self._seen = self._others

    def apply(self, text: str, policy: Policy = Policy()) -> Plan:
        """Makes it so, and has a second run do nothing. Returns the plan that was carried out."""
        return self._make_so(desired(text), policy)

    def down(self) -> None:
        """Removes it all, and finds that nothing is left."""
        self._make_so(State(), Policy())
        left = self._seen - self._others
        assert not left, f"left on the host: {sorted(left)}"

    def close(self) -> None:
        """Lets go of the kernel."""
        self.kernel.close()

    def plan(self, text: str, policy: Policy = Policy()) -> Plan:
        """The plan, with nothing done."""
        with self.world.host.entered():
            plan, _ = reconcile.plan(self.kernel, desired(text), DEFAULT_OWNER, policy)
        return plan

    def container(self, name: str) -> Namespace:
        """The inside of the container `name`, in its namespace of that name. Good for as long as that is there."""
        path = RUN_NETNS / name
        identity = path.stat().st_ino
        found = self._containers.get(f"{name} {identity}")
        if found is None:
            found = self._containers[f"{name} {identity}"] = self.world.opened(path, name).swift()
        return found

    def containers(self, *names: str) -> tuple[Namespace, ...]:
        """The insides of several."""
        return tuple(map(self.container, names))

    def elements(self, name: str) -> int:
        """How many elements the kernel has in the set or map `name` of our table."""
        with self.world.host.entered():
            tables = self.kernel.observe(Scope(tables=frozenset({"inet reconciler"}))).tables
        listed = [item.get("map") or item.get("set") for item in tables["inet reconciler"]]
        (found,) = (item for item in listed if item and item["name"] == name)
        return len(found.get("elem", ()))

    def traces(self) -> frozenset[str]:
        """What there is on the host that a reconciler could have made: links, addresses, tables, namespaces."""
        found = [f"namespace {entry.name}" for entry in RUN_NETNS.iterdir()]
        for line in self.world.host.run("ip", "-brief", "address", "show").splitlines():
            name, _, *addresses = line.split()
            link = name.partition("@")[0]
            found.append(f"link {link}")
            # A link-local address comes by itself when a link is set up.
            found += [f"address {item} on {link}" for item in addresses if "/" in item and not item.startswith("fe80:")]
        return frozenset((*found, *self.world.host.run("nft", "list", "tables").splitlines()))

    def _make_so(self, wish: State, policy: Policy) -> Plan:
        self._others |= self.traces() - self._seen
        with self.world.host.entered():
            first, view = reconcile.plan(self.kernel, wish, DEFAULT_OWNER, policy)
            reconcile.apply(self.kernel, wish, first, view.found, policy)
            written = self.kernel.written
            second, view = reconcile.plan(self.kernel, wish, DEFAULT_OWNER, policy)
            assert second.empty, f"a second run would change: {[step.subject.label for step in second.steps]}"
            assert reconcile.apply(self.kernel, wish, second, view.found, policy) == 0
            assert self.kernel.written == written, "a second run has written"
        self._seen = self.traces()
        return first


def desired(text: str) -> State:
    """What the file `text` comes to."""
    return lower(loads(textwrap.dedent(text), "site.yaml"), "the host under test")


def link(namespace: Namespace, name: str) -> dict[str, Any]:
    """What ip-link(8) says of the link `name`, as JSON has it."""
    found: list[dict[str, Any]] = json.loads(namespace.run("ip", "-json", "-details", "link", "show", name))
    return found[0]


def intruders(probes: Sequence[Probe]) -> list[str]:
    """Those of `probes` that found someone who answered, be it with a refusal. [] when all was silence, or no way."""
    got = probe_many(probes)
    return [
        f"{probe}: {answer}"
        for probe, answer in zip(probes, got, strict=True)
        if answer.outcome in (Outcome.REACHED, Outcome.REFUSED)
    ]
