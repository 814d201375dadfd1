"""reconcile validate"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options, output
from reconciler.errors import ManifestError, Problem, UsageError

if TYPE_CHECKING:
    from reconciler.manifest import Document


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "validate",
        help="check the file only; no kernel, no root",
        description="Checks the file and prints every error at once, each as FILE:LINE:COL: error: what is wrong (what to "
        "do). Reads no kernel and needs no root. Exits 3 if anything is wrong.",
    )
    parser.add_argument(
        "each", nargs="*", metavar="FILE", help="check each of these by itself (those of -f make one state together)"
    )
    options.file(parser)
    options.formats(parser)
    parser.set_defaults(run=run, unprivileged=lambda arguments: True)


def run(arguments: argparse.Namespace) -> int:
    """Checks the files."""
    if arguments.each and arguments.file:
        raise UsageError("-f and FILE exclude each other: FILEs are checked one by one, those of -f together")
    if not arguments.each:
        output.show_problems((), arguments, said=_told(context.document(arguments)))
        return 0
    from reconciler.manifest import load

    said, problems = "", list[Problem]()
    for name in arguments.each:
        try:
            said += _told(load([name], stdin=sys.stdin))
        except ManifestError as error:
            problems += error.problems
    if problems:
        raise ManifestError(problems)
    output.show_problems((), arguments, said=said)
    return 0


def _told(document: Document) -> str:
    """What is in a good file."""
    containers = {item.name for bridge in document.bridges for item in bridge.containers}
    ports = sum(
        port.published[1] - port.published[0] + 1
        for bridge in document.bridges
        for item in bridge.containers
        for port in item.ports
    )
    notes = "".join(f"{note.position}: note: {note.message}\n" for note in document.notes)
    counts = f"{_count(len(document.bridges), 'bridge')}, {_count(len(containers), 'container')}, {_count(ports, 'published port')}"
    if document.expectations:
        counts += f", {_count(len(document.expectations), 'expectation')}"
    return f"{notes}valid: {', '.join(document.sources)}: {counts}\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
