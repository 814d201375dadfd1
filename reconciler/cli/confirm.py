"""reconcile confirm"""

from __future__ import annotations

import argparse
from typing import Any

from reconciler.cli import context, options, safety
from reconciler.errors import NotAwaitedError


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "confirm",
        help="keep what was applied with --confirm-timeout",
        description="Confirms what was applied with --confirm-timeout: it stays. Without this it is undone when its time is over. "
        "Best typed in a session opened after the change, since that shows that the host can still be reached.",
    )
    options.name_of_pending(parser)
    options.lock_timeout(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Confirms it."""
    context.require_privilege()
    from reconciler import confirm, timer
    from reconciler.kernel import place
    from reconciler.kernel.lock import Lock

    owner = safety.pending(arguments).owner
    with Lock(owner, context.patience(owner, arguments)):
        journal = safety.pending(arguments)
        if not journal.failure:
            if journal.due(place.boot_id(), place.now()):
                raise NotAwaitedError(
                    f"too late: {safety.overdue(journal)}. The timer, `reconcile rollback` or the next run does that"
                )
            if not journal.applied:
                raise NotAwaitedError(f"there is nothing whole to confirm: {safety.awaiting(journal)}")
        confirm.forget_rolled_back(journal.owner)
        confirm.remove(journal)
    timer.stop(journal)
    safety.say(f"confirmed: what {journal.by} applied stays.")
    return 0
