"""Saved plans: what was reviewed is what is applied, or nothing.

A saved plan carries the files that it was made of, so that it says what it is for whatever becomes of them; for each thing in the
kernel that it rests on, a hash of what that was like; and the boot and the network namespace in which it was made. `check` makes the
plan anew from the same files and refuses (StalePlanError, exit 5) unless it comes out the same, on the same things.

The seal over it all finds a file that was cut off or edited. It is no signature: who can write the file can seal it.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from reconciler.core.plan import Plan
from reconciler.core.planner import Policy
from reconciler.core.resource import Key
from reconciler.errors import PlatformError, StalePlanError, UsageError
from reconciler.kernel.place import boot_id
from reconciler.reconcile import View
from reconciler.render.json import plain, plan_json

FORMAT = "reconcile plan"
VERSION = 1
MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Saved:
    """A plan as it was saved. `plan` is the plan's JSON, `files` are (name, text), `objects` maps a key to a hash."""

    id: str
    boot: str
    namespace: int
    owner: str
    policy: Policy
    files: tuple[tuple[str, str], ...]
    objects: Mapping[str, str]
    plan: Mapping[str, Any]


def network_namespace() -> int:
    """The inode of the network namespace that the calling thread is in."""
    return os.stat("/proc/thread-self/ns/net").st_ino


# --- making one ------------------------------------------------------------------------------------------------------


def save(plan: Plan, view: View, policy: Policy, files: Iterable[tuple[str, str | bytes]]) -> Saved:
    """`plan`, which was made of `files` and rests on `view`, to be applied in this boot and this network namespace."""
    texts = tuple((name, text if isinstance(text, str) else text.decode()) for name, text in files)
    rests_on = {key: _digest_of(key, view) for key in _rests_on(plan)}
    objects = {json.dumps(key): digest for key, digest in sorted(rests_on.items())}
    body = plan_json(plan, states=(view.desired, view.found))
    return Saved(str(uuid.uuid4()), boot_id(), network_namespace(), plan.owner, policy, texts, objects, body)


def dumps(saved: Saved) -> str:
    """The text of the file."""
    body = {
        "format": FORMAT,
        "version": VERSION,
        "id": saved.id,
        "boot_id": saved.boot,
        "network_namespace": saved.namespace,
        "owner": saved.owner,
        "policy": {item.name: getattr(saved.policy, item.name) for item in fields(Policy)},
        "files": [{"name": name, "text": text} for name, text in saved.files],
        "objects": dict(saved.objects),
        "plan": saved.plan,
    }
    return json.dumps(body | {"seal": _hash(body)}, indent=1) + "\n"


def write(saved: Saved, path: str) -> None:
    """Writes the file whole or not at all; only its owner can read it. Raises UsageError."""
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(dumps(saved))
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"the plan cannot be written to {path}: {error.strerror}") from error


# --- taking one up again ---------------------------------------------------------------------------------------------


def read(path: str) -> Saved:
    """The plan that was saved to `path`. Raises UsageError for anything that is not one, whole and unchanged."""
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the plan {path} cannot be read: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES // 2**20} MiB: that is no saved plan")
    return loads(text, path)


def loads(text: str | bytes, path: str) -> Saved:
    """What `dumps` wrote. Raises UsageError, which names `path`."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise UsageError(
            f"{path} is no saved plan, or not all of it is there (make one with `reconcile plan --out {path}`)"
        )
    if body.get("version") != VERSION:
        raise UsageError(
            f"{path} has the version {body.get('version')!r}, and this reconcile reads {VERSION}: make it anew"
        )
    seal = body.pop("seal", None)
    if seal != _hash(body):
        raise UsageError(f"{path} was changed or cut off after it was saved: make it anew")
    files = tuple((str(item["name"]), str(item["text"])) for item in body["files"])
    return Saved(
        body["id"],
        body["boot_id"],
        body["network_namespace"],
        body["owner"],
        Policy(**body["policy"]),
        files,
        body["objects"],
        body["plan"],
    )


def check_place(saved: Saved) -> None:
    """Raises StalePlanError if this is not the boot and the network namespace that the plan was made in."""
    if saved.boot != boot_id():
        raise StalePlanError("the plan was made before this boot, or on another host. Nothing was touched: plan again")
    if saved.namespace != network_namespace():
        raise StalePlanError("the plan was made in another network namespace. Nothing was touched: plan again there")


def check(saved: Saved, plan: Plan, view: View) -> None:
    """Raises StalePlanError unless `plan`, made now and resting on `view`, is the one that was saved."""
    changed = []
    for text, digest in saved.objects.items():
        space, namespace, name = json.loads(text)
        key = Key(space, namespace, name)
        if _digest_of(key, view) != digest:
            found = view.found.resources.get(key)
            changed.append(f"  {found.label} has changed" if found else f"  {key} is not there any more")
    if changed:
        more = [f"  and {len(changed) - 10} more"] if len(changed) > 10 else []
        told = "\n".join([*changed[:10], *more])
        raise StalePlanError(
            f"what the plan rests on is no longer as it was:\n{told}\nNothing was touched: plan again."
        )
    if _essence(plan_json(plan, states=(view.desired, view.found))) != _essence(saved.plan):
        raise StalePlanError(
            "on what is there now, another plan comes out than the one that was saved "
            "(something that it did not speak of has changed). Nothing was touched: plan again."
        )


def take(saved: Saved, directory: Path) -> None:
    """Notes in `directory` that the plan is being applied. Raises StalePlanError if it was before."""
    try:
        (directory / f"applied-{saved.id}").touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise StalePlanError("this plan was applied before, and a plan is applied once: plan again") from None
    except OSError as error:
        raise PlatformError(f"that the plan is used cannot be noted in {directory}: {error.strerror}") from error


def _rests_on(plan: Plan) -> frozenset[Key]:
    """What is changed, what that is inside of, and what it needs."""
    steps = plan.steps
    return frozenset(key for step in steps for key in (step.key, *step.subject.inside(), *step.subject.needs()))


def _digest_of(key: Key, view: View) -> str:
    found = view.found.resources.get(key)
    return "absent" if found is None else _hash([type(found).__name__, plain(found)])


def _essence(body: Mapping[str, Any]) -> str:
    """What of a plan's JSON has to be the same: what is done, and what is not."""
    return _hash([[body[part] for part in ("steps", "conflicts")], [item["key"] for item in body["pending"]]])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
