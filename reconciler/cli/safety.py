"""What stands between a plan and the host besides the guards of the plan itself: the way by which the host is reached, and the confirmation
of what was applied."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from reconciler.errors import (
    GuardError,
    LockedError,
    NotAwaitedError,
    PlatformError,
    RefusedError,
    RolledBackError,
    UsageError,
)

if TYPE_CHECKING:
    import argparse

    from reconciler.confirm import Journal
    from reconciler.core.messages import Snapshot
    from reconciler.core.plan import Plan
    from reconciler.core.planner import Policy
    from reconciler.core.resource import State
    from reconciler.management import Way
    from reconciler.reconcile import Kernel, Progress, View

_POLL = 0.1
"""Seconds between two looks at the journal, as with the lock."""


def check_options(arguments: argparse.Namespace) -> None:
    """Raises UsageError for options that only go together."""
    if arguments.allow_cutoff and arguments.confirm_timeout is None:
        raise UsageError(
            "--allow-cutoff goes with --confirm-timeout SECONDS only: what cuts you off is undone unless you confirm it"
        )
    if getattr(arguments, "keep_going", False) and arguments.confirm_timeout is not None:
        raise UsageError("--keep-going and --confirm-timeout do not go together: what is undone is undone whole")


# --- the management path ---------------------------------------------------------------------------------------------


def refuse_cutoff(plan: Plan, view: View, arguments: argparse.Namespace) -> None:
    """Raises GuardError if `plan` cuts the way by which the host is reached; with --allow-cutoff says it on standard error only."""
    told = cutoff(plan, view, arguments)
    if told and not arguments.allow_cutoff:
        raise GuardError(
            f"{told}\nNothing was touched. Keep what the session uses out of it; or, if it is meant, add --allow-cutoff "
            "--confirm-timeout SECONDS: then it is undone unless `reconcile confirm` comes in time."
        )
    if told:
        print(f"reconcile: warning: {told}", file=sys.stderr)


def foretell(plan: Plan, view: View, arguments: argparse.Namespace) -> None:
    """For dry runs: says on standard error that an apply would be refused, or would do something else first."""
    _foretell_pending(plan.owner)
    told = cutoff(plan, view, arguments)
    if told:
        print(f"reconcile: warning: {told}\nTo apply it would be refused without --allow-cutoff.", file=sys.stderr)


def _foretell_pending(owner: str) -> None:
    from reconciler import confirm
    from reconciler.kernel import place

    try:
        journal = confirm.find(owner)
    except PlatformError as error:
        print(f"reconcile: warning: {error}", file=sys.stderr)
        return
    if journal is None:
        return
    if journal.due(place.boot_id(), place.now()):
        print(f"reconcile: warning: {overdue(journal)}: a run does that first, and then plans anew", file=sys.stderr)
    else:
        print(f"reconcile: warning: {awaiting(journal)}; until then a run is refused", file=sys.stderr)


def cutoff(plan: Plan, view: View, arguments: argparse.Namespace) -> str:
    """What `plan` cuts, "" if nothing. Raises UsageError for a --protect that says nothing here."""
    ways = list(_ways(view.snapshot, arguments)) if plan.steps else []
    if not ways:
        return ""
    from reconciler import management

    parts = []
    for way in ways:
        cuts = management.cuts(way, view.snapshot, plan)
        if cuts:
            parts.append("\n".join([f"the plan cuts {way.name}:", *(f"  {text}" for text in cuts)]))
    return "\n".join(parts)


def _ways(snapshot: Snapshot, arguments: argparse.Namespace) -> Iterator[Way]:
    from reconciler.kernel import session

    connection = session.of_caller(os.environ, os.getppid())
    if connection is None and not arguments.protect:
        return
    from reconciler import management
    from reconciler.management import Way

    if connection is not None:
        name = f"this session (ssh from {connection.client} to {connection.server})"
        yield Way(name, connection.client, connection.server, connection.port)
    for address in arguments.protect:
        way = management.way_of(address, snapshot)
        if way is None:
            raise UsageError(
                f"--protect {address}: this host has no such address, and no route to it. Nothing was touched"
            )
        yield way


# --- what awaits confirmation ----------------------------------------------------------------------------------------


def settle(kernel: Kernel, owner: str) -> None:
    """Before a run, under its lock: what awaits confirmation is not built upon, and what is overdue is rolled back first.

    Raises GuardError while the time for the confirmation runs, RefusedError if the rolling back fails.
    """
    from reconciler import confirm, timer
    from reconciler.kernel import place

    journal = confirm.find(owner)
    if journal is None:
        return
    if not journal.due(place.boot_id(), place.now()):
        raise GuardError(f"{awaiting(journal)}. Nothing was touched.\n{what_to_do(journal)}")
    print(f"reconcile: {overdue(journal)}: it is rolled back first", file=sys.stderr)
    confirm.roll_back(kernel, journal, timer.why(journal))
    print("reconcile: rolled back", file=sys.stderr)


def refuse_again(owner: str, desired: State, arguments: argparse.Namespace) -> None:
    """Raises GuardError if just this was applied and rolled back before, unless it is to be confirmed this time."""
    from reconciler import confirm

    note = confirm.last_rolled_back(owner)
    if note is None or arguments.confirm_timeout is not None or note.revision != confirm.revision(desired):
        return
    raise GuardError(
        f"just this was applied before, and rolled back at {_clock(note.at)} ({note.why}). Nothing was touched. "
        "Change the file, or try it again with --confirm-timeout SECONDS."
    )


def forget_rolled_back(owner: str) -> None:
    """Something else was applied."""
    from reconciler import confirm

    confirm.forget_rolled_back(owner)


def apply(
    kernel: Kernel,
    desired: State,
    plan: Plan,
    view: View,
    policy: Policy,
    progress: Progress,
    arguments: argparse.Namespace,
) -> Journal | None:
    """reconcile.apply, under a journal and a timer if a confirmation is asked for. Returns that journal."""
    from reconciler import reconcile

    if arguments.confirm_timeout is None:
        reconcile.apply(kernel, desired, plan, view.found, policy, progress)
        return None
    from reconciler import confirm, timer
    from reconciler.kernel import place

    journal = confirm.begin(kernel, desired, view.found, plan, arguments.confirm_timeout, _who())
    if confirm.path_of(journal).exists():
        raise PlatformError(
            f"{confirm.path_of(journal)} is of another network namespace: set {confirm.DIRECTORY_VARIABLE} to a directory of this one's own"
        )
    for label in confirm.beyond_recall(plan):
        print(f"reconcile: warning: {label} goes, and cannot be brought back as it was", file=sys.stderr)
    try:
        confirm.write(journal)
        confirm.sweep()
        timer.start(journal)
    except BaseException as error:  # an interrupt, too: nothing was done yet, so there is nothing to undo
        with contextlib.suppress(OSError):
            confirm.remove(journal)
        if isinstance(error, PlatformError):
            raise PlatformError(f"{error}. Nothing was touched") from error
        raise
    try:
        reconcile.apply(kernel, desired, plan, view.found, policy, progress)
    except RolledBackError:
        confirm.remove(journal)
        timer.stop(journal)
        raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"all of it is rolled back at {_clock(journal.until)}") from None
    except BaseException:
        print(f"reconcile: cut short: all of it is rolled back at {_clock(journal.until)}", file=sys.stderr)
        raise
    applied = journal._replace(applied=True, deadline=place.now() + journal.seconds)
    try:
        confirm.write(applied)
    except PlatformError as error:
        raise PlatformError(
            f"{error}. So it cannot be confirmed, and is rolled back at {_clock(journal.until)}"
        ) from None
    return applied


def await_confirmation(kernel: Kernel, journal: Journal, arguments: argparse.Namespace) -> int:
    """Waits until what was applied is confirmed (0) or rolled back. Raises RolledBackError, RefusedError if that failed."""
    from reconciler import confirm

    stream = sys.stdout if getattr(arguments, "format", "text") == "text" else sys.stderr
    try:
        print(f"It awaits confirmation until {_clock(journal.until)}, for {journal.seconds} s.", file=stream)
        print(what_to_do(journal), file=stream, flush=True)
        _wait(kernel, journal)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what was applied still awaits confirmation until {_clock(journal.until)}") from None
    note = confirm.last_rolled_back(journal.owner)
    if note is not None and note.id == journal.id:
        raise confirm.rolled_back_error(note)
    print("Confirmed: it stays.", file=stream)
    return 0


def _wait(kernel: Kernel, journal: Journal) -> None:
    """Until the journal is gone. If its timer is, this is the timer."""
    from reconciler import confirm, timer
    from reconciler.kernel import place
    from reconciler.kernel.lock import Lock

    path, seen = confirm.path_of(journal), None
    while True:
        try:
            status = path.stat()
        except FileNotFoundError:
            return
        if (status.st_ino, status.st_mtime_ns) != seen:
            seen = status.st_ino, status.st_mtime_ns
            current = confirm.load(path)
            if current is None or current.id != journal.id:
                return
            if current.failure:
                raise RefusedError(f"it cannot be rolled back whole: {current.failure}\n{confirm.ways_out(current)}")
        if place.now() > journal.deadline and not timer.alive(journal):
            with contextlib.suppress(LockedError), Lock(journal.owner):
                if confirm.find(journal.owner) is not None:
                    confirm.roll_back(kernel, journal, timer.why(journal))
        time.sleep(_POLL)


# --- confirm and rollback --------------------------------------------------------------------------------------------


def pending(arguments: argparse.Namespace) -> Journal:
    """What awaits confirmation here, of the owner that --name says, or the only one. Raises NotAwaitedError, UsageError."""
    from reconciler import confirm

    found = [item for item in confirm.all_here() if arguments.name in (None, item.owner)]
    if len(found) > 1:
        names = ", ".join(item.owner for item in found)
        raise UsageError(f"changes of several owners await confirmation ({names}): say which with --name")
    if found:
        return found[0]
    raise NotAwaitedError(nothing(arguments.name))


def nothing(owner: str | None) -> str:
    """That nothing awaits confirmation, and why not."""
    from reconciler import confirm
    from reconciler.kinds.marks import DEFAULT_OWNER

    note = confirm.last_rolled_back(owner or DEFAULT_OWNER)
    if note is not None:
        return f"nothing awaits confirmation: what did was rolled back at {_clock(note.at)} ({note.why})"
    whose = f" of the owner {owner!r}" if owner else ""
    return f"nothing{whose} awaits confirmation in this network namespace"


# --- words -----------------------------------------------------------------------------------------------------------


def awaiting(journal: Journal) -> str:
    """What awaits confirmation, since when, until when."""
    left = max(0, round(journal.until - time.time()))
    if journal.failure:
        return f"what {journal.by} applied at {_clock(journal.since)} could not be rolled back"
    if not journal.applied:
        return (
            f"what {journal.by} began to apply at {_clock(journal.since)} was cut short, and is rolled back at "
            f"{_clock(journal.until)}, in {left} s"
        )
    return (
        f"what {journal.by} applied at {_clock(journal.since)} awaits confirmation until {_clock(journal.until)}, "
        f"for {left} s more"
    )


def overdue(journal: Journal) -> str:
    """What is to be rolled back, and why that was not done."""
    from reconciler import timer

    did = "applied" if journal.applied else "began to apply"
    return f"what {journal.by} {did} at {_clock(journal.since)} is to be rolled back ({timer.why(journal)})"


def what_to_do(journal: Journal) -> str:
    """The two ways on."""
    from reconciler.kinds.marks import DEFAULT_OWNER

    option = "" if journal.owner == DEFAULT_OWNER else f" --name {journal.owner}"
    confirm = f"`reconcile confirm{option}` keeps it; " if journal.applied else ""
    return f"{confirm}`reconcile rollback{option}` undoes it now. Without either it is undone then, also if this terminal goes."


def status(owner: str) -> tuple[str, dict[str, Any] | None]:
    """What awaits confirmation, as text ("" for nothing) and as plain JSON values."""
    from reconciler import confirm, timer
    from reconciler.kernel import place

    journal = confirm.find(owner)
    if journal is None:
        return "", None
    due, alive = journal.due(place.boot_id(), place.now()), timer.alive(journal)
    text = overdue(journal) if due else awaiting(journal)
    if journal.failure:
        text += f"; rolling back failed: {journal.failure}"
    if not alive:
        text += (
            "; its timer is gone, so the run that waits for the confirmation rolls it back then, or else the next one; "
            "`reconcile rollback` does it now"
        )
    body = {
        "id": journal.id,
        "by": journal.by,
        "since": _iso(journal.since),
        "until": _iso(journal.until) if journal.boot == place.boot_id() else None,
        "applied": journal.applied,
        "overdue": due,
        "timer_alive": alive,
        "failure": journal.failure or None,
    }
    return text, body


def _who() -> str:
    import pwd

    name = os.environ.get("SUDO_USER")
    if not name:
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = f"user {os.getuid()}"
    return f"{name} (process {os.getpid()})"


def _clock(seconds: float) -> str:
    """The time of day, with the date if that is not today's."""
    form = "%H:%M:%S" if time.localtime(seconds)[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, time.localtime(seconds))


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints a sentence, with a capital."""
    print(text[:1].upper() + text[1:], file=stream or sys.stdout)
