"""Unicast routes of the main table. Sources: rtnetlink(7), linux/rtnetlink.h, net/ipv6/route.c."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import ClassVar, Self

from reconciler.core.messages import PROTOCOL, Attributes, Index, Netlink, Request, Snapshot
from reconciler.core.resource import Key, Resource, Stage
from reconciler.kinds.address import AF_INET, AF_INET6, RT_SCOPE_LINK, RT_SCOPE_UNIVERSE, RT_TABLE_MAIN, RTN_UNICAST
from reconciler.kinds.links import link_key
from reconciler.kinds.marks import owner_of

RTPROT_BOOT = 3
_BY_ITSELF = frozenset({1, 2, 9})
"""RTPROT_REDIRECT, _KERNEL, _RA: routes that come and go by themselves."""


def canonical_metric(version: int, metric: int | None) -> int:
    """The metric as the kernel reads it back: IPv6 turns 0 and "none" into 1024 (IP6_RT_PRIO_USER)."""
    return metric or (1024 if version == 6 else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Resource):
    """A route to `destination` out of `link`, by the gateway `via` or (None) straight to the neighbour."""

    namespace: str
    destination: IPv4Network | IPv6Network
    metric: int
    link: str
    via: IPv4Address | IPv6Address | str | None = "on-link"
    """A gateway's address, or the word on-link (None is kept for what is not managed)."""
    foreign_protocol: int = field(default=RTPROT_BOOT, compare=False)
    """Of one that is not ours: without it the kernel would not find the route that is to go (fib_table_delete)."""

    rank: ClassVar[int] = 70
    disruptive: ClassVar[frozenset[str]] = frozenset({"link", "via"})
    prunable: ClassVar[bool] = True

    def _key(self) -> Key:
        return Key("route", self.namespace, f"{self.destination} metric {self.metric}")

    @property
    def label(self) -> str:
        default = self.destination.prefixlen == 0
        to = f"default{6 if self.destination.version == 6 else ''}" if default else str(self.destination)
        return f"route {to} by {self.via} on {self.link}"

    def inside(self) -> tuple[Key, ...]:
        return (link_key(self.namespace, self.link),)

    def create(self) -> Iterator[Request]:
        yield self._message("RTM_NEWROUTE", ("create", "excl"))

    def update(self, found: Self) -> Iterator[Request]:
        yield self._message("RTM_NEWROUTE", ("create", "replace"))

    def delete(self) -> Iterator[Request]:
        yield self._message("RTM_DELROUTE", ())

    def delete_stage(self) -> Stage:
        return Stage.TIDY

    def _message(self, type: str, flags: tuple[str, ...]) -> Netlink:
        via = None if self.via == "on-link" else str(self.via)
        v4_on_link = via is None and self.destination.version == 4
        header = (
            ("family", AF_INET if self.destination.version == 4 else AF_INET6),
            ("dst_len", self.destination.prefixlen),
            ("table", RT_TABLE_MAIN),
            ("proto", PROTOCOL if self.owner else self.foreign_protocol),
            ("scope", RT_SCOPE_LINK if v4_on_link else RT_SCOPE_UNIVERSE),
            ("type", RTN_UNICAST),
        )
        body = Attributes.of(
            RTA_DST=str(self.destination.network_address) if self.destination.prefixlen else None,
            RTA_GATEWAY=via,
            RTA_OIF=Index(self.link),
            RTA_PRIORITY=self.metric or None,
        )
        return Netlink(self.namespace, type, flags, header, body)

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Route]:
        for namespace, record in snapshot.namespaces.items():
            owners = {link.name: owner_of(link.alias) for link in record.links}
            for item in record.routes:
                if item.link is None or item.type != RTN_UNICAST or item.protocol in _BY_ITSELF:
                    continue
                yield cls(
                    owner=owners.get(item.link) if item.protocol == PROTOCOL else None,
                    namespace=namespace,
                    destination=item.destination,
                    metric=item.metric,
                    link=item.link,
                    via=item.via or "on-link",
                    foreign_protocol=item.protocol,
                )
