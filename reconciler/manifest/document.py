"""The file as it is meant: resolved, canonical, frozen. What is left out in the file has its value here.

Two Documents are equal when they mean the same; where things stand in the file does not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import TypeAlias

from reconciler.manifest.places import NOWHERE, Note, Position
from reconciler.manifest.yaml import Node

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPInterface: TypeAlias = IPv4Interface | IPv6Interface
IPNetwork: TypeAlias = IPv4Network | IPv6Network


class Mode(StrEnum):
    """How a bridge is connected with the rest of the world."""

    NAT = "nat"
    ROUTED = "routed"
    ISOLATED = "isolated"
    BRIDGED = "bridged"


@dataclass(frozen=True, slots=True)
class Netns:
    """A named network namespace, as `ip netns` has them."""

    name: str


@dataclass(frozen=True, slots=True)
class Pid:
    """The network namespace of a process."""

    pid: int


@dataclass(frozen=True, slots=True)
class Docker:
    """The network namespace of a container that Docker runs."""

    name: str


@dataclass(frozen=True, slots=True)
class Podman:
    """The network namespace of a container that Podman runs."""

    name: str


@dataclass(frozen=True, slots=True)
class Tap:
    """A TAP device on the host, for a virtual machine. What is inside of the machine is not ours."""

    interface: str


Attach: TypeAlias = Netns | Pid | Docker | Podman | Tap


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """What stands somewhere in a file. `position` is the place of its name (of itself, in a list)."""

    position: Position = field(default=NOWHERE, compare=False, repr=False)
    node: Node | None = field(default=None, compare=False, repr=False)

    def at(self, *path: str | int) -> Position:
        """The place of what is under `path` in this node, or of the nearest thing above it that is in the file."""
        return self.position if self.node is None else self.node.place(path, self.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port(_Placed):
    """A published port, or a range of them: `published` on the host leads to `target` in the container.

    Both are (first, last) and equally long. `host_ip` None means every address of both families that the container has; an
    unspecified address (0.0.0.0, ::) means every address of that family.
    """

    published: tuple[int, int]
    target: tuple[int, int]
    protocol: str = "tcp"
    host_ip: IPAddress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(_Placed):
    """A route inside of a container, by a gateway, or (`via` None) straight to the neighbour."""

    to: IPNetwork
    via: IPAddress | None = None
    metric: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(_Placed):
    """A container's interface on one bridge. One container on two bridges is two of these with one name.

    `addresses` carry the prefix length of their subnet; `allocated` says that they were picked, not written. Of the interfaces
    of one container at most one has `default_route`. `interface` is the name inside; for a Tap that of the TAP device.
    """

    name: str
    bridge: str
    attach: Attach
    interface: str
    addresses: tuple[IPInterface, ...] = ()
    allocated: bool = False
    mac: str | None = None
    mtu: int | None = None
    default_route: bool = False
    routes: tuple[Route, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    ports: tuple[Port, ...] = ()
    address_positions: tuple[Position, ...] = field(default=(), compare=False, repr=False)

    def address(self, version: int) -> IPInterface | None:
        """The first address of family 4 or 6; None if it has none."""
        return _first(self.addresses, version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge(_Placed):
    """A bridge, and what is on it in the order of the file.

    `host_ips` are already in the ports that named none. None for `mtu`, `mac` and `stp` means: not managed.
    """

    name: str
    mode: Mode = Mode.NAT
    addresses: tuple[IPInterface, ...] = ()
    mtu: int | None = None
    mac: str | None = None
    stp: bool | None = None
    uplinks: tuple[str, ...] = ()
    icc: bool = True
    host_ips: tuple[IPAddress, ...] = ()
    snat: tuple[IPAddress, ...] = ()
    containers: tuple[Container, ...] = ()
    address_positions: tuple[Position, ...] = field(default=(), compare=False, repr=False)

    def gateway(self, version: int) -> IPInterface | None:
        """The containers' gateway of family 4 or 6: the bridge's first address of that family; None if it has none."""
        return _first(self.addresses, version)


@dataclass(frozen=True, slots=True)
class Document:
    """All files together. `empty` says that there was nothing in them, not even a version."""

    name: str = "default"
    bridges: tuple[Bridge, ...] = ()
    sources: tuple[str, ...] = field(default=(), compare=False)
    empty: bool = False
    notes: tuple[Note, ...] = field(default=(), compare=False)

    @property
    def containers(self) -> tuple[Container, ...]:
        """Every container of every bridge, in the order of the file."""
        return tuple(container for bridge in self.bridges for container in bridge.containers)

    def bridge(self, name: str) -> Bridge:
        """The bridge called `name`. Raises KeyError if there is none."""
        for bridge in self.bridges:
            if bridge.name == name:
                return bridge
        raise KeyError(name)


def _first(addresses: Iterable[IPInterface], version: int) -> IPInterface | None:
    return next((address for address in addresses if address.version == version), None)
