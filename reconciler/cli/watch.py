"""reconcile watch"""

from __future__ import annotations

import argparse
from typing import Any

from reconciler.cli import context, options
from reconciler.errors import UsageError

_DESCRIPTION = """\
Stays, and keeps the host as the file says: applies the file when it changes, and brings back what of ours is deleted or changed in
the kernel, within milliseconds of the kernel telling it. Ends at SIGTERM or SIGINT and leaves the network as it is; SIGHUP looks at
everything again.

What fails is left out with all that rests on it and tried again, later each time; the rest goes on. An invalid file is reported, and the
last good one is kept up. What something else keeps changing is reported and left alone for a while, longer each time.

`reconcile status` asks it how it goes; `reconcile suspend` and `resume` stop and start its work.
"""


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser("watch", help="keep it so: follow the file and the kernel", description=_DESCRIPTION)
    options.file(parser)
    options.policy(parser)
    parser.add_argument(
        "--drift",
        choices=["heal", "report"],
        default="heal",
        help="what to do with what differs: heal it (the default), or only report it, and change nothing at all",
    )
    parser.add_argument(
        "--atomic",
        action="store_true",
        help="do a new revision whole or not at all: if a step fails, it is undone, not tried again by itself, and the last good one is "
        "kept up (default: do what can be done)",
    )
    parser.add_argument(
        "--max-deletes", type=options.non_negative, metavar="N", help="refuse a revision that deletes more"
    )
    parser.add_argument("--allow-empty", action="store_true", help="accept a file that names no bridge")
    parser.add_argument(
        "--full-every",
        type=options.seconds,
        default=300.0,
        metavar="SPAN",
        help="look at everything so often, told to or not (default: 5m)",
    )
    parser.add_argument("--log-format", choices=["text", "json"], default="text", help="default: text")
    parser.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], default="info", help="default: info"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Works until it is told to stop."""
    from reconciler.watch.agent import Agent, Options
    from reconciler.watch.log import Log
    from reconciler.watch.pace import Rates
    from reconciler.watch.source import Files

    names = context.files(arguments)
    if "-" in names:
        raise UsageError("standard input cannot be followed: name a file or a directory")
    context.require_privilege()
    chosen = Options(
        host_id=context.host_id(),
        policy=context.policy(arguments),
        heal=arguments.drift == "heal",
        atomic=arguments.atomic,
        max_deletes=arguments.max_deletes,
        allow_empty=arguments.allow_empty,
        rates=Rates(full=arguments.full_every),
    )
    Agent(Files(names), chosen, Log(form=arguments.log_format, level=arguments.log_level)).run()
    return 0
