"""Where we are: which boot, which network namespace, and how late it is in this boot."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

from reconciler.errors import PlatformError

OWN = "/proc/thread-self/ns/net"
_OF_INIT = "/proc/1/ns/net"
_SO_NETNS_COOKIE = 71  # asm-generic/socket.h, since Linux 5.14


def boot_id() -> str:
    """What tells this boot from all others (random(4)). Raises PlatformError."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError as error:
        raise PlatformError(f"the boot id cannot be read: {error.strerror}") from error


def cookie() -> int:
    """What tells the calling thread's network namespace from all others of this boot, those that are gone too: unlike the inode of
    its file, it is not given out twice (socket(7), SO_NETNS_COOKIE)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket:
        return int.from_bytes(any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)


def is_of_init() -> bool:
    """Whether the calling thread is in the network namespace of the first process, which is there again after a boot."""
    try:
        ours, inits = os.stat(OWN), os.stat(_OF_INIT)
    except OSError:  # an ordinary user may not look at the first process
        return False
    return (ours.st_dev, ours.st_ino) == (inits.st_dev, inits.st_ino)


def now() -> float:
    """Seconds since the boot, those of a suspend too (CLOCK_BOOTTIME). Nobody can set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
