"""Commit-confirm: a change that is undone unless somebody who can still reach the host confirms it.

Before the first write, a *journal* of what is there is on disk (`write`). To confirm is to remove it. To roll back is to plan from what is
there then to what the journal says, by the same planner and executor as everything else (reconciler.reconcile.undo), to verify that, and to
remove the journal. Nothing is replayed, so it makes no difference how far the change had come, or who rolls back: the timer
(reconciler.timer), `reconcile rollback`, the next run, or a unit after a reboot.

What was rolled back is remembered by a digest of what was wanted, and is not applied again without a confirm timeout: else the next run
of a unit or timer would cut the host off for good.

There is one journal per owner and *place*: `host`, the first process's network namespace, which is there again after a boot, or another
one, which is not.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from reconciler import reconcile
from reconciler.core.messages import HOST, Snapshot
from reconciler.core.plan import Action, Plan
from reconciler.core.resource import Key, Resource, State
from reconciler.errors import PlatformError, RefusedError, RolledBackError
from reconciler.host_rules import IPV4_FORWARDING, IPV6_FORWARDING
from reconciler.kernel import place
from reconciler.kinds import Bridge, Sysctl, decode

DIRECTORY_VARIABLE = "RECONCILE_STATE_DIR"
DIRECTORY = Path("/var/lib/reconciler")
FORMAT = "reconcile journal"
VERSION = 1
_HOST_PLACE = "host"


class Journal(NamedTuple):
    """What was there before a change of `owner`, and until when the change may be confirmed."""

    id: str
    owner: str
    place: str
    cookie: int
    """Of the network namespace (reconciler.kernel.place)."""
    boot: str
    by: str
    """Who made the change, for people."""
    revision: str
    """The digest of what was wanted."""
    since: float
    """Seconds since the epoch, for people."""
    seconds: int
    deadline: float
    """On the clock of `place.now`, in the boot `boot`."""
    applied: bool
    """False while it is being applied, and for good if that was cut short."""
    touched: frozenset[Key]
    made: frozenset[Key]
    snapshot: Snapshot
    failure: str = ""
    """Why it could not be rolled back."""

    def due(self, boot: str, now: float) -> bool:
        """Whether its time is over. A boot ends it: the change is gone, and its timer too."""
        return boot != self.boot or now >= self.deadline

    @property
    def until(self) -> float:
        """The deadline in seconds since the epoch, for people."""
        return time.time() + self.deadline - place.now()


class RolledBack(NamedTuple):
    """That the journal `id` was rolled back, `at` (seconds since the epoch) and `why`."""

    id: str
    revision: str
    at: float
    why: str


# --- what goes into a journal ----------------------------------------------------------------------------------------


def begin(kernel: reconcile.Kernel, desired: State, found: State, plan: Plan, seconds: int, by: str) -> Journal:
    """The journal of a host that is as `found`, on which `plan` is about to be applied. It may be confirmed for `seconds`."""
    import uuid

    scope = reconcile.scope_of(desired, plan.owner)
    of_bridges = {
        (HOST, f"net.ipv4.conf.{name.replace('.', '/')}.route_localnet") for name in _bridges(found, plan.owner)
    }
    changed = {(step.key.namespace, step.key.name) for step in plan.steps if isinstance(step.subject, Sysctl)}
    # Also where what is wanted speaks of none: it may do away with what needs them.
    sysctls = scope.sysctls | of_bridges | changed | {(HOST, IPV4_FORWARDING), (HOST, IPV6_FORWARDING)}
    snapshot = kernel.observe(replace(scope, sysctls=sysctls))
    # With a port its link, too: an uplink is set up.
    touched = {key for step in plan.steps for key in (step.key, *step.subject.inside())}
    touched |= {Key("sysctl", *name) for name in of_bridges}
    return Journal(
        id=str(uuid.uuid4()),
        owner=plan.owner,
        place=here(),
        cookie=place.cookie(),
        boot=place.boot_id(),
        by=by,
        revision=revision(desired),
        since=time.time(),
        seconds=seconds,
        deadline=place.now() + seconds,
        applied=False,
        touched=frozenset(touched),
        made=frozenset(step.key for step in plan.steps if step.action is Action.CREATE),
        snapshot=snapshot,
    )


def _bridges(found: State, owner: str) -> list[str]:
    return [item.name for item in found.resources.values() if isinstance(item, Bridge) and item.owner == owner]


def revision(desired: State) -> str:
    """A digest of what is wanted. The numbers of processes do not count: after a boot they are others."""
    import hashlib
    import json

    from reconciler.render.json import plain

    items = sorted(
        json.dumps([type(item).__name__, plain(item)], sort_keys=True) for item in desired.resources.values()
    )
    return hashlib.sha256(re.sub(r"\bpid:\d+", "pid:", "\n".join(items)).encode()).hexdigest()


def after_boot(before: State, owner: str) -> tuple[State, frozenset[Key]]:
    """What of `before` is to be brought back on a host that has booted since, and what of that is not marked as `owner`'s.

    What others made there, they make again or not. The number of a process says nothing any more. Of the settings those are brought back
    that were on: who has turned one on since may need it.
    """
    settings = {
        key
        for key, item in before.resources.items()
        if isinstance(item, Sysctl) and item.namespace == HOST and item.value != "0"
    }
    kept = {
        key: item
        for key, item in before.resources.items()
        if (item.owner == owner or key in settings) and not _of_a_process(item)
    }
    return State(kept), frozenset(settings)


def _of_a_process(item: Resource) -> bool:
    rests_on = (item.key, *item.inside(), *item.needs())
    return any(part.startswith("pid:") for key in rests_on for part in (key.namespace, key.name))


def beyond_recall(plan: Plan) -> tuple[str, ...]:
    """What `plan` deletes and nobody can make again as it was."""
    return tuple(
        step.subject.label
        for step in plan.steps
        if step.action is Action.DELETE and reconcile.cannot_be_made_again(step.subject)
    )


# --- rolling back ----------------------------------------------------------------------------------------------------


def roll_back(kernel: reconcile.Kernel, journal: Journal, why: str) -> None:
    """Brings back what the journal says, removes it, and remembers `why`. The lock of its owner is held.

    Raises RefusedError if that cannot be reached; then the journal stays, and says so.
    """
    before, touched = decode(journal.snapshot), journal.touched
    made = journal.made
    if journal.boot != place.boot_id():
        (before, touched), made = after_boot(before, journal.owner), frozenset()
    try:
        left = reconcile.undo(kernel, before, journal.owner, touched, made)
        failure = (
            "left to undo:\n" + "\n".join(f"  {step.action} {step.subject.label}" for step in left) if left else ""
        )
    except Exception as error:
        _note_failure(journal, str(error))
        raise
    if failure:
        _note_failure(journal, failure)
        raise RefusedError(f"the change cannot be rolled back whole: {failure}\n{ways_out(journal)}")
    _write_file(_path("rolled-back", journal.owner, journal.place), _plain_note(journal, why))
    remove(journal)


def _note_failure(journal: Journal, failure: str) -> None:
    with contextlib.suppress(OSError, PlatformError):
        write(journal._replace(failure=failure))


def ways_out(journal: Journal) -> str:
    """What a person can do about a change whose rolling back failed."""
    option = f" --name {journal.owner}"
    return (
        f"`reconcile rollback{option}` tries again, `reconcile confirm{option}` lets everything stay as it is now, "
        "for a run to mend"
    )


def rolled_back_error(note: RolledBack) -> RolledBackError:
    """What the run that made the change is told."""
    return RolledBackError(f"what was applied was rolled back ({note.why}): the host is as it was before.")


# --- the files -------------------------------------------------------------------------------------------------------


def here() -> str:
    """The place that the calling thread is in."""
    return _HOST_PLACE if place.is_of_init() else f"{place.boot_id()}.{place.cookie()}"


def directory() -> Path:
    """Where journals are: what RECONCILE_STATE_DIR says, else /var/lib/reconciler, else (XDG Base Directory Specification) the
    user's own. It outlives a boot, so it is not below /run."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    if given:
        return Path(given).absolute()
    existing = DIRECTORY if DIRECTORY.is_dir() else DIRECTORY.parent
    if os.geteuid() == 0 and os.access(existing, os.W_OK):
        return DIRECTORY
    base = os.environ.get("XDG_STATE_HOME")
    return Path(base if base and os.path.isabs(base) else Path.home() / ".local" / "state") / "reconciler"


def _path(what: str, owner: str, where: str | None = None) -> Path:
    return directory() / f"{what}-{owner.replace('/', '_')}-{where or here()}.json"


def path_of(journal: Journal) -> Path:
    """The journal's file."""
    return _path("pending", journal.owner, journal.place)


def fifo_of(journal: Journal) -> Path:
    """By which the journal's timer is woken (reconciler.timer)."""
    return directory() / f"{journal.id}.timer"


def write(journal: Journal) -> None:
    """Has the journal on disk, whole, when this returns. Raises PlatformError."""
    _write_file(path_of(journal), _plain_journal(journal))


def find(owner: str) -> Journal | None:
    """The journal of `owner` in this place. Raises PlatformError for one that cannot be read."""
    found = load(_path("pending", owner))
    if found is not None and found.boot == place.boot_id() and found.cookie != place.cookie():
        return None  # another namespace's, seen through a shared directory
    return found


def all_here() -> list[Journal]:
    """Those of all owners in this place. Raises PlatformError."""
    names = sorted(directory().glob(f"pending-*-{here()}.json")) if directory().is_dir() else []
    found = [load(name) for name in names]
    return [item for item in found if item is not None and find(item.owner) is not None]


def load(path: Path) -> Journal | None:
    """The journal in the file `path`, None if there is none. Raises PlatformError for anything else that is there."""
    text = _read_file(path)
    return None if text is None else _loads(text, path)


def remove(journal: Journal) -> None:
    """Removes the journal, has that on disk, and wakes the timer, which ends."""
    path_of(journal).unlink(missing_ok=True)
    _sync(directory())
    fifo = fifo_of(journal)
    with contextlib.suppress(OSError):
        opened = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(opened, b"!")
        finally:
            os.close(opened)
    fifo.unlink(missing_ok=True)


def last_rolled_back(owner: str) -> RolledBack | None:
    """What was rolled back last in this place, unless something else was applied since."""
    import json

    path = _path("rolled-back", owner)
    text = _read_file(path)
    if text is None:
        return None
    with _readable(path):
        body = json.loads(text)
        return RolledBack(str(body["id"]), str(body["revision"]), float(body["at"]), str(body["why"]))


def forget_rolled_back(owner: str) -> None:
    """Something else was applied, or confirmed."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        _path("rolled-back", owner).unlink()


def sweep() -> None:
    """Removes what belongs to network namespaces of earlier boots, which are gone, and what timers left behind."""
    boot, ids = place.boot_id(), set()
    for path in directory().glob("*.json"):
        if not path.stem.endswith(f"-{_HOST_PLACE}") and boot not in path.stem:
            path.unlink(missing_ok=True)
        elif path.name.startswith("pending-"):
            with contextlib.suppress(PlatformError):
                found = load(path)
                ids |= {found.id} if found else set()
    for path in directory().glob("*.timer"):
        if path.stem not in ids:
            path.unlink(missing_ok=True)


def _read_file(path: Path) -> bytes | None:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PlatformError(f"the journal {path} cannot be read: {error.strerror}") from error
    with os.fdopen(opened, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PlatformError(f"the journal {path} can be written by others, so it is not trusted: remove it")
        return file.read()


def _write_file(path: Path, body: Mapping[str, Any]) -> None:
    import json

    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _make_directory(path.parent)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(body, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise PlatformError(
            f"the journal cannot be written to {path.parent}: {error.strerror} "
            f"(set {DIRECTORY_VARIABLE} to a directory that outlives a boot)"
        ) from error


def _make_directory(path: Path) -> None:
    """Raises OSError; PlatformError for a directory in which others could put journals."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync(path.parent)
    status = path.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        raise PlatformError(f"{path} can be written by others, so no journal is kept there: chmod 700 it")


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


# --- JSON ------------------------------------------------------------------------------------------------------------


def _plain_journal(journal: Journal) -> dict[str, Any]:
    from reconciler.kernel import recorded

    own = (
        "id",
        "owner",
        "place",
        "cookie",
        "boot",
        "by",
        "revision",
        "since",
        "seconds",
        "deadline",
        "applied",
        "failure",
    )
    return {
        "format": FORMAT,
        "version": VERSION,
        **{name: getattr(journal, name) for name in own},
        "touched": sorted(journal.touched),
        "made": sorted(journal.made),
        "snapshot": recorded.to_json(journal.snapshot),
    }


def _loads(text: bytes, path: Path) -> Journal:
    import json

    from reconciler.kernel import recorded

    with _readable(path):
        body = json.loads(text)
        if (body.pop("format"), body.pop("version")) != (FORMAT, VERSION):
            raise ValueError("another release wrote it")
        return Journal(
            **body
            | {
                "touched": _keys(body["touched"]),
                "made": _keys(body["made"]),
                "snapshot": recorded.from_json(body["snapshot"]),
            }
        )


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PlatformError(
            f"{path} cannot be read ({error}), so what it would undo is not known. "
            "Nothing was touched: look at the host, then remove the file"
        ) from error


def _keys(body: Iterable[Iterable[str]]) -> frozenset[Key]:
    return frozenset(Key(*map(str, item)) for item in body)


def _plain_note(journal: Journal, why: str) -> dict[str, Any]:
    return {"id": journal.id, "revision": journal.revision, "at": time.time(), "why": why}
