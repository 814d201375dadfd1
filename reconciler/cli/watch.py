"""reconcile watch"""

from __future__ import annotations

import argparse
import gc
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options, trust
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.watch.source import Source

_DESCRIPTION = """\
Stays, and keeps the host as the file says: applies the file when it changes, and brings back what of ours is deleted or changed in
the kernel, within milliseconds of the kernel telling it. Ends at SIGTERM or SIGINT and leaves the network as it is; SIGHUP looks at
everything again.

What fails is left out with all that rests on it and tried again, later each time; the rest goes on. An invalid file is reported, and the
last good one is kept up. What something else keeps changing is reported and left alone for a while, longer each time.

`reconcile status` asks it how it goes; `reconcile suspend` and `resume` stop and start its work.
"""


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser("watch", help="keep it so: follow the file and the kernel", description=_DESCRIPTION)
    options.file(parser)
    options.policy(parser)
    git = parser.add_argument_group("from git, instead of -f")
    git.add_argument("--git", metavar="URL", help="follow this repository: fetch it, and apply what a new commit says")
    git.add_argument("--ref", default="main", help="the branch or tag to follow (default: main)")
    git.add_argument(
        "--path", default=".", metavar="PATH", help="the file or directory in it (default: all *.yaml at the top)"
    )
    git.add_argument(
        "--every",
        type=options.seconds,
        default=60.0,
        metavar="SPAN",
        help="fetch so often, and on SIGHUP (default: 1m)",
    )
    git.add_argument("--signed", action="store_true", help="take only commits with a signature that git trusts")
    git.add_argument(
        "--allowed-signers",
        metavar="FILE",
        help="who may sign, by SSH keys (ssh-keygen(1), ALLOWED SIGNERS); implies --signed",
    )
    parser.add_argument(
        "--drift",
        choices=["heal", "report"],
        default="heal",
        help="what to do with what differs: heal it (the default), or only report it, and change nothing at all",
    )
    parser.add_argument(
        "--atomic",
        action="store_true",
        help="do a new revision whole or not at all: if a step fails, it is undone, not tried again by itself, and the last good one is "
        "kept up (default: do what can be done)",
    )
    parser.add_argument(
        "--max-deletes", type=options.non_negative, metavar="N", help="refuse a revision that deletes more"
    )
    parser.add_argument("--allow-empty", action="store_true", help="accept a file that names no bridge")
    parser.add_argument(
        "--protect",
        type=options.ip,
        action="append",
        default=[],
        metavar="ADDR",
        help="refuse a revision that cuts the way to ADDR, or one of this host's own addresses ADDR from the network; may be given "
        "several times",
    )
    options.trust(parser)
    parser.add_argument(
        "--full-every",
        type=options.seconds,
        default=300.0,
        metavar="SPAN",
        help="look at everything so often, told to or not (default: 5m)",
    )
    parser.add_argument(
        "--listen",
        nargs="?",
        const="127.0.0.1:9798",
        type=options.address,
        metavar="ADDR:PORT",
        help="serve a page with the picture of the network, and metrics, read-only (default, if given without one: 127.0.0.1:9798)",
    )
    parser.add_argument(
        "--listen-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name by which readers may ask for it, besides localhost",
    )
    parser.add_argument("--log-format", choices=["text", "json"], default="text", help="default: text")
    parser.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], default="info", help="default: info"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Works until it is told to stop."""
    # Who stays has to let go of circles; one look makes a hundred thousand values, of which hardly any is in one.
    gc.enable()
    gc.set_threshold(100_000)
    from reconciler.watch.agent import Agent, Options
    from reconciler.watch.log import Log
    from reconciler.watch.pace import Rates

    source = _source(arguments)
    context.require_privilege()
    chosen = Options(
        host_id=context.host_id(),
        policy=context.policy(arguments),
        heal=arguments.drift == "heal",
        atomic=arguments.atomic,
        max_deletes=arguments.max_deletes,
        allow_empty=arguments.allow_empty,
        protect=tuple(arguments.protect),
        rates=Rates(full=arguments.full_every),
        listen=arguments.listen,
        names=tuple(arguments.listen_name),
    )
    Agent(source, chosen, Log(form=arguments.log_format, level=arguments.log_level)).run()
    return 0


def _source(arguments: argparse.Namespace) -> Source:
    """The files, or the repository. Raises UsageError."""
    if arguments.git is None:
        from reconciler.watch.source import Files

        names = context.files(arguments)
        if "-" in names:
            raise UsageError("standard input cannot be followed: name a file or a directory")
        obeys = arguments.drift == "heal" and not arguments.trust_file
        return Files(names, trust.refuse_untrusted) if obeys else Files(names)
    from reconciler.watch.git import Git, Remote

    if arguments.file:
        raise UsageError("--git and -f exclude each other: name the file in the repository with --path")
    signers = arguments.allowed_signers
    remote = Remote(
        arguments.git, arguments.ref, arguments.path, arguments.every, arguments.signed or signers is not None, signers
    )
    return Git(remote)
