"""The management path: whether a plan cuts the way by which the host is reached. Pure: it judges the host as it would be after the plan.

A way is told by an address of this host, the other side's address, or both. What it hangs on:

- the link that holds the host's address is there and up, holds it still, and is no port of a bridge. What arrives at a port is the
  bridge's, so the port's own questions for neighbours (ARP, NDP) get no answer: such a session dies within a minute or so, not at once;
- the other side is reached by the same link and gateway: a new bridge's subnet can swallow it;
- where that link is a bridge, its uplinks stay; where the next hop is a container, so does that;
- a bridge that the other side is behind does not become isolated: an open session would live on, but no other one could be opened;
- the port that the session came by is not published for a container: an established connection would be led there, too, since
  the flows that came by before are forgotten (reconciler.kinds.nftables).

Routes are those of the main table. What policy routing makes of them is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from reconciler.core.messages import HOST, IPAddress, IPInterface, IPNetwork, Snapshot
from reconciler.core.plan import Action, Plan, Step
from reconciler.core.resource import Key
from reconciler.kinds import Address, Bridge, BridgePort, Element, HostLink, Route, Tap, Veth
from reconciler.kinds.address import RTN_UNICAST
from reconciler.kinds.layout import PUBLISHING
from reconciler.kinds.links import link_key, netns_key
from reconciler.kinds.marks import owner_of
from reconciler.kinds.route import canonical_metric


@dataclass(frozen=True, slots=True)
class Way:
    """How the host is reached: from `peer`, at its own address `local`, there at `port` (TCP). `name` is what a person calls it."""

    name: str
    peer: IPAddress | None = None
    local: IPAddress | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class _Hop:
    """A route, without what does not matter here."""

    destination: IPNetwork
    metric: int
    link: str | None
    via: IPAddress | None

    def __str__(self) -> str:
        return f"by {self.link or 'several links'}" + (f" through {self.via}" if self.via else "")


@dataclass(slots=True)
class _Link:
    kind: str
    up: bool
    foreign: bool
    master: str | None = None
    addresses: list[IPInterface] = field(default_factory=list)


class _Host:
    """What of a host decides how it is reached. Changed step by step to what it would be."""

    def __init__(self, snapshot: Snapshot) -> None:
        record = snapshot.namespaces[HOST]
        self.links = {
            link.name: _Link(link.kind, link.up, owner_of(link.alias) is None, link.master) for link in record.links
        }
        self.hops = [
            _Hop(item.destination, item.metric, item.link, item.via)
            for item in record.routes
            if item.type == RTN_UNICAST
        ]
        for item in record.addresses:
            if item.link in self.links:
                self.links[item.link].addresses.append(item.address)

    def take(self, step: Step) -> None:
        """The change that `step` makes."""
        item = step.subject
        gone = step.action is Action.DELETE
        match item:
            case Bridge() | Veth() | Tap() | HostLink():
                self._link(item, step.action)
            case BridgePort() if item.link in self.links:
                self.links[item.link].master = None if gone else item.bridge
            case Address() if item.namespace == HOST and item.link in self.links:
                self._forget(item) if gone else self._add(item)
            case Route() if item.namespace == HOST:
                self.hops = [
                    hop for hop in self.hops if (hop.destination, hop.metric) != (item.destination, item.metric)
                ]
                if not gone:
                    via = None if isinstance(item.via, str) else item.via
                    self.hops.append(_Hop(item.destination, item.metric, item.link, via))

    def _link(self, item: Bridge | Veth | Tap | HostLink, action: Action) -> None:
        if action is Action.DELETE:
            self.links.pop(item.name, None)
            self.hops = [hop for hop in self.hops if hop.link != item.name]
            for link in self.links.values():
                link.master = None if link.master == item.name else link.master
        elif action is Action.CREATE:
            self.links[item.name] = _Link(
                "bridge" if isinstance(item, Bridge) else "", item.up is not False, foreign=False
            )
        elif item.up is not None:
            self.links[item.name].up = item.up

    def _add(self, item: Address) -> None:
        self.links[item.link].addresses.append(item.address)
        connected = _connected(item)
        if connected not in self.hops:
            self.hops.append(connected)

    def _forget(self, item: Address) -> None:
        addresses = [address for address in self.links[item.link].addresses if address != item.address]
        self.links[item.link].addresses = addresses
        version = item.address.version
        last = all(address.version != version for address in addresses)
        network = item.address.network
        shared = any(address.network == network for address in addresses)
        self.hops = [
            hop
            for hop in self.hops
            if hop.link != item.link
            or hop.destination.version != version
            # A link that loses its last address loses its routes (fib_disable_ip).
            or not (last or (hop.destination == network and hop.via is None and not shared))
        ]

    # --- how it is reached ---

    def hears(self, name: str) -> bool:
        """Whether what arrives at the link is the host's: it is there, up, and no port of a bridge."""
        link = self.links.get(name)
        return link is not None and link.up and self.bridge_of(name) is None

    def bridge_of(self, name: str) -> str | None:
        """The bridge that the link is a port of."""
        link = self.links.get(name)
        master = self.links.get(link.master) if link is not None and link.master else None
        return link.master if link is not None and master is not None and master.kind == "bridge" else None

    def holders(self, address: IPAddress) -> list[str]:
        """The links that hold `address`."""
        return [name for name, link in self.links.items() if any(_same(held.ip, address) for held in link.addresses)]

    def hop(self, address: IPAddress) -> _Hop | None:
        """The route to `address`: the longest prefix, then the lowest metric, then the older one."""
        if isinstance(address, IPv6Address) and address.scope_id:
            return (
                _Hop(_connected_network(address), 0, address.scope_id, None) if self.hears(address.scope_id) else None
            )
        fitting = [
            hop for hop in self.hops if address in hop.destination and (hop.link is None or self.hears(hop.link))
        ]
        return min(fitting, key=lambda hop: (-hop.destination.prefixlen, hop.metric), default=None)


def _connected(item: Address) -> _Hop:
    """The route that the kernel makes for an address."""
    version = item.address.version
    metric = 256 if version == 6 else canonical_metric(4, None)  # IP6_RT_PRIO_ADDRCONF
    return _Hop(item.address.network, metric, item.link, None)


def _connected_network(address: IPv6Address) -> IPNetwork:
    from ipaddress import IPv6Network

    return IPv6Network("fe80::/64") if address.is_link_local else IPv6Network(int(address))


def _same(one: IPAddress, other: IPAddress) -> bool:
    """Whether two addresses are the same, but for the zone of a link-local one."""
    return one.version == other.version and int(one) == int(other)


def own_addresses(snapshot: Snapshot) -> frozenset[IPAddress]:
    """The addresses of the host."""
    return frozenset(item.address.ip for item in snapshot.namespaces[HOST].addresses)


def has_way_to(peer: IPAddress, snapshot: Snapshot) -> bool:
    """Whether there is a route to `peer` now."""
    return _Host(snapshot).hop(peer) is not None


def way_of(address: IPAddress, snapshot: Snapshot) -> Way | None:
    """The way that a person protects by naming `address`: this host's own, or another's; None if it is neither here."""
    name = f"--protect {address}"
    if address in own_addresses(snapshot):
        return Way(name, local=address)
    return Way(name, peer=address) if has_way_to(address, snapshot) else None


def cuts(way: Way, snapshot: Snapshot, plan: Plan) -> tuple[str, ...]:
    """What of `plan`, made for the host in `snapshot`, cuts `way`, in sentences; empty if nothing does.

    A way that is not one of this network namespace is not cut by anything.
    """
    now, then = _Host(snapshot), _Host(snapshot)
    if way.local is not None and not now.holders(way.local):
        return ()
    for step in plan.steps:
        then.take(step)
    found = [*_address_lost(way, now, then)]
    found += _route_changed(way, now, then, found)
    found += _bridge_left(way, now, plan)
    found += _container_gone(way, now, snapshot, plan)
    found += _bridge_shut(way, now, plan)
    return (*found, *_port_taken(way, plan))


def _address_lost(way: Way, now: _Host, then: _Host) -> Iterator[str]:
    if way.local is None:
        return
    holders = [name for name in now.holders(way.local) if now.hears(name)]
    if any(then.hears(name) for name in then.holders(way.local)):
        return
    for name in holders:
        yield _why_deaf(name, way.local, then)


def _why_deaf(name: str, address: IPAddress | None, then: _Host) -> str:
    """Why what arrives at the link `name` (for `address`) is not heard any more."""
    holds = f"{name}, which holds {address}," if address is not None else name
    bridge = then.bridge_of(name)
    if name not in then.links:
        return f"{holds} is deleted"
    if bridge is not None:
        return f"{holds} becomes a port of {bridge}, and what arrives at a port is the bridge's"
    if not then.links[name].up:
        return f"{holds} is set down"
    return f"the address {address} is removed from {name}"


def _route_changed(way: Way, now: _Host, then: _Host, told: list[str]) -> Iterator[str]:
    if way.peer is None or now.holders(way.peer):
        return
    before, after = now.hop(way.peer), then.hop(way.peer)
    if before is None or (after is not None and (before.link, before.via) == (after.link, after.via)):
        return
    if before.link is not None and not then.hears(before.link):
        if not told:
            yield f"{_why_deaf(before.link, None, then)}: it is the way to {way.peer}"
        return
    if told and after is None:
        return
    to = f"goes {after}, to {after.destination}" if after is not None else "is lost"
    yield f"the way to {way.peer}, which is {before}, {to}"


def _on_the_way(way: Way, now: _Host) -> set[str]:
    """The links that the way goes by now."""
    names = {name for name in now.holders(way.local) if now.hears(name)} if way.local is not None else set()
    hop = now.hop(way.peer) if way.peer is not None else None
    return names | ({hop.link} if hop is not None and hop.link else set())


def _bridge_left(way: Way, now: _Host, plan: Plan) -> Iterator[str]:
    """Links of others that leave a bridge on the way: what is behind them, by ports and MACs, is not known here."""
    bridges = _on_the_way(way, now)
    staying = {step.key: step.subject for step in plan.steps if step.action is not Action.DELETE}
    for step in plan.steps:
        item = step.before
        if not isinstance(item, BridgePort) or item.bridge not in bridges:
            continue
        link = now.links.get(item.link)
        after = staying.get(step.key)
        if link is not None and link.foreign and not (isinstance(after, BridgePort) and after.bridge == item.bridge):
            yield f"{item.link} leaves the bridge {item.bridge}, which the way goes by"


def _container_gone(way: Way, now: _Host, snapshot: Snapshot, plan: Plan) -> Iterator[str]:
    hop = now.hop(way.peer) if way.peer is not None else None
    if way.peer is None or hop is None:
        return
    next_hop = hop.via or way.peer
    going = {step.key for step in plan.steps if step.action is Action.DELETE}
    going -= {step.key for step in plan.steps if step.action is Action.CREATE}
    for namespace, record in snapshot.namespaces.items():
        for held in record.addresses if namespace != HOST else ():
            if not _same(held.address.ip, next_hop):
                continue
            far = next((link.peer for link in record.links if link.name == held.link), None)
            keys = {
                netns_key(namespace),
                link_key(namespace, held.link),
                Key("address", namespace, f"{held.address.ip} on {held.link}"),
            }
            if far is not None and far[0] == HOST:
                keys |= {link_key(HOST, far[1]), Key("port", HOST, far[1])}
            if keys & going:
                yield f"{next_hop}, which the way leads to, is in {namespace}, and that is removed or loses it"


def _bridge_shut(way: Way, now: _Host, plan: Plan) -> Iterator[str]:
    """Bridges that become isolated: what begins behind one does not reach the host any more."""
    if way.peer is not None:
        hop = now.hop(way.peer)
        bridges = {hop.link} if hop is not None else set()
    else:
        bridges = set(_on_the_way(way, now))
    for step in plan.steps:
        item = step.after
        if isinstance(item, Element) and item.set == "isolated" and item.match[0] in bridges:
            yield f"{item.match[0]} becomes isolated: an open session lives on, but no other one can be opened by it"


def _port_taken(way: Way, plan: Plan) -> Iterator[str]:
    if way.local is None or way.port is None:
        return
    for step in plan.steps:
        item = step.after
        publishing = PUBLISHING.get(item.set) if isinstance(item, Element) else None
        if not isinstance(item, Element) or publishing is None or publishing.version != way.local.version:
            continue
        *address, protocol, ports = item.match
        first, _, last = ports.partition("-")
        if protocol == "tcp" and int(first) <= way.port <= int(last or first) and address in ([], [str(way.local)]):
            to = item.comment or item.data[0]
            yield f"port {way.port} of {way.local}, which the session came by, is published: its packets go to {to}"
