"""Human nouns: how a reader calls things, values and changes. Nothing here is escaped yet
(reconciler.render.terminal does that)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from reconciler.core.messages import HOST
from reconciler.core.resource import Difference, Key, Resource
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
from reconciler.render.ports import Published

_NOUNS: dict[type[Resource], tuple[str, str]] = {
    Netns: ("namespace", "namespaces"),
    NetnsName: ("leftover name of namespace", "leftover names of namespaces"),
    Bridge: ("bridge", "bridges"),
    Veth: ("veth", "veths"),
    Tap: ("tap", "taps"),
    HostLink: ("link", "links"),
    BridgePort: ("bridge port", "bridge ports"),
    Peer: ("interface", "interfaces"),
    Sysctl: ("sysctl", "sysctls"),
    Address: ("address", "addresses"),
    Route: ("route", "routes"),
    Table: ("table", "tables"),
    Set: ("set", "sets"),
    Chain: ("chain", "chains"),
    Element: ("element", "elements"),
}
_PORT = ("port", "ports")
_FLAGS = {"up": ("down", "up")}
_RUNTIMES = {"pid": "process", "docker": "Docker container", "podman": "Podman container"}


def noun(resource: Resource) -> str:
    """What `resource` is, in a word or two."""
    return _nouns(resource)[0]


def _nouns(resource: Resource) -> tuple[str, str]:
    if isinstance(resource, Element) and Published.of(resource):
        return _PORT
    name = type(resource).__name__.lower()
    return _NOUNS.get(type(resource), (name, f"{name}s"))


def name(resource: Resource) -> str:
    """Which one `resource` is, behind its noun: `10.88.0.10/24`, `default via 10.88.0.1`, `8080/tcp →
    10.88.0.10:80`."""
    match resource:
        case Address():
            return str(resource.address)
        case Route():
            return route_name(resource)
        case Sysctl():
            return resource.name
        case BridgePort():
            return resource.link
        case Element():
            return element_name(resource)
        case Netns() | Bridge() | Veth() | Tap() | HostLink() | Peer() | Table() | Set() | Chain():
            return resource.name
        case _:
            return resource.key.name


def thing(resource: Resource) -> str:
    """Noun and name, with the link or namespace where the thing alone would not be found."""
    where = ""
    match resource:
        case Address():
            where = f" on {resource.link}"
        case BridgePort():
            where = f" of {resource.bridge}"
        case Element() if Published.of(resource) is None:
            where = f" of {resource.set}"
    namespace = resource.key.namespace
    return f"{noun(resource)} {name(resource)}{where}" + (f" in {namespace}" if namespace != HOST else "")


def route_name(route: Route) -> str:
    """`default via 10.88.0.1`, `10.9.0.0/16 on eth0`; as `ip route` has it."""
    to = "default" if route.destination.prefixlen == 0 else str(route.destination)
    if to == "default" and route.destination.version == 6 and not _is_address(route.via):
        to = "default (IPv6)"
    way = f"via {route.via}" if _is_address(route.via) else f"on {route.link}"
    usual = 1024 if route.destination.version == 6 else 0
    return f"{to} {way}" + (f" metric {route.metric}" if route.metric != usual else "")


def element_name(element: Element) -> str:
    """A published port, or how nft would write the element."""
    published = Published.of(element)
    if published is not None:
        return f"{port_name(published)} → {published.inside}"
    return " . ".join(element.match) + (f" : {' . '.join(element.data)}" if element.data else "")


def port_name(published: Published) -> str:
    """The host's side: `8080/tcp`, or `127.0.0.1:8080/tcp` if on one address only."""
    outside = published.host if published.address else str(published.ports)
    return f"{outside}/{published.protocol}"


def key_name(key: Key) -> str:
    """What a key stands for: `network namespace db`, `Docker container db`, `link eth1`."""
    if key.space == "netns":
        runtime, colon, name = key.name.partition(":")
        return f"{_RUNTIMES[runtime]} {name}" if colon and runtime in _RUNTIMES else f"network namespace {key.name}"
    return f"{key.space} {key.name}" + (f" in {key.namespace}" if key.namespace else "")


def value(item: Any, field: str = "") -> str:
    """The value of a resource's field, as a reader would write it."""
    match item:
        case None:
            return "none"
        case bool():
            return _FLAGS.get(field, ("off", "on"))[item]
        case tuple() | frozenset():
            parts = item if isinstance(item, tuple) else sorted(item)
            return ", ".join(value(part) for part in parts) or "none"
        case _:
            return str(item)


def change(difference: Difference) -> str:
    """`mtu 1500 → 1400`."""
    field, before, after = difference
    if field == "owner":
        return f"taken over from {_whose(before)}" if after else "given back"
    if field == "rules":
        return rules_change(before or (), after or ())
    if field == "connected":
        return "the route to its subnet is made again" if after else "the route to its subnet is taken away"
    return f"{_field(field)}{value(before, field)} → {value(after, field)}"


def drift(difference: Difference) -> str:
    """`mtu 1400, should be 1500`: the same for one who looks at what is there."""
    field, before, after = difference
    if field == "owner":
        return "foreign" if before is None else f"belongs to {_whose(before)}"
    if field == "rules":
        return "rules are not as they should be"
    if field == "connected":
        return "the route to its subnet is missing" if after else "there is a route to its subnet"
    return f"{_field(field)}{value(before, field)}, should be {value(after, field)}"


def _field(field: str) -> str:
    """Where the value alone says what it is, no name."""
    named = {"data": "to ", "up": "", "loopback": "lo ", "host": "veth ", "via": "via "}
    return named.get(field, f"{field} ")


def _whose(owner: str | None) -> str:
    return f"the owner {owner}" if owner else "others"


_RULES_NAMED = 3
"""More rules than this are counted, not named."""


def rules_change(before: Iterable[str], after: Iterable[str]) -> str:
    """What a chain's rules gain and lose, by their comments, whose digest says nothing to a reader."""
    old, new = Counter(before), Counter(after)
    gained, lost = list((new - old).elements()), list((old - new).elements())
    if not gained and not lost:
        return "rules put in order"
    parts = [f"rule {_why(rule)} added" for rule in gained] + [f"rule {_why(rule)} removed" for rule in lost]
    reasons = Counter(map(_why, gained)) & Counter(map(_why, lost))
    for why in reasons:
        parts = [part for part in parts if part not in (f"rule {why} added", f"rule {why} removed")]
        parts.append(f"rule {why} written anew")
    if len(parts) <= _RULES_NAMED:
        return ", ".join(parts)
    counts = ((len(gained), "added"), (len(lost), "removed"))
    return " and ".join(f"{count} rule{'s' * (count > 1)} {what}" for count, what in counts if count)


def _why(comment: str) -> str:
    text = comment.rpartition(" [")[0] if comment.endswith("]") else comment
    return f'"{text}"' if text else "without a comment"


def _is_address(via: object) -> bool:
    return via is not None and via != "on-link"


def mode(elements: Iterable[Element], bridge: str) -> str:
    """The bridge's mode by those of the firewall's `elements` that speak of it: nat, routed, isolated; "" if
    none does."""
    said = {item.set: item.data for item in elements if item.match[:1] == (bridge,)}
    if "isolated" in said:
        return "isolated"
    if "arrive" not in said:
        return ""
    return "routed" if " ".join(said["arrive"]).endswith("only_open") else "nat"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 port`, `2 ports`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def tally(resources: Iterable[Resource]) -> str:
    """`namespace, interface, 2 addresses, 1 route`. The host's ends of interfaces that are named too go
    without saying."""
    items = list(resources)
    ends = {item.host for item in items if isinstance(item, Peer)}
    links = ends | {item.name for item in items if isinstance(item, Veth | Tap | Bridge)}
    counts: Counter[tuple[str, str]] = Counter()
    for item in items:
        silent = (isinstance(item, Veth) and item.name in ends) or (isinstance(item, BridgePort) and item.link in links)
        counts[_nouns(item)] += not silent
    return ", ".join(_entry(number, *nouns) for nouns, number in counts.items() if number)


def _entry(number: int, one: str, many: str) -> str:
    alone = number == 1 and one in ("namespace", "interface", "table", "tap", "bridge")
    return one if alone else counted(number, one, many)
