"""One plan, and one invalid file, in each format, as formats/ holds them. UPDATE_EXPECTED=1 writes them anew: read them before you commit
them. The versions of the tool are left out."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler import __version__, reconcile
from reconciler.errors import ManifestError
from reconciler.manifest import load
from reconciler.render.formats import FORMATS, render, render_problems
from reconciler.render.places import split_position
from reconciler.render.report import Finding, Report, findings
from tests.golden.test_plans import CASES, desired, document, host, text_of
from tests.render.doubles import Exposed, Rehearsed
from tests.render.reports import PLAN_SCHEMA, SARIF_SCHEMA

FOLDER = Path(__file__).parent / "formats"
ENDINGS = {"text": "txt", "json": "json", "markdown": "md", "github": "github", "sarif": "sarif"}
EXPOSURE = (
    Exposed(
        "opened", "5432/tcp on every address of this host → db 10.88.0.11:5432, from anywhere", "desired.yaml:15:13"
    ),
    Exposed("closed", "9090/tcp on every address of this host → old 10.88.0.12:90, from anywhere"),
    Exposed("moved", "8080/tcp on every address of this host → db (was web), from anywhere", "desired.yaml:14:13"),
)
REHEARSAL = Rehearsed(
    True, ("41 steps done in a scratch namespace; a second look finds nothing to change", "no TCP flow was cut")
)


def held(name: str, actual: str) -> None:
    """Compares with what the folder holds, or puts it there."""
    actual = actual.replace(f'"{__version__}"', '"VERSION"')
    path = FOLDER / name
    if os.environ.get("UPDATE_EXPECTED"):
        path.write_text(actual)
    assert path.read_text() == actual


def report(monkeypatch: pytest.MonkeyPatch) -> Report:
    """A plan with something of everything."""
    kernel, file = host(FOLDER, monkeypatch), document(FOLDER, "desired.yaml", monkeypatch)
    plan, view = reconcile.plan(kernel, desired(file), file.name)
    return Report(plan, (view.desired, view.found), EXPOSURE, REHEARSAL)


@pytest.mark.parametrize("format", FORMATS)
def test_a_plan_is_told_as_expected(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held(f"plan.{ENDINGS[format]}", render(format, report(monkeypatch)))


@pytest.mark.parametrize("format", FORMATS)
def test_an_invalid_file_is_told_as_expected(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    with pytest.raises(ManifestError) as caught:
        load(["invalid.yaml"])
    held(f"invalid.{ENDINGS[format]}", render_problems(format, caught.value.problems))


def spots(found: Sequence[Finding], lines: Sequence[str]) -> dict[str, str]:
    """What stands in the file where each finding points to."""
    result = {}
    for item in found:
        _, line, column = split_position(item.position)
        result[item.message] = lines[line - 1][column - 1 :]
    return result


def test_what_is_gone_stands_at_the_key_of_what_it_was_in(monkeypatch: pytest.MonkeyPatch) -> None:
    there = spots(findings(report(monkeypatch)), text_of(FOLDER, "desired.yaml").splitlines())
    gone = {message.split(" is removed")[0]: spot for message, spot in there.items() if "is removed" in message}
    assert gone == {"container old on br-web": "br-web:", "bridge br-old": "bridges:"}
    assert {message.split(" loses")[0]: spot for message, spot in there.items() if "loses" in message} == {
        "container web on br-web": "web:"
    }
    assert [spot for message, spot in there.items() if "was web's" in message] == ['"8080:80"']


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_every_plan_is_as_the_schemas_say_and_points_to_words(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, file = host(case, monkeypatch), document(case, "desired.yaml", monkeypatch)
    plan, view = reconcile.plan(kernel, desired(file), file.name)
    for made in (Report(plan), Report(plan, (view.desired, view.found), EXPOSURE, REHEARSAL)):
        assert list(PLAN_SCHEMA.iter_errors(json.loads(render("json", made)))) == []
        assert list(SARIF_SCHEMA.iter_errors(json.loads(render("sarif", made)))) == []
    lines = text_of(case, "desired.yaml").splitlines()
    for spot in spots(findings(Report(plan, (view.desired, view.found))), lines).values():
        assert spot[:1].strip(" ,[{")
