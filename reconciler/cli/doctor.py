"""reconcile doctor"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options
from reconciler.errors import PlatformError, UsageError

if TYPE_CHECKING:
    from reconciler.core.messages import Snapshot
    from reconciler.core.resource import State
    from reconciler.doctor import Facts

_DESCRIPTION = """\
Names what in the kernel or on the host stands in the way of the file, each with what to do: features that the kernel lacks (tried in
namespaces of their own, by the very executor), forwarding that is off, or turned off at each boot, forward chains of others that drop,
host processes that listen on published ports, missing uplinks, br_netfilter, rp_filter, a full connection table.

Changes nothing; the kernel may load modules for what is tried. Works without root as far as that goes, and without a file for what
concerns the machine. Exits 1 if there is an error.
"""


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "doctor", help="what in the kernel or on the host stands in the way, and what to do", description=_DESCRIPTION
    )
    options.file(parser)
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to print (default: text)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the findings."""
    from reconciler import doctor
    from reconciler.core.diagnosis import Level
    from reconciler.render.doctor import doctor_json, doctor_text

    found = doctor.examine(_facts(arguments))
    if arguments.format == "json":
        json.dump(doctor_json(found), sys.stdout, indent=2)
        print()
    else:
        sys.stdout.write(doctor_text(found, color=context.colored()))
    return 1 if any(item.level is Level.ERROR for item in found) else 0


def _facts(arguments: argparse.Namespace) -> Facts:
    from reconciler import doctor, trials
    from reconciler.doctor import Facts
    from reconciler.host_rules import IPV4_FORWARDING, IPV6_FORWARDING
    from reconciler.kernel import privilege, survey, sysctl
    from reconciler.kernel.meter import Meter

    # Before anything is opened or started: the trials fork.
    tried: trials.Tried | PlatformError
    try:
        tried = trials.tried()
    except PlatformError as error:
        tried = error
    owner, desired = _wish(arguments)
    lacking = privilege.missing()
    snapshot = None if lacking else _snapshot(desired, owner)
    links = [] if snapshot is None else [link.name for link in snapshot.namespaces[""].links]
    settings = sysctl.read(
        Meter(read_only=True),
        (IPV4_FORWARDING, IPV6_FORWARDING, *doctor.BRIDGE_CALLS, *map(doctor.reverse_path, ("all", *links))),
    )
    used = survey.number("/proc/sys/net/netfilter/nf_conntrack_count")
    room = survey.number("/proc/sys/net/netfilter/nf_conntrack_max")
    return Facts(
        release=os.uname().release,
        nft=tried.nftables if isinstance(tried, trials.Tried) and tried.nftables else _nft(lacking),
        lacking=lacking,
        trials=tried.features if isinstance(tried, trials.Tried) else tried,
        desired=desired,
        snapshot=snapshot,
        settings=settings,
        fixed=frozenset(name for name in settings if not lacking and not os.access(sysctl.path(name), os.W_OK)),
        at_boot=survey.settings_at_boot((IPV4_FORWARDING, IPV6_FORWARDING)),
        listeners=survey.listeners(),
        connections=None if used is None or room is None else (used, room),
        tun=_tun(),
    )


def _wish(arguments: argparse.Namespace) -> tuple[str, State | None]:
    """The owner and what the file comes to; no file is no matter, unless one was named."""
    from reconciler.kinds.marks import DEFAULT_OWNER

    try:
        document = context.document(arguments)
    except UsageError:
        if arguments.file:
            raise
        return DEFAULT_OWNER, None
    return document.name, context.desired(document)


def _snapshot(desired: State | None, owner: str) -> Snapshot:
    from reconciler import reconcile
    from reconciler.core.resource import State

    with context.kernel(read_only=True) as kernel:
        return reconcile.observe(kernel, desired or State(), owner)


def _nft(lacking: Sequence[str]) -> str | Exception | None:
    """The version of libnftables, which tells it to those who may list tables."""
    from reconciler.kernel.nftables import version

    try:
        return version()
    except PlatformError as error:
        return None if lacking and "libnftables is missing" not in str(error) else error


def _tun() -> bool:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
