"""The kinds of kernel object, one file each. A new kind is one new file and one word here."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.messages import Snapshot
from reconciler.core.resource import Resource, State
from reconciler.kinds.address import Address
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.hostlink import HostLink
from reconciler.kinds.netns import Netns
from reconciler.kinds.netns_name import NetnsName
from reconciler.kinds.nftables import Chain, Element, Set, Table
from reconciler.kinds.peer import Peer
from reconciler.kinds.route import Route
from reconciler.kinds.sysctl import Sysctl
from reconciler.kinds.tap import Tap
from reconciler.kinds.veth import Veth

__all__ = [
    "KINDS",
    "Address",
    "Bridge",
    "BridgePort",
    "Chain",
    "Element",
    "HostLink",
    "Netns",
    "NetnsName",
    "Peer",
    "Route",
    "Set",
    "Sysctl",
    "Table",
    "Tap",
    "Veth",
    "decode",
]

KINDS: tuple[type[Resource], ...] = (
    NetnsName,
    Netns,
    Bridge,
    Veth,
    Tap,
    HostLink,
    BridgePort,
    Peer,
    Sysctl,
    Address,
    Route,
    Table,
    Set,
    Chain,
    Element,
)
"""In the order of creation: what others are inside of comes first."""


def decode(snapshot: Snapshot) -> State:
    """The found State: everything in `snapshot`, ours and foreign."""
    found = State.of(resource for kind in KINDS for resource in kind.decode(snapshot))
    return replace(found, unknown=frozenset(name for name, absence in snapshot.absent.items() if absence.unknown))
