"""What is published, read from the elements of the publishing maps, and told as `docker port` tells it.

An element matches `[host address .] protocol . port-or-range` and leads to `address [. port]`; without a port
the numbers stay as they are. Its comment names `BRIDGE/CONTAINER`.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, TypeAlias

from reconciler.core.messages import HOST
from reconciler.core.resource import State
from reconciler.errors import UsageError
from reconciler.kinds.layout import PUBLISHING
from reconciler.kinds.nftables import Element
from reconciler.kinds.peer import Peer
from reconciler.render.terminal import clean, table


class Range(NamedTuple):
    """Ports from `first` to `last`, both of them included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


Numbers: TypeAlias = tuple[int, int, int, int]
"""The first and the last port of the host, and those of the container that they lead to."""


@dataclass(frozen=True, slots=True)
class Published:
    """Host ports that lead to ports of a container. `address` is None for every address of the host of
    `target`'s family."""

    bridge: str
    container: str
    protocol: str
    address: IPv4Address | IPv6Address | None
    ports: Range
    target: IPv4Address | IPv6Address
    target_ports: Range

    @classmethod
    def of(cls, element: Element) -> Published | None:
        """What `element` publishes; None if it is of no publishing map, or does not read like one."""
        return _published(element.match, element.data, element.comment) if element.set in PUBLISHING else None

    @property
    def host(self) -> str:
        """The host's side: `0.0.0.0:8080`, `[::]:8080`, `127.0.0.1:9000-9010`."""
        wildcard: IPv4Address | IPv6Address = IPv6Address(0) if self.target.version == 6 else IPv4Address(0)
        return f"{bracketed(self.address or wildcard)}:{self.ports}"

    @property
    def inside(self) -> str:
        """The container's side: `10.88.0.10:80`, `[fd00::10]:80`."""
        return f"{bracketed(self.target)}:{self.target_ports}"

    def at(self, port: int) -> Published | None:
        """The part of this that leads to the container's `port`; None if none does."""
        if not self.target_ports.first <= port <= self.target_ports.last:
            return None
        outside = self.ports.first + port - self.target_ports.first
        return Published(
            self.bridge,
            self.container,
            self.protocol,
            self.address,
            Range(outside, outside),
            self.target,
            Range(port, port),
        )


def numbers(element: Element) -> Numbers | None:
    """The ports that `element`, of a publishing map, tells of; None if it does not read like one. A small part of a Published, for those
    who look at ten thousand."""
    match, data = element.match, element.data
    if not match or not data:
        return None
    try:
        first, last = _ends(match[-1])
        return (first, last, first, last) if len(data) == 1 else (first, last, *_ends(data[1]))
    except ValueError:
        return None


def _ends(text: str) -> tuple[int, int]:
    if "-" not in text:
        return (port := int(text)), port
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def bracketed(address: IPv4Address | IPv6Address) -> str:
    """`address` as it stands before a colon and a port (RFC 3986, 3.2.2)."""
    return f"[{address}]" if address.version == 6 else str(address)


def published(found: State) -> tuple[Published, ...]:
    """All that is published in `found`, by container, then by its port, IPv4 before IPv6."""
    elements = (item for item in found.resources.values() if isinstance(item, Element))
    return tuple(sorted((item for item in map(Published.of, elements) if item is not None), key=_order))


def ports_text(found: State, container: str | None = None, port: str | None = None) -> str:
    """The lines of `docker port [CONTAINER [PORT[/PROTOCOL]]]`, for what is published in `found`.

    Without `container` a table of all; with it `80/tcp -> 0.0.0.0:8080`, one per line; with `port` just the
    host's sides. Ranges are told as ranges. Raises UsageError for a container that is not there, and for a
    port of it that is not published.
    """
    everything = published(found)
    if container is None:
        return _table(everything)
    name = _known(container, everything, found)
    own = [item for item in everything if name in (item.container, f"{item.bridge}/{item.container}")]
    if port is None:
        return _lines(f"{item.target_ports}/{item.protocol} -> {item.host}" for item in own)
    number, protocol = _asked(port)
    parts = [part for item in own if item.protocol == protocol and (part := item.at(number))]
    if not parts:
        raise UsageError(clean(_not_published(number, protocol, name, own)))
    return _lines(part.host for part in parts)


# Every line that a port is told in asks, and some ask twice.
@functools.lru_cache(maxsize=1 << 15)
def _published(match: tuple[str, ...], data: tuple[str, ...], comment: str) -> Published | None:
    if not data or len(match) not in (2, 3):
        return None
    *address, protocol, ports = match
    target, *target_port = data
    bridge, _, container = comment.partition("/")
    try:
        outside = _range(ports)
        return Published(
            bridge=bridge,
            container=container,
            protocol=protocol,
            address=_address(address[0]) if address else None,
            ports=outside,
            target=_address(target),
            target_ports=_range(target_port[0]) if target_port else outside,
        )
    except ValueError:
        return None


_address = functools.lru_cache(maxsize=4096)(ip_address)
"""Many ports lead to one container, and to build an address takes longer than all the rest of a Published."""


def _range(text: str) -> Range:
    return Range(*_ends(text))


def _order(item: Published) -> tuple[str, str, Range, str, int, int, Range]:
    outside = int(item.address or 0)
    return (
        item.container,
        item.bridge,
        item.target_ports,
        item.protocol,
        item.target.version,
        outside,
        item.ports,
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{clean(line)}\n" for line in lines)


def _table(items: tuple[Published, ...]) -> str:
    if not items:
        return "Nothing is published.\n"
    rows = [(item.container, item.bridge, f"{item.inside}/{item.protocol}", item.host) for item in items]
    return "\n".join(table([("CONTAINER", "BRIDGE", "TARGET", "HOST ADDRESS"), *rows])) + "\n"


def _known(container: str, items: tuple[Published, ...], found: State) -> str:
    """`container` if there is one of that name."""
    names = {item.container for item in items} | {f"{item.bridge}/{item.container}" for item in items}
    names |= {
        item.namespace
        for item in found.resources.values()
        if isinstance(item, Peer) and item.owner is not None and item.namespace != HOST
    }
    if container in names:
        return container
    near = difflib.get_close_matches(container, sorted(names))
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(sorted(_plain(names)))}"
    if not names:
        hint = "there are none"
    raise UsageError(clean(f"there is no container {container!r} ({hint})"))


def _plain(names: set[str]) -> set[str]:
    return {name for name in names if "/" not in name}


def _asked(port: str) -> tuple[int, str]:
    """(number, protocol) of `80`, `80/tcp`; as in Docker, the protocol is tcp unless said otherwise."""
    number, _, protocol = port.partition("/")
    if not (number.isascii() and number.isdigit()):
        raise UsageError(clean(f"{port!r} is not a port (write 80 or 80/tcp)"))
    return int(number), (protocol or "tcp").lower()


def _not_published(number: int, protocol: str, name: str, own: list[Published]) -> str:
    there = ", ".join(dict.fromkeys(f"{item.target_ports}/{item.protocol}" for item in own))
    others = f"published are: {there}" if there else "none is"
    return f"port {number}/{protocol} of {name} is not published ({others})"
