"""Whether a file may decide over this host's network: what root obeys, nobody else may be able to write.

A file counts by itself, and by every directory on the way to it: who can write a directory can put another file in the place of one
that is there, unless it is sticky, as /tmp is (inode(7)). sshd holds its users' files to the same (StrictModes in
sshd_config(5)). Access control lists show in the group's bits (acl(5), "correspondence").
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from reconciler.errors import GuardError

SANDBOX_VARIABLE = "RECONCILE_SANDBOX"
"""Set in a sandbox, where a file decides over nothing that lasts."""


def refuse_untrusted(names: Iterable[str]) -> None:
    """Raises GuardError, which tells all that is wrong, if this is root and others can write what `names` name.

    Directories stand for the files that are read of them; `-` is whatever root's shell puts there. What is not there is not judged.
    """
    if os.geteuid() != 0 or os.environ.get(SANDBOX_VARIABLE):
        return
    complaints = list(dict.fromkeys(line for name in names for line in _complaints(name)))
    if complaints:
        raise GuardError(
            "\n".join(complaints)
            + "\nWhoever can write there decides over this host's network. Make it root's alone (chown root, "
            "chmod go-w), or say --trust-file. Nothing was touched."
        )


def _complaints(name: str) -> Iterator[str]:
    from reconciler.manifest import files

    outside = _unmapped_owner()
    for one in [name, *(file for file in files.expand([name]) if isinstance(file, str))]:
        if one == files.STDIN:
            continue
        path = Path(os.path.realpath(one))
        for place in (path, *path.parents):
            try:
                why = judged(place.stat(), outside)
            except OSError:
                continue  # whoever reads it will say so
            if why:
                yield f"{one}: {place} {why}" if str(place) != one else f"{one} {why}"


def judged(status: os.stat_result, outside: int | None = None) -> str:
    """What lets others than root write what has this `status`; "" if nothing does. `outside` is the owner of all that belongs to
    nobody in this user namespace: who that is cannot be told here, and real root is among them."""
    if status.st_uid not in (0, outside):
        return f"belongs to the user {status.st_uid}"
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return ""
    if status.st_mode & stat.S_IWOTH:
        return f"can be written by everyone (mode {stat.S_IMODE(status.st_mode):04o})"
    if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
        return f"can be written by the group {status.st_gid} (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def _unmapped_owner() -> int | None:
    """The user that files of users from outside seem to belong to; None in the initial user namespace (user_namespaces(7))."""
    try:
        if Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(2**32 - 1)]:
            return None
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return None
