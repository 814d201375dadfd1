"""The command line: arguments, wiring and exit codes. Nothing below knows a flag.

Each command is a module of this package with two functions: `add(commands)` declares its arguments, `run(arguments)` does it
and returns the exit code. They are found in `parser.COMMANDS`. One that can do without privilege says so by `unprivileged`, a
function of the arguments: then all capabilities are given up before it begins.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def run() -> None:
    """The command line as a process of its own, which ends here.

    It ends without taking the interpreter apart: to free a hundred thousand values one by one, just before the kernel takes all memory
    back at once, is a tenth of a run. For the same reason nobody looks for circles among them meanwhile (`watch`, which stays, does).
    """
    gc.disable()
    _open_closed_streams()
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _open_closed_streams() -> None:
    """Has /dev/null stand for standard streams that were closed (`>&-`): else the next socket or file would get their number, and what is
    meant for standard error would go to standard output, since Python has None for both."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)
            if opened != number:
                os.close(opened)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process's own). Returns the exit code; spec'd in docs/commands.md."""
    from reconciler.cli import timings
    from reconciler.cli.parser import parse
    from reconciler.errors import ReconcileError, StrandedError

    arguments = parse(sys.argv[1:] if argv is None else argv)
    # Only in a process of its own: there is no way back.
    if argv is None and arguments.unprivileged(arguments):
        from reconciler.kernel import privilege

        privilege.give_up()
    timings.begin()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except (ReconcileError, StrandedError) as error:
        sys.stdout.flush()
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt as end:
        after = end.args[0] if end.args else "what had been done stays, and the next run finishes it"
        # A terminal has just shown ^C.
        print(f"{chr(10) if sys.stderr.isatty() else ''}reconcile: interrupted ({after})", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A full disk behind standard output, no file descriptor left: the system's fault, and not worth a traceback.
        where = f": {error.filename}" if error.filename else ""
        return _fail_quietly(f"{error.strerror or error}{where}")
    finally:
        if getattr(arguments, "timings", False):
            sys.stderr.write(timings.report())
    return code


def _run(arguments: argparse.Namespace) -> int:
    """Does the command. One that prints plans says what is wrong with an invalid file in the same format, and to the same files."""
    if not hasattr(arguments, "write"):
        return int(arguments.run(arguments))
    from reconciler.cli import output
    from reconciler.errors import ManifestError

    output.check(arguments)
    try:
        return int(arguments.run(arguments))
    except ManifestError as error:
        output.show_problems(error.problems, arguments)
        raise


def _fail_quietly(message: str) -> int:
    """Says on standard error, if that can be, why it ends; what is left for standard output is given up."""
    with contextlib.suppress(OSError):
        print(f"reconcile: {message}", file=sys.stderr)
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _complain(error: BaseException) -> None:
    from reconciler.errors import ManifestError

    if isinstance(error, ManifestError):
        print(error, file=sys.stderr)
        count = len(error.problems)
        print(f"reconcile: {count} error{'s' if count > 1 else ''}; nothing was touched", file=sys.stderr)
    else:
        print(f"reconcile: {error}", file=sys.stderr)
