"""A desired state that is followed in a git repository: fetched from time to time by the program git, into a bare repository of our own.

The agent's thread never waits for the network: a thread fetches, and tells when there is another commit. While the remote is away, the last
commit that was fetched is there, also after a restart.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler import confirm
from reconciler.errors import PlatformError, ReconcileError, UsageError
from reconciler.watch.source import Text, wish

_TIMEOUT = 120
"""Seconds that a fetch may take."""
_HEAD = "refs/reconcile/head"
_GOOD = "refs/reconcile/good"
"""The last commit that was taken: valid, signed if that is demanded, and refused by no guard. Where the newest is not, an agent begins
with it."""
_QUIET = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_SAFE = tuple(
    part
    for setting in ("core.hooksPath=/dev/null", "fetch.fsckObjects=true", "gc.auto=0", "protocol.ext.allow=never")
    for part in ("-c", setting)
)


@dataclass(frozen=True, slots=True)
class Remote:
    """What is followed: the file or directory `path` at `ref` of the repository at `url`.

    With `signed`, commits have to bear a signature that git trusts; `signers` is a file of allowed signers (ssh-keygen(1)), for
    signatures by SSH keys.
    """

    url: str
    ref: str = "main"
    path: str = "."
    interval: float = 60.0
    signed: bool = False
    signers: str | None = None

    def __str__(self) -> str:
        return f"{self.path} at {self.ref} of {self.url}"


class Git:
    """A Source (reconciler.watch.source)."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        followed = "\0".join((remote.url, remote.ref, remote.path))
        name = hashlib.sha256(followed.encode()).hexdigest()[:16]
        self._repository = confirm.directory() / "git" / f"{name}.git"
        self._trouble = ""
        self._wanted = threading.Event()
        self._stop = False
        self._thread: threading.Thread | None = None

    def __str__(self) -> str:
        return str(self._remote)

    # --- what the agent asks ---

    def revision(self) -> str:
        """The commit that was fetched last. Raises PlatformError if there is none."""
        commit = self._commit(_HEAD)
        if commit is None:
            raise PlatformError(f"nothing was fetched of {self._remote}: {self._trouble or 'it is not there'}")
        return commit

    def _commit(self, ref: str) -> str | None:
        try:
            return self._git("rev-parse", "--verify", "--quiet", ref).decode().strip()[:12]
        except PlatformError:
            return None

    def text(self) -> Text:
        """Raises PlatformError if there is no such commit, file, or trusted signature."""
        return self._first() if self._thread is None else self._text(self.revision())

    def _first(self) -> Text:
        """What there is to begin with: the commit that was fetched last, if it is valid, else what the remote has now."""
        with contextlib.suppress(ReconcileError):
            text = self._text(self.revision())
            wish(text)
            return text
        self._fetch()
        return self._text(self.revision())

    def _text(self, revision: str) -> Text:
        if self._remote.signed:
            self._verify(revision)
        return Text(tuple(self._texts(revision)), revision)

    def taken(self, text: Text) -> None:
        """The commit is kept: an agent that is started again begins with it, if the newest is invalid."""
        # What cannot be written down (a full disk) is no reason not to do it.
        with contextlib.suppress(ReconcileError):
            self._git("update-ref", _GOOD, text.revision)

    def good(self) -> Text | None:
        """Raises PlatformError if it bears no trusted signature any more."""
        commit = self._commit(_GOOD)
        return None if commit is None else self._text(commit)

    def directories(self) -> frozenset[Path]:
        """None: the thread tells."""
        return frozenset()

    def start(self, told: Callable[[], None]) -> None:
        """Begins to fetch; `told` is called, in another thread, when there is another commit, or other trouble."""
        self._thread = threading.Thread(target=self._follow, args=(told,), name="git", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Fetches at once."""
        self._wanted.set()

    def trouble(self) -> str:
        """Why the last fetch failed, "" if it did not."""
        return self._trouble

    def close(self) -> None:
        """Fetches no more."""
        self._stop = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(1.0)

    # --- fetching ---

    def _follow(self, told: Callable[[], None]) -> None:
        while not self._stop:
            before = (self._commit(_HEAD), self._trouble)
            self._fetch()
            if (self._commit(_HEAD), self._trouble) != before:
                told()
            self._wanted.wait(self._remote.interval)
            self._wanted.clear()

    def _fetch(self) -> None:
        """Fetches the commit; what goes wrong is the trouble, and no more than that."""
        try:
            if not (self._repository / "HEAD").is_file():
                self._repository.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _run(["git", "init", "--quiet", "--bare", "--", str(self._repository)])
            options = ("--quiet", "--depth=1", "--no-tags", "--force", "--no-write-fetch-head", "--end-of-options")
            self._git("fetch", *options, self._remote.url, f"{self._remote.ref}:{_HEAD}")
            self._trouble = ""
        except (ReconcileError, OSError) as error:
            self._trouble = str(error).partition("\n")[0]

    # --- reading ---

    def _texts(self, revision: str) -> list[tuple[str, str | bytes]]:
        """The file, or the *.yaml of the directory, as (name, text)."""
        names = [self._remote.path]
        where = f"{revision}:{'' if self._remote.path in ('.', '') else self._remote.path}"
        try:
            kind = self._git("cat-file", "-t", where).decode().strip()
        except ReconcileError:
            raise PlatformError(f"there is no {self._remote.path} in {revision} of {self._remote.url}") from None
        if kind == "tree":
            listed = self._git("ls-tree", "-z", "--name-only", where).decode(errors="surrogateescape").split("\0")
            inside = sorted(name for name in listed if name.endswith((".yaml", ".yml")) and not name.startswith("."))
            names = [os.path.normpath(f"{self._remote.path}/{name}") for name in inside]
        return [(f"{revision[:7]}:{name}", self._git("cat-file", "blob", f"{revision}:{name}")) for name in names]

    def _verify(self, revision: str) -> None:
        """Raises PlatformError unless git trusts the signature."""
        signers = self._remote.signers
        options = (
            ("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={os.path.abspath(signers)}") if signers else ()
        )
        try:
            self._git("verify-commit", revision, before=options)
        except ReconcileError as error:
            why = str(error).partition("\n")[0].removeprefix("git: ") or "it has none"
            raise PlatformError(f"commit {revision} is refused, since its signature is not trusted: {why}") from None

    def _git(self, *arguments: str, before: tuple[str, ...] = ()) -> bytes:
        return _run(["git", "--git-dir", str(self._repository), *_SAFE, *before, *arguments])


def _run(command: list[str]) -> bytes:
    """What it printed. Raises PlatformError."""
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=_TIMEOUT, stdin=subprocess.DEVNULL, env=_environment()
        )
    except FileNotFoundError:
        raise UsageError("--git needs the program git, which is not installed") from None
    except subprocess.TimeoutExpired:
        raise PlatformError(f"git: no answer within {_TIMEOUT} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        said = next(
            (line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "it failed"
        )
        raise PlatformError(f"git: {said.removeprefix('fatal: ').removeprefix('error: ')}")
    return done.stdout


def _environment() -> Mapping[str, str]:
    """Nobody is there to be asked for a password. What the variables of another repository say is no matter here."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    }
    return {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes", **kept, **_QUIET}
