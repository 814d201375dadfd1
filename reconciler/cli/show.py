"""reconcile show"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.core.plan import Plan
    from reconciler.core.resource import State

FORMATS = ("text", "svg", "mermaid", "dot")


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "show",
        help="the live tree, or a picture: bridges, what hangs on them, addresses, what is published",
        description="Draws the bridges of this host, what hangs on them, their addresses and what is published. Foreign things "
        "are marked, and so is what the file asks for and is missing. Works without a file too.",
        epilog="examples:\n"
        "  reconcile show\n"
        "  reconcile show --format svg > network.svg\n"
        "  reconcile show --desired --format mermaid",
    )
    options.file(parser)
    options.name(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="the tree as text, or the picture as svg, mermaid (for Markdown) or dot (for Graphviz) (default: text)",
    )
    parser.add_argument(
        "--desired",
        action="store_true",
        help="draw what the file asks for, and look at no host: needs no root",
    )
    parser.set_defaults(run=run, unprivileged=lambda arguments: arguments.desired)


def run(arguments: argparse.Namespace) -> int:
    """Prints the tree or the picture."""
    text = _wished(arguments) if arguments.desired else _live(arguments)
    print(text.rstrip("\n"))
    return 0


def _wished(arguments: argparse.Namespace) -> str:
    document = context.document(arguments)
    if arguments.name not in (None, document.name):
        raise UsageError(f"--desired shows what the file asks for, and the file is of {document.name!r}")
    return _drawn(arguments, context.desired(document), None, document.name)


def _live(arguments: argparse.Namespace) -> str:
    from reconciler import reconcile
    from reconciler.core.resource import State

    desired, owner = State(), arguments.name
    if not owner:
        try:
            document = context.document(arguments)
            desired, owner = context.desired(document), document.name
        except UsageError:
            owner = context.owner(arguments)
    with context.kernel(read_only=True) as kernel:
        plan, view = reconcile.plan(kernel, desired, owner)
    wanted = view.desired if desired.resources else None
    return _drawn(arguments, view.found, wanted, owner, plan, os.uname().nodename)


def _drawn(
    arguments: argparse.Namespace,
    found: State,
    desired: State | None,
    owner: str,
    plan: Plan | None = None,
    host: str = "",
) -> str:
    if arguments.format == "text":
        from reconciler.render.tree import tree

        return tree(found, desired, owner, color=context.colored())
    from reconciler.render.picture import picture

    made = picture(found, desired, owner, plan=plan, host=host)
    if arguments.format == "svg":
        from reconciler.render.svg import svg

        return svg(made)
    if arguments.format == "mermaid":
        from reconciler.render.mermaid import mermaid

        return mermaid(made)
    from reconciler.render.dot import dot

    return dot(made)
