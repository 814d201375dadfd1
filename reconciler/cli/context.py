"""What commands need before they can begin: the file, the kernel, and how to print."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import PlatformError, UsageError

if TYPE_CHECKING:
    import argparse

    from reconciler.basis import Basis
    from reconciler.cli.timings import Timed
    from reconciler.core.plan import Plan
    from reconciler.core.planner import Policy
    from reconciler.core.resource import State
    from reconciler.exposure import Change
    from reconciler.kernel.namespaces import Containers
    from reconciler.manifest import Document
    from reconciler.reconcile import View

FILE_VARIABLE = "RECONCILE_FILE"
"""Names files, separated as in PATH, for commands without -f. The sandbox sets it."""
STATE_VARIABLE = "RECONCILE_STATE_DIR"
"""Where what awaits confirmation is kept (reconciler.confirm.directory)."""
DEFAULT_FILES = (Path("reconcile.yaml"), Path("/etc/reconciler"))


def files(arguments: argparse.Namespace) -> list[str]:
    """The files that -f names, or the first default that is there. Raises UsageError if there is none."""
    if arguments.file:
        return list(arguments.file)
    if os.environ.get(FILE_VARIABLE):
        return [_near(name) for name in os.environ[FILE_VARIABLE].split(os.pathsep)]
    for path in DEFAULT_FILES:
        if path.exists():
            return [str(path)]
    raise UsageError(
        "no file: neither ./reconcile.yaml nor /etc/reconciler/ is there (name one with -f; "
        "`reconcile sandbox -f examples/web.yaml` is a good first one)"
    )


def _near(name: str) -> str:
    """The path as seen from here, if it is below here: so it is printed as a person would type it."""
    here = os.path.relpath(name)
    return name if here.startswith(os.pardir) else here


def document(arguments: argparse.Namespace) -> Document:
    """The file, read and checked. Raises UsageError or ManifestError."""
    from reconciler.manifest import load

    return load(files(arguments), stdin=sys.stdin)


def trusted_document(arguments: argparse.Namespace) -> Document:
    """The file, for a command that does what it says. Raises GuardError if root is to obey what others can write."""
    from reconciler.cli import trust

    if not arguments.trust_file:
        trust.refuse_untrusted(files(arguments))
    return document(arguments)


def has_file(arguments: argparse.Namespace) -> bool:
    """Whether there is a file, named or by default."""
    try:
        return bool(files(arguments))
    except UsageError:
        return False


def desired(document: Document) -> State:
    """What the file comes to on this host."""
    from reconciler.cli import timings
    from reconciler.lower import lower

    state = lower(document, host_id())
    timings.lap("file")
    return state


def host_id() -> str:
    """What tells this host from others, for MACs that must not be the same on two hosts of one LAN (machine-id(5))."""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return os.uname().nodename


def policy(arguments: argparse.Namespace) -> Policy:
    """What the flags let the planner do."""
    from reconciler.core.planner import Policy

    return Policy(adopt=arguments.adopt, prune_foreign=arguments.prune == "foreign")


def require_privilege() -> None:
    """Raises PlatformError if this process has not the capabilities that the live kernel takes."""
    from reconciler.kernel import privilege

    lacking = privilege.missing()
    if lacking:
        raise PlatformError(
            f"this reads and changes the host's network, which takes root, or {' and '.join(lacking)}: run it with sudo, "
            "or try it with no root and no risk: reconcile sandbox"
        )


AGENTS_TURN = 10.0


def patience(owner: str, arguments: argparse.Namespace) -> float:
    """Seconds to wait for the lock. An agent has it for moments at a time, so where one runs there is always some patience."""
    from reconciler.kernel.lock import agents_door

    asked: float = arguments.lock_timeout
    return max(asked, AGENTS_TURN if agents_door(owner).exists() else 0.0)


@contextmanager
def kernel(*, read_only: bool, containers: Containers | None = None) -> Iterator[Timed]:
    """The live kernel. One that is `read_only` refuses every writing message. Raises PlatformError without the privilege.

    `containers` is for who takes many looks: it remembers what it found, also while an engine does not answer.
    """
    from reconciler.cli.timings import Timed
    from reconciler.kernel.live import LiveKernel
    from reconciler.runtimes.containers import Containers as EnginesContainers

    require_privilege()
    live = LiveKernel(read_only=read_only, containers=containers or EnginesContainers())
    try:
        yield Timed(live)
    finally:
        live.close()


def needs_no_privilege(arguments: argparse.Namespace) -> bool:
    """Whether a dry run looks at no live kernel."""
    return bool(arguments.basis != "live" and not getattr(arguments, "rehearse", False))


def plan(document: Document, arguments: argparse.Namespace) -> tuple[Plan, View]:
    """The plan on the basis that --basis names. Raises ReconcileError."""
    from reconciler import reconcile

    wish, rules = desired(document), policy(arguments)
    if arguments.basis == "live":
        with kernel(read_only=True) as live:
            return reconcile.plan(live, wish, document.name, rules)
    from reconciler import basis

    chosen = basis.parse(arguments.basis)
    if chosen.kind == "snapshot":
        there, _ = basis.recorded(chosen.name, document.name, arguments.host)
        return basis.plan(there, chosen, wish, document.name, rules)
    old = _as_before(chosen, arguments)
    before = basis.as_said(old, wish, document.name)
    return basis.plan(before, chosen, wish, document.name, rules, basis.taken_for_granted(old, wish))


def _as_before(chosen: Basis, arguments: argparse.Namespace) -> State:
    """What the host was told before, by a basis that is made of files."""
    from reconciler import basis
    from reconciler.core.resource import State
    from reconciler.manifest import from_texts, load

    if chosen.kind == "empty":
        return State()
    if chosen.kind == "file":
        return desired(load([chosen.name]))
    names = files(arguments)
    if "-" in names:
        raise UsageError("--basis git:REV looks files up in git, so they cannot come from standard input")
    texts = basis.texts_of_revision(chosen.name, names)
    return desired(from_texts(texts)) if texts else State()


def exposure(plan: Plan, view: View) -> tuple[Change, ...]:
    """What the plan opens, closes and moves for those who reach containers; nothing is computed where it changes nothing."""
    if not plan.steps:
        return ()
    from reconciler.exposure import of_plan

    return of_plan(plan, view.found, view.desired)


def colored() -> bool:
    """Whether standard output is a terminal that may be coloured (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def owner(arguments: argparse.Namespace) -> str:
    """Whose things: --name, else what the file says, else the default. The rest of the file may be invalid.

    Raises ManifestError for a file that does not say it.
    """
    from reconciler.kinds.marks import DEFAULT_OWNER

    if getattr(arguments, "name", None):
        return str(arguments.name)
    try:
        named = files(arguments)
    except UsageError:
        return DEFAULT_OWNER
    from reconciler import manifest
    from reconciler.cli import timings

    name = manifest.owner(named, stdin=sys.stdin) or DEFAULT_OWNER
    timings.lap("file")
    return name


def agents_owner(arguments: argparse.Namespace) -> str:
    """The same for a word to the agent, which has to reach it also where the file is invalid, or in a repository."""
    from reconciler.errors import ManifestError
    from reconciler.kinds.marks import DEFAULT_OWNER
    from reconciler.watch import control

    if getattr(arguments, "name", None):
        return str(arguments.name)
    try:
        return document(arguments).name
    except UsageError:
        return control.only_owner() or DEFAULT_OWNER
    except ManifestError:
        running = control.only_owner()
        if running is None:
            raise
        return running
