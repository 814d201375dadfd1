"""Options that several commands share, declared once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.core.messages import IPAddress


MOST = 10**9
"""What a number may be at most: what comes of larger ones, no clock can be set to."""
LONGEST = 7 * 24 * 3600
"""Seconds for which a change may await confirmation."""


def non_negative(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    value = int(text)
    if not 0 <= value <= MOST:
        raise ValueError
    return value


non_negative.__name__ = "whole number"


def seconds(text: str) -> float:
    """A span of time in seconds (90, 90s, 15m, 2h, 1d), for argparse."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], units[text[-1:]]) if text[-1:] in units else (text, 1)
    value = float(number) * unit
    if not 0 < value < MOST:
        raise ValueError
    return value


seconds.__name__ = "span of time"


def patience(text: str) -> int:
    """For how many seconds a change may await confirmation, for argparse."""
    value = int(text)
    if not 1 <= value <= LONGEST:
        raise ValueError
    return value


patience.__name__ = f"number of seconds (1 to {LONGEST}, a week)"


def address(text: str) -> tuple[str, int]:
    """ADDR:PORT, or [ADDR]:PORT for IPv6, for argparse."""
    from ipaddress import ip_address

    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    number = int(port)
    if not colon or not 0 <= number <= 65535:
        raise ValueError
    return str(ip_address(host)), number


address.__name__ = "ADDR:PORT"


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


def safety(parser: argparse.ArgumentParser) -> None:
    """What keeps the host within reach."""
    parser.add_argument(
        "--confirm-timeout",
        type=patience,
        metavar="SECONDS",
        help="apply, then wait for `reconcile confirm`; if it does not come in time, all is undone, whatever becomes of this terminal",
    )
    protect(parser)
    parser.add_argument(
        "--allow-cutoff",
        action="store_true",
        help="accept a plan that cuts the way by which this host is reached (with --confirm-timeout only)",
    )


def protect(parser: argparse.ArgumentParser) -> None:
    """Ways that must not be cut."""
    parser.add_argument(
        "--protect",
        type=ip,
        action="append",
        default=[],
        metavar="ADDR",
        help="refuse a plan that cuts the way to ADDR, or one of this host's own addresses ADDR from the network; may be given several "
        "times. The way of an ssh session is always looked after",
    )


def ip(text: str) -> IPAddress:
    """An IP address, for argparse."""
    from reconciler.kernel.session import address

    return address(text)


ip.__name__ = "IP address"


def output(parser: argparse.ArgumentParser) -> None:
    """How to print a plan."""
    formats(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="every kernel object and every request by itself")
    parser.add_argument("--timings", action="store_true", help="say on standard error what each phase took")


def formats(parser: argparse.ArgumentParser) -> None:
    """What to print in which format, and where to."""
    from reconciler.render.formats import FORMATS

    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="how to print: text (the default), json (docs/plan-format.md), markdown (a comment for a pull request), github (annotations), "
        "sarif (for code scanning)",
    )
    parser.add_argument(
        "--write",
        action="append",
        type=_write,
        default=[],
        metavar="FORMAT=PATH",
        help="also write it to PATH in another format, whole or not at all; any number of times",
    )


def _write(text: str) -> tuple[str, str]:
    """(format, path) of `text`, for argparse."""
    from reconciler.render.formats import FORMATS

    name, equals, path = text.partition("=")
    if name not in FORMATS:
        raise argparse.ArgumentTypeError(f"{name!r} is no format: give FORMAT=PATH, FORMAT one of {', '.join(FORMATS)}")
    if not (equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} names no file: give {name}=PATH")
    if path == "-":
        raise argparse.ArgumentTypeError(f"{text!r}: what goes to standard output says --format {name}")
    return name, path


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


def rehearse(parser: argparse.ArgumentParser) -> None:
    """Whether to try the plan first."""
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="also do the plan in a scratch namespace, with a TCP flow open through every port that stays published, and say which flows "
        "it cuts; needs no root. Exit 1 if it fails or cuts a flow that the plan does not mark",
    )


def fail_on(parser: argparse.ArgumentParser) -> None:
    """Gates for CI."""
    parser.add_argument(
        "--fail-on",
        metavar="WHAT[,WHAT]",
        type=_gates,
        default=(),
        help="exit 2 if the plan would: delete (remove anything of ours for good), disruption (interrupt traffic that flows now), "
        "drift (change anything at all on a live host), exposure (open or widen what can be reached, see `reconcile exposure`)",
    )


def _gates(text: str) -> tuple[str, ...]:
    """The names in `text`, for argparse."""
    from reconciler.core.gates import NAMES

    names = tuple(text.split(","))
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(NAMES)}")
    return names


def detailed_exitcode(parser: argparse.ArgumentParser) -> None:
    """For CI and scripts."""
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit 2 if there is anything to change")


def name(parser: argparse.ArgumentParser) -> None:
    """Whose things, for commands that need no file."""
    parser.add_argument(
        "--name", metavar="OWNER", help="the owner, `name:` of a file (default: as the file says, else `default`)"
    )


def name_of_pending(parser: argparse.ArgumentParser) -> None:
    """Whose change, for commands that look at what awaits confirmation and at no file."""
    parser.add_argument(
        "--name",
        metavar="OWNER",
        help="the owner, `name:` of a file (default: the only one that has a change awaiting)",
    )
