"""Expectations: what a line of `expect` means in packets, and whether it came true. Pure; reconciler.probe asks.

A line becomes one Probe a family, and the Servers that are to answer. What comes back are Answers, one a probe, which are judged.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from reconciler.core.messages import HOST, IPAddress
from reconciler.lower import namespace_of
from reconciler.manifest.document import (
    OUTSIDE,
    THE_HOST,
    Bridge,
    Container,
    Document,
    Expectation,
    Mode,
    Port,
    Tap,
)

# --- what is asked, and what comes back ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers with its `name`, and with the address that it sees."""

    namespace: str
    name: str
    protocol: str
    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True)
class Probe:
    """One question: does a packet from `namespace` get an answer from `address`?"""

    namespace: str
    protocol: str
    address: IPAddress
    port: int = 0


class Outcome(enum.StrEnum):
    """What became of a probe."""

    REACHED = "reached"
    REFUSED = "refused"
    """A TCP reset, or an ICMP port unreachable: a host is there, and nothing listens."""
    UNREACHABLE = "unreachable"
    """No route, or an ICMP unreachable of another sort."""
    TIMEOUT = "timed out"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `server` and `client` (the asker's address as the server saw it) are of who answered."""

    outcome: Outcome
    server: str = ""
    client: str = ""


# --- where everything is ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Places:
    """Where the ends are that the file does not say: this host's addresses on its network, and the client outside.

    `neighbours` are the client's addresses in the subnets behind the uplinks of bridged bridges, `elsewhere` the namespace that has
    all addresses which are neither this host's nor a container's.
    """

    host: tuple[IPAddress, IPAddress]
    others: tuple[IPAddress, ...]
    outside: tuple[IPAddress, IPAddress]
    client: str
    elsewhere: str
    neighbours: Mapping[str, tuple[IPAddress, ...]]


def inners(document: Document, name: str | None = None) -> Iterator[tuple[Bridge, Container]]:
    """Every container (of that `name`) on every bridge."""
    for bridge in document.bridges:
        for container in bridge.containers:
            if name in (None, container.name):
                yield bridge, container


def strangers(document: Document, others: Iterable[IPAddress]) -> list[IPAddress]:
    """Addresses that expectations name and that are neither in a bridge's subnet nor this host's: they are somewhere outside."""
    own = {*others}
    asked = (one.address for one in document.expectations)
    return [
        address
        for address in dict.fromkeys(asked)
        if not (address is None or address in own or address.is_loopback or _is_inside(document, address))
    ]


def _is_inside(document: Document, address: IPAddress) -> bool:
    networks = (interface.network for bridge in document.bridges for interface in bridge.addresses)
    bridged = (interface.network for _, container in inners(document) for interface in container.addresses)
    return any(address in network for network in (*networks, *bridged))


def host_addresses(document: Document, places: Places) -> set[IPAddress]:
    """All addresses of this host."""
    bridges = {interface.ip for bridge in document.bridges for interface in bridge.addresses}
    return {*places.host, *places.others, *bridges, ip_address("127.0.0.1"), ip_address("::1")}


# --- what an expectation means ---------------------------------------------------------------------------------------


def describe(expectation: Expectation) -> str:
    """The expectation as a person would say it, without its verdict."""
    words = [f"{expectation.source} → {destination(expectation)}"]
    if not expectation.allowed:
        words.append("is not allowed" if expectation.reaches is None else f"does not reach {expectation.reaches}")
    elif expectation.reaches is not None:
        words.append(f"reaches {expectation.reaches}")
    if expectation.seen_as is not None:
        words.append(f"as {expectation.seen_as}")
    return " ".join(words)


def destination(expectation: Expectation) -> str:
    """The destination as the file writes it."""
    address, port = expectation.address, expectation.port
    name = expectation.target or (f"[{address}]" if address and address.version == 6 else str(address))
    suffix = "/udp" if expectation.protocol == "udp" else ""
    return f"{name}{suffix}" if port is None else f"{name}:{port}{suffix}"


def probes(document: Document, places: Places, expectation: Expectation) -> tuple[Probe, ...]:
    """What is asked, one for each of the expectation's versions."""
    namespace = _namespace(document, places, expectation.source)
    return tuple(
        Probe(namespace, expectation.protocol, _asked(document, places, expectation, version), expectation.port or 0)
        for version in expectation.versions
    )


def _namespace(document: Document, places: Places, end: str) -> str:
    if end in (THE_HOST, OUTSIDE):
        return HOST if end == THE_HOST else places.client
    return next(
        namespace_of(container.attach)
        for _, container in inners(document, end)
        if container.addresses and not isinstance(container.attach, Tap)
    )


def _asked(document: Document, places: Places, expectation: Expectation, version: int) -> IPAddress:
    """The address that is asked at."""
    if expectation.address is not None:
        return expectation.address
    if expectation.target == THE_HOST:
        return _of(places.host, version)
    if expectation.target == OUTSIDE:
        return _outside_of(document, places, expectation.source, version)
    return _address(document, expectation.target, expectation.source, version)


def _of(pair: tuple[IPAddress, IPAddress], version: int) -> IPAddress:
    return pair[0] if version == 4 else pair[1]


def _outside_of(document: Document, places: Places, source: str, version: int) -> IPAddress:
    """The client's address for who asks: for one on a bridge with uplinks and without a gateway, in its own subnet."""
    found = list(inners(document, source))
    if not any(container.default_route for _, container in found):
        for bridge, container in found:
            for neighbour in places.neighbours.get(bridge.name, ()):
                if neighbour.version == version and any(neighbour in own.network for own in container.addresses):
                    return neighbour
    return _of(places.outside, version)


def _address(document: Document, name: str, source: str, version: int) -> IPAddress:
    """The container's address: on a bridge that `source` is on too, else on that of its default route, else the first."""
    shared = {bridge.name for bridge, _ in inners(document, source)}
    found = [
        (bridge.name in shared, container.default_route, interface.ip)
        for bridge, container in inners(document, name)
        for interface in container.addresses
        if interface.version == version
    ]
    # max() takes the first of equals.
    return max(found, key=lambda item: item[:2])[2]


def servers(document: Document, places: Places, expectation: Expectation) -> Iterator[Server]:
    """Who listens for this expectation: whoever is asked, and all that publish what is asked of the host.

    On the host itself somebody listens only if the expectation says so by `reaches: host`: what serves there is not in the file.
    """
    if expectation.port is None:
        return
    own = host_addresses(document, places)
    for probe in probes(document, places, expectation):
        if probe.address in own:
            if expectation.reaches == THE_HOST:
                yield Server(HOST, THE_HOST, probe.protocol, probe.address, probe.port)
            yield from _publishers(document, probe)
            continue
        here = [
            Server(namespace_of(container.attach), container.name, probe.protocol, probe.address, probe.port)
            for _, container in inners(document)
            if any(interface.ip == probe.address for interface in container.addresses)
            and not isinstance(container.attach, Tap)
        ]
        yield from here
        if not here and not _is_inside(document, probe.address):
            yield Server(_outer(places, probe), OUTSIDE, probe.protocol, probe.address, probe.port)
        elif not here and any(probe.address in addresses for addresses in places.neighbours.values()):
            yield Server(places.client, OUTSIDE, probe.protocol, probe.address, probe.port)


def _outer(places: Places, probe: Probe) -> str:
    return places.client if probe.address in places.outside else places.elsewhere


def _publishers(document: Document, probe: Probe) -> Iterator[Server]:
    """Whoever publishes what is asked, on whichever address of the host: who answers is not decided here."""
    for _, container in inners(document):
        for port in container.ports:
            if _covers(port, probe.port, probe.protocol):
                target = probe.port - port.published[0] + port.target[0]
                for interface in container.addresses:
                    if interface.version == probe.address.version and not isinstance(container.attach, Tap):
                        namespace = namespace_of(container.attach)
                        yield Server(namespace, container.name, probe.protocol, interface.ip, target)


# --- whether it came true --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one expectation. `expected` and `happened` are for people; `happened` has a line for each family that failed."""

    expectation: Expectation
    ok: bool
    expected: str
    happened: tuple[str, ...]
    answers: tuple[tuple[int, Answer], ...]
    """(version of IP, what came back)"""


def judge(document: Document, places: Places, expectation: Expectation, answers: Sequence[Answer]) -> Result:
    """Holds what came back, in the order of `probes`, against what was expected."""
    happened = []
    several = len(expectation.versions) > 1
    for version, answer in zip(expectation.versions, answers, strict=True):
        if not _as_expected(document, places, expectation, version, answer):
            hint = _hint(document, expectation, answer)
            family = f"IPv{version}: " if several else ""
            happened.append(f"{family}{said(answer, _instead(answer, expectation))}{hint}")
    found = tuple(zip(expectation.versions, answers, strict=True))
    return Result(expectation, not happened, _expected(expectation), tuple(happened), found)


def answerer(expectation: Expectation) -> str | None:
    """Who is expected to answer; None if anybody may."""
    if expectation.reaches is not None or expectation.port is None:
        return expectation.reaches
    return None if expectation.target in ("", THE_HOST) else expectation.target


def _as_expected(document: Document, places: Places, expectation: Expectation, version: int, answer: Answer) -> bool:
    who = answerer(expectation)
    right = answer.outcome is Outcome.REACHED and who in (None, answer.server)
    if not expectation.allowed or not right:
        return right is expectation.allowed
    if expectation.seen_as is None:
        return True
    return ip_address(answer.client) in _seen(document, places, expectation)


def _seen(document: Document, places: Places, expectation: Expectation) -> set[IPAddress]:
    """The addresses of which the server is to see one."""
    source, seen_as = expectation.source, expectation.seen_as
    if seen_as == THE_HOST or (seen_as == "client" and source == THE_HOST):
        return host_addresses(document, places)
    if not isinstance(seen_as, str | None):
        return {seen_as}
    if source == OUTSIDE:
        return {*places.outside, *(address for pair in places.neighbours.values() for address in pair)}
    return {interface.ip for _, container in inners(document, source) for interface in container.addresses}


def _expected(expectation: Expectation) -> str:
    if not expectation.allowed:
        return "no answer" if expectation.reaches is None else f"no answer of {expectation.reaches}"
    who = answerer(expectation)
    if expectation.port is None:
        return "an answer to the ping"
    seen = {None: "", "client": ", which sees the client's own address", THE_HOST: ", which sees this host's address"}
    said = seen.get(expectation.seen_as) if isinstance(expectation.seen_as, str | None) else None
    if said is None:
        said = f", which sees {expectation.seen_as}"
    return f"an answer{f' of {who}' if who else ''}{said}"


def said(answer: Answer, instead: str = "") -> str:
    """What happened, in a few words."""
    if answer.outcome is not Outcome.REACHED:
        return str(answer.outcome)
    return f"reached {answer.server}{instead}, which saw {answer.client}" if answer.server else "answered"


def _instead(answer: Answer, expectation: Expectation) -> str:
    who = answerer(expectation)
    return " instead" if expectation.allowed and who not in (None, answer.server) else ""


def _hint(document: Document, expectation: Expectation, answer: Answer) -> str:
    """Why a port that is published was not found, where that can be told: it is on certain addresses of the host alone."""
    if expectation.target != THE_HOST or not expectation.allowed or answer.outcome is Outcome.REACHED:
        return ""
    found = [
        port
        for _, container in inners(document)
        for port in container.ports
        if expectation.port is not None and _covers(port, expectation.port, expectation.protocol)
    ]
    if not found:
        return "" if expectation.port is None or expectation.reaches == THE_HOST else " (nobody publishes it)"
    hosts = [port.host_ip for port in found if port.host_ip is not None and not port.host_ip.is_unspecified]
    if len(hosts) < len(found):
        return ""
    host = f"[{hosts[0]}]" if hosts[0].version == 6 else str(hosts[0])
    return f' (it is published on {hosts[0]} alone: write "{host}:{expectation.port}")'


def _covers(port: Port, number: int, protocol: str) -> bool:
    return port.protocol == protocol and port.published[0] <= number <= port.published[1]


def neighbours(document: Document) -> dict[str, tuple[tuple[IPAddress, int], ...]]:
    """For each bridge with uplinks, an address (and prefix length) in each subnet of its containers that nobody has: there the client
    outside is their neighbour."""
    taken = {interface.ip for _, container in inners(document) for interface in container.addresses}
    taken |= {interface.ip for bridge in document.bridges for interface in bridge.addresses}
    taken |= {route.via for _, container in inners(document) for route in container.routes if route.via}
    taken |= {one.address for one in document.expectations if one.address}
    found: dict[str, tuple[tuple[IPAddress, int], ...]] = {}
    for bridge in document.bridges:
        if bridge.mode is Mode.BRIDGED and bridge.uplinks:
            networks = {interface.network for container in bridge.containers for interface in container.addresses}
            free = []
            for network in sorted(networks, key=str):
                last = min(network.num_addresses - 2, 65_534)
                chosen = next((network[at] for at in range(last, 0, -1) if network[at] not in taken), None)
                if chosen is not None:
                    free.append((chosen, network.prefixlen))
            found[bridge.name] = tuple(free)
    return found
