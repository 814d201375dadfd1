"""Scratch namespaces: a network of one's own in which nothing can harm the machine, with no root.

`enter()` moves the calling process into a network namespace with nothing but `lo`, a mount namespace with an empty /run, and, for
who is not root, a user namespace in which it is. The sandbox lives in one, and so does the project's own test run.

Weak spot: `/sys` stays the machine's, so /sys/class/net shows the machine's interfaces. /proc/sys/net and netlink follow the
network namespace of the thread that asks.

Sources: unshare(2), user_namespaces(7), network_namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import pickle
import socket
import struct
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from reconciler.errors import PlatformError, ReconcileError, RefusedError

Result = TypeVar("Result")

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_MS_NOSUID_NODEV = 0x2 | 0x4
_MS_NOEXEC = 0x8
_MS_REC_PRIVATE = 0x4000 | 0x40000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)

_FORBIDDING = (
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
)
"""Settings by which distributions forbid user namespaces: (file, forbidding value, what to set)."""


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread. Raises OSError. (Python has it as os.unshare from 3.12 on.)"""
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def setns(descriptor: int, kind: int = CLONE_NEWNET) -> None:
    """setns(2): put the calling thread into the namespace of `descriptor`. Raises OSError."""
    if _libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    if _libc.mount(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


def link_up(name: str) -> None:
    """Set the link `name` of the calling thread's network namespace up (netdevice(7)). Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", name.encode(), 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", name.encode(), flags | _IFF_UP))


def enter() -> None:
    """Moves the calling process, which must have one thread, into scratch namespaces.

    Raises PlatformError, which names what forbids it and what to do.
    """
    with_user = not _may_without_user_namespace()
    refusal = _refusal(with_user)
    if refusal:
        raise PlatformError(f"this system gives no scratch namespaces: {refusal}. {advice()}")
    _enter(with_user)


def advice() -> str:
    """What to do on a system that refuses scratch namespaces."""
    for path, forbidding, setting in _FORBIDDING:
        try:
            if Path(path).read_text().strip() == forbidding:
                return f"What forbids it is a setting: run `sudo sysctl -w {setting}`, or run this with sudo"
        except OSError:
            continue
    return "Run this as root, and in a container with the capabilities SYS_ADMIN and NET_ADMIN"


def in_own_process_tree() -> int:
    """Forks a child that is the first process of a PID namespace, so that all its descendants end when it does.

    Returns 0 in the child, the child's pid in the parent. To be called after `enter`.
    """
    try:
        unshare(CLONE_NEWPID)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise
    child = os.fork()
    if child == 0:
        # The parent killed means the end for us too, and with us for all in here.
        _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        try:
            unshare(CLONE_NEWNS)
            mount("proc", "/proc", "proc", _MS_NOSUID_NODEV | _MS_NOEXEC)
        except OSError:
            pass
    return child


def run(work: Callable[[], Result]) -> Result:
    """Does `work` in a child that is in scratch namespaces, and returns what it returned, which has to be picklable.

    The calling process stays where it is; killed, it takes the child along. Raises PlatformError as `enter` does, RefusedError with the
    words of any other exception of the child's.
    """
    parent = os.getpid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                _do(work, pipe, parent)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
    except BaseException:
        os.kill(child, _SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    if not said:
        raise RefusedError(f"the process in the scratch namespaces ended without a word (status {status})")
    value, refusal, forbidden = pickle.loads(said)
    if forbidden:
        raise PlatformError(forbidden)
    if refusal:
        raise RefusedError(refusal)
    result: Result = value
    return result


def _do(work: Callable[[], Any], pipe: IO[bytes], parent: int) -> None:
    """What the child of `run` does: (value, refusal, what forbids it) goes through the pipe."""
    _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return  # it ended before it could be told apart
    try:
        enter()
        said = pickle.dumps((work(), "", ""))
    except PlatformError as error:
        said = pickle.dumps((None, "", str(error)))
    except (ReconcileError, OSError) as error:
        said = pickle.dumps((None, str(error), ""))
    except Exception:
        # A mistake of ours: all that is known of it goes out.
        said = pickle.dumps((None, traceback.format_exc(), ""))
    pipe.write(said)


def _may_without_user_namespace() -> bool:
    """Whether this is root with CAP_SYS_ADMIN (bit 21 of CapEff), which root in a container may lack."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> 21 & 1)
    return os.geteuid() == 0


def _refusal(with_user: bool) -> str:
    """Why a child could not enter, "" when it could. A process that has half entered cannot go back, and some
    distributions (Ubuntu, by AppArmor) give the user namespace and then refuse all that it is for."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _enter(with_user)
        except OSError as error:
            os.write(writing, str(error.strerror).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        refusal = pipe.read().decode()
    os.waitpid(child, 0)
    return refusal


def _enter(with_user: bool) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if with_user:
        unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    else:
        unshare(CLONE_NEWNS | CLONE_NEWNET)
    mount("none", "/", "none", _MS_REC_PRIVATE)
    mount("scratch", "/run", "tmpfs", _MS_NOSUID_NODEV, "mode=755")
    os.mkdir("/run/netns")
    link_up("lo")
