"""reconcile resume"""

from __future__ import annotations

import argparse
from typing import Any

from reconciler.cli import context, options
from reconciler.errors import PlatformError


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "resume",
        help="end a suspension",
        description="Ends what `reconcile suspend` began: the agent heals what differs.",
    )
    options.file(parser)
    options.name(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Removes the suspension."""
    from reconciler.watch import control

    owner = context.agents_owner(arguments)
    try:
        there = control.resume(owner)
    except OSError as error:
        raise PlatformError(f"cannot resume: {error}") from error
    print(f"{owner}: {'resumed' if there else 'was not suspended'}")
    return 0
