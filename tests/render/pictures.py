"""States for pictures, from files that the program reads and from a host in memory on which it applied them."""

from __future__ import annotations

from typing import Any

from reconciler import reconcile
from reconciler.core.plan import Plan
from reconciler.kernel.model import ModelKernel
from reconciler.reconcile import View
from reconciler.render.picture import Picture, picture
from tests.laws.doing import apply, desired

HOST = """\
link eth0 physical up
address 192.0.2.2/24 on eth0
route default via 192.0.2.1 on eth0
link eth1 physical up
link docker0 bridge up
address 172.17.0.1/16 on docker0
"""
EDGE: dict[str, Any] = {
    "version": 1,
    "bridges": {
        "br-web": {
            "addresses": ["10.88.0.1/24", "2001:db8:1234:5678:9abc:def0:1234:1/64"],
            "containers": {
                "web": {
                    "addresses": ["10.88.0.10", "2001:db8:1234:5678:9abc:def0:1234:5678"],
                    "ports": ["8080:80", "127.0.0.1:8443:443/tcp"],
                },
                "db": {"addresses": ["10.88.0.11"]},
                "a-container-with-a-name-that-is-longer-than-any-card-is-wide": {"addresses": ["10.88.0.12"]},
            },
        },
        "br0": {"mode": "bridged", "uplinks": ["eth1"], "containers": {"vm1": {"attach": {"tap": "vnet0"}}}},
        "br-in": {"mode": "isolated", "containers": {"db": {}}},
    },
}


def host(document: dict[str, Any] | None = None, before: str = HOST) -> ModelKernel:
    """A host on which the file was applied."""
    kernel = ModelKernel.parse(before)
    if document is not None:
        apply(kernel, desired(document))
    return kernel


def look(kernel: reconcile.Kernel, document: dict[str, Any], owner: str = "default") -> tuple[Plan, View]:
    """What a dry run finds."""
    return reconcile.plan(kernel, desired(document), owner)


def pictured(kernel: reconcile.Kernel, document: dict[str, Any]) -> Picture:
    """The picture of the host, held against the file."""
    plan, view = look(kernel, document)
    return picture(view.found, view.desired, "default", plan=plan, host="edge-7")


def many(count: int, first: int = 10_000) -> dict[str, Any]:
    """A file with `count` containers, each with a published port."""
    containers = {
        f"c{n}": {"addresses": [f"10.88.{n // 200}.{n % 200 + 10}"], "ports": [f"{first + n}:80"]} for n in range(count)
    }
    return {"version": 1, "bridges": {"br-web": {"addresses": ["10.88.0.1/16"], "containers": containers}}}


def without(state: str, *beginnings: str) -> ModelKernel:
    """A host as `state` says, less the lines that begin so."""
    lines = state.splitlines()
    assert all(any(line.startswith(one) for line in lines) for one in beginnings), state
    return ModelKernel.parse("\n".join(line for line in lines if not line.startswith(beginnings)))
