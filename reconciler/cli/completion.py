"""reconcile completion"""

from __future__ import annotations

import argparse
from typing import Any

from reconciler.errors import PlatformError


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Prints a completion script.",
        epilog="bash:  reconcile completion bash > /etc/bash_completion.d/reconcile\n"
        "zsh:   reconcile completion zsh > /usr/share/zsh/site-functions/_reconcile\n"
        "tcsh:  reconcile completion tcsh > /etc/profile.d/reconcile.completion.csh",
    )
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="the shell")
    parser.set_defaults(run=run, unprivileged=lambda arguments: True)


def run(arguments: argparse.Namespace) -> int:
    """Prints it."""
    from reconciler.cli.parser import build

    try:
        import shtab
    except ImportError:
        raise PlatformError(
            "completion scripts are made by shtab: pip install 'reconcile-network[completion]'"
        ) from None
    print(shtab.complete(build(), arguments.shell))
    return 0
