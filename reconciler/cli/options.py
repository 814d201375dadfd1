"""Options that several commands share, declared once."""

from __future__ import annotations

import argparse


def non_negative(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


non_negative.__name__ = "whole number"


def file(parser: argparse.ArgumentParser) -> None:
    """-f, and its completion by the shell."""
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        metavar="FILE|DIR|-",
        help="the desired state: a file, a directory (all its *.yaml), or - for standard input; may be given several "
        "times (default: ./reconcile.yaml, else /etc/reconciler/)",
    )


def policy(parser: argparse.ArgumentParser) -> None:
    """What the planner may do with foreign things."""
    parser.add_argument(
        "--adopt", action="store_true", help="take over foreign objects that stand where ours should be"
    )
    parser.add_argument(
        "--prune",
        choices=["foreign"],
        metavar="foreign",
        help="also remove foreign addresses and routes from links of ours",
    )


def guards(parser: argparse.ArgumentParser) -> None:
    """Limits of what an apply may do."""
    parser.add_argument(
        "--max-deletes",
        type=non_negative,
        metavar="N",
        help="refuse to delete more than N things (default: half of what is there, judged from ten on)",
    )
    parser.add_argument("--allow-empty", action="store_true", help="accept a file that names no bridge")
    trust(parser)
    lock_timeout(parser)


def trust(parser: argparse.ArgumentParser) -> None:
    """Of commands that change the host because a file says so."""
    parser.add_argument(
        "--trust-file",
        action="store_true",
        help="as root, obey also a file that others can write: one that is not root's, or in a directory that is not",
    )


def lock_timeout(parser: argparse.ArgumentParser) -> None:
    """How long to wait for another run."""
    parser.add_argument(
        "--lock-timeout",
        type=non_negative,
        default=0,
        metavar="SECONDS",
        help="wait so long for another run to end (default: 0, exit 6 at once)",
    )


def output(parser: argparse.ArgumentParser) -> None:
    """How to print a plan."""
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to print (default: text)")
    parser.add_argument("-v", "--verbose", action="store_true", help="every kernel object and every request by itself")


def basis(parser: argparse.ArgumentParser) -> None:
    """What the plan takes for "now"."""
    parser.add_argument(
        "--basis",
        default="live",
        metavar="BASIS",
        help="what to plan from: live (the default), empty (a host with nothing made yet), file:OLD.yaml (a host as that file says), "
        "git:REV (as these files say in that revision), snapshot:FILE (as `reconcile snapshot` found it). All but live need no root, "
        "and are for dry runs only",
    )
    parser.add_argument("--host", metavar="NAME", help="refuse a snapshot of any other host")


def fail_on(parser: argparse.ArgumentParser) -> None:
    """Gates for CI."""
    parser.add_argument(
        "--fail-on",
        metavar="WHAT[,WHAT]",
        type=_gates,
        default=(),
        help="exit 2 if the plan would: delete (remove anything of ours for good), disruption (interrupt traffic that flows now), "
        "drift (change anything at all on a live host)",
    )


def _gates(text: str) -> tuple[str, ...]:
    """The names in `text`, for argparse."""
    from reconciler.core.gates import GATES

    names = tuple(text.split(","))
    unknown = [name for name in names if name not in GATES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(GATES)}")
    return names


def detailed_exitcode(parser: argparse.ArgumentParser) -> None:
    """For CI and scripts."""
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit 2 if there is anything to change")


def name(parser: argparse.ArgumentParser) -> None:
    """Whose things, for commands that need no file."""
    parser.add_argument(
        "--name", metavar="OWNER", help="the owner, `name:` of a file (default: as the file says, else `default`)"
    )
