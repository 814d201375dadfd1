"""What the checks that hold values together share: the model, its places, and what is known so far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from reconciler.core.messages import IPAddress, IPInterface, IPNetwork
from reconciler.manifest.document import (
    Attach,
    Note,
)
from reconciler.manifest.files import Merged
from reconciler.manifest.model import BridgeModel, ContainerModel, FileModel
from reconciler.manifest.position import Position, Problem
from reconciler.manifest.values import PortText
from reconciler.manifest.yaml import Path

_DEFAULT_OWNER = "default"


class Inner(NamedTuple):
    """A container on one bridge, and where it stands."""

    bridge_name: str
    bridge: BridgeModel
    name: str
    container: ContainerModel
    path: Path
    key: tuple[str, str]
    """The names of both."""


class Taken(NamedTuple):
    """An address in use: whose, and where that is said."""

    who: str
    path: Path
    of_bridge: bool


@dataclass(slots=True)
class Resolver:
    """The work under way: the model, places, problems, and what is known so far."""

    model: FileModel
    merged: Merged
    notes: list[Note] = field(default_factory=list)
    told: set[Path] = field(default_factory=set)
    subnets: list[tuple[IPNetwork, str]] = field(default_factory=list)
    """All bridges' subnets, with the bridges' names."""
    taken: dict[IPAddress, Taken] = field(default_factory=dict)
    cursors: dict[IPNetwork, int] = field(default_factory=dict)
    """Below this offset nothing is free."""
    attaches: dict[tuple[str, str], Attach] = field(default_factory=dict)
    interfaces: dict[tuple[str, str], str] = field(default_factory=dict)
    default_routes: dict[Attach, tuple[str, str]] = field(default_factory=dict)
    """Namespace → (bridge, container) of the interface that its default routes go by."""
    inners: list[Inner] = field(init=False)
    """Every container on every bridge, in the order of the file."""

    def __post_init__(self) -> None:
        self.inners = [inner for name, bridge in self.model.bridges.items() for inner in inners_of(name, bridge)]

    @property
    def owner(self) -> str:
        return self.model.name or _DEFAULT_OWNER

    def problem(self, path: Path, message: str) -> None:
        """Notes what is wrong with the value at `path`."""
        if path not in self.told and not self.merged.is_blemished(path):
            self.told.add(path)
            self.merged.problems.append(Problem(self.at(path), message))

    def problem_of_key(self, path: Path, message: str) -> None:
        """Notes what is wrong about there being something at `path`."""
        if not self.merged.is_blemished(path):
            self.merged.problems.append(Problem(self.key(path), message))

    def at(self, path: Path) -> Position:
        return self.merged.root.place(path)

    def each_at(self, path: Path) -> Sequence[Position]:
        """Where each value of the list at `path` is."""
        return self.merged.root.places(path)

    def key(self, path: Path) -> Position:
        return self.merged.root.key_place(path)

    def first(self, first: Position, path: Path) -> str:
        """What a message at `path` calls the place `first`."""
        return first.seen_from(self.at(path))


def inners_of(name: str, bridge: BridgeModel) -> Iterator[Inner]:
    """Every container on the bridge `name`, in the order of the file."""
    for one, container in bridge.containers.items():
        yield Inner(name, bridge, one, container, ("bridges", name, "containers", one), (name, one))


def gateway_of(bridge: BridgeModel, version: int) -> IPInterface | None:
    """The bridge's first address of IP version 4 or 6, which is its containers' gateway."""
    return next((address for address in bridge.addresses if address.version == version), None)


def hosts_of(port: PortText, host_ips: Sequence[IPAddress], versions: set[int]) -> list[IPAddress | None]:
    """The host's addresses that a port is published on; None is every one. `host_ips` are the bridge's, `versions` the container's.

    None at all if the port names an address, or is left with one, of a family that the container has not.
    """
    if port.host_ip is None:
        return [address for address in host_ips if address.version in versions] if host_ips else [None]
    return [port.host_ip] if port.host_ip.version in versions else []
