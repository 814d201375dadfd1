"""reconcile schema"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of the file, for editors",
        description="Prints the JSON Schema of the file. With `# yaml-language-server: $schema=PATH` as its first line, "
        "editors complete and check the file as it is typed.",
    )
    parser.set_defaults(run=run, unprivileged=lambda arguments: True)


def run(arguments: argparse.Namespace) -> int:
    """Prints it."""
    from reconciler.manifest import json_schema

    json.dump(json_schema(), sys.stdout, indent=2, ensure_ascii=False)
    print()
    return 0
