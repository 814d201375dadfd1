"""What a wish means on the host it is for: the part of lowering that needs to have seen the kernel.

Three things hang on what is there: `accept_ra`, without which a host that starts to forward IPv6 loses the default route it learned from
router advertisements; other tables' forward chains, which can drop what ours let through; and the host's bounds (reconciler.bounds).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reconciler import bounds
from reconciler.core.messages import HOST, ForwardChain, Snapshot
from reconciler.core.resource import Key, Level, Note, State
from reconciler.kinds.marks import owner_of_table
from reconciler.kinds.sysctl import Sysctl

IPV4_FORWARDING = "net.ipv4.ip_forward"
IPV6_FORWARDING = "net.ipv6.conf.all.forwarding"
_RTPROT_RA = 9
_ACCEPT_RA = ".accept_ra"


def _forwards(desired: State, name: str) -> bool:
    return Key("sysctl", HOST, name) in desired.resources


def _learned_links(snapshot: Snapshot) -> Iterator[str]:
    """Links of the host whose IPv6 default route was learned from router advertisements."""
    for route in snapshot.namespaces[HOST].routes:
        by_advertisement = route.protocol == _RTPROT_RA and route.destination.prefixlen == 0
        if by_advertisement and route.destination.version == 6 and route.link:
            yield route.link


def _accept_ra(link: str) -> str:
    return f"net.ipv6.conf.{link.replace('.', '/')}{_ACCEPT_RA}"


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


def complete_like(desired: State, before: State) -> State:
    """`desired` with what the same host needed besides when `before` was completed; its notes on the host are still those."""
    added = {
        key: item
        for key, item in before.resources.items()
        if isinstance(item, Sysctl) and item.namespace == HOST and item.name.endswith(_ACCEPT_RA)
    }
    resources = added | dict(desired.resources) if _forwards(desired, IPV6_FORWARDING) else desired.resources
    return replace(desired, resources=resources, notes=before.notes)


def _notes(desired: State, snapshot: Snapshot) -> Iterator[Note]:
    yield from _absence_notes(snapshot)
    yield from _forwarding_notes(desired, snapshot)
    if _forwards(desired, IPV4_FORWARDING) or _forwards(desired, IPV6_FORWARDING):
        yield from dropping_notes(snapshot)
    yield from bounds.notes(desired, snapshot)


def _absence_notes(snapshot: Snapshot) -> Iterator[Note]:
    """Why containers wait, where that is not just that they do not run."""
    for absence in dict.fromkeys(snapshot.absent.values()):
        text = absence.why
        if absence.unknown:
            names = ", ".join(sorted(name.partition(":")[2] for name, one in snapshot.absent.items() if one == absence))
            text += f". What is wired of its containers stays as it is, all else of them waits: {names}"
        yield Note(Level.WARNING, text)


def _forwarding_notes(desired: State, snapshot: Snapshot) -> Iterator[Note]:
    for name, family in ((IPV4_FORWARDING, "IPv4"), (IPV6_FORWARDING, "IPv6")):
        off = snapshot.namespaces[HOST].sysctls.get(name) == "0"
        if off and _forwards(desired, name):
            text = f"{name} will be turned on: this host then routes {family} between all its interfaces"
            yield Note(Level.WARNING, f"{text}, not only ours (it stays on when they go)")


def dropping(snapshot: Snapshot) -> Iterator[ForwardChain]:
    """Forward chains of others that drop or reject what no rule of theirs accepts."""
    for chain in snapshot.forward_chains:
        if chain.policy != "accept" and owner_of_table(chain.table) is None:
            yield chain


def told(chain: ForwardChain) -> str:
    """What such a chain does, and whose it is."""
    whose = f" (of {chain.manager})" if chain.manager else ""
    verb = "rejects" if chain.policy == "reject" else "drops"
    where = f"{chain.family} {chain.table} {chain.name}"
    return (
        f"chain {where}{whose} {verb} forwarded packets, those of our containers too, unless a rule in it accepts them"
    )


def way_out(chain: ForwardChain) -> str:
    """The commands that have `chain` accept what goes to and comes from a bridge."""
    where = f"{chain.family} {chain.table} {chain.name}"
    match chain.manager:
        case "docker":
            return "iptables -I DOCKER-USER -i BRIDGE -j ACCEPT; iptables -I DOCKER-USER -o BRIDGE -j ACCEPT"
        case "ufw":
            return "ufw route allow in on BRIDGE; ufw route allow out on BRIDGE"
        case "firewalld":
            return "firewall-cmd --permanent --zone=trusted --add-interface=BRIDGE; firewall-cmd --reload"
    if (chain.table, chain.name) == ("filter", "FORWARD"):
        program = "ip6tables" if chain.family == "ip6" else "iptables"
        return f"{program} -I FORWARD -i BRIDGE -j ACCEPT; {program} -I FORWARD -o BRIDGE -j ACCEPT"
    return f"nft insert rule {where} iifname BRIDGE accept; nft insert rule {where} oifname BRIDGE accept"


def dropping_notes(snapshot: Snapshot) -> Iterator[Note]:
    """Warnings of others' forward chains that drop what no rule of theirs accepts."""
    for chain in dropping(snapshot):
        yield Note(Level.WARNING, f"{told(chain)} ({way_out(chain)})")
