"""reconcile, without a command: make it so."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from reconciler.cli import context, options, safety, timings
from reconciler.cli import plan as plan_command
from reconciler.errors import StalePlanError, UsageError

if TYPE_CHECKING:
    from reconciler.core.plan import Plan
    from reconciler.core.planner import Policy
    from reconciler.core.resource import State
    from reconciler.reconcile import Kernel, Progress, View
    from reconciler.render.report import Report


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `reconcile` itself."""
    options.file(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")
    options.policy(parser)
    options.basis(parser)
    options.guards(parser)
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="when something fails, leave it out with all that rests on it, finish the rest, tell every failure, and exit 1 "
        "(default: undo everything, exit 7)",
    )
    options.safety(parser)
    options.output(parser)
    options.detailed_exitcode(parser)
    options.fail_on(parser)
    options.rehearse(parser)
    parser.set_defaults(run=run, unprivileged=_unprivileged)


def _unprivileged(arguments: argparse.Namespace) -> bool:
    return bool(arguments.dry_run) and context.needs_no_privilege(arguments)


def run(arguments: argparse.Namespace) -> int:
    """Plans, applies, verifies."""
    if arguments.dry_run:
        return plan_command.run(arguments)
    if arguments.basis != "live":
        raise UsageError(f"a plan on the basis {arguments.basis} is never applied: add --dry-run")
    if arguments.rehearse:
        raise UsageError("--rehearse goes with --dry-run (or `reconcile plan`)")
    from reconciler.core import guards

    document = context.trusted_document(arguments)
    if not arguments.allow_empty:
        guards.refuse_empty(len(document.bridges), ", ".join(context.files(arguments)))
    desired = context.desired(document)
    return make_so(desired, document.name, context.policy(arguments), arguments)


def make_so(
    desired: State,
    owner: str,
    policy: Policy,
    arguments: argparse.Namespace,
    *,
    limited: bool = True,
    show: Callable[[Report, argparse.Namespace], None] = plan_command.show,
    accept: Callable[[Plan, View], None] | None = None,
) -> int:
    """Brings the host to `desired` under the lock of `owner`, and prints what was done. Returns the exit code.

    `accept` sees the plan before all else, and raises to refuse it, also if it cuts the way to this host; nobody may have changed any
    nftables table meanwhile.
    """
    from reconciler import reconcile
    from reconciler.core import guards
    from reconciler.kernel.lock import Lock

    keep_going = getattr(arguments, "keep_going", False)
    safety.check_options(arguments)
    with context.kernel(read_only=False) as kernel:
        with Lock(owner, context.patience(owner, arguments)):
            safety.settle(kernel, owner)
            safety.refuse_again(owner, desired, arguments)
            generation = kernel.generation() if accept is not None else 0
            plan, view = reconcile.plan(kernel, desired, owner, policy)
            if accept is not None:
                accept(plan, view)
                if kernel.generation() != generation:
                    raise StalePlanError("an nftables table was changed just now. Nothing was touched: try again")
            show(plan_command.report_of(plan, view), arguments)
            sys.stdout.flush()
            if not keep_going:
                guards.refuse_conflicts(plan)
            if limited:
                guards.refuse_many_deletes(plan, arguments.max_deletes)
            if accept is None:
                safety.refuse_cutoff(plan, view, arguments)
            journal = None
            if plan.steps:
                with _Progress() as progress:
                    if keep_going:
                        return _keep_going(kernel, desired, plan, policy, progress, arguments)
                    journal = safety.apply(kernel, desired, plan, view, policy, progress, arguments)
                timings.lap("plan")
                _report(plan, arguments)
            if journal is None:
                safety.forget_rolled_back(owner)
        return 0 if journal is None else safety.await_confirmation(kernel, journal, arguments)


def _keep_going(
    kernel: Kernel, desired: State, plan: Plan, policy: Policy, progress: Progress, arguments: argparse.Namespace
) -> int:
    """Does what can be done. Returns the exit code: 1 if anything could not."""
    from reconciler import keep_going

    result = keep_going.apply(kernel, desired, plan, policy, progress)
    if not result.failures:
        _report(plan, arguments)
        return 0
    for why in result.failures.values():
        print(f"reconcile: {why}", file=sys.stderr)
    left = len(result.left.steps)
    print(
        f"reconcile: {len(result.failures)} could not be done; {len(result.done)} changes were, and {left} are left",
        file=sys.stderr,
    )
    return 1


def _report(plan: Plan, arguments: argparse.Namespace) -> None:
    waits = f", {len({item.missing for item in plan.pending})} still awaited" if plan.pending else ""
    stream = sys.stdout if arguments.format == "text" else sys.stderr
    print(f"Done and verified: a second look finds nothing to change{waits}.", file=stream)


class _Progress:
    """A bar on standard error, on a terminal only, and only once there is something worth watching."""

    WORTH_WATCHING = 200
    WIDTH = 30

    def __init__(self) -> None:
        self._shown = False
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._terminal and total >= self.WORTH_WATCHING:
            filled = self.WIDTH * done // total
            bar = "█" * filled + "░" * (self.WIDTH - filled)
            print(f"\r{bar} {done}/{total}", end="", file=sys.stderr, flush=True)
            self._shown = True

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
