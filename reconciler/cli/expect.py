"""reconcile test"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.expectations import Result
    from reconciler.manifest import Document, Expectation


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "test",
        help="try what the file says under `expect`, with real packets: no root, no risk",
        description="Brings the file about in namespaces of its own, with a small outside world around the host, by the very code that "
        "applies it, and sends real packets for each line under `expect`. Exits 1 if anything comes out otherwise than expected, and 64 "
        "if there is nothing to test. Nothing on this machine is touched, and root is not needed.",
        epilog="examples:\n"
        "  reconcile test -f examples/web.yaml\n"
        "  reconcile test -f network.yaml -f expectations.yaml --junit report.xml\n"
        "  reconcile test -k 'db -> outside' -v",
    )
    options.file(parser)
    parser.add_argument(
        "-k", metavar="PATTERN", default="", help="only expectations whose line in the output has PATTERN in it"
    )
    parser.add_argument("--junit", metavar="PATH", help="also write the results to PATH, as JUnit XML")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to print (default: text)")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what happened for those that passed, too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Tests, prints, and returns 1 if an expectation failed."""
    from reconciler import scratch

    document = context.document(arguments)
    asked = _asked(document, arguments.k)
    host_id = context.host_id()

    def tried() -> tuple[Result, ...]:
        from reconciler import trial

        return trial.run(document, asked, host_id)

    begin = time.monotonic()
    results = scratch.run(tried)
    seconds = time.monotonic() - begin
    if arguments.junit is not None:
        _write_junit(arguments.junit, results, seconds)
    _show(results, arguments)
    return 0 if all(result.ok for result in results) else 1


def _asked(document: Document, pattern: str) -> list[Expectation]:
    """Those that have `pattern` in them. Raises UsageError if there is none: a test that tests nothing is not passed."""
    from reconciler.expectations import describe

    if not document.expectations:
        raise UsageError(
            f"there is nothing to test: {', '.join(document.sources)} has no `expect:` "
            '(write for instance `expect: [{from: outside, to: "host:8080"}]`; see docs/expect.md)'
        )
    wanted = pattern.replace("->", "→").casefold()
    asked = [one for one in document.expectations if wanted in describe(one).casefold()]
    if not asked:
        raise UsageError(f"there is nothing to test: no expectation has {pattern!r} in it (-k)")
    return asked


def _write_junit(path: str, results: tuple[Result, ...], seconds: float) -> None:
    from reconciler.render.expectations import junit

    try:
        with open(path, "wb") as file:
            file.write(junit(results, seconds))
    except OSError as error:
        raise UsageError(f"--junit {path}: cannot be written: {error.strerror}") from error


def _show(results: tuple[Result, ...], arguments: argparse.Namespace) -> None:
    from reconciler.render import expectations

    if arguments.format == "json":
        import json

        json.dump(expectations.as_json(results), sys.stdout, indent=2)
        print()
    else:
        print(expectations.text(results, color=context.colored(), verbose=arguments.verbose), end="")
