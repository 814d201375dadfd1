"""reconcile plan, and the printing of plans for all commands that make one."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options, output, safety
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.plan import Plan
    from reconciler.exposure import Change
    from reconciler.reconcile import View
    from reconciler.rehearsal import Rehearsal
    from reconciler.render.report import Report


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
    options.protect(parser)
    options.basis(parser)
    options.output(parser)
    options.detailed_exitcode(parser)
    options.fail_on(parser)
    options.rehearse(parser)
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="save the plan, to be applied later, once, and only on what it rests on now (`reconcile apply PATH`)",
    )
    parser.set_defaults(run=run, unprivileged=context.needs_no_privilege)


def run(arguments: argparse.Namespace) -> int:
    """Prints the plan, and saves it if asked to."""
    out = getattr(arguments, "out", None)
    if out is not None:
        return _save(arguments, out)
    plan, view = context.plan(context.document(arguments), arguments)
    rehearsal = _rehearsal(plan, view, arguments)
    exposure = context.exposure(plan, view)
    show(report_of(plan, view, exposure, rehearsal), arguments)
    if arguments.basis == "live":
        safety.foretell(plan, view, arguments)
    return verdict(plan, exposure, arguments, rehearsal)


def _rehearsal(plan: Plan, view: View, arguments: argparse.Namespace) -> Rehearsal | None:
    """How the plan goes in a scratch namespace, if that is asked for."""
    if not arguments.rehearse:
        return None
    from reconciler.rehearsal import rehearse

    return rehearse(plan, view, context.policy(arguments))


def _save(arguments: argparse.Namespace, out: str) -> int:
    from reconciler import saved
    from reconciler.manifest import from_texts, read

    if arguments.basis != "live":
        raise UsageError(f"a plan on the basis {arguments.basis} is never applied, so there is no use in saving it")
    # Read once: what is saved is what was planned.
    texts = read(context.files(arguments), stdin=sys.stdin)
    plan, view = context.plan(from_texts(texts), arguments)
    rehearsal = _rehearsal(plan, view, arguments)
    exposure = context.exposure(plan, view)
    saved.write(saved.save(plan, view, context.policy(arguments), texts), out)
    show(report_of(plan, view, exposure, rehearsal), arguments)
    safety.foretell(plan, view, arguments)
    print(f"Saved to {out}: `reconcile apply {out}` does just this, or nothing.", file=sys.stderr)
    return verdict(plan, exposure, arguments, rehearsal)


def verdict(
    plan: Plan, exposure: Sequence[Change], arguments: argparse.Namespace, rehearsal: Rehearsal | None = None
) -> int:
    """The exit code of a dry run: 1 if its rehearsal failed, 2 if a gate is closed (told on standard error), or for any difference if
    asked for."""
    from reconciler.core import gates

    closed = list(gates.closed(plan, arguments.fail_on, exposure))
    if closed:
        from reconciler.render.terminal import clean

        for line in "\n".join(f"reconcile: {line}" for line in closed).splitlines():
            print(clean(line), file=sys.stderr)
    if rehearsal is not None and not rehearsal.ok:
        return 1
    return 2 if closed or (arguments.detailed_exitcode and not plan.empty) else 0


def show(report: Report, arguments: argparse.Namespace) -> None:
    """Prints `report` on standard output as --format says, and writes what --write says. Raises PlatformError."""
    from reconciler.cli import timings

    timings.lap("plan")
    output.show(report, arguments)
    timings.lap("print")


def report_of(
    plan: Plan, view: View, exposure: Sequence[Change] | None = None, rehearsal: Rehearsal | None = None
) -> Report:
    """What there is to show of `plan`, which rests on `view`; None is what was not looked at."""
    from reconciler.render.report import Report

    changes = None if exposure is None else tuple(exposure)
    return Report(plan, (view.desired, view.found), exposure=changes, rehearsal=rehearsal)
