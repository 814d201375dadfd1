"""Bridge ports: that a link is enslaved to a bridge, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from reconciler.core.messages import HOST, Attributes, Index, Netlink, Request, Snapshot
from reconciler.core.resource import Key, Resource
from reconciler.kinds.links import link_key, links, set_link
from reconciler.kinds.marks import owner_of, uplinks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePort(Resource):
    """The link `link` is a port of `bridge`.

    Ours is the port of a link of ours, and of an uplink that one of our bridges lists. `hairpin` lets a frame out of the port it came in
    by, which a container needs to reach its own published port; `isolated` keeps ports of a bridge from each other.
    """

    link: str
    bridge: str
    hairpin: bool = False
    isolated: bool = False
    up: bool | None = None
    """Managed for uplinks only: links of ours say it themselves."""

    rank: ClassVar[int] = 30
    disruptive: ClassVar[frozenset[str]] = frozenset({"bridge", "up", "isolated"})

    def _key(self) -> Key:
        return Key("port", HOST, self.link)

    @property
    def label(self) -> str:
        return f"port {self.link} of {self.bridge}"

    def inside(self) -> tuple[Key, ...]:
        return link_key(HOST, self.link), link_key(HOST, self.bridge)

    def follows(self) -> Key:
        # So the kernel is told of both at once (reconciler.kernel.fusing).
        return link_key(HOST, self.link)

    def create(self) -> Iterator[Request]:
        yield from set_link(HOST, self.link, up=self.up, IFLA_MASTER=Index(self.bridge))
        if self.hairpin or self.isolated:
            yield self._flags()

    def update(self, found: Self) -> Iterator[Request]:
        moved = self.bridge != found.bridge
        up = self.up if self.up != found.up else None
        yield from set_link(HOST, self.link, up=up, IFLA_MASTER=Index(self.bridge) if moved else None)
        # A port that moves starts with no flags.
        before = (False, False) if moved else (found.hairpin, found.isolated)
        if (self.hairpin, self.isolated) != before:
            yield self._flags()

    def delete(self) -> Iterator[Request]:
        return set_link(HOST, self.link, IFLA_MASTER=0)

    def _flags(self) -> Netlink:
        data = Attributes.of(IFLA_BRPORT_MODE=int(self.hairpin), IFLA_BRPORT_ISOLATED=int(self.isolated))
        info = Attributes.of(IFLA_INFO_SLAVE_KIND="bridge", IFLA_INFO_SLAVE_DATA=data)
        return Netlink(HOST, "RTM_NEWLINK", (), (("index", Index(self.link)),), Attributes.of(IFLA_LINKINFO=info))

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[BridgePort]:
        host = {link.name: link for _, link in links(snapshot, host=True)}
        for link in host.values():
            bridge = host.get(link.master or "")
            if bridge is None or bridge.kind != "bridge":
                continue
            claimed = link.name in uplinks_of(bridge.alias)
            yield cls(
                owner=owner_of(bridge.alias) if claimed else owner_of(link.alias),
                link=link.name,
                bridge=bridge.name,
                hairpin=link.port.hairpin if link.port else False,
                isolated=link.port.isolated if link.port else False,
                up=link.up,
            )
