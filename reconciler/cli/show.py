"""reconcile show"""

from __future__ import annotations

import argparse
from typing import Any

from reconciler.cli import context, options
from reconciler.errors import UsageError


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "show",
        help="the live tree: bridges, what hangs on them, addresses, what is published",
        description="Draws the bridges of this host, what hangs on them, their addresses and what is published. Foreign things "
        "are marked, and so is what the file asks for and is missing. Works without a file too.",
    )
    options.file(parser)
    options.name(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the tree."""
    from reconciler import reconcile
    from reconciler.core.resource import State
    from reconciler.render.tree import tree

    desired, owner = State(), arguments.name
    if not owner:
        try:
            document = context.document(arguments)
            desired, owner = context.desired(document), document.name
        except UsageError:
            owner = context.owner(arguments)
    with context.kernel(read_only=True) as kernel:
        view = reconcile.look(kernel, desired, owner)
    wanted = view.desired if desired.resources else None
    print(tree(view.found, wanted, owner, color=context.colored()).rstrip("\n"))
    return 0
