"""The results of expectations: as a test runner prints them, as JSON, and as JUnit XML for CI."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from reconciler.expectations import Result, describe, said
from reconciler.manifest.position import printable
from reconciler.render.terminal import Line, Span, Style, length, paint

FORMAT_VERSION = "1.0"
"""Of the JSON: a higher second number has additions only."""
_MARGIN = 72
_VERDICT_WIDTH = len("FAILED  ")


def text(results: Sequence[Result], *, color: bool, verbose: bool = False) -> str:
    """One line for each result, below it what was expected and what happened if it failed, and a summary. `verbose` tells what
    happened of all."""
    lines = [line for result in results for line in _lines(result, verbose)]
    return "".join(f"{paint(line, color=color)}\n" for line in [*lines, (), _summary(results)])


def _lines(result: Result, verbose: bool) -> Iterator[Line]:
    verdict = Span("ok      ", Style.GREEN) if result.ok else Span("FAILED  ", Style.RED)
    body: Line = (verdict, Span(describe(result.expectation)))
    if result.ok:
        yield body
    else:
        gap = " " * (max(0, _MARGIN - length(body)) + 2)
        yield (*body, Span(f"{gap}{_place(result)}", Style.DIM))
        yield _detail("expected", result.expected)
    for happened in result.happened:
        yield _detail("happened", happened)
    if result.ok and verbose:
        for version, answer in result.answers:
            yield _detail(f"IPv{version}", said(answer))


def _detail(noun: str, words: str) -> Line:
    return (Span(f"{' ' * _VERDICT_WIDTH}{noun}: ", Style.DIM), Span(words))


def _place(result: Result) -> str:
    position = result.expectation.position
    return f"{printable(position.file)}:{position.line}"


def _summary(results: Sequence[Result]) -> Line:
    failed = sum(not result.ok for result in results)
    passed = Span(f"{len(results) - failed} passed", Style.GREEN if not failed else Style.PLAIN)
    return (passed, Span(f", {failed} failed", Style.RED)) if failed else (passed,)


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """The results as plain JSON values."""
    failed = sum(not result.ok for result in results)
    return {
        "format_version": FORMAT_VERSION,
        "passed": len(results) - failed,
        "failed": failed,
        "expectations": [
            {
                "file": result.expectation.position.file,
                "line": result.expectation.position.line,
                "column": result.expectation.position.column,
                "expectation": describe(result.expectation),
                "ok": result.ok,
                "expected": result.expected,
                "happened": list(result.happened),
                "answers": [
                    {
                        "ip_version": version,
                        "outcome": answer.outcome.value,
                        "server": answer.server or None,
                        "client": answer.client or None,
                    }
                    for version, answer in result.answers
                ],
            }
            for result in results
        ],
    }


def junit(results: Sequence[Result], seconds: float) -> bytes:
    """The results as JUnit XML, in the shape that Jenkins, GitLab and GitHub's readers take. `seconds` is how long all of it took."""
    numbers = {
        "tests": str(len(results)),
        "failures": str(sum(not result.ok for result in results)),
        "errors": "0",
        "skipped": "0",
        "time": f"{seconds:.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "reconcile test"} | numbers)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "expect"} | numbers)
    for result in results:
        position = result.expectation.position
        file = printable(position.file)
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=file,
            name=describe(result.expectation),
            file=file,
            line=str(position.line),
            time="0",  # they are all asked at once
        )
        if not result.ok:
            failure = ElementTree.SubElement(case, "failure", type="expectation", message="; ".join(result.happened))
            happened = "\n".join(f"happened: {one}" for one in result.happened)
            failure.text = f"{_place(result)}\nexpected: {result.expected}\n{happened}"
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"
