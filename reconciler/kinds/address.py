"""Addresses of links. Sources: rtnetlink(7), linux/if_addr.h, net/ipv4/devinet.c, net/ipv6/addrconf.c."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import ClassVar, Self

from reconciler.core.messages import PROTOCOL, Attributes, Index, Netlink, Request, Snapshot, WriteSysctl
from reconciler.core.resource import UNKNOWN, Key, Resource, Stage
from reconciler.kinds.links import link_key
from reconciler.kinds.marks import owner_of

AF_INET, AF_INET6 = 2, 10
IFA_F_NODAD = 0x02
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
RTPROT_KERNEL = 2
IP6_RT_PRIO_ADDRCONF = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Address(Resource):
    """An address of a link. An address with another prefix length is the same address, made anew: IPv6 has it once per link."""

    namespace: str
    link: str
    address: IPv4Interface | IPv6Interface
    connected: bool = True
    """Whether the route to its subnet is there, which comes with the address (RTPROT_KERNEL) and can be deleted by itself: then no
    gateway can be reached, and no route by one can be made."""

    rank: ClassVar[int] = 60
    fixed: ClassVar[frozenset[str]] = frozenset({"address"})
    prunable: ClassVar[bool] = True

    def _key(self) -> Key:
        return Key("address", self.namespace, f"{self.address.ip} on {self.link}")

    @property
    def label(self) -> str:
        return f"address {self.address} on {self.link}"

    def inside(self) -> tuple[Key, ...]:
        return (link_key(self.namespace, self.link),)

    def create(self) -> Iterator[Request]:
        yield self._message("RTM_NEWADDR", ("create", "excl"))

    def update(self, found: Self) -> Iterator[Request]:
        if self.owner != found.owner:
            yield self._message("RTM_NEWADDR", ("create", "replace"))
        if self.connected != found.connected:
            yield (
                self._route("RTM_NEWROUTE", ("create", "replace"))
                if self.connected
                else self._route("RTM_DELROUTE", ())
            )

    def delete(self) -> Iterator[Request]:
        if self.address.version == 4:
            # Else the kernel takes all others of the subnet along with the first one of it (__inet_del_ifa).
            link = self.link.replace(".", "/")
            yield WriteSysctl(self.namespace, f"net.ipv4.conf.{link}.promote_secondaries", "1")
        yield self._message("RTM_DELADDR", ())

    def delete_stage(self) -> Stage:
        """After the new ones are there: a link that loses its last address loses its routes. But one without its own route would be the
        first of its subnet, for which alone the kernel makes one."""
        return Stage.TIDY if self.connected else Stage.CLEAR

    def _message(self, type: str, flags: tuple[str, ...]) -> Netlink:
        v6 = self.address.version == 6
        header = (
            ("family", AF_INET6 if v6 else AF_INET),
            ("prefixlen", self.address.network.prefixlen),
            ("scope", RT_SCOPE_UNIVERSE),
            ("index", Index(self.link)),
        )
        body = Attributes.of(
            IFA_LOCAL=str(self.address.ip),
            IFA_ADDRESS=str(self.address.ip),
            # Nobody else can have an address of our own link: a second of duplicate detection is saved.
            IFA_FLAGS=IFA_F_NODAD if v6 and flags else None,
            IFA_PROTO=PROTOCOL if self.owner and flags else None,
        )
        return Netlink(self.namespace, type, flags, header, body)

    def _route(self, type: str, flags: tuple[str, ...]) -> Netlink:
        """The route to the subnet as the kernel makes it (fib_add_ifaddr, addrconf_prefix_route)."""
        network, v6 = self.address.network, self.address.version == 6
        header = (
            ("family", AF_INET6 if v6 else AF_INET),
            ("dst_len", network.prefixlen),
            ("table", RT_TABLE_MAIN),
            ("proto", RTPROT_KERNEL),
            ("scope", RT_SCOPE_UNIVERSE if v6 else RT_SCOPE_LINK),
            ("type", RTN_UNICAST),
        )
        body = Attributes.of(
            RTA_DST=str(network.network_address),
            RTA_PREFSRC=None if v6 else str(self.address.ip),
            RTA_OIF=Index(self.link),
            RTA_PRIORITY=IP6_RT_PRIO_ADDRCONF if v6 else None,
        )
        return Netlink(self.namespace, type, flags, header, body)

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Address]:
        """Those of universal scope, on links: link-local ones and those of `lo` come by themselves."""
        for namespace, record in snapshot.namespaces.items():
            owners = {link.name: owner_of(link.alias) for link in record.links}
            routed = {(item.link, item.destination) for item in record.routes}
            # The routes of a link that is down come when it goes up; those of one with a master may be in another table (VRF).
            without = {link.name for link in record.links if not link.up or link.master}
            for item in record.addresses:
                if item.scope != RT_SCOPE_UNIVERSE or item.link == "lo":
                    continue
                owner = owners.get(item.link) if item.protocol == PROTOCOL else None
                if not snapshot.address_protocols and owners.get(item.link):
                    owner = UNKNOWN
                network = item.address.network
                has_none = item.link in without or network.prefixlen == network.max_prefixlen
                connected = has_none or (item.link, network) in routed
                yield cls(owner=owner, namespace=namespace, link=item.link, address=item.address, connected=connected)
