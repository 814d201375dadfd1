"""reconcile snapshot"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from reconciler.cli import context, options


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "snapshot",
        help="write down what is on this host, for CI to plan against",
        description="Prints what the planner sees of this host, as JSON: links, addresses, routes, the settings the file speaks of, and "
        "our own nftables table; of others' namespaces only that they are there, of others' tables only what could drop forwarded packets. "
        "CI plans against it with --basis snapshot:FILE, with no root.",
    )
    options.file(parser)
    parser.add_argument("-o", "--out", metavar="PATH", help="write to PATH (default: standard output)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Looks, and writes."""
    import json

    from reconciler import reconcile
    from reconciler.errors import UsageError
    from reconciler.kernel import recorded

    document = context.document(arguments)
    desired = context.desired(document)
    scope = reconcile.scope_of(desired, document.name)
    with context.kernel(read_only=True) as kernel:
        snapshot = reconcile.observe(kernel, desired, document.name)
    body = {
        "format": recorded.FORMAT,
        "version": recorded.VERSION,
        "host": os.uname().nodename,
        "owner": document.name,
        "snapshot": recorded.to_json(recorded.trimmed(snapshot, scope)),
    }
    text = json.dumps(body, indent=1, sort_keys=True) + "\n"
    if arguments.out is None:
        sys.stdout.write(text)
        return 0
    try:
        with open(arguments.out, "w") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{arguments.out} cannot be written: {error.strerror}") from error
    return 0
