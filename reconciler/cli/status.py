"""reconcile status"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from reconciler.cli import context, options, safety


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "status",
        help="what is, against what should be, in short",
        description="Says whether this host is as the file says, and if not, what differs; and how the agent says that it goes, if "
        "one runs (`reconcile watch`). Changes nothing.",
    )
    options.file(parser)
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to print (default: text)")
    options.detailed_exitcode(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the status."""
    from reconciler import reconcile
    from reconciler.errors import ManifestError, UsageError
    from reconciler.render import status
    from reconciler.watch import control

    try:
        document = context.document(arguments)
    except (ManifestError, UsageError) as error:
        code = _agents_word(arguments)
        if code is None or isinstance(error, ManifestError):
            raise
        return code
    desired = context.desired(document)
    with context.kernel(read_only=True) as kernel:
        plan, view = reconcile.plan(kernel, desired, document.name)
    agent = control.ask(document.name)
    told, waiting = safety.status(document.name)
    if arguments.format == "json":
        body = status.status_json(plan, view.found, view.desired) | {"agent": agent, "awaits_confirmation": waiting}
        json.dump(body, sys.stdout, indent=2)
        print()
    else:
        if agent is not None:
            sys.stdout.write(status.agent_text(agent, color=context.colored()))
        print(status.status_text(plan, view.found, view.desired, color=context.colored()).rstrip("\n"))
        if told:
            safety.say(f"{told}.")
    return 2 if arguments.detailed_exitcode and not plan.empty else 0


def _agents_word(arguments: argparse.Namespace) -> int | None:
    """Prints how the agent says that it goes, where no file can be read here: it may follow a repository, or keep up the last good file.

    Returns the exit code; None if no agent runs.
    """
    from reconciler.render import status
    from reconciler.render.json import FORMAT_VERSION
    from reconciler.watch import control

    owner = control.only_owner()
    agent = None if owner is None else control.ask(owner)
    if owner is None or agent is None:
        return None
    told, waiting = safety.status(owner)
    synced = any(item["condition"] == "Synced" and item["holds"] for item in agent["conditions"])
    if arguments.format == "json":
        body = {
            "format_version": FORMAT_VERSION,
            "owner": owner,
            "in_sync": synced,
            "agent": agent,
            "awaits_confirmation": waiting,
        }
        json.dump(body, sys.stdout, indent=2)
        print()
    else:
        sys.stdout.write(status.agent_text(agent, color=context.colored()))
        if told:
            safety.say(f"{told}.")
    return 2 if arguments.detailed_exitcode and not synced else 0
