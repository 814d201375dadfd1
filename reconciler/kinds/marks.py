"""The marks by which we know our own things again. There is no state file: this is all there is.

A link carries the interface alias `reconciler:NAME`. A bridge with uplinks lists them behind it, since an uplink is not ours and
its alias is not ours to write: `reconciler:NAME uplinks=eth1,eth2`. Addresses and routes carry our protocol number and belong to the
owner of their link. All nftables state lives in one inet table, whose name says the owner, and, where containers are kept from each other,
in a bridge table of the same name.
"""

from __future__ import annotations

import functools

DEFAULT_OWNER = "default"
_PREFIX = "reconciler:"
_UPLINKS = " uplinks="
_TABLE = "reconciler"
_FAMILIES = ("inet", "bridge")


def alias(owner: str, uplinks: tuple[str, ...] = ()) -> str:
    """The interface alias of a link of `owner`."""
    return f"{_PREFIX}{owner}" + (_UPLINKS + ",".join(uplinks) if uplinks else "")


@functools.lru_cache(maxsize=1024)  # all that one made has the same
def owner_of(alias: str | None) -> str | None:
    """Whose link it is that has this `alias`; None if it is not one of ours."""
    if not alias or not alias.startswith(_PREFIX):
        return None
    return alias[len(_PREFIX) :].partition(_UPLINKS)[0] or None


def uplinks_of(alias: str | None) -> tuple[str, ...]:
    """The uplinks that a bridge with this `alias` says it took."""
    if owner_of(alias) is None:
        return ()
    names = (alias or "").partition(_UPLINKS)[2]
    return tuple(names.split(",")) if names else ()


def table_name(owner: str, family: str = "inet") -> str:
    """The nftables table of `owner`, with its family, as nft's commands name it."""
    return f"{family} {_TABLE}" if owner == DEFAULT_OWNER else f"{family} {_TABLE}-{owner}"


def tables(owner: str) -> frozenset[str]:
    """All nftables tables that `owner` may have."""
    return frozenset(table_name(owner, family) for family in _FAMILIES)


def owner_of_table(name: str) -> str | None:
    """Whose table it is that has this `name`, with or without its family; None if it is not one of ours."""
    name = name.rpartition(" ")[2]
    if name == _TABLE:
        return DEFAULT_OWNER
    return name.removeprefix(f"{_TABLE}-") if name.startswith(f"{_TABLE}-") else None
