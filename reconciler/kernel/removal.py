"""Deleting many links at once.

Each deletion of its own waits for all processors to have seen it (synchronize_net in unregister_netdevice_many), some 20 ms for a
veth pair. A whole group is deleted with one such wait. So links that are to go are put into a group of their own, which takes
microseconds, and the group is deleted (RTM_DELLINK with IFLA_GROUP: rtnl_group_dellink in net/core/rtnetlink.c). Both are said
in one datagram, which the kernel works off to its end: no link is ever seen that was put into such a group and not deleted.

A bridge that goes along is put down first. For each port that leaves a bridge that is up the kernel visits all others
(br_port_state_selection in net/bridge/br_stp.c, from NETDEV_DOWN of the port and again from del_nbp), and what containers say to
everybody as they lose their carriers is copied to all ports. Of a thousand ports that is half of the time, with all links locked.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence

from reconciler.core.messages import Attributes, Index, Netlink, Request
from reconciler.kernel import decode, wire
from reconciler.kernel.netlink import Socket

WORTH_A_GROUP = 3
MOST = 1000
"""Links that one datagram puts into a group: what is done is not acknowledged one by one, so there is room for hundreds."""
NO_GROUP = 0
"""INIT_NETDEV_GROUP, that of links nobody has put into one."""
_IFF_UP = 1
_BRIDGES = decode.ALL_LINKS + wire.attribute(decode.IFLA_LINKINFO, wire.attribute(decode.IFLA_INFO_KIND, b"bridge\0"))
"""The request for all bridges. The kernel passes over links of other kinds (link_kind_filtered in net/core/rtnetlink.c, since 4.6)."""


def leading(requests: Iterable[Request], namespace: str) -> Sequence[Netlink]:
    """The deletions of links of `namespace` that `requests` begins with."""

    def is_deletion(request: Request) -> bool:
        return (
            isinstance(request, Netlink)
            and (request.type, request.namespace) == ("RTM_DELLINK", namespace)
            and not request.attributes.items
        )

    return [request for request in itertools.takewhile(is_deletion, requests) if isinstance(request, Netlink)]


def fresh_group() -> int:
    """A group that nobody uses: one of two thousand million, by chance."""
    return int.from_bytes(os.urandom(4), "big") % (2**31 - 2**16) + 2**16


def marks(doomed: Iterable[Netlink], group: int) -> Sequence[Netlink]:
    """What puts the links of the deletions `doomed` into `group`."""
    body = Attributes.of(IFLA_GROUP=group)
    return [Netlink(request.namespace, "RTM_SETLINK", (), request.header, body) for request in doomed]


def running_bridges(socket: Socket, doomed: Iterable[Netlink]) -> Sequence[str]:
    """The names of the bridges that are up among the links of the deletions `doomed`. Raises OSError."""
    names = {value.name for request in doomed for _, value in request.header if isinstance(value, Index)}
    found = map(decode.link, socket.stream(wire.RTM_GETLINK, _BRIDGES))
    return [link.name for link in found if link.kind == "bridge" and link.up and link.name in names]


def switches(namespace: str, bridges: Iterable[str], *, up: bool) -> Sequence[Netlink]:
    """What puts `bridges` up, or down."""
    header = (("flags", _IFF_UP if up else 0), ("change", _IFF_UP))
    return [Netlink(namespace, "RTM_SETLINK", (), (("index", Index(name)), *header)) for name in bridges]


def sentence(namespace: str, group: int) -> Netlink:
    """What deletes all links of `group`."""
    return Netlink(namespace, "RTM_DELLINK", (), (), Attributes.of(IFLA_GROUP=group))
