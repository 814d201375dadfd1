"""The argument parser, put together from what each command declares."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from reconciler import __version__
from reconciler.errors import UsageError

COMMANDS = (
    "plan",
    "apply",
    "watch",
    "suspend",
    "resume",
    "validate",
    "status",
    "ports",
    "exposure",
    "show",
    "snapshot",
    "confirm",
    "rollback",
    "down",
    "doctor",
    "sandbox",
    "test",
    "schema",
    "completion",
)
"""The commands, in the order in which --help lists them. Each is a module of its own name, but for:"""
_MODULES = {"test": "expect"}
"""What `reconcile` does without a command is in `apply_file`."""

USAGE = "reconcile [OPTION…]\n       reconcile COMMAND [OPTION…]"
DESCRIPTION = """\
Brings this host's container network to what a YAML file says, over netlink, changing only what differs.

  reconcile --dry-run          what would change; writes nothing
  reconcile                    make it so: plan, apply, verify (and undo if a step fails)
  reconcile sandbox            try the file with no root and no risk

The file is ./reconcile.yaml, else all *.yaml in /etc/reconciler/, else what -f names.
"""

EPILOG = """\
exit codes:
  0   done, or a dry run that worked, whatever it found
  1   failed; nothing is half done unless it says so
  2   a dry run found differences (with --detailed-exitcode, or what --fail-on names)
  3   the file is invalid
  4   a guard refused: too many deletions, an empty file, a foreign object in the way,
      the way to this host cut, a change that awaits confirmation
  5   the saved plan is stale: what it rests on has changed
  6   another run is at work (its pid is named)
  7   a step failed, or nobody confirmed, and it was rolled back: the host is as it was
  64  wrong usage

`reconcile COMMAND --help` says more of each. The file is described in docs/file.md and by `reconcile schema`.
"""


class _Formatter(argparse.HelpFormatter):
    """Wraps paragraphs that are one line in the code, and leaves those alone that have lines of their own."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = text.strip("\n").split("\n\n")
        return "\n\n".join(
            part if "\n" in part else super(_Formatter, self)._fill_text(part, width, indent) for part in parts
        )


class _Commands(argparse._SubParsersAction):  # type: ignore[type-arg]
    """The commands. An option before a command would be lost on it (argparse lets the command's default win), and a lost --dry-run or
    -f is no small thing: it is refused."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for action in parser._actions:
            if action.option_strings and getattr(namespace, action.dest, action.default) != action.default:
                option = action.option_strings[-1]
                parser.error(
                    f"{option} stands before the command: options go behind it, as in `reconcile {values[0]} {option} …`"
                )
        super().__call__(parser, namespace, values, option_string)


class Parser(argparse.ArgumentParser):
    """argparse, with the exit code that sysexits.h has for wrong usage (argparse's own 2 means "differences found" here)."""

    formatter: Callable[..., argparse.HelpFormatter] = _Formatter

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=type(self).formatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(UsageError.exit_code, f"{self.prog}: {message} (see `{self.prog} --help`)\n")


class _Unsure(Exception):
    """What a parser of some commands makes of the arguments is not what one of all commands may make of them."""


class _Brief(Parser):
    """A parser that leaves it to the whole one to say what is wrong, or to help."""

    # One is made with every option that is declared. To find out how wide the terminal is it would import shutil, and that much more.
    formatter = functools.partial(_Formatter, width=80)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, add_help=False)

    def error(self, message: str) -> NoReturn:
        raise _Unsure(message)


def build() -> argparse.ArgumentParser:
    """The whole parser. Documentation and shell completion are made from it too."""
    parser = Parser(prog="reconcile", usage=USAGE, description=DESCRIPTION, epilog=EPILOG)
    _fill(parser, COMMANDS, Parser)
    return parser


def _brief(argv: Sequence[str]) -> argparse.ArgumentParser:
    """A parser of the one command that `argv` begins with, or of what can be said without a command: what the modules of twenty commands
    import, and to declare them all, takes as long as a look at a hundred containers."""
    parser = _Brief(prog="reconcile")
    _fill(parser, [word for word in argv[:1] if word in COMMANDS], _Brief)
    return parser


def _fill(parser: Parser, words: Sequence[str], kind: type[Parser]) -> None:
    """Declares what can be said without a command, and the commands `words`, each parsed by a parser of that kind."""
    parser.add_argument("--version", action="version", version=f"reconcile {__version__}")
    parser.set_defaults(unprivileged=lambda arguments: False, command=None)
    if words:
        commands = parser.add_subparsers(
            title="commands", dest="command", metavar="COMMAND", prog="reconcile", parser_class=kind, action=_Commands
        )
    _module("apply_file").add(parser)
    for word in words:
        _module(_MODULES.get(word, word)).add(commands)


def _module(name: str) -> Any:
    return import_module(f"reconciler.cli.{name}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; `run` in it is the function that does the command. Exits with 64 on wrong usage, 0 on --help."""
    try:
        return _brief(argv).parse_args(list(argv))
    except _Unsure:
        return build().parse_args(list(argv))
