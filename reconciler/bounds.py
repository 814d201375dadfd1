"""What bounds the size of a host's container network, and whether a wish meets it. Pure, as host_rules is.

docs/performance.md says where each bound comes from, and what else bounds a host that no file tells of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from reconciler.core.messages import HOST, Snapshot
from reconciler.core.resource import Key, Level, Note, Origin, State
from reconciler.kinds.address import Address
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.links import link_key

BRIDGE_PORTS = 1023
"""Of one bridge: port numbers have ten bits, and 0 is none (BR_PORT_BITS in net/bridge/br_private.h)."""
CONNECTIONS = "net.netfilter.nf_conntrack_max"
NEIGHBOURS = {4: "net.ipv4.neigh.default.gc_thresh3", 6: "net.ipv6.neigh.default.gc_thresh3"}
_NEIGHBOURS_EACH = 2
"""Entries that a container takes that talks to its gateway only: the gateway's there, and its own at the host. The table is one for all
network namespaces of a kernel (struct neigh_table in net/core/neighbour.c)."""
_CONNECTIONS_EACH = 64
"""With fewer entries for each container, as a rule of thumb, some cannot connect when all are busy."""
_WORTH_ASKING = 100
"""With fewer containers no bound is near on any kernel as it comes, and its settings need not be read."""


def settings(desired: State) -> frozenset[tuple[str, str]]:
    """The sysctls that have to be read to tell whether `desired` meets a bound."""
    if len(_inhabited(desired)) < _WORTH_ASKING:
        return frozenset()
    return frozenset((HOST, name) for name in (CONNECTIONS, *NEIGHBOURS.values()))


def notes(desired: State, snapshot: Snapshot) -> Iterator[Note]:
    """A warning for each bound that is met."""
    yield from _bridge_notes(desired, snapshot)
    if settings(desired):
        yield from _neighbour_notes(desired, snapshot)
        yield from _connection_notes(desired, snapshot)


def _bridge_notes(desired: State, snapshot: Snapshot) -> Iterator[Note]:
    """Bridges with more ports than a bridge can have, those of others that are there counted too."""
    ports = {item.link: item.bridge for item in desired.resources.values() if isinstance(item, BridgePort)}
    host = snapshot.namespaces.get(HOST)
    for link in host.links if host else ():
        if link.master and not link.alias:
            ports.setdefault(link.name, link.master)
    for bridge, count in Counter(ports.values()).items():
        key = link_key(HOST, bridge)
        if count > BRIDGE_PORTS and key in desired.resources:
            text = f"{bridge} would have {count:,} ports, and the kernel gives a bridge {BRIDGE_PORTS:,}: the rest will be refused"
            yield Note(Level.WARNING, f"{text} (divide its containers among several bridges)", _position(desired, key))


def _neighbour_notes(desired: State, snapshot: Snapshot) -> Iterator[Note]:
    for version, name in NEIGHBOURS.items():
        limit = _setting(snapshot, name)
        need = _NEIGHBOURS_EACH * len(_inhabited(desired, version))
        if limit is not None and need > limit:
            text = f"{name} is {limit:,}, and containers that only talk to their gateways take {need:,} entries: some will not be reached"
            yield Note(
                Level.WARNING, f"{text} (sysctl -w {name}={_power_of_two(2 * need)}, and gc_thresh2 to half of it)"
            )


def _connection_notes(desired: State, snapshot: Snapshot) -> Iterator[Note]:
    limit, containers = _setting(snapshot, CONNECTIONS), len(_inhabited(desired))
    if limit is not None and limit < _CONNECTIONS_EACH * containers:
        text = f"{CONNECTIONS} is {limit:,}: {limit // containers} connections for each of {containers:,} containers"
        wanted = _power_of_two(4 * _CONNECTIONS_EACH * containers)
        yield Note(
            Level.WARNING, f"{text}, and what comes when it is full is dropped (sysctl -w {CONNECTIONS}={wanted})"
        )


def _inhabited(desired: State, version: int | None = None) -> set[tuple[str, str]]:
    """(namespace, link) of containers' interfaces with an address, of that IP version if one is named."""
    return {
        (item.namespace, item.link)
        for item in desired.resources.values()
        if isinstance(item, Address) and item.namespace != HOST and version in (None, item.address.version)
    }


def _setting(snapshot: Snapshot, name: str) -> int | None:
    value = snapshot.namespaces[HOST].sysctls.get(name, "")
    return int(value) if value.isdigit() and int(value) else None


def _power_of_two(number: int) -> int:
    """The next one."""
    return 1 << (number - 1).bit_length()


def _position(desired: State, key: Key) -> str:
    return desired.origins.get(key, Origin()).position
