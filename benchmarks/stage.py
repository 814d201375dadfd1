"""Where things are measured: in scratch namespaces, a process at a time, with the kernel at rest before each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler import scratch

ROOT = Path(__file__).resolve().parents[1]
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Run:
    """A process that has ended: seconds from its start to its end, those of them that it had a processor, the most memory it had
    (bytes), what it printed."""

    seconds: float
    processor: float
    memory: int
    out: str


def environment(**more: str) -> dict[str, str]:
    """What a process sees: with its bytecode kept, as that of an installed package is."""
    without = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return without | {"PYTHONPATH": str(ROOT), "PATH": _PATH} | more


def timed(*command: str, stdin: str = "", variables: Mapping[str, str] = {}) -> Run:
    """Runs a command, which is to succeed. The memory is no less than our own at its start (getrusage(2), ru_maxrss)."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        given.write(stdin)
        given.seek(0)
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=given, stdout=out, stderr=err, env=environment(**variables))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise RuntimeError(
                f"{' '.join(command)}: exit {process.returncode}\n{err.read()[-2000:]}{out.read()[-2000:]}"
            )
        return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, out.read())


def reconcile(*arguments: str) -> Run:
    """The tool, whole process."""
    return timed(sys.executable, "-m", "reconciler", *arguments)


def isolated(work: Callable[[], Any]) -> Any:
    """What `work` returns (as JSON has it), done by a child in scratch namespaces of its own, with which all ends that it started."""
    settle()
    return _in_child(work)


def settle() -> None:
    """Waits until the kernel has taken down the namespaces that have ended, which it does behind everybody's back.

    It takes them down in batches, one batch at a time (cleanup_net in net/core/net_namespace.c): when the second of two that were
    ended one after the other is gone, so is all that ended before.
    """
    _in_child(_settle)


def _settle() -> None:
    for _ in range(2):
        subprocess.run(
            ["ip", "-batch", "-"],
            input="netns add last\nlink add near type veth peer name far netns last\nnetns del last\n",
            text=True,
            check=True,
            env=environment(),
        )
        while _is_there("near"):
            time.sleep(0.005)


def _is_there(link: str) -> bool:
    try:
        return bool(socket.if_nametoindex(link))
    except OSError:
        return False


def _in_child(work: Callable[[], Any]) -> Any:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            scratch.enter()
            inner = scratch.in_own_process_tree()
            if inner:
                code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
            else:
                with os.fdopen(writing, "w") as pipe:
                    json.dump(work(), pipe)
                code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise RuntimeError("what was measured failed, see above")
    return json.loads(said)
