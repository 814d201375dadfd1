"""A host in namespaces of its own, and runs of the tool on it, each in a child forked from here: imports are paid for once.

python -m tests.faults.server reads one JSON object per line and answers with one. tests/faults/host.py is its other end.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from reconciler import scratch
from reconciler.errors import PlatformError
from tests.faults import look
from tests.faults.seam import Fault, Gate, install


def run(argv: list[str], fault: dict[str, Any], datagram: int) -> dict[str, Any]:
    """One run of the tool with a fault. `code` is negative for a signal; `written` and `steps` are those that were passed."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        child = os.fork()
        if child == 0:
            code = 98
            try:
                code = _in_child(argv, Fault(**fault), datagram, *files)
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out, err, notes = (_content(file) for file in files)
    noted = [json.loads(line) for line in notes.splitlines()]
    passed = noted.pop() if noted and isinstance(noted[-1], dict) else {"written": [], "steps": []}
    return {"code": code, "out": out, "err": err, "hit": noted, **passed}


def _content(file: Any) -> str:
    file.seek(0)
    return str(file.read())


def _in_child(argv: list[str], fault: Fault, datagram: int, out: Any, err: Any, notes: Any) -> int:
    def note(line: Any) -> None:
        os.write(notes.fileno(), json.dumps(line).encode() + b"\n")

    from reconciler.cli import main

    gate = Gate(fault, note)
    install(gate, datagram=datagram)
    sys.stdout.flush()
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    try:
        code = main(argv)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    note({"written": gate.written, "steps": gate.steps})
    return code


def shell(command: str) -> str:
    """What a shell command says. It is to succeed."""
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr}")
    return done.stdout


def answer(question: dict[str, Any]) -> Any:
    """What is asked for in one line."""
    match question.pop("do"):
        case "run":
            return run(**question)
        case "shell":
            return shell(**question)
        case "state":
            return look.state(**question)
    raise ValueError(question)


def serve() -> bool:
    """Answers until another host is asked for (True), or nothing more."""
    for line in iter(sys.stdin.readline, ""):
        question = json.loads(line)
        if question == {"do": "fresh"}:
            return True
        try:
            say(answer=answer(question))
        except Exception:
            say(error=traceback.format_exc())
    return False


def say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


def be_a_host() -> int:
    """Serves as a host with nothing on it, in a child: what was on it is gone when that ends. Returns whether to be another one.

    One question is answered before the next is asked, so nothing of what the child is to read is left in a buffer here.
    """
    child = os.fork()
    if child == 0:
        code = 97
        try:
            scratch._enter(False)
            say(answer=None)
            code = int(serve())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Serves until its input ends."""
    os.environ.pop("RECONCILE_FILE", None)
    os.environ |= {"NO_COLOR": "1", "RECONCILE_STATE_DIR": "/run/state"}
    try:
        scratch.enter()
    except PlatformError as error:
        say(refused=str(error))
        return
    warm()
    say(ready=True)
    if serve():
        while be_a_host() == 1:
            pass


def warm() -> None:
    """Imports all that a run does: the children have it from here."""
    from reconciler.cli import main

    kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "warm.yaml")
        path.write_text("version: 1\nbridges: {br: {mode: isolated, containers: {w: {}}}}\n")
        os.dup2(null, 1)
        try:
            codes = [main(argv) for argv in (["-f", str(path), "--dry-run"], ["-f", str(path)], ["down"])]
        finally:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
            os.close(null)
    if any(codes):
        raise SystemExit(f"the tool does not work here: {codes}")
    gc.freeze()


if __name__ == "__main__":
    main()
