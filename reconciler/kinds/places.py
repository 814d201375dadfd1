"""Where things are: the smallest parts of a host that can be looked at by themselves.

What hangs on a link of the host is in one place with it, what is in a namespace with that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from reconciler.core.messages import HOST, Part
from reconciler.core.resource import Resource
from reconciler.kinds.layout import SETS
from reconciler.kinds.nftables import Element

_OF_INTERVALS = frozenset(item.name for item in SETS if item.flags)
"""Sets of which the kernel does not tell one element: it keeps the ends of intervals."""


class Place(NamedTuple):
    """`sort` is link, netns, element, settings (of the host), or table, which cannot be looked at in part."""

    sort: str
    name: str = ""


SETTINGS = Place("settings")


def link(name: str) -> Place:
    """The place of a link of the host."""
    return Place("link", name)


def netns(name: str) -> Place:
    """The place of a network namespace and all that is in it."""
    return Place("netns", name)


def element(table: str, set: str, match: Iterable[str]) -> Place:
    """The place of one element of a set or map of `table` (as `inet filter`)."""
    return Place("element", f"{table} {set} {' . '.join(match)}")


def table(name: str) -> Place:
    """The place of a table with its sets and chains."""
    return Place("table", name)


def place(item: Resource) -> Place:
    """Where `item` is."""
    key = item.key
    if key.space in ("netns", "netns name"):
        return netns(key.name)
    if key.namespace != HOST:
        return netns(key.namespace)
    if isinstance(item, Element):
        return table(item.table) if item.set in _OF_INTERVALS else element(item.table, item.set, item.match)
    if key.space == "link":
        return link(key.name)
    outermost = item.inside()
    if key.space.startswith("nft"):
        return table(outermost[0].name if outermost else key.name)
    return link(outermost[0].name) if outermost else SETTINGS


def part(places: Iterable[Place]) -> Part:
    """What has to be looked at to know `places` anew. Raises ValueError if a table is among them."""
    names: dict[str, set[str]] = {"link": set(), "netns": set(), "element": set(), "settings": set()}
    for item in places:
        if item.sort == "table":
            raise ValueError(f"{item.name} cannot be looked at in part")
        names[item.sort].add(item.name)
    elements = set()
    for name in names["element"]:
        family, table_name, set_name, match = name.split(" ", 3)
        elements.add((f"{family} {table_name}", set_name, match))
    return Part(frozenset(names["link"]), frozenset(names["netns"]), frozenset(elements), bool(names["settings"]))
