"""What is said about files that are wrong. A case is NAME.yaml, or NAME.d with several files, beside NAME.expected: every
problem, a line each, exactly.

UPDATE_EXPECTED=1 writes them anew: read them before you commit them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from reconciler.errors import ManifestError
from reconciler.manifest import Problem, load

BAD = Path(__file__).parent / "bad"
CASES = sorted(path for path in BAD.iterdir() if path.suffix in (".yaml", ".d"))
REMEDY = re.compile(r".+ \([^()]+(\([^()]*\)[^()]*)*\)")
LONGEST = 200
"""Characters: what is longer is not read."""


def problems(case: Path, monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
    """What is wrong with the case, seen from the folder of its files."""
    monkeypatch.chdir(case if case.is_dir() else BAD)
    names = sorted(path.name for path in case.iterdir()) if case.is_dir() else [case.name]
    with pytest.raises(ManifestError) as caught:
        load(names)
    return [problem for problem in caught.value.problems if isinstance(problem, Problem)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_problem_is_told_with_its_place(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actual = "".join(f"{problem}\n" for problem in problems(case, monkeypatch))
    expected = case.with_suffix(".expected")
    if os.environ.get("UPDATE_EXPECTED"):
        expected.write_text(actual)
    assert expected.read_text() == actual


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_message_is_short_and_ends_in_what_to_do(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for problem in problems(case, monkeypatch):
        assert REMEDY.fullmatch(problem.message), problem
        assert len(problem.message) <= LONGEST, problem
        assert problem.message.isprintable(), problem


def test_there_is_no_expectation_without_its_case() -> None:
    assert {case.stem for case in CASES} == {path.stem for path in BAD.glob("*.expected")}


def test_a_file_that_is_not_there_is_a_problem_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text("version: 2\n")
    with pytest.raises(ManifestError) as caught:
        load(["none.yaml", "good.yaml"])
    assert str(caught.value).splitlines() == [
        "good.yaml:1:10: error: the version cannot be 2 (write `version: 1`)",
        "none.yaml:1:1: error: cannot be read: No such file or directory (check the path and its permissions)",
    ]
