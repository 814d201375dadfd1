"""reconcile ports"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from reconciler.cli import context, options


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "ports",
        help="what is published, as `docker port` answers it",
        description="Lists the published ports that are in the kernel now: of all containers, of one, or of one port of one.",
        epilog="examples:\n  reconcile ports\n  reconcile ports web\n  reconcile ports web 80/tcp",
    )
    parser.add_argument("container", nargs="?", metavar="CONTAINER", help="only of this container")
    parser.add_argument("port", nargs="?", metavar="PORT[/PROTO]", help="only of this port of the container")
    options.file(parser)
    options.name(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the ports."""
    from reconciler import reconcile
    from reconciler.core.resource import State
    from reconciler.render.ports import ports_text

    owner = context.owner(arguments)
    with context.kernel(read_only=True) as kernel:
        found = reconcile.look(kernel, State(), owner).found
    sys.stdout.write(ports_text(found, arguments.container, arguments.port))
    return 0
