"""What all laws do: read a file, plan, apply, compare."""

from __future__ import annotations

import io
import json
from typing import Any

from reconciler import reconcile
from reconciler.core.messages import HOST
from reconciler.core.plan import Plan
from reconciler.core.resource import State
from reconciler.kernel.model import ModelKernel
from reconciler.kinds import Bridge
from reconciler.lower import lower
from reconciler.manifest import load
from reconciler.reconcile import Kernel

OWNER = "default"


def desired(document: dict[str, Any]) -> State:
    """The wish of a file, read as the program reads it: JSON is YAML."""
    return lower(load(["-"], stdin=io.StringIO(json.dumps(document))), "this host")


def plan_for(kernel: Kernel, wish: State, owner: str = OWNER) -> Plan:
    """The plan from what is there."""
    return reconcile.plan(kernel, wish, owner)[0]


def apply(kernel: Kernel, wish: State, owner: str = OWNER) -> int:
    """Plan, apply, verify. Returns the number of requests sent."""
    plan, view = reconcile.plan(kernel, wish, owner)
    return reconcile.apply(kernel, wish, plan, view.found, progress=None)


def follows_its_ports(kernel: ModelKernel, wish: State) -> bool:
    """Whether a bridge that is to have an MTU has it from its ports so far, which the kernel does not show.

    It may then leave it with them, and take a second look to mend (reconcile.apply looks until there is nothing left to do).
    """
    bridges = (item for item in wish.resources.values() if isinstance(item, Bridge) and item.mtu)
    links = kernel.network.namespaces[HOST].links
    return any((link := links.get(item.name)) and link.mtu_of_ports for item in bridges)


def reaches_into_a_process(document: dict[str, Any]) -> bool:
    """Whether a container is given by its pid. Once no file names it, nobody can see into it: what was there is not known."""
    containers = (inner for bridge in document["bridges"].values() for inner in bridge.get("containers", {}).values())
    return any("pid" in container.get("attach", {}) for container in containers)


def without_switches(text: str, *, ports: bool = True) -> str:
    """The state, without what is switched on and never off (forwarding), or (promote_secondaries) on the way.

    With `ports` False also without whether an uplink is up: it is given back, but was set up, and stays so.
    """
    lines = [
        line.replace("-of-ports", "").replace(" mtu 1500", "")
        for line in text.splitlines()
        if not line.startswith("sysctl ")
    ]
    return "\n".join(line.replace("physical down", "physical up") if not ports else line for line in lines)
