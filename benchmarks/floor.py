#!/usr/bin/env python3
"""The floor: what the kernel itself takes for N containers on one bridge, asked from Python by raw netlink.

For each container a network namespace with a name, a veth pair whose far end is born inside, both links and `lo` up, an address, a
default route; then every namespace is read back once. Nothing is compared, checked, marked or guarded, there is no nftables,
and there are no messages but these, in datagrams of 32 where they go to one namespace. It is what any tool has to pay.

usage: floor.py N [REST]        prints one JSON object, times in milliseconds; runs in namespaces of its own, needs no root
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise

from reconciler import scratch
from reconciler.kernel.wire import HEADER, IFADDR, IFINFO, RTMSG, attribute

NEWLINK, GETLINK, NEWADDR, GETADDR, NEWROUTE, GETROUTE = 16, 18, 20, 22, 24, 26
REQUEST, ACK, DUMP, CREATE_EXCL = 0x1, 0x4, 0x300, 0x600
ERROR, DONE = 2, 3
SOL_NETLINK, CAP_ACK, EXT_ACK, STRICT_CHECK = 270, 10, 11, 12
IFNAME, MASTER, LINKINFO, NET_NS_FD, EXT_MASK = 3, 10, 18, 28, 29
INFO_KIND, INFO_DATA, VETH_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL, RTA_GATEWAY = 1, 2, 5
SKIP_STATISTICS = struct.pack("=I", 8)
MS_BIND = 0x1000
BATCH = 32
IFF_UP = 1


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A request of that type, whose body is padded as attributes are."""
    return HEADER.pack(HEADER.size + len(body), kind, flags | REQUEST, 0, 0) + body


def opened() -> socket.socket:
    """A socket into the namespace that we are in."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    for option in (CAP_ACK, EXT_ACK, STRICT_CHECK):
        made.setsockopt(SOL_NETLINK, option, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return made


def answers(sock: socket.socket) -> Iterator[tuple[int, int]]:
    """(type, error) of messages as they come, without end."""
    while True:
        data, at = sock.recv(1 << 17), 0
        while at < len(data):
            size, kind, *_ = HEADER.unpack_from(data, at)
            yield kind, struct.unpack_from("=i", data, at + HEADER.size)[0] if kind == ERROR else 0
            at += (size + 3) & ~3


def submit(sock: socket.socket, messages: list[bytes]) -> None:
    """Sends them as one datagram, and waits for as many acknowledgements."""
    sock.send(b"".join(messages))
    for _, error in islice(answers(sock), len(messages)):
        if error:
            raise OSError(-error, os.strerror(-error))


def dump(sock: socket.socket, kind: int, body: bytes) -> int:
    """How many there are of a kind."""
    sock.send(message(kind, DUMP, body))
    for seen, (answer, _) in enumerate(answers(sock)):
        if answer == DONE:
            return seen
    raise AssertionError("unreachable")


def create_namespace(path: str) -> int:
    """A fresh namespace, which the calling thread is then in. Returns its file descriptor."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o444))
    scratch.unshare(scratch.CLONE_NEWNET)
    scratch.mount("/proc/thread-self/ns/net", path, "none", MS_BIND)
    return os.open(path, os.O_RDONLY)


def bridge(name: str) -> bytes:
    """The request that makes a bridge, up."""
    info = attribute(LINKINFO, attribute(INFO_KIND, b"bridge\0"))
    return message(
        NEWLINK,
        ACK | CREATE_EXCL,
        IFINFO.pack(0, 0, 0, IFF_UP, IFF_UP) + attribute(IFNAME, name.encode() + b"\0") + info,
    )


def veth(name: str, master: int, namespace: int) -> bytes:
    """The request that makes a pair: a port of `master`, up, and `eth0` in `namespace`."""
    far = IFINFO.pack(0, 0, 0, 0, 0) + attribute(IFNAME, b"eth0\0") + attribute(NET_NS_FD, struct.pack("=I", namespace))
    info = attribute(INFO_KIND, b"veth\0") + attribute(INFO_DATA, attribute(VETH_PEER, far))
    near = attribute(IFNAME, name.encode() + b"\0") + attribute(MASTER, struct.pack("=I", master))
    return message(NEWLINK, ACK | CREATE_EXCL, IFINFO.pack(0, 0, 0, IFF_UP, IFF_UP) + near + attribute(LINKINFO, info))


def inside(number: int) -> list[bytes]:
    """The requests inside the container of that number."""
    index = socket.if_nametoindex("eth0")
    own = socket.inet_aton(f"10.100.{number // 250}.{number % 250 + 2}")
    address = attribute(IFA_LOCAL, own) + attribute(IFA_ADDRESS, own)
    gateway = attribute(RTA_GATEWAY, socket.inet_aton("10.100.255.254"))
    return [
        message(NEWLINK, ACK, IFINFO.pack(0, 0, 1, IFF_UP, IFF_UP)),
        message(NEWLINK, ACK, IFINFO.pack(0, 0, index, IFF_UP, IFF_UP)),
        message(NEWADDR, ACK | CREATE_EXCL, IFADDR.pack(socket.AF_INET, 16, 0, 0, index) + address),
        message(NEWROUTE, ACK | CREATE_EXCL, RTMSG.pack(socket.AF_INET, 0, 0, 0, 254, 3, 0, 1, 0) + gateway),
    ]


def batches(items: Iterable[bytes]) -> Iterator[list[bytes]]:
    """`items` in lists of at most BATCH."""
    rest = iter(items)
    while some := list(islice(rest, BATCH)):
        yield some


def read_links(sock: socket.socket) -> int:
    """All links, without their counters."""
    return dump(sock, GETLINK, IFINFO.pack(0, 0, 0, 0, 0) + attribute(EXT_MASK, SKIP_STATISTICS))


def now() -> tuple[float, float]:
    """Seconds by the clock, and of processor time."""
    return time.perf_counter(), time.process_time()


def main(count: int, rest: float) -> None:
    """Does it, and prints what it took. `rest` (seconds) are waited before all is read: until then the kernel is busy with what it
    does by itself when there is a carrier (MLD, DAD), which is no part of reading."""
    scratch.enter()
    times = [now()]
    namespaces = [create_namespace(f"/run/netns/c{number}") for number in range(count)]
    times.append(now())

    create_namespace("/run/netns/host")
    host = opened()
    submit(host, [bridge("br0")])
    master = socket.if_nametoindex("br0")
    for batch in batches(veth(f"v{number}", master, namespace) for number, namespace in enumerate(namespaces)):
        submit(host, batch)
    times.append(now())

    for number, namespace in enumerate(namespaces):
        scratch.setns(namespace)
        with opened() as sock:
            submit(sock, inside(number))
    times.append(now())

    time.sleep(rest)
    times.append(now())
    seen = read_links(host)
    for namespace in namespaces:
        scratch.setns(namespace)
        with opened() as sock:
            seen += read_links(sock)
            seen += dump(sock, GETADDR, IFADDR.pack(0, 0, 0, 0, 0))
            seen += dump(sock, GETROUTE, RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0))
    times.append(now())

    spans = [(end[0] - begin[0], end[1] - begin[1]) for begin, end in pairwise(times)]
    result = {"containers": count, "objects_read": seen}
    for suffix, values in zip(("", "_cpu"), zip(*spans, strict=True), strict=True):
        phases = dict(zip(("namespaces", "links", "inside", "rest", "observe"), values, strict=True))
        phases["apply"] = sum(values[:3])
        result |= {f"{name}{suffix}": round(value * 1000, 1) for name, value in phases.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
