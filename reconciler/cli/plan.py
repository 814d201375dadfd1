"""reconcile plan, and the printing of plans for all commands that make one."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options

if TYPE_CHECKING:
    from reconciler.core.plan import Plan
    from reconciler.reconcile import View


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "plan",
        help="print what would change, and change nothing (the same as --dry-run)",
        description="Prints what `reconcile` would change on this host, and changes nothing: in a dry run the transport "
        "refuses every message that writes.",
    )
    options.file(parser)
    options.policy(parser)
    options.output(parser)
    options.detailed_exitcode(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the plan."""
    from reconciler import reconcile

    document = context.document(arguments)
    desired = context.desired(document)
    with context.kernel(read_only=True) as kernel:
        plan, view = reconcile.plan(kernel, desired, document.name, context.policy(arguments))
    show(plan, view, arguments)
    return 2 if arguments.detailed_exitcode and not plan.empty else 0


def show(plan: Plan, view: View, arguments: argparse.Namespace) -> None:
    """Prints `plan` on standard output as --format says."""
    states = view.desired, view.found
    if arguments.format == "json":
        import json

        from reconciler.render.json import plan_json

        json.dump(plan_json(plan, states=states), sys.stdout, indent=2)
        print()
    else:
        from reconciler.render.text import plan_text

        text = plan_text(plan, color=context.colored(), verbose=arguments.verbose, states=states)
        print(text.rstrip("\n"))
