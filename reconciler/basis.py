"""What "now" is taken from when a plan is made: the live kernel, or something that stands for it where there is none.

    live             the kernel of this host
    empty            a host on which nothing was made yet
    file:OLD.yaml    a host that is as that file says
    git:REV          a host that is as these files say in the revision REV
    snapshot:FILE    a host as `reconcile snapshot` found it

All but `live` need no root. A host that is as a file says is one in memory (reconciler.kernel.model), brought there by the executor
itself. What a file takes for granted and does not make, its uplinks and the namespaces of others, is taken to be there.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler import reconcile
from reconciler.core.messages import HOST
from reconciler.core.plan import Plan
from reconciler.core.planner import Policy
from reconciler.core.resource import Key, Level, Note, State
from reconciler.errors import ReconcileError, RefusedError, UsageError
from reconciler.kernel.model import ModelKernel
from reconciler.kernel.recorded import FORMAT, VERSION, Recorded, from_json
from reconciler.reconcile import View

KINDS = ("live", "empty", "file", "git", "snapshot")
MAX_SNAPSHOT = 64 * 1024 * 1024
"""Bytes."""
_NAMELESS = frozenset({"live", "empty"})
UNKNOWN_SETTING = "unknown"
"""What a setting is said to be that this kernel in memory does not know."""


@dataclass(frozen=True, slots=True)
class Basis:
    """One of KINDS, with what stands behind its colon."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind

    @property
    def live(self) -> bool:
        """Whether a plan on this may be applied."""
        return self.kind == "live"


LIVE = Basis("live")


def parse(text: str) -> Basis:
    """The basis that `text` names. Raises UsageError."""
    kind, colon, name = text.partition(":")
    if kind not in KINDS or bool(colon and name) == (kind in _NAMELESS):
        raise UsageError(f"--basis {text}: give live, empty, file:OLD.yaml, git:REV or snapshot:FILE")
    return Basis(kind, name)


# --- a host as a file says -------------------------------------------------------------------------------------------


def as_said(old: State, desired: State, owner: str) -> ModelKernel:
    """A host on which `old` was applied, with what `old` and `desired` take for granted. Raises ReconcileError.

    `owner` is whose `desired` is; `old` may be another's.
    """
    names = {key.name for state in (old, desired) for key in state.resources if key.space == "sysctl"}
    kernel = ModelKernel(sysctls=dict.fromkeys(sorted(names), UNKNOWN_SETTING))
    for key in taken_for_granted(old, desired):
        if key.space == "netns":
            kernel.network.add_namespace(key.name).lived_in = True
    for key in taken_for_granted(old, desired):
        if key.space == "link":
            kernel.meddle(f"link {key.name} physical up")
    try:
        plan, view = reconcile.plan(
            kernel, old, next((item.owner for item in old.resources.values() if item.owner), owner)
        )
        reconcile.apply(kernel, old, plan, view.found)
    except ReconcileError as error:
        raise RefusedError(f"the basis cannot be brought about, even in memory: {error}") from error
    return kernel


def taken_for_granted(*states: State) -> tuple[Key, ...]:
    """What the things in `states` rest on that none of them makes: uplinks, and namespaces made by others."""
    made = {key for state in states for key in state.resources}
    rests_on = {
        key
        for state in states
        for item in state.resources.values()
        for key in (*item.inside(), *item.needs())
        if key not in made
    }
    return tuple(
        sorted(key for key in rests_on if key.space == "netns" or (key.space == "link" and key.namespace == HOST))
    )


def plan(
    kernel: reconcile.Kernel, basis: Basis, desired: State, owner: str, policy: Policy, granted: Iterable[Key] = ()
) -> tuple[Plan, View]:
    """The plan from what `kernel` shows, which bears the name of the basis and says what was taken for granted."""
    found, view = reconcile.plan(kernel, desired, owner, policy)
    notes = (*found.notes, *_granted_notes(basis, granted))
    return replace(found, basis=str(basis), notes=notes), view


def _granted_notes(basis: Basis, granted: Iterable[Key]) -> Iterator[Note]:
    names = [f"the link {key.name}" if key.space == "link" else f"the network namespace {key.name}" for key in granted]
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        yield Note(Level.INFO, f"on the basis {basis} this is taken to be there: {shown}")


# --- files of another revision ---------------------------------------------------------------------------------------


def texts_of_revision(revision: str, paths: Sequence[str | Path]) -> list[tuple[str, bytes]]:
    """The files at `paths` as they were in the git revision, as (REV:path, text). Those that were not there are left out.

    Raises UsageError for a revision that there is not, or where there is no git repository.
    """
    texts = []
    for path in map(Path, paths):
        directory = path if path.is_dir() else path.parent
        root = Path(_git(directory, "rev-parse", "--show-toplevel").decode().strip())
        commit = _git(directory, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        for name in _names_in(root, commit.decode().strip(), path):
            text = _git(root, "cat-file", "blob", f"{commit.decode().strip()}:{name}")
            texts.append((f"{revision}:{name}", text))
    return texts


def _names_in(root: Path, commit: str, path: Path) -> list[str]:
    """What of `path`, a file or a directory, was in the commit, as paths below `root`."""
    below = path.resolve().relative_to(root.resolve())
    listed = _git(root, "ls-tree", "-z", "--name-only", commit, "--", str(below)).decode(errors="surrogateescape")
    if not listed:
        return []
    if _git(root, "cat-file", "-t", f"{commit}:{'' if str(below) == '.' else below}").strip() == b"blob":
        return [str(below)]
    inside = "" if str(below) == "." else f"{below}/"
    listed = _git(root, "ls-tree", "-z", "--name-only", commit, *(["--", inside] if inside else [])).decode(
        errors="surrogateescape"
    )
    names = [name for name in listed.split("\0") if name.endswith((".yaml", ".yml"))]
    return sorted(name for name in names if not Path(name).name.startswith("."))


def _git(directory: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(directory or "."), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise UsageError("--basis git:REV needs the program git, which is not installed") from None
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
    if arguments[0] == "rev-parse" and not said:
        wanted = arguments[-1].removesuffix("^{commit}")
        raise UsageError(
            f"--basis git:{wanted}: there is no such revision here "
            "(a shallow clone has only one: fetch it, in GitHub Actions with `fetch-depth: 0`)"
        )
    raise UsageError(f"git: {said}")


# --- a snapshot ------------------------------------------------------------------------------------------------------


def recorded(path: str, owner: str, host: str | None = None) -> tuple[Recorded, str]:
    """What `reconcile snapshot` wrote to `path` for `owner`, and the host that it is of.

    Raises UsageError for what is no snapshot, or one of another version, another owner, or (if given) another host.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_SNAPSHOT + 1)
    except OSError as error:
        raise UsageError(f"the snapshot {path} cannot be read: {error.strerror}") from error
    if len(text) > MAX_SNAPSHOT:
        raise UsageError(f"the snapshot {path} is larger than {MAX_SNAPSHOT // 2**20} MiB: that is none of ours")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise UsageError(f"{path} is no snapshot, or not all of it is there (make one with `reconcile snapshot`)")
    if body.get("version") != VERSION:
        raise UsageError(
            f"the snapshot {path} has the version {body.get('version')!r}, and this reconcile reads {VERSION} "
            "(make it anew with `reconcile snapshot` of the same release)"
        )
    if body.get("owner") != owner:
        raise UsageError(f"the snapshot {path} was made for the owner {body.get('owner')!r}, the file is of {owner!r}")
    if host is not None and body.get("host") != host:
        raise UsageError(f"the snapshot {path} is of the host {body.get('host')!r}, not of {host!r}")
    try:
        return Recorded(from_json(body["snapshot"])), str(body["host"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"the snapshot {path} is damaged ({error}): make it anew with `reconcile snapshot`") from error
