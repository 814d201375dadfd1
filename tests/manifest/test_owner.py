"""Whose a file is, of a file of which the rest may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler import manifest
from reconciler.errors import ManifestError
from tests.manifest.test_bad_files import CASES
from tests.manifest.test_load import EXAMPLES


@pytest.mark.parametrize("path", [*EXAMPLES, *CASES], ids=lambda path: path.stem)
def test_it_is_what_the_whole_file_says_or_an_error_that_the_whole_file_has_too(path: Path) -> None:
    whole, owner = read(lambda: manifest.load([path]).name), read(lambda: manifest.owner([path]) or "default")
    if isinstance(whole, str):
        assert owner == whole
    elif not isinstance(owner, str):
        assert owner <= whole


def read(action: Callable[[], str]) -> str | set[str]:
    """What `action` returns, or what is wrong, a line each."""
    try:
        return action()
    except ManifestError as error:
        return {str(problem) for problem in error.problems}


def test_files_together_say_one_name(tmp_path: Path) -> None:
    texts = {"a.yaml": "version: 1\nbridges: 7\n", "b.yaml": "version: 1\nname: b\n", "c.yaml": "version: 1\nname: b\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert manifest.owner([tmp_path]) == "b"
    (tmp_path / "d.yaml").write_text("version: 1\nname: d\n")
    with pytest.raises(ManifestError, match=r"d\.yaml:2:1: error: 'name' is given in .*b\.yaml:2 too"):
        manifest.owner([tmp_path])


def test_no_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\nx-name: &a no\nbridges: {name: {name: *a}}\n")
    assert manifest.owner([tmp_path]) is None


def test_a_name_may_come_by_an_alias_or_a_merge(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\nx-all: &all {name: b}\n<<: *all\n")
    (tmp_path / "b.yaml").write_text('version: 1\nx-b: &b b\n"n\\x61me": *b\n')
    assert manifest.owner([tmp_path]) == "b"
