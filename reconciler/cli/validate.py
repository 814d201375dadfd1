"""reconcile validate"""

from __future__ import annotations

import argparse
from typing import Any

from reconciler.cli import context, options


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "validate",
        help="check the file only; no kernel, no root",
        description="Checks the file and prints every error at once, each as FILE:LINE:COL: error: what is wrong (what to "
        "do). Reads no kernel and needs no root. Exits 3 if anything is wrong.",
    )
    options.file(parser)
    parser.set_defaults(run=run)


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
    for note in document.notes:
        print(f"{note.position}: note: {note.message}")
    print(
        f"valid: {', '.join(document.sources)}: {_count(len(document.bridges), 'bridge')}, "
        f"{_count(len(containers), 'container')}, {_count(ports, 'published port')}"
        + (f", {_count(len(document.expectations), 'expectation')}" if document.expectations else "")
    )
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
