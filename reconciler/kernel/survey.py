"""What can be read about the machine without asking its network: who listens, which settings come with each boot, versions.

Sources: proc_pid_net(5), proc_pid_fd(5), sysctl.d(5), tcp_states.h.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from reconciler.core.messages import IPAddress

_LISTENING = {"tcp": 0x0A, "udp": 0x07}
"""TCP_LISTEN; a UDP socket that is bound and not connected is in TCP_CLOSE."""
_SETTING_DIRECTORIES = (
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
)
_LAST_SETTINGS = "/etc/sysctl.conf"


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that waits for whoever comes. `process` is `NAME (pid N)`, "" where nobody may know."""

    protocol: str
    address: IPAddress
    port: int
    process: str


def listeners() -> tuple[Listener, ...]:
    """Who listens in the network namespace of the calling thread."""
    sockets = [
        (protocol, address, port, inode)
        for protocol in _LISTENING
        for suffix in ("", "6")
        for address, port, inode in _sockets(Path(f"/proc/thread-self/net/{protocol}{suffix}"), _LISTENING[protocol])
    ]
    holders = _holders({inode for *_, inode in sockets})
    return tuple(
        Listener(protocol, address, port, holders.get(inode, "")) for protocol, address, port, inode in sockets
    )


def _sockets(path: Path, state: int) -> Iterator[tuple[IPAddress, int, str]]:
    """(address, port, inode) of those in `state`; none if the kernel has no such protocol."""
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        address, port = fields[1].split(":")
        if int(fields[3], 16) == state:
            yield _address(address), int(port, 16), fields[9]


def _address(text: str) -> IPAddress:
    """An address as words of 32 bits in the machine's order, in hexadecimal."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    packed = b"".join(socket.htonl(word).to_bytes(4, "big") for word in words)
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _holders(inodes: set[str]) -> dict[str, str]:
    """Who has these sockets open: `NAME (pid N)` by inode. Only root sees everybody's."""
    found: dict[str, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end while it is looked at.
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(process / "fd"):
                with contextlib.suppress(OSError):
                    inode = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor.path))
                    if inode and inode[1] in inodes and inode[1] not in found:
                        name = (process / "comm").read_text().strip()
                        found[inode[1]] = f"{name} (pid {process.name})"
    return found


def settings_at_boot(names: Iterable[str], root: Path = Path("/")) -> Mapping[str, tuple[str, str]]:
    """Which file sets one of the sysctls `names` at each boot, and to what: {name: (path, value)}.

    Of files with one name the first directory counts, then they are read in the order of their names, /etc/sysctl.conf
    last; the last line wins.
    """
    wanted, files = set(names), dict[str, Path]()
    for directory in _SETTING_DIRECTORIES:
        for path in (root / directory.lstrip("/")).glob("*.conf"):
            files.setdefault(path.name, path)
    found: dict[str, tuple[str, str]] = {}
    for path in (*(files[name] for name in sorted(files)), root / _LAST_SETTINGS.lstrip("/")):
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for name, value in filter(None, map(_setting, lines)):
            if name in wanted:
                found[name] = (str(path), value)
    return found


def _setting(line: str) -> tuple[str, str] | None:
    """(name, value) of a line of such a file; the first separator of the name decides which is the separator."""
    found = re.fullmatch(r"\s*-?\s*([^#;=\s]+)\s*=\s*(.*?)\s*", line)
    if not found:
        return None
    name = found[1]
    first = re.search("[./]", name)
    if first and first[0] == "/":
        name = name.translate(str.maketrans("./", "/."))
    return name, found[2]


def number(path: str) -> int | None:
    """The number that is all there is in the file `path`, None if it cannot be read."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
