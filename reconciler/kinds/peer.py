"""Links inside the containers' namespaces: the far ends of our veth pairs, and whatever else is in there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from reconciler.core.messages import HOST, Request, Snapshot
from reconciler.core.resource import Key, Resource
from reconciler.kinds.links import delete_link, link_key, links, netns_key, set_link
from reconciler.kinds.marks import alias, owner_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer(Resource):
    """A container's interface: the far end of the veth pair `host`, with which it comes and goes.

    `host` is None for a link that is no veth of the host's.
    """

    namespace: str
    name: str
    host: str | None
    mac: str | None = None
    mtu: int | None = None
    up: bool = True
    marked: bool = True
    """Whether it carries the mark itself. The far end of a pair of ours is ours in any case: we may have died in between."""

    rank: ClassVar[int] = 40
    fixed: ClassVar[frozenset[str]] = frozenset({"host"})
    disruptive: ClassVar[frozenset[str]] = frozenset({"host", "mac", "mtu", "up"})

    def _key(self) -> Key:
        return link_key(self.namespace, self.name)

    @property
    def label(self) -> str:
        return f"{self.name} in {self.namespace}"

    def inside(self) -> tuple[Key, ...]:
        host = () if self.host is None else (link_key(HOST, self.host),)
        return (*host, netns_key(self.namespace))

    def create(self) -> Iterator[Request]:
        """Dresses the link, which its pair has brought."""
        return set_link(
            self.namespace,
            self.name,
            up=self.up,
            IFLA_ADDRESS=self.mac,
            IFLA_IFALIAS=alias(self.owner) if self.owner else None,
        )

    def update(self, found: Self) -> Iterator[Request]:
        return set_link(
            self.namespace,
            self.name,
            up=self.up if self.up != found.up else None,
            IFLA_ADDRESS=self.mac if self.mac != found.mac else None,
            IFLA_MTU=self.mtu if self.mtu != found.mtu else None,
            IFLA_IFALIAS=alias(self.owner) if self.owner and (self.owner != found.owner or not found.marked) else None,
        )

    def delete(self) -> Iterator[Request]:
        return delete_link(self.namespace, self.name)

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Peer]:
        host_ends = {link.name: link for _, link in links(snapshot, host=True)}
        for namespace, link in links(snapshot, host=False):
            host = link.peer[1] if link.peer and link.peer[0] == HOST else None
            own, pair = owner_of(link.alias), host_ends.get(host or "")
            yield cls(
                owner=own or (owner_of(pair.alias) if pair else None),
                namespace=namespace,
                name=link.name,
                host=host,
                mac=link.mac,
                mtu=link.mtu,
                up=link.up,
                marked=own is not None,
            )
