"""The timer of a change that awaits confirmation (reconciler.confirm): what rolls it back when its time is over.

It is a timer of systemd where systemd runs and we are in its network namespace, so that it outlives the session in which it was set, with
all its processes (logind.conf(5), KillUserProcesses). Elsewhere it is a process of its own: in a session of its own, a child of the
first process, without a terminal. It outlives the terminal, the shell and the run that set it. It stays in the network namespace.

It waits at a FIFO beside the journal. Who confirms wakes it by a byte; and that there is a reader at the other end says that it lives.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from reconciler import confirm
from reconciler.confirm import Journal
from reconciler.errors import PlatformError, ReconcileError
from reconciler.kernel import place

LOG = "rollback.log"
"""In the directory of the journals: what timers say."""
_SYSTEMD = Path("/run/systemd/system")
"""Is there if systemd is the first process (sd_booted(3))."""
_READY = 3
"""The file descriptor by which a process says that it waits."""
_NAP = 5.0
"""Seconds after which the clock is looked at again: select(2) does not count those of a suspend."""
_LOCK_TIMEOUT = 600.0
_TRIES = 3
_START = "import sys; sys.path.insert(0, sys.argv[1]); from reconciler.timer import main; sys.exit(main(sys.argv[2:]))"


def start(journal: Journal) -> None:
    """Starts the timer of a journal that is on disk. When this returns it runs. Raises PlatformError."""
    try:
        os.mkfifo(confirm.fifo_of(journal), 0o600)
    except OSError as error:
        raise PlatformError(f"{confirm.fifo_of(journal)} cannot be made: {error.strerror}") from error
    if not (_systemd_is_here() and _by_systemd(journal)):
        _by_process(journal)


def why(journal: Journal) -> str:
    """Why a journal whose time is over is rolled back."""
    if journal.boot != place.boot_id():
        return "the host has booted since, and nobody had confirmed it"
    return "nobody confirmed it in time" if journal.applied else "the run that made it was cut short"


def alive(journal: Journal) -> bool:
    """Whether its timer runs."""
    return _has_reader(journal) or (
        _systemd_is_here() and _systemctl("is-active", "--quiet", f"{unit(journal)}.timer", f"{unit(journal)}.service")
    )


def stop(journal: Journal) -> None:
    """Stops a timer of systemd, whose journal is gone. A process ends by itself."""
    if _systemd_is_here():
        _systemctl("stop", f"{unit(journal)}.timer")


def unit(journal: Journal) -> str:
    """The name of systemd's units."""
    return f"reconcile-rollback-{journal.id}"


def command(journal: Journal, *more: str) -> list[str]:
    """What runs as the timer."""
    package = str(Path(__file__).resolve().parents[1])
    return [sys.executable, "-c", _START, package, str(confirm.path_of(journal)), *more]


# --- a process -------------------------------------------------------------------------------------------------------


def _by_process(journal: Journal) -> None:
    reading, writing = os.pipe()
    log = str(confirm.directory() / LOG)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        (os.POSIX_SPAWN_DUP2, writing, _READY),
    ]
    try:
        child = os.posix_spawn(
            sys.executable,
            command(journal, str(_READY)),
            os.environ,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGPIPE, signal.SIGTERM],
        )
    except OSError as error:
        raise PlatformError(f"no timer can be started: {error.strerror}") from error
    finally:
        os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        ready = pipe.read(1)
    os.waitpid(child, 0)  # it has a child of its own, which goes on
    if not ready:
        raise PlatformError(f"the timer did not start ({log} may say why)")


def main(arguments: list[str]) -> int:
    """Waits until the journal (its path is the first argument) is gone or due, and then rolls back. Returns the exit code."""
    path = Path(arguments[0])
    os.environ[confirm.DIRECTORY_VARIABLE] = str(path.parent)
    os.chdir("/")
    journal = confirm.load(path)
    if journal is None:
        return 0
    if len(arguments) > 1:
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Opened for writing, too, it never comes to an end of file.
    fifo = os.open(confirm.fifo_of(journal), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    if len(arguments) > 1:
        os.write(int(arguments[1]), b"!")
        os.close(int(arguments[1]))
    for attempt in range(_TRIES):
        if not _wait(path, journal.id, fifo):
            return 0
        try:
            _roll_back(path, journal.id)
        except (ReconcileError, OSError) as error:
            _say(journal, f"try {attempt + 1}: {error}")
            time.sleep(1)
    return 1


def _wait(path: Path, id: str, fifo: int) -> bool:
    """Waits until the journal is due. Returns False if it is not there any more."""
    while (journal := confirm.load(path)) is not None and journal.id == id:
        left = journal.deadline - place.now()
        if journal.due(place.boot_id(), place.now()):
            return True
        if select.select([fifo], [], [], min(left, _NAP))[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(fifo, 4096)
    return False


def _roll_back(path: Path, id: str) -> None:
    """Rolls back what is due. Raises ReconcileError."""
    from reconciler.kernel.live import LiveKernel
    from reconciler.kernel.lock import Lock

    owner = journal.owner if (journal := confirm.load(path)) is not None else ""
    with LiveKernel() as kernel, Lock(owner, _LOCK_TIMEOUT):
        journal = confirm.load(path)
        if journal is None or journal.id != id or not journal.due(place.boot_id(), place.now()):
            return
        confirm.roll_back(kernel, journal, why(journal))
        _say(journal, f"rolled back: {why(journal)}")


def _say(journal: Journal, text: str) -> None:
    with contextlib.suppress(OSError):  # the log is on a disk that may be full, and the work goes on
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {journal.owner}: {text}", flush=True)


# --- systemd ---------------------------------------------------------------------------------------------------------


def _systemd_is_here() -> bool:
    return _SYSTEMD.is_dir() and os.geteuid() == 0 and place.is_of_init() and shutil.which("systemd-run") is not None


def _by_systemd(journal: Journal) -> bool:
    """Whether systemd took it on."""
    arguments = [
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={unit(journal)}",
        f"--description=undo what reconcile applied for {journal.owner}, unless it is confirmed",
        f"--on-active={journal.seconds}s",
        "--timer-property=AccuracySec=100ms",
        f"--setenv={confirm.DIRECTORY_VARIABLE}={confirm.directory()}",
        "--",
        *command(journal),
    ]
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"reconcile: systemd-run: {done.stderr.strip()}; a process waits instead", file=sys.stderr)
    return done.returncode == 0


def _systemctl(*arguments: str) -> bool:
    return subprocess.run(["systemctl", *arguments], capture_output=True, check=False).returncode == 0


# --- the FIFO --------------------------------------------------------------------------------------------------------


def _has_reader(journal: Journal) -> bool:
    try:
        os.close(os.open(confirm.fifo_of(journal), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:  # ENXIO: nobody has it open for reading (fifo(7))
        return False
    return True
