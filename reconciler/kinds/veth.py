"""veth pairs: the host's end, which we know the pair by. The far end is a Peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Self

from reconciler.core.messages import HOST, Attributes, NamespaceFd, Netlink, Request, Snapshot
from reconciler.core.resource import Key, Resource
from reconciler.kinds.links import delete_link, link_key, links, mark_new_link, netns_key, set_link
from reconciler.kinds.marks import alias, owner_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth(Resource):
    """The host's end of a veth pair.

    The pair is born with its far end in the container's namespace: to move it there afterwards takes fifty times as long.
    It does not `cascade` with the namespace: one that a process still lives in goes on without its name, and the pair with it.
    """

    name: str
    peer: tuple[str, str] | None
    """(namespace, name) of the far end."""
    mtu: int | None = None
    up: bool = True
    birth_mac: str | None = field(default=None, compare=False)
    """Given explicitly so that udev's MACAddressPolicy=persistent leaves it alone (NET_ADDR_SET)."""

    rank: ClassVar[int] = 20
    fixed: ClassVar[frozenset[str]] = frozenset({"peer"})
    disruptive: ClassVar[frozenset[str]] = frozenset({"peer", "mtu", "up"})
    cascades: ClassVar[bool] = False

    def _key(self) -> Key:
        return link_key(HOST, self.name)

    @property
    def label(self) -> str:
        return f"veth {self.name}"

    def inside(self) -> tuple[Key, ...]:
        return (netns_key(self.peer[0]),) if self.peer and self.peer[0] != HOST else ()

    def create(self) -> Iterator[Request]:
        """Makes the pair, and puts this end up when all that is inside of containers is done.

        With both ends up there is a carrier, and each namespace begins to tell the whole bridge of its multicast groups and IPv6
        addresses (MLD, DAD): of a thousand, that keeps the kernel's lock for links for as long as all our requests together do.
        """
        assert self.peer is not None
        namespace, name = self.peer
        peer = Attributes.of(IFLA_IFNAME=name, IFLA_MTU=self.mtu, IFLA_NET_NS_FD=NamespaceFd(namespace))
        info = Attributes.of(IFLA_INFO_KIND="veth", IFLA_INFO_DATA=Attributes.of(VETH_INFO_PEER=peer))
        body = Attributes.of(IFLA_IFNAME=self.name, IFLA_ADDRESS=self.birth_mac, IFLA_MTU=self.mtu, IFLA_LINKINFO=info)
        yield Netlink(HOST, "RTM_NEWLINK", ("create", "excl"), (), body)
        if self.owner:
            yield mark_new_link(HOST, self.name, alias(self.owner))
        if self.up:
            yield from set_link(HOST, self.name, up=True, late=True)

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
    def decode(cls, snapshot: Snapshot) -> Iterator[Veth]:
        for _, link in links(snapshot, host=True):
            if link.kind == "veth":
                yield cls(
                    owner=owner_of(link.alias),
                    name=link.name,
                    peer=link.peer,
                    mtu=link.mtu,
                    up=link.up,
                    birth_mac=link.mac,
                )
