"""One plan, and one invalid file, in each format, as formats/ holds them. UPDATE_EXPECTED=1 writes them anew: read them before you commit
them. The versions of the tool are left out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from reconciler import __version__, reconcile
from reconciler.errors import ManifestError
from reconciler.manifest import load
from reconciler.render.formats import FORMATS, render, render_problems
from reconciler.render.report import Report
from tests.golden.test_plans import desired, document, host
from tests.render.doubles import Exposed, Rehearsed

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


def test_whatever_is_found_stands_at_a_word_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The annotations' columns are those of the keys and values, not of the blanks around them."""
    lines = (FOLDER / "desired.yaml").read_text().splitlines()
    results: list[Any] = json.loads(render("sarif", report(monkeypatch)))["runs"][0]["results"]
    spots = {}
    for item in results:
        region = item["locations"][0]["physicalLocation"]["region"]
        spots[item["message"]["text"]] = lines[region["startLine"] - 1][region["startColumn"] - 1 :]
    gone = {text.split(" is removed")[0]: spot for text, spot in spots.items() if "is removed" in text}
    assert gone == {"container old on br-web": "br-web:", "bridge br-old": "bridges:"}
    lost = {text.split(" loses")[0]: spot for text, spot in spots.items() if "loses" in text}
    assert lost == {"container web on br-web": "web:"}
    (moved,) = [spot for text, spot in spots.items() if "was web's" in text]
    assert moved.startswith('"8080:80"')
