"""The file, read, checked and resolved: frozen values in canonical form, with the place in the file of each.

Nothing is left to guess here: prefix lengths are filled in, addresses left out are picked, interfaces have names, one bridge
has the default route, ports that named no address have their bridge's.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from reconciler.core.messages import IPAddress, IPInterface, IPNetwork
from reconciler.manifest.position import Position


class Mode(enum.StrEnum):
    """What a bridge is to the outside; docs/packets.md says what each does to packets."""

    NAT = "nat"
    ROUTED = "routed"
    ISOLATED = "isolated"
    BRIDGED = "bridged"


@dataclass(frozen=True, slots=True)
class Netns:
    """A named network namespace; made if it is missing."""

    name: str


@dataclass(frozen=True, slots=True)
class Pid:
    """The network namespace of a process."""

    pid: int


@dataclass(frozen=True, slots=True)
class Docker:
    """The network namespace of a Docker container."""

    name: str


@dataclass(frozen=True, slots=True)
class Podman:
    """The network namespace of a Podman container."""

    name: str


@dataclass(frozen=True, slots=True)
class Tap:
    """A TAP device; its inside is not ours."""

    interface: str


Attach: TypeAlias = Netns | Pid | Docker | Podman | Tap


@dataclass(frozen=True, slots=True)
class Note:
    """Something to know about the file that is no error."""

    position: Position
    message: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route inside of a container; `via` None is straight to the neighbour."""

    to: IPNetwork
    via: IPAddress | None
    metric: int | None
    position: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Port:
    """A published port or range, (first, last) on both sides, of the same length.

    `host_ip` None is every address, in each family that the container has; an unspecified one every address of its family.
    """

    host_ip: IPAddress | None
    published: tuple[int, int]
    target: tuple[int, int]
    protocol: str
    position: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Container:
    """What hangs on a bridge. One that hangs on two is in both."""

    name: str
    bridge: str
    attach: Attach
    addresses: tuple[IPInterface, ...]
    allocated: bool
    mac: str | None
    mtu: int | None
    interface: str
    default_route: bool
    routes: tuple[Route, ...]
    sysctls: tuple[tuple[str, str], ...]
    ports: tuple[Port, ...]
    position: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge and all that hangs on it, in the order of the file."""

    name: str
    mode: Mode
    addresses: tuple[IPInterface, ...]
    mtu: int | None
    mac: str | None
    stp: bool | None
    uplinks: tuple[str, ...]
    icc: bool
    host_ips: tuple[IPAddress, ...]
    snat: tuple[IPAddress, ...]
    containers: tuple[Container, ...]
    position: Position = field(compare=False, repr=False)

    def gateway(self, version: int) -> IPInterface | None:
        """The bridge's first address of IP version 4 or 6, which is its containers' gateway."""
        return next((address for address in self.addresses if address.version == version), None)


THE_HOST, OUTSIDE = "host", "outside"
"""What `expect` calls this host, and a client on its network."""
PING = "icmp"
"""The protocol of an expectation without a port."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is to come of it if `source` asks at a destination: one line of `expect`.

    `source` is THE_HOST, OUTSIDE or a container; so is `target`, which is "" where an `address` is given instead.
    """

    source: str
    target: str
    address: IPAddress | None
    port: int | None
    protocol: str
    reaches: str | None
    """Who must answer (or, if not `allowed`, must not); None: whoever is there."""
    allowed: bool
    seen_as: IPAddress | str | None
    """The client's address as the server sees it: an address, THE_HOST (any of its own), or "client" (kept as it is)."""
    versions: tuple[int, ...]
    """The families in which it is to hold."""
    position: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Document:
    """All files, as one. `expectations` are for `reconcile test` and come into no plan."""

    name: str
    bridges: tuple[Bridge, ...]
    sources: tuple[str, ...]
    empty: bool = False
    notes: tuple[Note, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    position: Position | None = field(default=None, compare=False, repr=False)
    """Where the key `bridges` stands, or the file begins if it has none."""
