"""The marks by which we know our own things again. There is no state file: this is all there is.

A link carries the interface alias `reconciler:NAME`. A bridge with uplinks lists them behind it, since an uplink is not ours and
its alias is not ours to write: `reconciler:NAME uplinks=eth1,eth2`. Addresses and routes carry our protocol number and belong to the
owner of their link. All nftables state lives in one table, whose name says the owner.
"""

from __future__ import annotations

DEFAULT_OWNER = "default"
_PREFIX = "reconciler:"
_UPLINKS = " uplinks="
_TABLE = "reconciler"


def alias(owner: str, uplinks: tuple[str, ...] = ()) -> str:
    """The interface alias of a link of `owner`."""
    return f"{_PREFIX}{owner}" + (_UPLINKS + ",".join(uplinks) if uplinks else "")


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


def table_name(owner: str) -> str:
    """The name of the nftables table of `owner`."""
    return _TABLE if owner == DEFAULT_OWNER else f"{_TABLE}-{owner}"


def owner_of_table(name: str) -> str | None:
    """Whose table it is that has this `name`; None if it is not one of ours."""
    if name == _TABLE:
        return DEFAULT_OWNER
    return name.removeprefix(f"{_TABLE}-") if name.startswith(f"{_TABLE}-") else None
