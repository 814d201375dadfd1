"""Sysctls, as files under /proc/sys (sysctl(8), proc_sys(5)).

/proc/sys/net shows the network namespace of the *thread* that opens the file (net_ctl_root_lookup takes it
from `current`), so those of another namespace are opened while inside of it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from reconciler.kernel.meter import Meter

_OUR_TROUBLE = frozenset(
    {errno.EINTR, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS, errno.EMFILE, errno.ENFILE, errno.EBUSY}
)
"""What says nothing of the setting: that it could not be read now does not mean that it is not there."""


def path(name: str) -> str:
    """The file of a sysctl. Dots separate, slashes stand for the dots in an interface's name:
    net.ipv4.conf.eth0/1.forwarding.

    Raises ValueError for a name that would lead out of /proc/sys.
    """
    parts = name.translate(str.maketrans("./", "/.")).split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{name!r} is no sysctl")
    return "/proc/sys/" + "/".join(parts)


def read(meter: Meter, names: Iterable[str]) -> dict[str, str]:
    """Those of `names` that exist and can be read, in the calling thread's namespace. Raises OSError when that cannot be told."""
    found = {}
    for name in names:
        meter.read("SYSCTL_READ")
        try:
            with open(path(name), "rb") as file:
                found[name] = file.read().decode().strip()
        except OSError as error:
            if error.errno in _OUR_TROUBLE:
                raise
    return found


def write(meter: Meter, name: str, value: str) -> None:
    """Write to one of the calling thread's namespace. Raises OSError."""
    where = path(name)
    meter.write("SYSCTL_WRITE")
    opened = os.open(where, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(opened, value.encode() + b"\n")
    finally:
        os.close(opened)
