"""reconcile validate"""

from __future__ import annotations

import argparse
from typing import Any

from reconciler.cli import context, options, output


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "validate",
        help="check the file only; no kernel, no root",
        description="Checks the file and prints every error at once, each as FILE:LINE:COL: error: what is wrong (what to "
        "do). Reads no kernel and needs no root. Exits 3 if anything is wrong.",
    )
    options.file(parser)
    options.formats(parser)
    parser.set_defaults(run=run, unprivileged=lambda arguments: True)


def run(arguments: argparse.Namespace) -> int:
    """Checks the file."""
    document = context.document(arguments)
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
    output.show_problems((), arguments, said=f"{notes}valid: {', '.join(document.sources)}: {counts}\n")
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
