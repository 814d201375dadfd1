"""Requests that one message says together.

A host's end of a pair is made, marked, put up, put into its bridge and given its flags there: each of these is a thing of its own to
plan and to undo, and a message of its own takes the kernel's one lock for links anew, which a thousand containers' worth of
the kernel's own work is waiting for, too. Two messages do:

- a link is born as a port (IFLA_MASTER in the request that makes it: rtnl_newlink_create in net/core/rtnetlink.c), and
- marked, put up and given its flags as a port by one that changes it (rtnl_changelink does what is of the port, then do_setlink).

What fails together is tried again one by one (reconciler.kernel.batch), so which of them the kernel refuses, and why, is told as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from reconciler.core.messages import Attributes, Index, Netlink


class Fused(NamedTuple):
    """One message, and the requests that it stands for, by their positions in the group."""

    request: Netlink
    parts: tuple[int, ...]


Group: TypeAlias = "tuple[Sequence[Netlink], Sequence[Fused]]"
"""Requests that travel in one datagram, and the messages that say them, which may be fewer and in another order."""


def alone(request: Netlink) -> Group:
    """A request that is a message of its own."""
    return (request,), (Fused(request, (0,)),)


def groups(requests: Iterable[Netlink]) -> Iterator[Group]:
    """`requests` in groups: a link that is made with all that follows about it, and any other by itself."""
    gathered: list[Netlink] = []
    name = ""
    for request in requests:
        if gathered and name and _changes(request, name):
            gathered.append(request)
            continue
        if gathered:
            yield _group(gathered, name)
        gathered, name = [request], _born(request)
    if gathered:
        yield _group(gathered, name)


def _born(request: Netlink) -> str:
    """The name of the link that it makes, "" if it makes none."""
    return _named(request) if request.type == "RTM_NEWLINK" and "create" in request.flags else ""


def _named(request: Netlink) -> str:
    return next((str(value) for name, value in request.attributes.items if name == "IFLA_IFNAME"), "")


def _changes(request: Netlink, name: str) -> bool:
    """Whether it changes the link of that name, and leaves it the name."""
    if request.type not in ("RTM_SETLINK", "RTM_NEWLINK") or "create" in request.flags:
        return False
    index = next((value for field, value in request.header if field == "index"), None)
    return _named(request) == name if index is None else index == Index(name) and not _named(request)


def _group(requests: Sequence[Netlink], name: str) -> Group:
    """What is said about a new link, in as few messages as say the same."""
    messages = [Fused(request, (place,)) for place, request in enumerate(requests)]
    enslaving = [item for item in messages[1:] if _keys(item.request) == {"IFLA_MASTER"} and not _flags(item.request)]
    dressing = [item for item in messages[1:] if _keys(item.request) == {"IFLA_IFNAME", "IFLA_IFALIAS"}]
    flagging = [item for item in messages[1:] if item.request.type == "RTM_NEWLINK"]
    if len(enslaving) == 1:
        messages = _merged(messages, messages[0], enslaving[0])
        if len(dressing) == len(flagging) == 1:
            messages = _merged(messages, dressing[0], flagging[0])
    return requests, messages


def _keys(request: Netlink) -> set[str]:
    return {name for name, _ in request.attributes.items}


def _flags(request: Netlink) -> bool:
    return any(field == "flags" for field, _ in request.header)


def _merged(messages: Sequence[Fused], first: Fused, second: Fused) -> list[Fused]:
    """`messages` with the two said as one, in the place of the first."""
    attributes = Attributes((*first.request.attributes.items, *second.request.attributes.items))
    # RTM_NEWLINK without NLM_F_CREATE changes as RTM_SETLINK does, and knows what is of the port besides.
    kind = "RTM_NEWLINK" if "RTM_NEWLINK" in (first.request.type, second.request.type) else "RTM_SETLINK"
    one = Fused(first.request._replace(type=kind, attributes=attributes), (*first.parts, *second.parts))
    return [one if item is first else item for item in messages if item is not second]
