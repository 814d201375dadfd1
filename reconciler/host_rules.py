"""What a wish means on the host it is for: the part of lowering that needs to have seen the kernel.

Two things hang on what is there: `accept_ra`, without which a host that starts to forward IPv6 loses the default route it learned from
router advertisements, and other tables' forward chains, which can drop what ours let through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reconciler.core.messages import HOST, Snapshot
from reconciler.core.resource import Key, Level, Note, State
from reconciler.kinds.marks import owner_of_table
from reconciler.kinds.sysctl import Sysctl

IPV4_FORWARDING = "net.ipv4.ip_forward"
IPV6_FORWARDING = "net.ipv6.conf.all.forwarding"
_RTPROT_RA = 9


def _forwards(desired: State, name: str) -> bool:
    return Key("sysctl", HOST, name) in desired.resources


def _learned_links(snapshot: Snapshot) -> Iterator[str]:
    """Links of the host whose IPv6 default route was learned from router advertisements."""
    for route in snapshot.namespaces[HOST].routes:
        by_advertisement = route.protocol == _RTPROT_RA and route.destination.prefixlen == 0
        if by_advertisement and route.destination.version == 6 and route.link:
            yield route.link


def _accept_ra(link: str) -> str:
    return f"net.ipv6.conf.{link.replace('.', '/')}.accept_ra"


def sysctls(desired: State, snapshot: Snapshot) -> frozenset[tuple[str, str]]:
    """Settings that `complete` will want, which therefore have to be read."""
    if not _forwards(desired, IPV6_FORWARDING):
        return frozenset()
    return frozenset((HOST, _accept_ra(link)) for link in _learned_links(snapshot))


def complete(desired: State, snapshot: Snapshot) -> State:
    """`desired` with what this host needs besides, and with notes on what stands in the way here."""
    resources = dict(desired.resources)
    if _forwards(desired, IPV6_FORWARDING):
        for link in _learned_links(snapshot):
            sysctl = Sysctl(namespace=HOST, name=_accept_ra(link), value="2")
            # Before forwarding goes on, so that not one advertisement is missed.
            resources = {sysctl.key: sysctl} | resources
    return replace(desired, resources=resources, notes=(*desired.notes, *_notes(desired, snapshot)))


def _notes(desired: State, snapshot: Snapshot) -> Iterator[Note]:
    yield from _forwarding_notes(desired, snapshot)
    if _forwards(desired, IPV4_FORWARDING) or _forwards(desired, IPV6_FORWARDING):
        yield from dropping_notes(snapshot)


def _forwarding_notes(desired: State, snapshot: Snapshot) -> Iterator[Note]:
    for name, family in ((IPV4_FORWARDING, "IPv4"), (IPV6_FORWARDING, "IPv6")):
        off = snapshot.namespaces[HOST].sysctls.get(name) == "0"
        if off and _forwards(desired, name):
            text = f"{name} will be turned on: this host then routes {family} between all its interfaces"
            yield Note(Level.WARNING, f"{text}, not only ours (it stays on when they go)")


def dropping_notes(snapshot: Snapshot) -> Iterator[Note]:
    """Warnings of others' forward chains that drop by policy."""
    for chain in snapshot.forward_chains:
        if chain.policy == "drop" and owner_of_table(chain.table) is None:
            where = f"{chain.family} {chain.table} {chain.name}"
            accept = f"nft add rule {where} iifname BRIDGE accept; nft add rule {where} oifname BRIDGE accept"
            if (chain.table, chain.name) == ("filter", "FORWARD"):
                accept = "iptables -I DOCKER-USER (or FORWARD) -i BRIDGE -j ACCEPT, and the same with -o"
            yield Note(
                Level.WARNING,
                f"chain {where} drops forwarded packets by policy, those of our containers too, unless a rule in it "
                f"accepts them ({accept})",
            )
