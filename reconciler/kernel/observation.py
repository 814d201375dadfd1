"""Looking: the dumps of every namespace, and names for their indexes.

One socket and three dumps per namespace, entered one after the other, so that five thousand of them take
no more file descriptors than one.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from reconciler.core.messages import (
    HOST,
    AddressRecord,
    LinkRecord,
    NamespaceRecord,
    RouteRecord,
    Scope,
    by_process,
)
from reconciler.errors import RefusedError
from reconciler.kernel import decode, sysctl, wire
from reconciler.kernel.decode import RawLink
from reconciler.kernel.meter import Meter
from reconciler.kernel.namespaces import Identity, Namespaces
from reconciler.kernel.netlink import NetlinkError, Socket, persist

_NETNSA_NSID, _NETNSA_FD = 1, 3  # linux/net_namespace.h
_NOT_ASSIGNED = -1


@dataclass(slots=True)
class _Look:
    """What was seen in one namespace. `name` is the one that peers are told by; there may be others."""

    name: str
    links: dict[int, RawLink]
    addresses: tuple[AddressRecord, ...]
    routes: tuple[RouteRecord, ...]
    sysctls: dict[str, str]
    home: int = _NOT_ASSIGNED
    """The number that this namespace has for the host's, if there is a veth in it (ip-netns(8), nsid)."""
    peers: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By the index of the near end."""

    def record(self) -> NamespaceRecord:
        links = tuple(self._link(raw) for raw in self.links.values())
        return NamespaceRecord(links, self.addresses, self.routes, self.sysctls)

    def _link(self, raw: RawLink) -> LinkRecord:
        master = self.links.get(raw.master) if raw.master else None
        return LinkRecord(
            raw.name,
            raw.kind,
            raw.mac,
            raw.mtu,
            raw.up,
            raw.alias,
            master.name if master else None,
            self.peers.get(raw.index),
            raw.port,
            raw.stp,
            raw.tap,
        )


def observe(scope: Scope, named: Sequence[str], namespaces: Namespaces, meter: Meter) -> dict[str, NamespaceRecord]:
    """Every namespace of `scope`, and all `named` ones, under each name. Those that are gone are left out.

    An engine may give the namespace of its container a name, too (Podman does): one that is asked for by its process is shown by
    no other name, or what is wanted in there would be found there twice, and be unwanted once.

    Raises PlatformError when not allowed to look, RefusedError when the kernel will not show something in
    full.
    """
    with namespaces.touring() as enter:
        observer = _Observer(namespaces, meter, None if scope.part is None else scope.part.links, enter)
        _look_around(observer, scope, named)
    observer.pair()
    return observer.records()


def _look_around(observer: _Observer, scope: Scope, named: Sequence[str]) -> None:
    wanted: dict[str, list[str]] = {}
    for namespace, name in sorted(scope.sysctls):
        wanted.setdefault(namespace, []).append(name)
    for name in (HOST, *sorted(scope.namespaces if scope.part is None else scope.part.namespaces)):
        observer.look(name, wanted.get(name, ()))
    if scope.part is None:
        by_processes = observer.identities(filter(by_process, scope.namespaces))
        for name in named:
            if name not in scope.namespaces:
                observer.look(name, wanted.get(name, ()), unless=by_processes)


class _Observer:
    """`links` are those of the host to look at, None for all; `enter` puts us into a namespace."""

    def __init__(
        self, namespaces: Namespaces, meter: Meter, links: frozenset[str] | None, enter: Callable[[int], None]
    ) -> None:
        self._namespaces = namespaces
        self._meter = meter
        self._links = links
        self._enter = enter
        self._looks: dict[Identity, _Look] = {}
        self._named: dict[str, tuple[Identity, dict[str, str]]] = {}

    def identities(self, names: Iterable[str]) -> frozenset[Identity]:
        """Which namespaces those of `names` are that were looked at."""
        return frozenset(self._named[name][0] for name in names if name in self._named)

    def look(self, name: str, sysctls: list[str] | tuple[str, ...], unless: Set[Identity] = frozenset()) -> None:
        """Look into the namespace of that name, if there is one, and it is none of `unless`. The host's is to be the first."""
        try:
            try:
                opened, identity = self._namespaces.identified(name)
            except FileNotFoundError:
                return
            try:
                if identity in unless:
                    return
                if name != HOST:
                    self._enter(opened)
                if identity not in self._looks:
                    self._looks[identity] = persist(lambda: self._dump(name))
                self._named[name] = (identity, sysctl.read(self._meter, sysctls))
            finally:
                os.close(opened)
        except OSError as error:
            where = f"the network namespace {name}" if name else "the host's network namespace"
            raise RefusedError(f"{where} cannot be looked at: {error.strerror or error}") from error

    def records(self) -> dict[str, NamespaceRecord]:
        """A record for every name."""
        found = {identity: look.record() for identity, look in self._looks.items()}
        return {
            name: found[identity]._replace(sysctls=sysctls) if sysctls else found[identity]
            for name, (identity, sysctls) in self._named.items()
        }

    def _dump(self, name: str) -> _Look:
        with Socket(self._meter, for_questions=True) as socket:
            if name == HOST and self._links is not None:
                links = {raw.index: raw for raw in _some_links(socket, self._links)}
                # Masters are there to be named; what hangs on them was not asked for.
                asked = [index for index, raw in links.items() if raw.name in self._links]
                of_addresses, of_routes = [*map(decode.addresses_of, asked)], [*map(decode.routes_by, asked)]
            else:
                links = {raw.index: raw for raw in map(decode.link, socket.dump(wire.RTM_GETLINK, decode.ALL_LINKS))}
                of_addresses, of_routes = [decode.ALL_ADDRESSES], [decode.MAIN_ROUTES]
            names = {index: raw.name for index, raw in links.items()}.get
            addresses = [
                decode.address(chunk, names) for body in of_addresses for chunk in socket.dump(wire.RTM_GETADDR, body)
            ]
            routes = [
                decode.route(chunk, names) for body in of_routes for chunk in socket.dump(wire.RTM_GETROUTE, body)
            ]
            look = _Look(
                name,
                links,
                tuple(item for item in addresses if item is not None),
                tuple(item for item in routes if item is not None),
                {},
            )
            # After the links: to show them is what gives a number to the namespaces of their far ends (rtnl_fill_link_netnsid).
            if name != HOST and any(raw.nsid is not None for raw in _veths(look)):
                look.home = _number(socket, self._namespaces.home)
        return look

    # --- the two ends of veth pairs ---

    def pair(self) -> None:
        """Find the other end of every veth, which the kernel tells as an index in a namespace that it tells by number.

        Nearly all of them lead home, and each namespace was asked for its number for that while we were in it.
        """
        home = self._looks[self._namespaces.home_identity]
        for look in self._looks.values():
            for raw in _veths(look):
                if raw.nsid is None:
                    self._tie(look, raw, look)
                elif raw.nsid == look.home:
                    self._tie(look, raw, home)
        for look in self._looks.values():
            left = [] if look is home else list(_unpaired(look))
            if left:
                self._pair_from(look, left, _mirror(self._looks, left))

    def _pair_from(self, look: _Look, veths: list[RawLink], candidates: Mapping[str, _Look]) -> None:
        """Ask, from inside of `look`, for the numbers of the namespaces `candidates`, in which there may be peers of `veths`."""
        if not candidates:
            return
        try:
            with self._namespaces.inside(look.name), Socket(self._meter, for_questions=True) as socket:
                numbers = {self._number_of(socket, name): other for name, other in candidates.items()}
        except FileNotFoundError:  # gone since it was looked at
            return
        except OSError as error:
            raise RefusedError(f"the far ends of veths cannot be told: {error.strerror}") from error
        for raw in veths:
            other = numbers.get(_NOT_ASSIGNED if raw.nsid is None else raw.nsid)
            if other is not None and raw.nsid != _NOT_ASSIGNED:
                self._tie(look, raw, other)

    def _number_of(self, socket: Socket, name: str) -> int:
        try:
            opened = self._namespaces.open(name)
        except FileNotFoundError:
            return _NOT_ASSIGNED
        try:
            return _number(socket, opened)
        finally:
            os.close(opened)

    def _tie(self, look: _Look, raw: RawLink, other: _Look) -> None:
        far = other.links.get(raw.link)
        if far is not None and far.link == raw.index:
            look.peers[raw.index] = (other.name, far.name)
            other.peers[far.index] = (look.name, raw.name)


def _number(socket: Socket, opened: int) -> int:
    """The number that the namespace of `socket` has for the one of a file descriptor (RTM_GETNSID)."""
    body = bytes(4) + wire.attribute(_NETNSA_FD, struct.pack("=I", opened))
    data, at, end = socket.ask(wire.RTM_GETNSID, body)
    found = wire.pick(data, at + 4, end, (_NETNSA_NSID,))
    return int.from_bytes(found.get(_NETNSA_NSID, b"\xff" * 4), sys.byteorder, signed=True)


def _some_links(socket: Socket, names: frozenset[str]) -> Iterator[RawLink]:
    """Those of `names` that are there, and what they are ports of."""
    masters = set()
    for name in sorted(names):
        raw = _one_link(socket, decode.link_called(name))
        if raw is not None:
            masters.add(raw.master)
            yield raw
    for index in sorted(masters - {0}):
        raw = _one_link(socket, decode.link_at(index))
        if raw is not None:
            yield raw


def _one_link(socket: Socket, body: bytes) -> RawLink | None:
    try:
        return decode.link(socket.ask(wire.RTM_GETLINK, body))
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def _veths(look: _Look) -> Iterator[RawLink]:
    return (raw for raw in look.links.values() if raw.kind == "veth" and raw.link)


def _unpaired(look: _Look) -> Iterator[RawLink]:
    return (raw for raw in _veths(look) if raw.index not in look.peers and raw.nsid is not None)


def _mirror(looks: Mapping[Identity, _Look], veths: list[RawLink]) -> dict[str, _Look]:
    """Namespaces with a veth that says of one of `veths` what that says of it: the only ones worth asking
    about."""
    ends = {(raw.link, raw.index) for raw in veths}
    return {look.name: look for look in looks.values() if any((raw.index, raw.link) in ends for raw in _unpaired(look))}
