"""reconcile plan, and the printing of plans for all commands that make one."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options
from reconciler.errors import UsageError

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
    options.basis(parser)
    options.output(parser)
    options.detailed_exitcode(parser)
    options.fail_on(parser)
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="save the plan, to be applied later, once, and only on what it rests on now (`reconcile apply PATH`)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the plan, and saves it if asked to."""
    out = getattr(arguments, "out", None)
    if out is not None:
        return _save(arguments, out)
    plan, view = context.plan(context.document(arguments), arguments)
    show(plan, view, arguments)
    return verdict(plan, view, arguments)


def _save(arguments: argparse.Namespace, out: str) -> int:
    from reconciler import saved
    from reconciler.manifest import from_texts, read

    if arguments.basis != "live":
        raise UsageError(f"a plan on the basis {arguments.basis} is never applied, so there is no use in saving it")
    # Read once: what is saved is what was planned.
    texts = read(context.files(arguments), stdin=sys.stdin)
    plan, view = context.plan(from_texts(texts), arguments)
    saved.write(saved.save(plan, view, context.policy(arguments), texts), out)
    show(plan, view, arguments)
    print(f"Saved to {out}: `reconcile apply {out}` does just this, or nothing.", file=sys.stderr)
    return verdict(plan, view, arguments)


def verdict(plan: Plan, view: View, arguments: argparse.Namespace) -> int:
    """The exit code of a dry run: 2 if a gate is closed (which is told on standard error), or for any difference if asked for."""
    from reconciler.core import gates

    exposure = context.exposure(plan, view) if gates.EXPOSURE in arguments.fail_on else ()
    closed = list(gates.closed(plan, arguments.fail_on, exposure))
    if closed:
        from reconciler.render.terminal import clean

        for line in "\n".join(f"reconcile: {line}" for line in closed).splitlines():
            print(clean(line), file=sys.stderr)
    return 2 if closed or (arguments.detailed_exitcode and not plan.empty) else 0


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
