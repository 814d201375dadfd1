"""TAP devices, the network cards of virtual machines. What is inside the machine is not ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Self

from reconciler.core.messages import HOST, CreateTap, Request, Snapshot
from reconciler.core.resource import Key, Resource
from reconciler.kinds.links import delete_link, link_key, links, set_link
from reconciler.kinds.marks import alias, owner_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap(Resource):
    """A persistent TAP device of the host, up."""

    name: str
    mtu: int | None = None
    up: bool = True
    birth_mac: str | None = field(default=None, compare=False)

    rank: ClassVar[int] = 21
    disruptive: ClassVar[frozenset[str]] = frozenset({"mtu", "up"})

    def _key(self) -> Key:
        return link_key(HOST, self.name)

    @property
    def label(self) -> str:
        return f"tap {self.name}"

    def create(self) -> Iterator[Request]:
        yield CreateTap(HOST, self.name, alias(self.owner) if self.owner else "", self.birth_mac)
        yield from set_link(HOST, self.name, up=self.up, IFLA_MTU=self.mtu)

    def update(self, found: Self) -> Iterator[Request]:
        return set_link(
            HOST,
            self.name,
            up=self.up if self.up != found.up else None,
            IFLA_MTU=self.mtu if self.mtu != found.mtu else None,
            IFLA_IFALIAS=alias(self.owner) if self.owner and self.owner != found.owner else None,
        )

    def delete(self) -> Iterator[Request]:
        return delete_link(HOST, self.name)

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Tap]:
        for _, link in links(snapshot, host=True):
            if link.kind == "tun" and link.tap:
                yield cls(owner=owner_of(link.alias), name=link.name, mtu=link.mtu, up=link.up, birth_mac=link.mac)
