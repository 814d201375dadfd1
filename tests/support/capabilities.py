"""Being a user with certain capabilities and no others, as a service manager makes one (AmbientCapabilities= of systemd)."""

from __future__ import annotations

import ctypes
import os
import struct

_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 4, 8
_VERSION_3 = 0x20080522
NOBODY = 65534


def become(uid: int, capabilities: tuple[int, ...]) -> None:
    """The calling process, which is root, is `uid` with just these from now on. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setresuid(uid, uid, uid)
    bits = sum(1 << one for one in capabilities)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = struct.pack("=Ii", _VERSION_3, 0)
    _check(libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)))
    # As after an exec; else /proc/self would be root's.
    _check(libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
