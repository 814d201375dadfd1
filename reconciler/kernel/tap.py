"""Persistent TAP devices, which only the tun driver's ioctls can make
(Documentation/networking/tuntap.rst)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from reconciler.kernel import wire
from reconciler.kernel.meter import Meter
from reconciler.kernel.netlink import Answer, Message, Socket

_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB  # linux/if_tun.h
_IFF_TAP, _IFF_NO_PI, _IFF_TUN_EXCL = 0x2, 0x1000, 0x8000
_IFLA_ADDRESS, _IFLA_IFALIAS = 1, 20


def _open() -> int:
    try:
        return os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except PermissionError as error:
        advice = "this user may not open /dev/net/tun (run with sudo, or open it to all as most systems do: chmod 666)"
        raise OSError(error.errno, advice) from error


def create(meter: Meter, name: str, alias: str, mac: str | None) -> None:
    """Make one in the calling thread's namespace. Raises OSError: EEXIST if there is a link of that name.

    It gets its mark before it becomes persistent: one that we die over is gone with us.
    """
    meter.write("TUNSETIFF")
    tun = _open()
    try:
        encoded = os.fsencode(name)
        if not 0 < len(encoded) < 16:
            raise OSError(errno.EINVAL, f"{name!r} cannot be the name of a link")
        try:
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", encoded, _IFF_TAP | _IFF_NO_PI | _IFF_TUN_EXCL))
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.EINVAL):  # another TAP, another kind of link
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from error
            raise
        _mark(meter, name, alias, mac)
        fcntl.ioctl(tun, _TUNSETPERSIST, 1)
    finally:
        os.close(tun)


def _mark(meter: Meter, name: str, alias: str, mac: str | None) -> None:
    body = wire.attribute(_IFLA_IFALIAS, alias.encode()) if alias else b""
    if mac:
        body += wire.attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))
    with Socket(meter) as socket:
        set_link(socket, socket.index(name), body)


def set_link(socket: Socket, index: int, attributes: bytes, *, up: bool = False) -> None:
    """Change a link. Raises OSError."""
    header = wire.IFINFO.pack(0, 0, index, up, up)
    (answer,) = socket.submit([Message(wire.RTM_NEWLINK, 0, header + attributes)])
    raise_for(answer)


def raise_for(answer: Answer) -> None:
    """Raise OSError if the answer is a refusal."""
    if answer.errno:
        raise OSError(answer.errno, answer.message or os.strerror(answer.errno))
