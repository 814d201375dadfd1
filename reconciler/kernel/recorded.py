"""A Snapshot as JSON, and a kernel that only shows what was recorded of another.

What is written is what the planner needs, and no more: of namespaces that are not ours their existence, of links that are not ours no
alias (people write notes into them), of nftables our own table, of other tables the forward chains' names and policies. Names,
MACs and addresses of the host stay in: they are what a plan speaks of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from reconciler.core.messages import (
    HOST,
    Absence,
    AddressRecord,
    ForwardChain,
    LinkRecord,
    NamespaceRecord,
    Outcome,
    PortRecord,
    Request,
    RouteRecord,
    Scope,
    Snapshot,
)
from reconciler.kinds.marks import owner_of

FORMAT = "reconcile snapshot"
VERSION = 1


class Recorded:
    """What was there, as a kernel (reconciler.reconcile.Kernel) that takes no request."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def observe(self, scope: Scope) -> Snapshot:
        """All that was recorded, and of tables those of `scope`."""
        tables = {name: listing for name, listing in self._snapshot.tables.items() if name in scope.tables}
        return dataclasses.replace(self._snapshot, tables=tables)

    def submit(self, requests: Sequence[Request], on_progress: object = None) -> Outcome:
        """There is nothing to write to."""
        raise TypeError("a recorded kernel takes no requests")


def trimmed(snapshot: Snapshot, scope: Scope) -> Snapshot:
    """`snapshot` without what is not needed to plan for `scope`."""

    def ours(record: NamespaceRecord) -> bool:
        return any(owner_of(link.alias) for link in record.links)

    def kept(name: str, record: NamespaceRecord) -> NamespaceRecord:
        if name != HOST and name not in scope.namespaces and not ours(record):
            return NamespaceRecord()
        links = (item if owner_of(item.alias) else item._replace(alias=None) for item in record.links)
        return record._replace(links=tuple(links))

    spaces = {name: kept(name, record) for name, record in snapshot.namespaces.items()}
    return dataclasses.replace(snapshot, namespaces=spaces)


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """`snapshot` as plain JSON values."""
    return {
        "namespaces": {name: _plain(record) for name, record in sorted(snapshot.namespaces.items())},
        "tables": {name: list(listing) for name, listing in sorted(snapshot.tables.items())},
        "address_protocols": snapshot.address_protocols,
        "forward_chains": [_plain(chain) for chain in snapshot.forward_chains],
        "absent": {name: _plain(absence) for name, absence in sorted(snapshot.absent.items())},
    }


def from_json(body: Mapping[str, Any]) -> Snapshot:
    """The Snapshot that to_json wrote. Raises ValueError, TypeError, KeyError or AttributeError for anything else."""
    return Snapshot(
        namespaces={str(name): _namespace(record) for name, record in body["namespaces"].items()},
        tables={str(name): tuple(listing) for name, listing in body["tables"].items()},
        address_protocols=bool(body["address_protocols"]),
        forward_chains=tuple(ForwardChain(**item) for item in body["forward_chains"]),
        absent={str(name): Absence(**item) for name, item in body.get("absent", {}).items()},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # a NamedTuple
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in sorted(value.items())}
    return value if value is None or isinstance(value, bool | int) else str(value)


def _namespace(body: Mapping[str, Any]) -> NamespaceRecord:
    return NamespaceRecord(
        links=tuple(map(_link, body["links"])),
        addresses=tuple(
            AddressRecord(**item | {"address": ip_interface(item["address"])}) for item in body["addresses"]
        ),
        routes=tuple(map(_route, body["routes"])),
        sysctls={str(name): str(value) for name, value in body["sysctls"].items()},
    )


def _link(body: Mapping[str, Any]) -> LinkRecord:
    peer, port = body["peer"], body["port"]
    return LinkRecord(
        **{
            **body,
            "peer": None if peer is None else (str(peer[0]), str(peer[1])),
            "port": None if port is None else PortRecord(**port),
        }
    )


def _route(body: Mapping[str, Any]) -> RouteRecord:
    via = body["via"]
    return RouteRecord(
        **{
            **body,
            "destination": ip_network(body["destination"]),
            "via": None if via is None else ip_address(via),
        }
    )
