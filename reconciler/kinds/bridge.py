"""Bridges of the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Self

from reconciler.core.messages import HOST, Attributes, Netlink, Request, Snapshot
from reconciler.core.resource import Key, Resource
from reconciler.kinds.links import delete_link, dress_new_link, link_key, links, set_link
from reconciler.kinds.marks import alias, owner_of, uplinks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge(Resource):
    """A bridge, up.

    `birth_mac` is given to a new bridge that the file gives no MAC, since one without takes the lowest of its ports' and
    changes it as they come and go (br_stp_recalculate_bridge_id), which breaks the ARP caches of all its neighbours. Afterwards
    any MAC is right.
    """

    name: str
    mtu: int | None = None
    mac: str | None = None
    stp: bool | None = None
    up: bool = True
    uplinks: tuple[str, ...] = ()
    birth_mac: str | None = field(default=None, compare=False)

    rank: ClassVar[int] = 10
    disruptive: ClassVar[frozenset[str]] = frozenset({"mac", "mtu", "up"})

    def _key(self) -> Key:
        return link_key(HOST, self.name)

    @property
    def label(self) -> str:
        return f"bridge {self.name}"

    def create(self) -> Iterator[Request]:
        data = Attributes.of(IFLA_BR_STP_STATE=None if self.stp is None else int(self.stp))
        info = Attributes.of(IFLA_INFO_KIND="bridge", IFLA_INFO_DATA=data if data.items else None)
        body = Attributes.of(
            IFLA_IFNAME=self.name,
            IFLA_ADDRESS=self.mac or self.birth_mac,
            # Only a change makes an MTU stay (br_change_mtu); one from birth gives way to the least of the ports'.
            IFLA_MTU=None if self.mtu is None else self.mtu ^ 1,
            IFLA_LINKINFO=info,
        )
        yield Netlink(HOST, "RTM_NEWLINK", ("create", "excl"), (), body)
        yield from dress_new_link(HOST, self.name, self._alias(), up=self.up, IFLA_MTU=self.mtu)

    def update(self, found: Self) -> Iterator[Request]:
        claims = (self.owner, self.uplinks) != (found.owner, found.uplinks)
        # One that is taken over may still follow its ports: writing the MAC it has ends that.
        keep = found.mac if self.owner != found.owner else None
        yield from set_link(
            HOST,
            self.name,
            up=self.up if self.up != found.up else None,
            IFLA_ADDRESS=(self.mac if self.mac != found.mac else None) or keep,
            IFLA_MTU=self.mtu if self.mtu != found.mtu else None,
            IFLA_IFALIAS=self._alias() if claims else None,
        )
        if self.stp is not None and self.stp != found.stp:
            data = Attributes.of(IFLA_BR_STP_STATE=int(self.stp))
            info = Attributes.of(IFLA_INFO_KIND="bridge", IFLA_INFO_DATA=data)
            # RTM_SETLINK ignores link-specific data, RTM_NEWLINK on a link that is there changes it (rtnl_changelink).
            yield Netlink(HOST, "RTM_NEWLINK", (), (), Attributes.of(IFLA_IFNAME=self.name, IFLA_LINKINFO=info))

    def delete(self) -> Iterator[Request]:
        return delete_link(HOST, self.name)

    def _alias(self) -> str:
        return alias(self.owner, self.uplinks) if self.owner else ""

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Bridge]:
        for _, link in links(snapshot, host=True):
            if link.kind == "bridge":
                yield cls(
                    owner=owner_of(link.alias),
                    name=link.name,
                    mtu=link.mtu,
                    mac=link.mac,
                    stp=link.stp,
                    up=link.up,
                    uplinks=uplinks_of(link.alias),
                    birth_mac=link.mac,
                )
