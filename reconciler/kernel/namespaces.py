"""Network namespaces: entering, making, naming and listing them (network_namespaces(7), ip-netns(8)).

The names are iproute2's: a bind mount of the namespace's nsfs file over /run/netns/NAME. Ours have the mark in the file
beneath, so that a name whose mount is gone, or never came, is known for ours (reconciler.kinds.netns_name). setns(2) moves
one thread, so all that is done inside is done between `entered` and its end, by that thread and without
handing control to anything else. Two threads may be inside of two namespaces at a time; one Namespaces
object is for one thread at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from reconciler.core.messages import HOST, Absence, by_process
from reconciler.errors import PlatformError, StrandedError
from reconciler.kernel.meter import Meter
from reconciler.kernel.processes import Process
from reconciler.kinds.marks import owner_of

DIRECTORY = "/run/netns"

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH = 2
_OWN = "/proc/thread-self/ns/net"
_MARK_BYTES = 512
"""As much of a file is read to see whose it is; an alias has at most 255 bytes."""
_WAYS_HOME = 3
_UNMOUNTING = 16
"""Names taken away at a time, where that is worth it. Each unmounting waits, with no lock held, until all processors have seen it
(synchronize_rcu_expedited in namespace_unlock of fs/namespace.c), and those that wait at the same time wait for the same."""
_FIRST = 8
"""Names taken away one by one. If that took longer than `_AT_ONCE` (seconds) for each, the rest are worth threads: on processors with
nothing else to do there is next to nothing to wait for but other threads."""
_AT_ONCE = 0.0002
_LIBC = ctypes.CDLL(None, use_errno=True)

Identity = tuple[int, int]
"""(st_dev, st_ino) of a namespace's file, the same for all its names (ioctl_ns(2))."""


def path(name: str) -> str:
    """The file of the namespace called `name`."""
    if name == HOST:
        return _OWN
    return f"/proc/{name[4:]}/ns/net" if name.startswith("pid:") else f"{DIRECTORY}/{name}"


class Listing(NamedTuple):
    """What is under /run/netns: the names of namespaces, sorted, and names without one that carry a mark of ours, with it."""

    names: list[str]
    leftovers: dict[str, str]


class Containers(Protocol):
    """Somebody who knows containers by the names of their namespaces, as `docker:web` (reconciler.runtimes.containers)."""

    def find(self, names: Iterable[str]) -> Mapping[str, Process | Absence]:
        """The first process of each that runs; of the others an Absence, if there is anything to say, else nothing."""
        ...


class Namespaces:
    """The network namespaces of this host, seen from the one that the thread is in when this is made.

    Those of containers have to be found before they can be opened, and are then those of just these processes: one that ended, and
    maybe started again, is gone until it is found again.
    """

    def __init__(self, meter: Meter, containers: Containers | None = None) -> None:
        self._meter = meter
        self._containers = containers
        self._processes: dict[str, Process] = {}
        try:
            self._home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise PlatformError(
                f"this host's own network namespace cannot be opened ({_OWN}: {error.strerror})"
            ) from error
        self._home_identity = _identity(os.fstat(self._home))
        self._shared = False

    def close(self) -> None:
        if self._home >= 0:
            os.close(self._home)
            self._home = -1

    def listed(self) -> Listing:
        """All named namespaces. Files of others that are none are passed over. Raises OSError rather than leave one out."""
        try:
            entries = sorted(os.listdir(DIRECTORY))
        except (FileNotFoundError, NotADirectoryError):
            return Listing([], {})
        names, leftovers = [], {}
        for name in entries:
            if by_process(name):
                continue
            if self._is_namespace(name):
                names.append(name)
            elif owner_of(mark := _mark_of(f"{DIRECTORY}/{name}")):
                leftovers[name] = mark
        return Listing(names, leftovers)

    def find(self, names: Iterable[str]) -> dict[str, Absence]:
        """Find out which processes the containers among `names` are now. Returns what there is to say of those that are not there."""
        wanted = [name for name in names if by_process(name) and not name.startswith("pid:")]
        found = self._containers.find(wanted) if wanted and self._containers is not None else {}
        self._processes = {name: item for name, item in found.items() if isinstance(item, Process)}
        return {name: item for name, item in found.items() if isinstance(item, Absence)}

    @property
    def home(self) -> int:
        """A file descriptor of the host's own namespace, which stays open."""
        return self._home

    def open(self, name: str) -> int:
        """A file descriptor of the namespace. Raises OSError with ENOENT if there is none of that name."""
        return self.identified(name)[0]

    def identified(self, name: str) -> tuple[int, Identity]:
        """A file descriptor of the namespace, and what tells whether two are the same one. Raises as `open`."""
        if name == HOST:
            return os.dup(self._home), self._home_identity
        opened = -1
        process = self._processes.get(name)
        file = path(name if process is None else f"pid:{process.pid}")
        try:
            opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            identity = _identity(os.fstat(opened))
            # Asked afterwards: so it was that process, and no other of its number, whose file was opened.
            if identity[0] == self._home_identity[0] and (process is None or process.lives()):
                return opened, identity
        except ProcessLookupError as error:  # the process is a zombie
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file) from error
        except (FileNotFoundError, NotADirectoryError):
            raise
        except PermissionError as error:
            raise _forbidden(
                f"look into the namespace {name}", error, "CAP_SYS_PTRACE" if by_process(name) else "CAP_SYS_ADMIN"
            ) from error
        os.close(opened)
        raise FileNotFoundError(errno.ENOENT, "no network namespace", file)

    @property
    def home_identity(self) -> Identity:
        return self._home_identity

    @contextlib.contextmanager
    def entered(self, opened: int) -> Iterator[None]:
        """The calling thread is inside of the namespace of the file descriptor, and back home afterwards."""
        _setns(opened)
        try:
            yield
        finally:
            self._go_home()

    @contextlib.contextmanager
    def touring(self) -> Iterator[Callable[[int], None]]:
        """Gives what puts the calling thread into the namespace of a file descriptor, and from there into the next; it is back home
        afterwards. Going home between any two would be half of the way."""
        away = False

        def enter(opened: int) -> None:
            nonlocal away
            _setns(opened)
            away = True

        try:
            yield enter
        finally:
            if away:  # to enter even the own one takes CAP_SYS_ADMIN
                self._go_home()

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Like `entered`, by name. Raises OSError with ENOENT if there is none of that name."""
        if name == HOST:
            yield
            return
        opened = self.open(name)
        try:
            with self.entered(opened):
                yield
        finally:
            os.close(opened)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[None]:
        """The calling thread is inside of a new namespace, which is gone afterwards unless it got a name."""
        self._meter.write("NETNS_CREATE")
        _check(_LIBC.unshare(_CLONE_NEWNET), "unshare")
        try:
            yield
        finally:
            self._go_home()

    def name_current(self, name: str, mark: str) -> None:
        """Give the namespace that the calling thread is in the name `name`, with `mark` in the file beneath.

        Raises OSError: EEXIST if that is taken.
        """
        self._meter.write("NETNS_MOUNT")
        target = f"{DIRECTORY}/{_plain(name)}"
        self._share_directory()
        if _is_leftover(target):
            os.unlink(target)
        _make_file(target, mark.encode())
        try:
            _check(_LIBC.mount(_OWN.encode(), target.encode(), b"none", _MS_BIND, None), "mount")
        except OSError:
            with contextlib.suppress(OSError):  # why it could not be mounted says more
                os.unlink(target)
            raise

    def exists(self, name: str) -> bool:
        """Whether /run/netns/NAME is taken, by a namespace or by a file that is not ours to reuse."""
        target = f"{DIRECTORY}/{_plain(name)}"
        return os.path.lexists(target) and not _is_leftover(target)

    def delete(self, names: Sequence[str]) -> Sequence[OSError | None]:
        """Take names away. A namespace itself lasts until its last process and socket is gone.

        All are tried, whatever becomes of others. Returns for each why it is still there (ENOENT: there is none), None if it is gone.
        """
        from reconciler.kernel import several

        for _ in names:
            self._meter.write("NETNS_DELETE")
        began = time.perf_counter()
        refusals = several.attempts(_delete, names[:_FIRST], 1)
        waits = time.perf_counter() - began > _FIRST * _AT_ONCE
        return [*refusals, *several.attempts(_delete, names[_FIRST:], _UNMOUNTING if waits else 1)]

    def _is_namespace(self, name: str) -> bool:
        try:
            return os.stat(f"{DIRECTORY}/{name}").st_dev == self._home_identity[0]
        except FileNotFoundError:
            return False

    def _share_directory(self) -> None:
        """Make /run/netns a shared mount, as `ip netns add` does.

        A name taken away here must go in every mount namespace that copied it, or the network namespace would
        live on there, nameless and with its addresses (ip-netns(8); iproute2 ipnetns.c, create_netns_dir).
        """
        if self._shared:
            return
        with contextlib.suppress(FileExistsError):
            os.makedirs(DIRECTORY)
            # Whatever the umask of a service is: who is not root may list it, as where iproute2 made it.
            os.chmod(DIRECTORY, 0o755)
        directory = DIRECTORY.encode()
        if _LIBC.mount(b"", directory, b"none", _MS_SHARED | _MS_REC, None):
            _check(_LIBC.mount(directory, directory, b"none", _MS_BIND | _MS_REC, None), "mount")
            _check(_LIBC.mount(b"", directory, b"none", _MS_SHARED | _MS_REC, None), "mount")
        self._shared = True

    def _go_home(self) -> None:
        """Raises StrandedError: what is done next must not be done in here."""
        why = "it is still there"
        for _ in range(_WAYS_HOME):
            try:
                _check(_LIBC.setns(self._home, _CLONE_NEWNET), "setns")
                if _identity(os.stat(_OWN)) == self._home_identity:
                    return
            except OSError as error:
                why = str(error.strerror)
        raise StrandedError(
            f"this process could not leave a container's network namespace ({why}), and stops at once, lest it do to the "
            "container what is meant for the host. What had been done stays, so it is half done: run it again to finish"
        )


def _delete(name: str) -> None:
    target = f"{DIRECTORY}/{_plain(name)}"
    while True:  # as many as were mounted over one another
        try:
            _check(_LIBC.umount2(target.encode(), _MNT_DETACH), "umount2")
        except OSError as error:
            if error.errno != errno.EINVAL:  # nothing is mounted there
                raise
            break
    os.unlink(target)


def _setns(opened: int) -> None:
    if _LIBC.setns(opened, _CLONE_NEWNET):
        error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if error.errno == errno.EPERM:
            raise _forbidden("enter a network namespace", error)
        raise error


def _forbidden(what: str, error: OSError, capability: str = "CAP_SYS_ADMIN") -> PlatformError:
    """`capability` is what it takes: for the files of another user's process that is CAP_SYS_PTRACE (proc_pid_ns(5))."""
    return PlatformError(
        f"not allowed to {what} ({error.strerror}): it needs {capability}; run with sudo, or try `reconcile sandbox`"
    )


def _check(result: int, call: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _make_file(target: str, content: bytes) -> None:
    """Make the file `target`, which appears with its content (O_TMPFILE of open(2)). Raises OSError: EEXIST if there is one.

    Where /run is on a file system that cannot do that (an overlay before 6.1), it has its content a moment later.
    """
    directory = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            made = os.open(DIRECTORY, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o444)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
                raise
            made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        try:
            os.write(made, content)
            if not os.fstat(made).st_nlink:
                name = os.path.basename(target)
                os.link(f"/proc/self/fd/{made}", name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(made)
    finally:
        os.close(directory)


def _is_leftover(target: str) -> bool:
    """Whether `target` is what stays of a name whose mount is gone: a plain file with nothing in it (iproute2's), or a mark of ours."""
    try:
        status = os.lstat(target)
        if not stat.S_ISREG(status.st_mode) or status.st_dev != os.stat(DIRECTORY).st_dev:
            return False
    except OSError:
        return False
    return not status.st_size or owner_of(_mark_of(target)) is not None


def _mark_of(target: str) -> str:
    """The beginning of the plain file `target`, where the mark is; "" if it cannot be read."""
    try:
        opened = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        regular = stat.S_ISREG(os.fstat(opened).st_mode)
        return os.read(opened, _MARK_BYTES).decode(errors="replace") if regular else ""
    except OSError:
        return ""
    finally:
        os.close(opened)


def _plain(name: str) -> str:
    """`name`, which must be a file name: the last guard before a mount."""
    if "/" in name or "\0" in name or name in ("", ".", "..") or by_process(name):
        raise OSError(errno.EINVAL, f"{name!r} cannot be the name of a network namespace")
    return name
