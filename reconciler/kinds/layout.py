"""What our nftables table consists of: sets, maps and chains that never change, and why each rule is there.

One element per published port, not one rule: a mapping is added, moved or removed in O(1), and a packet finds it in O(1), with ten
or ten thousand of them. Bridges, subnets and containers are elements too. So what is in the chains is the same on every host, and a rule
that is gone or strange is noticed by comparing a list of comments.

How a packet goes
-----------------
1. `raw` (before conntrack): route_localnet, which a port published on 127.0.0.1 needs, would let containers reach the host's own loopback
   services, and let neighbours be answered from there. Both ends there.
2. `prerouting`, `output`: what is addressed to this host is looked up in the eight maps of `publish`, from the most to the least
   specific, and translated. Nothing else is looked at: the rest of the host's traffic pays for one fib lookup per connection.
3. `forward`: containers of one bridge among each other by `within`; what else comes from a bridge, by `leave`; what goes to
   a bridge, by `arrive`, whose verdict is the bridge's mode. What concerns no bridge of ours is let through untouched.
   `ct status dnat` stands for all per-port rules: what was translated was published.
4. `postrouting`: containers' packets to the outside get the host's address, and only there: between our bridges, and from outside
   to a published port, the client's address is kept. A container that reaches itself or its like by a published port is the exception: the
   answer would not come back by the host.

Matching is by subnet rather than by `iifname BR oifname BR`, which never matches when br_netfilter is on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Rule(NamedTuple):
    """A rule: what it does, in nft's words, and why, in ours."""

    text: str
    why: str

    @property
    def comment(self) -> str:
        """What identifies the rule in the kernel. nftables keeps at most 128 bytes."""
        return f"{self.why} [{hashlib.sha256(self.text.encode()).hexdigest()[:10]}]"


class SetLayout(NamedTuple):
    """A named set or, with `data`, a map."""

    name: str
    type: tuple[str, ...]
    data: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class ChainLayout(NamedTuple):
    """A chain; `hook` is (type, hook, priority, policy) of a base chain."""

    name: str
    hook: tuple[str, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Publishing:
    """What the elements of a publishing map mean."""

    version: Literal[4, 6]
    by_address: bool
    ranges: bool


def _published() -> dict[str, Publishing]:
    return {
        f"by_{'address' if by_address else 'any'}{'_range' if ranges else ''}{version}": Publishing(
            version, by_address, ranges
        )
        for version in (4, 6)
        for by_address in (True, False)
        for ranges in (False, True)
    }


PUBLISHING = _published()
"""The maps from host port to container. An element is (host address?, protocol, port or range) : (container address, port?)."""

_INTERVAL = ("interval",)


def _publishing_set(name: str, kind: Publishing) -> SetLayout:
    address = f"ipv{kind.version}_addr"
    type = (*((address,) if kind.by_address else ()), "inet_proto", "inet_service")
    if kind.ranges:
        # Map data must be single values, so a range leads to the same numbers on the container's side.
        return SetLayout(name, type, (address,), _INTERVAL)
    return SetLayout(name, type, (address, "inet_service"))


def _sets() -> tuple[SetLayout, ...]:
    return (
        SetLayout("bridges", ("ifname",)),
        SetLayout("isolated", ("ifname",)),
        SetLayout("within", ("ifname", "ifname"), ("verdict",)),
        SetLayout("arrive", ("ifname",), ("verdict",)),
        *(
            item
            for version in (4, 6)
            for address in (f"ipv{version}_addr",)
            for item in (
                SetLayout(f"nat{version}", (address,), (), _INTERVAL),
                SetLayout(f"inside{version}", (address,), (), _INTERVAL),
                SetLayout(f"snat{version}", (address,), (address,), _INTERVAL),
                SetLayout(f"bridged{version}", (address,)),
                SetLayout(f"open{version}", (address, "inet_proto", "inet_service")),
                SetLayout(f"open_range{version}", (address, "inet_proto", "inet_service"), (), _INTERVAL),
                SetLayout(f"retired{version}", (address, "inet_proto", "inet_service"), (), ("timeout",)),
                SetLayout(
                    f"retired_range{version}",
                    (address, "inet_proto", "inet_service"),
                    (),
                    ("interval", "timeout"),
                ),
            )
        ),
        *(_publishing_set(name, kind) for name, kind in PUBLISHING.items()),
    )


SETS = _sets()


def _lookups() -> tuple[Rule, ...]:
    """The rules of `publish`: the eight maps, the more specific first."""

    def lookup(name: str, kind: Publishing) -> Rule:
        family = "ip" if kind.version == 4 else "ip6"
        address = f"{family} daddr . " if kind.by_address else ""
        what = f"{'ranges' if kind.ranges else 'ports'} on {'one address' if kind.by_address else 'all'}"
        return Rule(
            # A transport key in a map needs the protocols named before it (nft's evaluator).
            f"meta nfproto ipv{kind.version} meta l4proto {{ tcp, udp, sctp }} "
            f"dnat {family} to {address}meta l4proto . th dport map @{name}",
            f"IPv{kind.version} {what}",
        )

    rules = [lookup(name, kind) for name, kind in PUBLISHING.items()]
    stub = Rule("ip daddr { 127.0.0.53, 127.0.0.54 } return", "systemd-resolved keeps its own addresses")
    return (*rules[:2], stub, *rules[2:])


def _only(name: str, opened: tuple[Rule, ...]) -> ChainLayout:
    return ChainLayout(
        name,
        (),
        (
            Rule("ct original ip daddr 127.0.0.0/8 drop", "published on loopback is for this host alone"),
            Rule("ct status dnat accept", "what was translated was published"),
            *opened,
            Rule("drop", "nothing else gets in"),
        ),
    )


_OPEN = (
    Rule("meta l4proto { icmp, ipv6-icmp } accept", "routed: ping and errors"),
    Rule("ip daddr . meta l4proto . th dport @open4 accept", "routed: published, asked for directly"),
    Rule("ip daddr . meta l4proto . th dport @open_range4 accept", "routed: published ranges"),
    Rule("ip6 daddr . meta l4proto . th dport @open6 accept", "routed: published, asked for directly"),
    Rule("ip6 daddr . meta l4proto . th dport @open_range6 accept", "routed: published ranges"),
)

CHAINS: tuple[ChainLayout, ...] = (
    # Chains that others jump to come first.
    _only("only_published", ()),
    _only("only_open", _OPEN),
    ChainLayout("publish", (), _lookups()),
    ChainLayout(
        "from_isolated",
        (),
        (
            Rule("ct state { established, related } accept", "the host may ask, and be answered"),
            Rule("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept", "IPv6 needs its neighbours"),
            Rule("drop", "isolated: no way out, not even to the host"),
        ),
    ),
    ChainLayout(
        "late",
        (),
        # As the first packet of a flow it would get the published port as its source, and with it the client's next packet.
        tuple(
            Rule(f"{family} saddr . meta l4proto . th sport @{name}{version} drop", f"late answers of {what}")
            for family, version in (("ip", 4), ("ip6", 6))
            for name, what in (("retired", "a port's former place"), ("retired_range", "a range's former place"))
        ),
    ),
    ChainLayout(
        "leave",
        (),
        (
            Rule("ip daddr @bridged4 drop", "from a bridge of ours to a bridged container"),
            Rule("ip6 daddr @bridged6 drop", "from a bridge of ours to a bridged container"),
            Rule("oifname != @bridges ip saddr @nat4 ct state invalid drop", "would leave without translation"),
            Rule("oifname != @bridges ip6 saddr @nat6 ct state invalid drop", "would leave without translation"),
        ),
    ),
    ChainLayout(
        "raw",
        ("filter", "prerouting", "-300", "accept"),
        (
            Rule("iifname @bridges ip daddr 127.0.0.0/8 drop", "route_localnet is not for containers"),
            Rule("iifname @bridges ip saddr 127.0.0.0/8 drop", "route_localnet is not for containers"),
        ),
    ),
    ChainLayout(
        "prerouting",
        ("nat", "prerouting", "-100", "accept"),
        (Rule("fib daddr type local jump publish", "addressed to this host"),),
    ),
    ChainLayout(
        "output",
        ("nat", "output", "-100", "accept"),
        (
            Rule("ip6 daddr ::1 return", "the kernel cannot translate ::1"),
            Rule("fib daddr type local jump publish", "from this host to itself"),
        ),
    ),
    ChainLayout(
        "input",
        ("filter", "input", "0", "accept"),
        (Rule("iifname @isolated jump from_isolated", "isolated containers"),),
    ),
    ChainLayout(
        "forward",
        ("filter", "forward", "0", "accept"),
        (
            Rule("iifname . oifname vmap @within", "among containers of a bridge"),
            Rule("iifname @isolated drop", "isolated: no way out"),
            Rule("oifname @isolated drop", "isolated: no way in"),
            Rule("ct state { established, related } accept", "what was let through before"),
            Rule("iifname @bridges jump late", "what a port's former place still sends"),
            Rule("iifname @bridges jump leave", "from our containers"),
            Rule("oifname vmap @arrive", "to our containers, by the bridge's mode"),
        ),
    ),
    ChainLayout(
        "postrouting",
        ("nat", "postrouting", "100", "accept"),
        (
            Rule('oifname "lo" return', "the host to itself"),
            Rule("oifname @bridges ct status dnat ip saddr 127.0.0.0/8 masquerade", "127.0.0.1 to its container"),
            Rule(
                "oifname @bridges ct status dnat ip saddr @inside4 masquerade", "a container to its own bridge's port"
            ),
            Rule(
                "oifname @bridges ct status dnat ip6 saddr @inside6 masquerade", "a container to its own bridge's port"
            ),
            Rule("oifname @bridges return", "clients keep their address"),
            Rule("snat ip to ip saddr map @snat4", "fixed source addresses"),
            Rule("snat ip6 to ip6 saddr map @snat6", "fixed source addresses"),
            Rule("ip saddr @nat4 masquerade", "to the outside"),
            Rule("ip6 saddr @nat6 masquerade", "to the outside"),
        ),
    ),
)

BRIDGE_SETS = (
    SetLayout("private", ("ifname", "ether_addr")),
    SetLayout("private_ports", ("ifname",)),
)
BRIDGE_CHAINS = (
    ChainLayout(
        "prerouting",
        # Before br_netfilter (0), which would make a frame to the gateway one to a neighbour.
        ("filter", "prerouting", "-200", "accept"),
        (
            Rule(
                "iifname @private_ports ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 "
                "iifname . ether daddr != @private drop",
                "icc: false: to the gateway, and to nobody else",
            ),
        ),
    ),
    ChainLayout(
        "forward",
        ("filter", "forward", "-200", "accept"),
        (
            Rule(
                "iifname @private_ports oifname @private_ports ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop",
                "icc: false: nor to all",
            ),
        ),
    ),
)
"""A second table, of family bridge, for `icc: false` where ports can be published.

The kernel's own port flag, `isolated`, is not enough there: with br_netfilter on, a frame to a published port of a neighbour is
bridged to it (br_nf_pre_routing_finish), which the flag forbids.
"""

RULES = {rule.comment: rule for chain in (*CHAINS, *BRIDGE_CHAINS) for rule in chain.rules}
"""Every rule by its comment: how a rule read back from the kernel gets its text."""
