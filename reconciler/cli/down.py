"""reconcile down"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options, output, safety, trust
from reconciler.cli import plan as plan_command
from reconciler.cli.apply_file import make_so

if TYPE_CHECKING:
    from reconciler.render.report import Report


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "down",
        help="remove all that this owner made",
        description="Removes everything that carries the owner's mark: bridges, interfaces, namespaces we made, addresses, routes, the "
        "nftables table. Uplinks are given back, foreign things stay, forwarding stays on. The file only says whose they are: "
        "of it `version` and `name` are read, and the rest may be invalid.",
    )
    options.file(parser)
    options.name(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would go, change nothing")
    options.trust(parser)
    options.lock_timeout(parser)
    options.safety(parser)
    options.output(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Removes it."""
    from reconciler import reconcile
    from reconciler.core.planner import Policy
    from reconciler.core.resource import State

    owner, policy = context.owner(arguments), Policy(unwanted="taken down")
    if arguments.dry_run:
        with context.kernel(read_only=True) as kernel:
            plan, view = reconcile.plan(kernel, State(), owner, policy)
        show(plan_command.report_of(plan, view), arguments)
        safety.foretell(plan, view, arguments)
        return 0
    if not arguments.name and not arguments.trust_file and context.has_file(arguments):
        trust.refuse_untrusted(context.files(arguments))  # it says whose things go
    return make_so(State(), owner, policy, arguments, limited=False, show=show)


def show(report: Report, arguments: argparse.Namespace) -> None:
    """Prints the plan. It goes for no file, so it does not speak of one."""
    nothing = f"Nothing to do: nothing on this host carries the mark of the owner {report.plan.owner!r}.\n"
    output.show(report, arguments, said=nothing if report.plan.empty else None)
