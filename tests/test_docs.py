"""What docs/ says of the file and of the commands is made from the code, and is what the code says today."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli import main

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse words its help otherwise from Python 3.13 on")
def test_the_reference_pages_are_up_to_date() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "scripts" / "docs", "--check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_page_on_exposure_shows_is_what_the_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "exposure.md").read_text()
    files = re.findall(r"```yaml\n(# (\S+)\n.*?)```", page, re.DOTALL)
    for text, name in files:
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"```text\n\$ reconcile ([^\n]*)\n(.*?)```", page, re.DOTALL)
    for command, shown in commands:
        assert main(command.split()) == 0
        assert capsys.readouterr().out == shown
    assert (len(files), len(commands)) == (2, 2)


def test_every_test_that_a_page_names_is_there() -> None:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    there = {name for text in texts for name in re.findall(r"^ *def (test_\w+)\(", text, re.MULTILINE)}
    named = 0
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for name, cut in re.findall(r"`(test_\w+)(…?)`", page.read_text()):
            named += 1
            fits = any(one.startswith(name) for one in there) if cut else name in there
            assert fits, f"{page.name} names {name}"
        for path in re.findall(r"`(tests/[\w/.]+)`", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name} names {path}"
    assert named > 20


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
