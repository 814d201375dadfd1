"""The model kernel's state as lines that a person could type, sorted, so that two states can be compared with diff.

    netns web                                          (`lived in`: a process is inside)
    link br-web bridge up mac 02:00:00:00:00:01 mtu 9000 stp alias reconciler:default
    link eth1 physical up
    link lo in web up alias reconciler:default         (only where it is not as it was born)
    link web-0ab1c2 veth up peer eth0@web
    link eth0 in web veth up peer web-0ab1c2
    port web-0ab1c2 of br-web hairpin isolated
    address 10.88.0.1/24 on br-web proto 143
    route default via 10.88.0.1 on eth0 in web proto 143 metric 7
    sysctl net.ipv4.ip_forward 1                       (only those that are not as they were born)
    sysctl net.ipv4.ip_unprivileged_port_start 80 in web
    add table inet reconciler                          (nftables: nft's own commands)

A bridge that takes its MAC or MTU from its ports has `mac-of-ports` or `mtu-of-ports` in the place of `mac` and `mtu`. A
word with a blank in it is quoted. What is left out is as the kernel would have it: down, an MTU of 1500, a new MAC. `#` begins a comment.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

from reconciler.core.messages import HOST
from reconciler.kernel.model.network import HeldAddress, Link, Namespace, Network, Path
from reconciler.kernel.model.nft import Ruleset
from reconciler.kernel.model.sysctls import ALL_FORWARDING, IPV4_FORWARD

_DEFAULT = {4: "default", 6: "default6"}
_METRIC = {4: 0, 6: 1024}


def spell(network: Network, ruleset: Ruleset) -> str:
    """The whole state, a line for each thing."""
    spaces = sorted(network.namespaces.values(), key=lambda item: item.name)
    lines = [f"netns {item.name}" + (" lived in" if item.lived_in else "") for item in spaces if item.name != HOST]
    for part in (_link_lines, _port_lines, _address_lines, _route_lines, _sysctl_lines):
        lines += sorted(line for space in spaces for line in part(space))
    return "".join(f"{line}\n" for line in (*lines, *ruleset.lines()))


def _where(namespace: Namespace) -> str:
    return f" in {namespace.name}" if namespace.name != HOST else ""


def _is_as_born(lo: Link) -> bool:
    return lo.up is (lo.namespace.name == HOST) and not lo.alias


def _link_lines(space: Namespace) -> Iterator[str]:
    for link in space.links.values():
        if not (link.is_loopback and _is_as_born(link)):
            yield f"link {link.name}{_where(space)} " + " ".join(_link_words(link))


def _link_words(link: Link) -> Iterator[str]:
    if not link.is_loopback:
        yield link.kind or "physical"
    yield "up" if link.up else "down"
    if link.peer is not None:
        there = link.peer.namespace.name
        yield f"peer {link.peer.name}" + (f"@{there}" if there != link.namespace.name and there else "")
    if not link.is_loopback:
        yield f"{'mac-of-ports' if link.mac_of_ports else 'mac'} {link.mac}"
        if link.mtu != 1500 or (link.kind == "bridge" and not link.mtu_of_ports):
            yield f"{'mtu-of-ports' if link.mtu_of_ports else 'mtu'} {link.mtu}"
    if link.stp:
        yield "stp"
    if link.alias:
        yield f"alias {shlex.quote(link.alias)}"


def _port_lines(space: Namespace) -> Iterator[str]:
    for link in space.links.values():
        if link.master is not None:
            flags = (" hairpin" if link.hairpin else "") + (" isolated" if link.isolated else "")
            yield f"port {link.name} of {link.master.name}{_where(space)}{flags}"


def _address_lines(space: Namespace) -> Iterator[str]:
    for link in space.links.values():
        for held in link.addresses:
            scope = f" scope {held.scope}" if held.scope else ""
            protocol = f" proto {held.protocol}" if held.protocol else ""
            yield f"address {held.address} on {link.name}{_where(space)}{scope}{protocol}"


def _route_lines(space: Namespace) -> Iterator[str]:
    for link in space.links.values():
        for path in link.routes:
            version = path.destination.version
            to = _DEFAULT[version] if path.destination.prefixlen == 0 else str(path.destination)
            via = f" via {path.via}" if path.via else ""
            metric = f" metric {path.metric}" if path.metric != _METRIC[version] else ""
            yield f"route {to}{via} on {link.name}{_where(space)} proto {path.protocol}{metric}"


def _sysctl_lines(space: Namespace) -> Iterator[str]:
    for name, value in space.sysctls.changed():
        yield f"sysctl {name} {shlex.quote(' '.join(value.split()))}{_where(space)}"


# --- reading ---------------------------------------------------------------------------------------------------------


class _Words:
    """The words of a line, by what they follow."""

    def __init__(self, line: str) -> None:
        self.line = line
        self._words = shlex.split(line, comments=True)[1:]

    def first(self) -> str:
        """The next word."""
        if not self._words:
            raise ValueError(f"something is missing: {self.line}")
        return self._words.pop(0)

    def after(self, name: str) -> str | None:
        """The word behind `name`, if that is there."""
        if name not in self._words[:-1]:
            return None
        place = self._words.index(name)
        value = self._words[place + 1]
        del self._words[place : place + 2]
        return value

    def flag(self, name: str) -> bool:
        """Whether the word is there."""
        if name not in self._words:
            return False
        self._words.remove(name)
        return True

    def finish(self) -> None:
        """Raises ValueError if a word was not understood."""
        if self._words:
            raise ValueError(f"not understood: {' '.join(self._words)} in: {self.line}")


def read(lines: str, network: Network, ruleset: Ruleset) -> None:
    """Add what `lines` say. Raises ValueError for a line that is none, OSError for what cannot be."""
    pairs: dict[Link, str] = {}
    for line in filter(None, map(str.strip, lines.splitlines())):
        if line.split()[0] in ("add", "delete", "flush"):
            ruleset.execute(line)
        elif not line.startswith("#"):
            _read(line, network, pairs)
    for link, target in pairs.items():
        name, _, there = target.partition("@")
        link.peer = network.link(there or (link.namespace.name if _is_local(link, name) else HOST), name)
    for link in pairs:
        if link.peer is None or link.peer.peer is not link:
            raise ValueError(f"the other end of {link.name} is not a veth whose other end is {link.name}")


def _is_local(link: Link, peer: str) -> bool:
    return peer in link.namespace.links


def _read(line: str, network: Network, pairs: dict[Link, str]) -> None:
    words = _Words(line)
    noun = line.split()[0]
    if noun == "netns":
        lived_in = words.flag("lived") and words.flag("in")
        network.add_namespace(words.first()).lived_in = lived_in
        words.finish()
        return
    reading = {
        "link": _read_link,
        "port": _read_port,
        "address": _read_address,
        "route": _read_route,
        "sysctl": _read_sysctl,
    }
    if noun not in reading:
        raise ValueError(f"not understood: {line}")
    space = network.namespace(words.after("in") or HOST)
    target = reading[noun](words, space, network)
    if isinstance(target, tuple):
        pairs[target[0]] = target[1]
    words.finish()


def _read_link(words: _Words, space: Namespace, network: Network) -> tuple[Link, str] | None:
    name = words.first()
    alias, peer = words.after("alias"), words.after("peer")
    follows_mac, follows_mtu = words.after("mac-of-ports"), words.after("mtu-of-ports")
    mac, mtu = words.after("mac") or follows_mac, words.after("mtu")
    up = words.flag("up")
    words.flag("down")
    stp = words.flag("stp")
    if name == "lo":
        link = space.links["lo"]
    else:
        kind = words.first()
        link = network.add_link(space, name, "" if kind == "physical" else kind, None, None)
        link.mac = mac or link.mac
        link.mac_of_ports = link.mac_of_ports and (not mac or follows_mac is not None)
    if mtu or follows_mtu:
        link.mtu, link.mtu_of_ports = int(mtu or follows_mtu or 0), follows_mtu is not None
    link.up, link.stp, link.alias = up, stp, alias or ""
    return None if peer is None else (link, peer)


def _read_port(words: _Words, space: Namespace, network: Network) -> None:
    link = space.link(words.first())
    network.enslave(link, space.link(words.after("of") or ""))
    link.hairpin, link.isolated = words.flag("hairpin"), words.flag("isolated")


def _read_address(words: _Words, space: Namespace, network: Network) -> None:
    protocol, scope = words.after("proto"), words.after("scope")
    link = space.link(words.after("on") or "")
    held = HeldAddress(ip_interface(words.first()), int(protocol) if protocol else None, int(scope or 0))
    network.add_address(link, held, exclusive=True)


def _read_route(words: _Words, space: Namespace, network: Network) -> None:
    via, protocol, metric = words.after("via"), words.after("proto"), words.after("metric")
    link = space.link(words.after("on") or "")
    to = words.first()
    destination = ip_network({"default": "0.0.0.0/0", "default6": "::/0"}.get(to, to))
    gateway = ip_address(via) if via else None
    path = Path(destination, gateway, int(metric or _METRIC[destination.version]), int(protocol or 3))
    network.add_route(link, path, exclusive=True)


def _read_sysctl(words: _Words, space: Namespace, network: Network) -> None:
    name = words.first()
    name = ALL_FORWARDING if name == IPV4_FORWARD else name
    space.sysctls.written[name] = "\t".join(words.first().split())
