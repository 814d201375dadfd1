"""The formats that a plan, or what is wrong with a file, is told in. Each is imported when it is asked for."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from reconciler.errors import Problem
    from reconciler.render.report import Report

FORMATS = ("text", "json", "markdown", "github", "sarif")
"""For people; for machines; a comment of a pull request; annotations of GitHub Actions; SARIF 2.1.0."""


class Base(NamedTuple):
    """From where names of files are read (`here`), and from where those are to be read that tools on a repository's files get
    (`root`). Both are absolute, or empty: then names stay as they are."""

    here: str = ""
    root: str = ""

    def seen(self, file: str) -> str:
        """`file` as seen from the root; absolute if it is not below."""
        path = posixpath.normpath(posixpath.join(self.here, file))
        root = self.root.rstrip("/") + "/"
        return path.removeprefix(root) if self.root else path


AS_IS = Base()
"""Names stay as they are."""


def render(format: str, report: Report, *, color: bool = False, verbose: bool = False, base: Base = AS_IS) -> str:
    """`report` in one of FORMATS: whole lines, or nothing.

    `color` and `verbose` matter where there are colours, and every single step can be shown; `base` where others look for the file.
    """
    match format:
        case "json":
            from reconciler.render.json import plan_json

            return _dumped(
                plan_json(report.plan, states=report.states, exposure=report.exposure, rehearsal=report.rehearsal)
            )
        case "markdown":
            from reconciler.render.markdown import plan_markdown

            return plan_markdown(report, verbose=verbose)
        case "github":
            from reconciler.render.github import annotated
            from reconciler.render.report import findings

            return annotated(findings(report), base)
        case "sarif":
            from reconciler.render.report import findings
            from reconciler.render.sarif import log

            return _dumped(log(findings(report), base, owner=report.plan.owner, basis=report.plan.basis))
    from reconciler.render.text import plan_text

    return plan_text(
        report.plan,
        color=color,
        verbose=verbose,
        states=report.states,
        exposure=report.exposure,
        rehearsal=report.rehearsal,
    )


def render_problems(format: str, problems: Iterable[Problem], *, base: Base = AS_IS) -> str:
    """The `problems` of a file that is invalid (or of one that has none) in one of FORMATS."""
    match format:
        case "json":
            from reconciler.render.json import problems_json

            return _dumped(problems_json(problems))
        case "markdown":
            from reconciler.render.markdown import problems_markdown

            return problems_markdown(problems)
        case "github":
            from reconciler.render.github import annotated
            from reconciler.render.report import invalid

            return annotated(invalid(problems), base)
        case "sarif":
            from reconciler.render.report import invalid
            from reconciler.render.sarif import log

            return _dumped(log(invalid(problems), base))
    return "".join(f"{problem}\n" for problem in problems)


def _dumped(value: Any) -> str:
    import json

    return json.dumps(value, indent=2) + "\n"
