"""reconcile apply"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options, safety, trust
from reconciler.cli.apply_file import make_so

if TYPE_CHECKING:
    from reconciler.core.plan import Plan
    from reconciler.reconcile import View


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "apply",
        help="apply a saved plan, if what it rests on is as it was",
        description="Applies a plan that `reconcile plan --out PATH` saved: just that, or nothing. It is refused (exit 5) when anything "
        "that it rests on has changed, after a reboot, in another network namespace, and the second time. The files it was made of "
        "are in it.",
    )
    parser.add_argument("path", metavar="PATH", help="what `reconcile plan --out PATH` wrote")
    options.guards(parser)
    options.safety(parser)
    options.output(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Applies it."""
    from reconciler import saved
    from reconciler.core import guards
    from reconciler.kernel import lock
    from reconciler.manifest import from_texts

    if not arguments.trust_file:
        trust.refuse_untrusted([arguments.path])
    plan = saved.read(arguments.path)
    saved.check_place(plan)
    document = from_texts(plan.files)
    if not arguments.allow_empty:
        guards.refuse_empty(len(document.bridges), arguments.path)

    def accept(fresh: Plan, view: View) -> None:
        saved.check(plan, fresh, view)
        guards.refuse_conflicts(fresh)
        guards.refuse_many_deletes(fresh, arguments.max_deletes)
        # A plan that is refused is not used up.
        safety.refuse_cutoff(fresh, view, arguments)
        saved.take(plan, lock.directory())

    return make_so(context.desired(document), plan.owner, plan.policy, arguments, accept=accept)
