"""What stands in the way, in the kernel or on the host: Facts become Diagnoses. Pure; what there is to know is gathered by the command.

Each check is a function from Facts to what there is to say, and stands in CHECKS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from reconciler.core.diagnosis import Diagnosis, Level
from reconciler.core.messages import HOST, ForwardChain, NamespaceRecord, Snapshot
from reconciler.core.resource import State
from reconciler.host_rules import IPV4_FORWARDING, IPV6_FORWARDING, dropping, told, way_out
from reconciler.kernel.survey import Listener
from reconciler.kinds import BridgePort, Sysctl
from reconciler.render.ports import Published, published
from reconciler.trials import FEATURES

OLDEST_KERNEL = (5, 15)
MARKING_KERNEL = (5, 18)
"""From here on, addresses can be marked as ours (IFA_PROTO)."""
OLDEST_NFT = (1, 0, 2)
BRIDGE_CALLS = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")
FULL = 0.8
"""A connection table so full is worth a word."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known. None, or an empty mapping, is what could not be found out."""

    release: str
    """Of the kernel (uname(2))."""
    nft: str | Exception | None
    """The version of libnftables, or why there is none; None where it does not say."""
    lacking: tuple[str, ...] = ()
    """Capabilities that this process has not."""
    trials: Mapping[str, str] | Exception = field(default_factory=dict[str, str])
    """What became of each feature, or why nothing could be tried."""
    desired: State | None = None
    """What the file comes to; None without a file."""
    snapshot: Snapshot | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """Sysctls of the host by name, as far as they are there."""
    fixed: frozenset[str] = frozenset()
    """Those of them that cannot be written here."""
    at_boot: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Which file sets a sysctl at each boot, and to what."""
    listeners: tuple[Listener, ...] = ()
    connections: tuple[int, int] | None = None
    """Entries in the connection table, and how many there may be."""
    tun: bool = True
    """Whether /dev/net/tun can be opened."""


def examine(facts: Facts) -> tuple[Diagnosis, ...]:
    """All there is to say, in the order of CHECKS."""
    return tuple(
        Diagnosis(name, level, text, remedy) for name, check in CHECKS.items() for level, text, remedy in check(facts)
    )


_Said = Iterator[tuple[Level, str, str]]


# --- the machine -----------------------------------------------------------------------------------------------------


def _kernel(facts: Facts) -> _Said:
    version = numbers(facts.release)[:2]
    if version < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        yield (
            Level.WARNING,
            f"Linux {facts.release} is older than {oldest}, from which on it is tested",
            "take a newer one",
        )
    elif version < MARKING_KERNEL:
        text = (
            f"Linux {facts.release} cannot mark addresses: one that the file does not name is left alone on our links"
        )
        yield Level.NOTE, text, "nothing, or Linux 5.18 or later"
    else:
        yield Level.OK, f"Linux {facts.release}", ""


def _nft(facts: Facts) -> _Said:
    if facts.nft is None:
        return
    if isinstance(facts.nft, Exception):
        yield Level.ERROR, str(facts.nft), ""
    elif numbers(facts.nft) < OLDEST_NFT:
        oldest = ".".join(map(str, OLDEST_NFT))
        yield (
            Level.WARNING,
            f"libnftables {facts.nft} is older than {oldest}, from which on it is tested",
            "take a newer one",
        )
    else:
        yield Level.OK, f"libnftables {facts.nft}", ""


def _privilege(facts: Facts) -> _Said:
    if facts.lacking:
        text = f"this process lacks {' and '.join(facts.lacking)}, so the host's network was not looked at"
        yield Level.NOTE, text, "run this with sudo for the rest"
    else:
        yield Level.OK, "CAP_NET_ADMIN and CAP_SYS_ADMIN are there", ""


def _features(facts: Facts) -> _Said:
    if isinstance(facts.trials, Exception):
        yield Level.NOTE, f"no sandbox, no rehearsal, and no trial of the kernel's features: {facts.trials}", ""
        return
    for feature in FEATURES:
        failed = facts.trials.get(feature.name)
        # Who may open /dev/net/tun is another matter than whether there are TAPs, and said by itself.
        if failed is None or (failed and not facts.tun and feature.needed is _taps_needed):
            continue
        if not failed:
            yield Level.OK, feature.name, ""
        elif facts.desired is None or feature.needed(facts.desired):
            yield Level.ERROR, f"{feature.name}: {failed}", f"this takes the modules {feature.modules}: `modprobe` them"
        else:
            text = f"{feature.name}: {failed} (the file does not need it)"
            yield Level.NOTE, text, f"this takes the modules {feature.modules}"


_taps_needed = next(feature.needed for feature in FEATURES if feature.modules == "tun")


def _tun(facts: Facts) -> _Said:
    wanted = facts.desired is not None and _taps_needed(facts.desired)
    if not facts.tun:
        level = Level.ERROR if wanted else Level.NOTE
        yield (
            level,
            "/dev/net/tun cannot be opened, so there are no TAP devices",
            "modprobe tun; in a container, have the device in it; as another user than root, be allowed to write to it",
        )


# --- the host --------------------------------------------------------------------------------------------------------


def _forwarding(facts: Facts) -> _Said:
    for name in (IPV4_FORWARDING, IPV6_FORWARDING):
        if not _wants(facts, name) or name not in facts.settings:
            continue
        if facts.settings[name] != "0":
            yield Level.OK, f"{name} is on", ""
        elif name in facts.fixed:
            yield (
                Level.ERROR,
                f"{name} is off and cannot be written here",
                f"set {name}=1 from outside of this container",
            )
        else:
            text = f"{name} is off: nothing goes between containers and the outside"
            yield Level.WARNING, text, "`reconcile` turns it on"
        path, value = facts.at_boot.get(name, ("", ""))
        if value == "0":
            text = f"{path} turns {name} off at each boot, and whenever `sysctl --system` runs"
            yield Level.WARNING, text, f"write {name} = 1 there, or remove the line"


def _wants(facts: Facts, name: str) -> bool:
    return facts.desired is not None and any(
        isinstance(item, Sysctl) and (item.namespace, item.name) == (HOST, name)
        for item in facts.desired.resources.values()
    )


def _chains(facts: Facts) -> _Said:
    if facts.snapshot is None:
        return
    others: list[ForwardChain] = list(dropping(facts.snapshot))
    for chain in others:
        yield Level.WARNING, told(chain), way_out(chain)
    if not others:
        yield Level.OK, "no forward chain of others drops what it has no rule for", ""


def _uplinks(facts: Facts) -> _Said:
    """A link that the file counts on and that is not there, or is another one's port."""
    host = _host(facts)
    if facts.desired is None or host is None:
        return
    links = {link.name: link for link in host.links}
    for item in facts.desired.resources.values():
        if not isinstance(item, BridgePort) or (
            item.key in facts.desired.resources and _is_made(facts.desired, item.link)
        ):
            continue
        link = links.get(item.link)
        if link is None:
            text = f"uplink {item.link} of {item.bridge} is not there, so it waits"
            yield (
                Level.WARNING,
                text,
                f"bring {item.link} up, or correct `uplinks` (there are: {', '.join(sorted(links))})",
            )
        elif link.master not in (None, item.bridge):
            text = f"uplink {item.link} of {item.bridge} is a port of {link.master}"
            yield Level.ERROR, text, f"ip link set {item.link} nomaster"


def _is_made(desired: State, link: str) -> bool:
    return any(key.space == "link" and key.namespace == HOST and key.name == link for key in desired.resources)


def _host(facts: Facts) -> NamespaceRecord | None:
    return None if facts.snapshot is None else facts.snapshot.namespaces.get(HOST)


def _bridge_calls(facts: Facts) -> _Said:
    on = [name for name in BRIDGE_CALLS if facts.settings.get(name) == "1"]
    if on:
        text = (
            f"br_netfilter: {' and '.join(on)} = 1, so other firewalls see what goes within a bridge, and may drop it"
        )
        yield Level.NOTE, text, "nothing for ours, which work either way; else set them to 0"
    else:
        yield Level.OK, "br_netfilter is not at work", ""


def _reverse_path(facts: Facts) -> _Said:
    """rp_filter(ip-sysctl.rst): the higher one of `all` and the interface's own counts."""
    host = _host(facts)
    if host is None:
        return
    general = facts.settings.get(reverse_path("all"), "0")
    ours = {link.name for link in host.links if link.alias and link.alias.startswith("reconciler:")}
    strict = [
        link.name
        for link in host.links
        if link.name not in ours | {"lo"} and max(general, facts.settings.get(reverse_path(link.name), "0")) == "1"
    ]
    routed = {route.link for route in host.routes if route.destination.prefixlen == 0}
    if len(routed & set(strict)) > 1:
        names = ", ".join(sorted(name for name in strict if name in routed))
        text = f"rp_filter is strict on {names}: with several default routes, packets whose way back is another one are dropped"
        yield Level.WARNING, text, "sysctl -w net.ipv4.conf.all.rp_filter=2 (loose)"
    else:
        yield (
            Level.OK,
            f"rp_filter is strict on {', '.join(strict)}, and no harm" if strict else "rp_filter is not strict",
            "",
        )


def reverse_path(link: str) -> str:
    """The sysctl rp_filter of a link."""
    return f"net.ipv4.conf.{link.replace('.', '/')}.rp_filter"


def _connections(facts: Facts) -> _Said:
    if facts.connections is None:
        return
    used, room = facts.connections
    if used >= room * FULL:
        text = f"the connection table holds {used} of {room}: when it is full, new connections are dropped"
        yield Level.WARNING, text, f"sysctl -w net.netfilter.nf_conntrack_max={room * 4}"
    else:
        yield Level.OK, f"the connection table holds {used} of {room}", ""


# --- the file --------------------------------------------------------------------------------------------------------


def _listening(facts: Facts) -> _Said:
    if facts.desired is None:
        return
    ports = published(facts.desired)
    found = False
    for listener in facts.listeners:
        for port in ports:
            if captures(port, listener):
                found = True
                who = listener.process or "a process"
                place = f"[{listener.address}]" if listener.address.version == 6 else str(listener.address)
                text = (
                    f"{who} listens on {place}:{listener.port}/{listener.protocol}, which is published for "
                    f"{port.container}: what comes there goes to {port.container} and not to it"
                )
                yield Level.ERROR, text, "publish another port, or one address only, or stop that process"
                break
    if ports and not found:
        yield Level.OK, "no process of the host listens on a published port", ""


def captures(port: Published, listener: Listener) -> bool:
    """Whether something that is for `listener` goes to the container of `port` instead.

    A socket on `::` takes IPv4 as well, unless it says otherwise, which cannot be seen. Nothing is taken from systemd-resolved's own
    addresses, nor from ::1 (reconciler.kinds.layout).
    """
    if listener.protocol != port.protocol or not port.ports.first <= listener.port <= port.ports.last:
        return False
    if listener.address in _NEVER_TAKEN:
        return False
    dual = listener.address.version == 6 and listener.address.is_unspecified
    if listener.address.version != port.target.version and not dual:
        return False
    return port.address is None or listener.address.is_unspecified or port.address == listener.address


_NEVER_TAKEN = frozenset(map(ip_address, ("127.0.0.53", "127.0.0.54", "::1")))

CHECKS = {
    "kernel": _kernel,
    "nftables": _nft,
    "privilege": _privilege,
    "features": _features,
    "tun": _tun,
    "forwarding": _forwarding,
    "forward chains": _chains,
    "uplinks": _uplinks,
    "br_netfilter": _bridge_calls,
    "rp_filter": _reverse_path,
    "connections": _connections,
    "listeners": _listening,
}


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `6.18.44-generic` → (6, 18, 44)."""
    found: list[int] = []
    for part in version.replace("-", ".").split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)
