"""What this process may do: capabilities(7), and how to give them up.

What the work needs is CAP_NET_ADMIN (links, addresses, routes, nftables, and sysctls under /proc/sys/net) and CAP_SYS_ADMIN (entering and
naming network namespaces). Being root is only one way to have them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAP_NET_ADMIN = 12
CAP_SYS_ADMIN = 21
NAMES = {CAP_NET_ADMIN: "CAP_NET_ADMIN", CAP_SYS_ADMIN: "CAP_SYS_ADMIN"}
"""Those that an apply needs, and a look at the live kernel too."""

_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_FILES = 1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH


def effective() -> int:
    """The effective capabilities of the calling thread, a bit each (CapEff in proc_pid_status(5))."""
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def missing() -> tuple[str, ...]:
    """The names of the capabilities that the work needs and that are not there."""
    there = effective()
    return tuple(name for bit, name in NAMES.items() if not there >> bit & 1)


def give_up() -> None:
    """Gives up all capabilities but those over files, for good, for this process and all that it starts: what comes after has no use
    for more. Does nothing if there are none. Raises OSError."""
    permitted = _permitted()
    if not permitted & ~_FILES:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # Without it, a program that root starts has all capabilities again.
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _last_error("prctl")
    # Kernels that know none (before 4.3) have none to clear.
    if libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 and ctypes.get_errno() != errno.EINVAL:
        raise _last_error("prctl")
    kept = permitted & _FILES
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = struct.pack("=Ii", _VERSION_3, 0)
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    if libc.capset(ctypes.create_string_buffer(header), ctypes.create_string_buffer(data)) != 0:
        raise _last_error("capset")


def _permitted() -> int:
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0


def _last_error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
