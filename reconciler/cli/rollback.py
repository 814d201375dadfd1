"""reconcile rollback"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options, safety
from reconciler.errors import ReconcileError

if TYPE_CHECKING:
    from reconciler.confirm import Journal

_LONG = 60.0
"""Seconds to wait for another run, at boot."""


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "rollback",
        help="undo now what awaits confirmation",
        description="Undoes what was applied with --confirm-timeout and is not confirmed: plans from what is there now to what was there "
        "before, performs that, and verifies it.",
    )
    options.name_of_pending(parser)
    parser.add_argument(
        "--after-boot",
        action="store_true",
        help="only what was not confirmed before this host booted, of all owners; for a unit (contrib/systemd/reconcile-rollback.service)",
    )
    options.lock_timeout(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Rolls it back."""
    if arguments.after_boot:
        return _after_boot(arguments)
    with context.kernel(read_only=False) as kernel:
        from reconciler import confirm, timer
        from reconciler.kernel.lock import Lock

        owner = safety.pending(arguments).owner
        with Lock(owner, context.patience(owner, arguments)):
            journal = safety.pending(arguments)
            confirm.roll_back(kernel, journal, "by `reconcile rollback`")
        timer.stop(journal)
    print("Rolled back and verified: the host is as it was before.")
    return 0


def _after_boot(arguments: argparse.Namespace) -> int:
    """Every owner's is tried, whatever becomes of the others'."""
    from reconciler import confirm
    from reconciler.kernel import place

    code = 0
    with context.kernel(read_only=False):
        boot = place.boot_id()
        for journal in confirm.all_here():
            if journal.boot == boot or arguments.name not in (None, journal.owner):
                continue
            safety.say(f"{safety.overdue(journal)}.")
            try:
                _roll_back(journal)
            except ReconcileError as error:
                print(f"{journal.owner}: {error}")
                code = error.exit_code
    return code


def _roll_back(journal: Journal) -> None:
    from reconciler import confirm, timer
    from reconciler.kernel.lock import Lock

    with context.kernel(read_only=False) as kernel, Lock(journal.owner, _LONG):
        current = confirm.find(journal.owner)
        if current is not None and current.id == journal.id:
            confirm.roll_back(kernel, current, timer.why(current))
            print(f"{journal.owner}: rolled back.")
