"""A pull request from end to end: the repository of examples/gitops, a change, and what CI shows of it, compared with golden files.

UPDATE_EXPECTED=1 writes these anew: read them before you commit them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "gitops"
GOLDEN = Path(__file__).parent / "golden" / "gitops"
REVIEW = ROOT / "contrib" / "ci" / "review.sh"
EDGE = "hosts/edge-1.yaml"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The example, committed on main, and a branch for the change."""
    folder = tmp_path / "network"
    shutil.copytree(EXAMPLE, folder)
    for command in ("init --initial-branch=main", "config user.email a@example.org", "config user.name A"):
        git(folder, *command.split())
    git(folder, "add", "--all")
    git(folder, "commit", "-m", "the network as it is")
    git(folder, "switch", "-c", "change")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "reconcile"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec {sys.executable} -m reconciler "$@"\n')
    program.chmod(0o755)
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def push(folder: Path, old: str, new: str) -> None:
    """A commit that changes a line."""
    path = folder / EDGE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    git(folder, "commit", "--all", "-m", "change")


def review(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """What CI runs."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "RECONCILE_", "GIT_"))
    }
    environment |= {"PATH": f"{folder.parent / 'bin'}:{os.environ['PATH']}", "BASIS": "git:main", "NO_COLOR": "1"}
    environment |= {"OUT": str(folder.parent / "reports"), "FORMAT": "github", **settings}
    hosts = sorted(str(path.relative_to(folder)) for path in (folder / "hosts").iterdir())
    return subprocess.run(
        [str(REVIEW), *hosts], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_EXPECTED"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_pull_request_of_two_revisions(repository: Path) -> None:
    reports = repository.parent / "reports"
    # The first one has a mistake. It is annotated at its line, and nothing else is said of that host.
    push(repository, 'ports: ["8080:80"]', 'ports: ["8080:80", "8443:80:443"]')
    first = review(repository)
    assert first.returncode == 3
    compare("invalid.github.txt", first.stdout)
    compare("invalid.md", (reports / "edge-1.md").read_text())
    # The second one mends it: a port is published besides, and a container goes.
    push(repository, '"8443:80:443"', '"8443:443"')
    push(repository, "      db:\n        addresses: [10.88.0.11]\n", "")
    push(repository, '  - {from: web, to: "db:5432"}\n  - {from: outside, to: "db:5432", allowed: false}\n', "")
    second = review(repository, GITHUB_STEP_SUMMARY=str(repository.parent / "summary.md"))
    assert second.returncode == 0, second.stderr
    compare("change.github.txt", second.stdout)
    compare("change.md", (reports / "edge-1.md").read_text())
    assert (repository.parent / "summary.md").read_text() == "".join(
        path.read_text() for path in sorted(reports.glob("*.md"))
    )
    assert sorted(path.name for path in reports.iterdir()) == [
        f"{host}.{kind}" for host in ("edge-1", "edge-2") for kind in ("json", "junit.xml", "md", "sarif")
    ]
    plan = json.loads((reports / "edge-1.json").read_text())
    assert plan["basis"] == "git:main"
    assert plan["rehearsal"]["ok"] is True
    # The other host has nothing to fear.
    assert json.loads((reports / "edge-2.json").read_text())["steps"] == []


def test_a_gate_that_closes_and_an_expectation_that_fails_are_red(repository: Path) -> None:
    push(repository, "      db:\n        addresses: [10.88.0.11]\n", "")
    push(repository, '  - {from: web, to: "db:5432"}\n  - {from: outside, to: "db:5432", allowed: false}\n', "")
    assert review(repository, FAIL_ON="delete", REHEARSE="no").returncode == 2
    push(repository, "8080:80", "8081:80")
    failed = review(repository, REHEARSE="no")
    assert failed.returncode == 1
    assert "outside → host:8080" in failed.stderr


def test_a_basis_that_is_not_there_is_wrong_usage(repository: Path) -> None:
    done = review(repository, BASIS="git:nonesuch")
    assert done.returncode == 64
    assert "no such revision" in done.stderr


GH = """\
#!/usr/bin/env python3
import json, sys
from pathlib import Path
store = Path({store!r})
comments = json.loads(store.read_text()) if store.exists() else []
arguments = sys.argv[1:]
body = next((Path(part.partition("@")[2]).read_text() for part in arguments if part.startswith("body=@")), None)
where = next(part for part in arguments if part.startswith("repos/"))
if "PATCH" in arguments:
    next(item for item in comments if str(item["id"]) == where.rpartition("/")[2])["body"] = body
elif "POST" in arguments:
    comments.append({{"id": len(comments) + 1, "body": body}})
else:
    print(json.dumps(comments))
store.write_text(json.dumps(comments))
"""


def test_each_report_is_one_comment_that_is_written_anew(tmp_path: Path) -> None:
    """With a stand-in for gh: GitHub itself cannot be had here."""
    if shutil.which("jq") is None:
        pytest.skip("not installed: jq")
    store = tmp_path / "comments.json"
    store.write_text(json.dumps([{"id": 7, "body": "looks good"}]))
    program = tmp_path / "gh"
    program.write_text(GH.format(store=str(store)))
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_REPOSITORY": "o/r"}
    one, two = tmp_path / "one.md", tmp_path / "two.md"
    for turn in ("first", "second"):
        one.write_text(f'<!-- reconcile:one -->\n{turn} `$(touch owned)` "quoted"\n')
        two.write_text(f"<!-- reconcile:two -->\n{turn}\n")
        command = [str(ROOT / "contrib/ci/comment.sh"), "3", str(one), str(two)]
        subprocess.run(command, env=environment, check=True, timeout=30, cwd=tmp_path)
    bodies = [item["body"] for item in json.loads(store.read_text())]
    assert bodies == ["looks good", one.read_text(), two.read_text()]
    assert not (tmp_path / "owned").exists()


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_workflow_uses_what_the_action_has() -> None:
    action = load(ROOT / "action.yml")
    (used,) = (
        step["with"]
        for step in load(EXAMPLE / ".github/workflows/network.yml")["jobs"]["review"]["steps"]
        if "reconcile@" in step["uses"]
    )
    assert set(used) <= set(action["inputs"])
    text = (ROOT / "action.yml").read_text()
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(action["inputs"])
    for script in re.findall(r"\$ACTION/(\S+?)\"", text):
        assert os.access(ROOT / script, os.X_OK)
    for step in action["runs"]["steps"]:
        if "run" in step:
            # What comes from outside gets into a script by its environment only.
            assert "${{" not in step["run"]
            subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)


def test_the_hook_checks_each_file_by_itself(repository: Path) -> None:
    (hook,) = load(ROOT / ".pre-commit-hooks.yaml")
    assert hook["id"] == load(EXAMPLE / ".pre-commit-config.yaml")["repos"][0]["hooks"][0]["id"]

    def run(*files: str) -> subprocess.CompletedProcess[str]:
        path = f"{repository.parent / 'bin'}:{os.environ['PATH']}"
        command = [*hook["entry"].split(), *files]
        return subprocess.run(
            command, cwd=repository, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )

    # Two hosts with different owners, which no single state could be.
    assert run(EDGE, "hosts/edge-2.yaml").returncode == 0
    push(repository, "10.88.0.11", "10.99.0.11")
    bad = run(EDGE, "hosts/edge-2.yaml")
    assert bad.returncode == 3
    assert f"{EDGE}:11:" in bad.stderr
