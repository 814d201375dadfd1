"""reconcile suspend"""

from __future__ import annotations

import argparse
import time
from typing import Any

from reconciler.cli import context, options
from reconciler.errors import LockedError, PlatformError


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "suspend",
        help="have the agent change nothing for a while",
        description="Has `reconcile watch` change nothing until it is resumed, or until a time; it goes on looking and reports "
        "what differs. Holds for an agent that is started later, too. Runs of `reconcile` by hand are not concerned.",
    )
    parser.add_argument(
        "--until", metavar="WHEN", help="a span (30m, 2h, 1d) or a time (2026-11-24T18:00); default: until resumed"
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="what `reconcile status` says of it")
    options.file(parser)
    options.name(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes the suspension."""
    from reconciler.kernel.lock import Lock
    from reconciler.watch import control

    owner = context.agents_owner(arguments)
    until = None if arguments.until is None else control.until(arguments.until, time.time())
    try:
        control.suspend(owner, until, arguments.reason)
    except OSError as error:
        raise PlatformError(f"cannot suspend: {error}") from error
    told, _ = control.suspension(owner, time.time())
    try:
        # What the agent has begun is over when we say so.
        with Lock(owner, context.AGENTS_TURN):
            pass
    except LockedError as error:
        print(f"{owner}: {told}; {error}")
        return 0
    print(f"{owner}: {told}" + ("" if control.ask(owner) else " (no agent is running now)"))
    return 0
