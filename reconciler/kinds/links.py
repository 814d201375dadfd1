"""What the kinds of link have in common: one key space, and the spelling of RTM_NEWLINK for a link that is there.

Sources: rtnetlink(7), linux/if_link.h, net/core/rtnetlink.c (do_setlink).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from reconciler.core.messages import HOST, Attributes, Index, LinkRecord, Netlink, Snapshot, Value
from reconciler.core.resource import Key

IFF_UP = 1


@functools.lru_cache(maxsize=1 << 14)  # all that is on a link asks for it, several times
def link_key(namespace: str, name: str) -> Key:
    """The key of a link of any kind: the kernel gives a name once per namespace, whatever the kind."""
    return Key("link", namespace, name)


@functools.lru_cache(maxsize=1 << 14)
def netns_key(name: str) -> Key:
    """The key of a network namespace."""
    return Key("netns", HOST, name)


def set_link(
    namespace: str, name: str, *, up: bool | None = None, late: bool = False, **attributes: Value | None
) -> Iterator[Netlink]:
    """The request that changes a link that is there; nothing if there is nothing to change."""
    body = Attributes.of(**attributes)
    if up is None and not body.items:
        return
    flags: tuple[tuple[str, Value], ...] = () if up is None else (("flags", IFF_UP if up else 0), ("change", IFF_UP))
    yield Netlink(namespace, "RTM_SETLINK", (), (("index", Index(name)), *flags), body, late)


def mark_new_link(namespace: str, name: str, alias: str) -> Netlink:
    """The request that marks a link just made.

    It goes by its name, so that it can travel in the datagram of the request that makes it. The kernel works that off whatever
    becomes of us: a link of ours is not seen without its mark, not even after a crash. RTM_NEWLINK itself takes no alias for
    a new link (rtnl_create_link).
    """
    return Netlink(namespace, "RTM_SETLINK", (), (), Attributes.of(IFLA_IFNAME=name, IFLA_IFALIAS=alias))


def dress_new_link(namespace: str, name: str, alias: str, *, up: bool, **attributes: Value | None) -> Iterator[Netlink]:
    """The requests that mark a link just made, and then change it, all by its name."""
    if alias:
        yield mark_new_link(namespace, name, alias)
    flags = (("flags", IFF_UP if up else 0), ("change", IFF_UP))
    yield Netlink(namespace, "RTM_SETLINK", (), flags, Attributes.of(IFLA_IFNAME=name, **attributes))


def delete_link(namespace: str, name: str) -> Iterator[Netlink]:
    """The request that removes a link."""
    yield Netlink(namespace, "RTM_DELLINK", (), (("index", Index(name)),))


def links(snapshot: Snapshot, *, host: bool) -> Iterator[tuple[str, LinkRecord]]:
    """(namespace, link) of all links but `lo`, either of the host or of all other namespaces."""
    for namespace, record in snapshot.namespaces.items():
        if (namespace == HOST) is host:
            for link in record.links:
                if link.name != "lo":
                    yield namespace, link
