"""Connection tracking: which flows a port had, and forgetting them (linux/netfilter/nfnetlink_conntrack.h).

A flow is translated once, when its first packet comes, and from then on as it was then: after a port has
got a new target or has lost it, flows that are known go on to the old one (UDP for as long as packets
come). So they are deleted.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from reconciler.core.messages import FlushConntrack, IPAddress
from reconciler.errors import PlatformError
from reconciler.kernel import decode, wire
from reconciler.kernel.meter import Meter
from reconciler.kernel.netlink import BATCH, Answer, Chunk, Family, Message, NetlinkError, Socket, persist

_SUBSYSTEM = 1 << 8  # NFNL_SUBSYS_CTNETLINK
_GET, _DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_NAMES = ("NEW", "GET", "DELETE", "GET_CTRZERO", "GET_STATS_CPU", "GET_STATS", "GET_DYING", "GET_UNCONFIRMED")
_READING = frozenset({_GET})

_TUPLE_ORIG, _TUPLE_REPLY, _ID, _ZONE = 1, 2, 12, 18  # enum ctattr_type
_OF_FLOW = frozenset({_TUPLE_ORIG, _TUPLE_REPLY, _ID, _ZONE})
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_SRC, _V6_SRC; CTA_IP_V4_DST, _V6_DST
_PROTO_NUM, _DST_PORT = 1, 3
_NESTED = 0x8000
_PROTOCOLS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132, "udplite": 136}
_AF = {4: 2, 6: 10}
_ABSENT = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT)
_PORT = struct.Struct(">H")


def _name(kind: int) -> str:
    number = kind & 0xFF
    return f"IPCTNL_MSG_CT_{_NAMES[number] if number < len(_NAMES) else number}"


NETFILTER = Family(wire.NETLINK_NETFILTER, _name, lambda kind: kind not in _READING)


class Flow(NamedTuple):
    """What of a flow decides whether it is meant."""

    protocol: int
    destination: IPAddress
    port: int
    answering: IPAddress


class Wanted:
    """Those flows that any of `requests` means."""

    def __init__(self, requests: Sequence[FlushConntrack], local: Callable[[IPAddress], bool]) -> None:
        self._local = local
        self._by_port: dict[tuple[int, int], list[FlushConntrack]] = {}
        self._ranges: list[FlushConntrack] = []
        for request in requests:
            if request.ports[0] == request.ports[1]:
                key = (_protocol(request.protocol), request.ports[0])
                self._by_port.setdefault(key, []).append(request)
            else:
                self._ranges.append(request)

    def __contains__(self, flow: Flow) -> bool:
        candidates = self._by_port.get((flow.protocol, flow.port), ())
        return any(self._means(request, flow) for request in candidates) or any(
            request.ports[0] <= flow.port <= request.ports[1] and self._means(request, flow) for request in self._ranges
        )

    def _means(self, request: FlushConntrack, flow: Flow) -> bool:
        if _protocol(request.protocol) != flow.protocol or request.version != flow.destination.version:
            return False
        if flow.answering != (flow.destination if request.target is None else request.target):
            return False
        return self._local(flow.destination) if request.address is None else flow.destination == request.address


def flush(meter: Meter, requests: Sequence[FlushConntrack], local: Callable[[IPAddress], bool]) -> None:
    """Delete what `requests` mean, with one dump per family. `local` tells the host's own addresses.

    Without connection tracking in the kernel there is nothing to do. Raises OSError, and PlatformError
    without CAP_NET_ADMIN.
    """
    wanted = Wanted(requests, local)
    try:
        persist(lambda: _flush(meter, requests, wanted))
    except NetlinkError as error:
        if error.errno == errno.EPERM:
            raise PlatformError("connection tracking cannot be read: it needs CAP_NET_ADMIN") from error
        if error.errno not in _ABSENT:
            raise
    except OSError as error:
        if error.errno not in _ABSENT:
            raise


def _flush(meter: Meter, requests: Sequence[FlushConntrack], wanted: Wanted) -> None:
    with Socket(meter, NETFILTER) as socket:
        for version in sorted({request.version for request in requests}):
            doomed = list(_doomed(socket, version, wanted))
            for first in range(0, len(doomed), BATCH):
                _delete(socket, doomed[first : first + BATCH])


def _doomed(socket: Socket, version: int, wanted: Wanted) -> Iterator[Message]:
    header = struct.pack("=BBH", _AF[version], 0, 0)  # nfgenmsg: family, version, resource
    for chunk in socket.stream(_GET, header):
        found = decode_flow(chunk)
        if found is not None and found[0] in wanted:
            yield Message(_DELETE, 0, header + found[1])


def _delete(socket: Socket, messages: Sequence[Message]) -> None:
    for answer in socket.submit(messages):
        _accept(answer)


def _accept(answer: Answer) -> None:
    if answer.errno not in (0, errno.ENOENT):  # gone by itself meanwhile
        raise OSError(answer.errno, answer.message or "a flow could not be deleted")


def decode_flow(chunk: Chunk) -> tuple[Flow, bytes] | None:
    """A flow, and the attributes that name it in a deletion; None for protocols without ports.

    The identity (CTA_ID) goes along: a flow that has just taken the place of the one seen is another one.
    """
    data, at, end = chunk
    found = wire.pick(data, at + 4, end, _OF_FLOW)
    original, reply = found.get(_TUPLE_ORIG), found.get(_TUPLE_REPLY)
    if original is None or reply is None:
        return None
    place = wire.pick(original, 0, len(original), (_TUPLE_IP, _TUPLE_PROTO))
    proto = _inner(place, _TUPLE_PROTO, (_PROTO_NUM, _DST_PORT))
    if _PROTO_NUM not in proto or _DST_PORT not in proto:
        return None
    destination = _address(place, _DESTINATIONS)
    answering = _address(wire.pick(reply, 0, len(reply), (_TUPLE_IP,)), _SOURCES)
    if destination is None or answering is None:
        return None
    flow = Flow(proto[_PROTO_NUM][0], destination, _PORT.unpack(proto[_DST_PORT])[0], answering)
    named = wire.attribute(_TUPLE_ORIG | _NESTED, original)
    for kind in (_ZONE, _ID):
        if kind in found:
            named += wire.attribute(kind, found[kind])
    return flow, named


def _address(place: dict[int, bytes], kinds: tuple[int, int]) -> IPAddress | None:
    packed = next(iter(_inner(place, _TUPLE_IP, kinds).values()), None)
    return decode.ip_address(packed) if packed else None


def _inner(outer: dict[int, bytes], kind: int, wanted: tuple[int, ...]) -> dict[int, bytes]:
    data = outer.get(kind, b"")
    return wire.pick(data, 0, len(data), wanted)


def _protocol(name: str) -> int:
    return _PROTOCOLS[name] if name in _PROTOCOLS else int(name)
