"""reconcile exposure"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options

if TYPE_CHECKING:
    from reconciler.core.resource import State
    from reconciler.manifest import Document

_DESCRIPTION = """\
Says what can be reached from where: sources, address, protocol and ports, and the container where that ends. It is computed from the \
file alone, so it takes no root and no kernel, and can be asked before anything is applied. Changes nothing.

With --against it says what differs from another file: what was opened, widened, moved, narrowed and closed, each with its line.

sources:
  outside        whatever comes in by an interface of the host: the LAN, what is behind it, bridged containers
  this host      the host's own processes
  containers     those of every nat and routed bridge; `of other bridges`: but that of the one that is reached
  containers of BRIDGE    straight to each other, on that one bridge
  layer 2 of BRIDGE       who is on a bridged bridge's network; who that is, is not known here
  anywhere       outside, this host and containers

What is not known (other tables that drop or translate, routes, whether anything listens) is said below the answer. More: docs/exposure.md.
"""
_EPILOG = """\
examples:
  reconcile exposure
  reconcile exposure --against old.yaml              what this file opens and closes
  sudo reconcile exposure --live                     by what is in the kernel now
  sudo reconcile exposure --live --against reconcile.yaml    what the kernel has otherwise than the file
"""


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "exposure",
        help="what can be reached from where, and what a change of the file opens and closes",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    options.file(parser)
    parser.add_argument("--live", action="store_true", help="from the kernel instead of the file (takes root)")
    parser.add_argument(
        "--against",
        action="append",
        metavar="FILE|DIR",
        help="the difference from this older file; may be given several times, as -f",
    )
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to print (default: text)")
    parser.set_defaults(run=run, unprivileged=lambda arguments: not arguments.live)


def run(arguments: argparse.Namespace) -> int:
    """Prints the exposure, or the difference of two."""
    from reconciler.exposure import difference, exposure, unknowns
    from reconciler.manifest import load
    from reconciler.render import exposure as render

    old = load(arguments.against, stdin=sys.stdin) if arguments.against else None
    owner, state = _live(arguments, old) if arguments.live else _of_file(context.document(arguments))
    reaches, unknown = exposure(state, owner), unknowns(state, owner)
    changes = None
    if old is not None:
        name, before = _of_file(old)
        changes = difference(exposure(before, name), reaches)
    if arguments.format == "json":
        basis = "live" if arguments.live else "file"
        json.dump(render.exposure_json(reaches, unknown, owner, basis, changes), sys.stdout, indent=2)
        print()
    elif changes is None:
        sys.stdout.write(render.exposure_text(reaches, unknown, color=context.colored()))
    else:
        sys.stdout.write(render.changes_text(changes, unknown, color=context.colored()))
    return 0


def _of_file(document: Document) -> tuple[str, State]:
    """The owner, and what it wants."""
    return document.name, context.desired(document)


def _live(arguments: argparse.Namespace, old: Document | None) -> tuple[str, State]:
    """The owner, and what is found of it. A file (what it is compared with, else the usual one, if there is one) says whose it is, into
    which containers to look, and what has which name and place."""
    from reconciler import host_rules, reconcile
    from reconciler.core.messages import HOST
    from reconciler.core.resource import State
    from reconciler.errors import UsageError
    from reconciler.kinds import decode
    from reconciler.kinds.marks import DEFAULT_OWNER

    owner, wish = DEFAULT_OWNER, State()
    with contextlib.suppress(UsageError):  # there is none
        owner, wish = _of_file(old or context.document(arguments))
    scope = reconcile.scope_of(wish, owner)
    forwarding = {(HOST, host_rules.IPV4_FORWARDING), (HOST, host_rules.IPV6_FORWARDING)}
    with context.kernel(read_only=True) as kernel:
        snapshot = kernel.observe(replace(scope, sysctls=scope.sysctls | forwarding))
    notes = tuple(host_rules.dropping_notes(snapshot))
    return owner, replace(decode(snapshot), origins=wish.origins, notes=notes)
