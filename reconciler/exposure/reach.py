"""A way in, as a value, and its words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeAlias, TypeVar

OUTSIDE = "outside"
THIS_HOST = "this host"
CONTAINERS = "containers"
OTHER_BRIDGES = "containers of other bridges"
OF_BRIDGE = "containers of "
LAYER_2 = "layer 2 of "

ANYWHERE = frozenset({OUTSIDE, THIS_HOST, CONTAINERS})
"""Who reaches a published port that is not on a loopback address."""

SOURCES: Mapping[str, str] = {
    OUTSIDE: "whatever comes in by an interface that is no nat, routed or isolated bridge of this owner: the LAN, what is behind it, "
    "bridged containers",
    THIS_HOST: "processes in the host's own network namespace",
    CONTAINERS: "containers of every nat and routed bridge, the one that is reached among them",
    OTHER_BRIDGES: "containers of every nat and routed bridge but that of the container that is reached",
    f"{OF_BRIDGE}BRIDGE": "containers of that one bridge, straight to each other",
    f"{LAYER_2}BRIDGE": "who is on the bridge's own network or finds a way there; who that is, is not known here",
}
"""What the sources mean, from the widest to the narrowest. They are told apart by where a packet comes in, as the firewall does."""

ANY = "any"
"""The protocol of a Reach that is open for all protocols and ports."""
ICMP = "icmp"
"""Ping and errors; with IPv6, ICMPv6."""
WHOLE = {ANY: (0, 65535), ICMP: (0, 0)}
"""The `ports` of what has none."""
BEHIND = "behind "
"""Stands before a link's name in the place of an address that no State tells: of a machine behind a TAP, of a namespace not seen into."""

NEVER = ("127.0.0.53", "127.0.0.54")
"""systemd-resolved's: what is published on every address is not published there."""


class End(NamedTuple):
    """Where a Reach leads to, whatever the port: `shift` is what is added to the port that is asked for."""

    bridge: str
    container: str
    address: str
    shift: int


@dataclass(frozen=True, slots=True)
class Reach:
    """One way in.

    A point (source, version, address, protocol, port) leads to one end at most. `address` None is every address of the host of that
    `version` on which the port is not published by itself; loopback addresses count for this host alone, and 127.0.0.53, 127.0.0.54 and
    ::1 for nobody. `ports` and what they lead to have both ends in them; `target_first` is the first port at `target`.
    """

    sources: frozenset[str]
    version: int
    address: str | None
    protocol: str
    ports: tuple[int, int]
    bridge: str
    container: str
    target: str
    target_first: int
    position: str = field(default="", compare=False)
    """`FILE:LINE:COLUMN`, if the State knows it."""

    @property
    def direct(self) -> bool:
        """Whether it is the container's own address that is asked for, and none of the host's."""
        return self.address == self.target

    @property
    def target_ports(self) -> tuple[int, int]:
        """The container's, of no meaning where there are none."""
        return self.target_first, self.target_first + self.ports[1] - self.ports[0]

    @property
    def end(self) -> End:
        """Where it leads to."""
        return End(self.bridge, self.container, self.target, self.target_first - self.ports[0])

    def part(self, first: int, last: int, **others: Any) -> Reach:
        """This, for the ports from `first` to `last` alone (or, of one that touches it, beyond), and with `others` of its fields."""
        return replace(self, ports=(first, last), target_first=self.target_first + first - self.ports[0], **others)

    def __str__(self) -> str:
        """For people: `tcp 8080 on every IPv4 address → web:80, from anywhere`."""
        return f"{what(self)} on {place(self)}{to(self)}, {who(self.sources)}"

    def json(self) -> dict[str, Any]:
        """As plain JSON values."""
        whole = self.protocol in WHOLE
        return {
            "sources": list(ordered(self.sources)),
            "version": self.version,
            "address": self.address,
            "protocol": self.protocol,
            "ports": None if whole else list(self.ports),
            "bridge": self.bridge,
            "container": self.container,
            "target_address": self.target,
            "target_ports": None if whole else list(self.target_ports),
            "position": self.position,
        }


# --- words for people ------------------------------------------------------------------------------------------------


def what(reach: Reach) -> str:
    """What is asked for: `tcp 8080`, `ICMP`, `everything`."""
    if reach.protocol in WHOLE:
        return "everything" if reach.protocol == ANY else "ICMP"
    return f"{reach.protocol} {_span(*reach.ports)}"


def where(version: int, address: str | None) -> str:
    """At which address: `every IPv4 address`, `192.0.2.7`, `IPv6 behind vnet0`."""
    if address is None:
        return f"every IPv{version} address"
    return f"IPv{version} {address}" if address.startswith(BEHIND) else address


def place(reach: Reach) -> str:
    """The same, with the container's name if it is its own address."""
    name = f" ({reach.container})" if reach.direct and reach.container else ""
    return where(reach.version, reach.address) + name


def to(reach: Reach) -> str:
    """` → web:80`; nothing if the container is asked itself."""
    return "" if reach.direct else f" → {target(reach)}"


def target(reach: Reach) -> str:
    """Where it leads to: `web:80`, or the address where there is no name."""
    return f"{reach.container or reach.target}:{_span(*reach.target_ports)}"


@lru_cache(maxsize=1024)
def who(sources: frozenset[str]) -> str:
    """`from anywhere`, `from this host and containers of br-a`."""
    names = list(ordered(sources))
    if set(names) >= ANYWHERE:
        names = ["anywhere", *(name for name in names if name not in ANYWHERE)]
    *most, last = names
    return f"from {', '.join(most)} and {last}" if most else f"from {last}"


@lru_cache(maxsize=1024)
def ordered(sources: frozenset[str]) -> tuple[str, ...]:
    """`sources` from the widest to the narrowest."""
    places = {name: place for place, name in enumerate(SOURCES)}
    return tuple(sorted(sources, key=lambda name: (places.get(name, len(places)), name)))


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


# --- many of them ----------------------------------------------------------------------------------------------------

_T = TypeVar("_T")
_Run: TypeAlias = tuple[tuple[int, int], _T]
"""(first, last) port, and what is said of them."""


def row(reach: Reach) -> tuple[object, ...]:
    """All of `reach` but its ports: what is alike in this can be one."""
    return reach.sources, reach.version, reach.address, reach.protocol, reach.end, reach.position


def rows(items: Iterable[_T], reach: Callable[[_T], Reach], alike: Callable[[_T], object]) -> Iterator[list[_T]]:
    """`items`, each about a `reach`, those together that are `alike`. Only what has one position can be, and most lines of a file have one
    port, so that is asked first."""
    lines: defaultdict[str, list[_T]] = defaultdict(list)
    for item in items:
        lines[reach(item).position].append(item)
    for line in lines.values():
        if len(line) == 1:
            yield line
            continue
        found: defaultdict[object, list[_T]] = defaultdict(list)
        for item in line:
            found[alike(item)].append(item)
        yield from found.values()


def joined(rows: Iterable[_Run[_T]]) -> Sequence[_Run[_T]]:
    """Sorted runs of ports, those that touch or overlap made one, with what is said of the first of them."""
    runs: list[_Run[_T]] = []
    for ports, item in rows:
        if runs and ports[0] <= runs[-1][0][1] + 1:
            (first, last), earlier = runs[-1]
            runs[-1] = (first, max(last, ports[1])), earlier
        else:
            runs.append((ports, item))
    return runs


def order(reach: Reach) -> tuple[object, ...]:
    """The widest sources first, and what has the same ones together."""
    head = _order_of_row(reach.sources, reach.version, reach.address, reach.protocol)
    # Of the same ports, what is lower here has the lower shift, too.
    return head, reach.ports, reach.bridge, reach.container, reach.target, reach.target_first


@lru_cache(maxsize=4096)  # ten thousand ports have few of them
def _order_of_row(sources: frozenset[str], version: int, address: str | None, protocol: str) -> tuple[object, ...]:
    widest = OUTSIDE not in sources, THIS_HOST not in sources, *ordered(sources)
    return widest, version, _number(address), address or "", protocol


def _number(address: str | None) -> int:
    """For sorting."""
    return -1 if address is None or address.startswith(BEHIND) else int(ip_address(address))
