"""By which connection the caller reaches this host: what sshd told the caller's session (ssh(1), SSH_CONNECTION)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from reconciler.core.messages import IPAddress

VARIABLE = "SSH_CONNECTION"
_MOST_PARENTS = 64


class Connection(NamedTuple):
    """A connection to a server on this host."""

    client: IPAddress
    server: IPAddress
    port: int
    """The server's."""


def parse(text: str) -> Connection | None:
    """The connection that SSH_CONNECTION tells, as `CLIENT PORT SERVER PORT`; None for anything else (sshd says UNKNOWN where its
    standard input is no socket)."""
    try:
        client, _, server, port = text.split()
        return Connection(address(client), address(server), int(port))
    except ValueError:
        return None


def address(text: str) -> IPAddress:
    """An address, IPv4 also where it is written as IPv6 (::ffff:192.0.2.1). Raises ValueError."""
    found = ip_address(text)
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def of_caller(environment: Mapping[str, str], parent: int, proc: Path = Path("/proc")) -> Connection | None:
    """The connection of the session that this process, a child of `parent`, was started in; None if there is none.

    sudo takes the variable out of the environment (env_reset, sudoers(5)), and so it is looked for in the processes above, too,
    as far up as they may be looked at.
    """
    for variables in (environment, *_environments(parent, proc)):
        if variables.get(VARIABLE):
            return parse(variables[VARIABLE])
    return None


def _environments(process: int, proc: Path) -> Iterator[Mapping[str, str]]:
    """The environments that `process` and those above it were started with, the nearest first (proc_pid_environ(5))."""
    for _ in range(_MOST_PARENTS):
        if process <= 1:
            return
        with contextlib.suppress(OSError):
            text = os.fsdecode((proc / str(process) / "environ").read_bytes())
            yield dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
        try:
            # The name of the program, in brackets, may hold anything.
            process = int((proc / str(process) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            return
