"""--format and --write: what is printed, what is written, and when neither."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from reconciler.render.formats import FORMATS
from tests.cli.host import WEB, WITHOUT_WEB, Host

INVALID = WEB.replace("10.88.0.10]", "10.99.0.10]")
ALL = [f"--write={name}={name}.out" for name in FORMATS]


def written(host: Host) -> dict[str, str]:
    """The files of ALL that are there, by format; nothing else may have been left."""
    left = {path.name for path in host.folder.iterdir()} - {f"{name}.out" for name in FORMATS}
    assert left <= {"reconcile.yaml", "old.yaml", "elsewhere"}
    return {name: path.read_text() for name in FORMATS if (path := host.folder / f"{name}.out").exists()}


@pytest.mark.parametrize("command", [["plan"], ["--dry-run"]])
@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_what_is_printed(host: Host, command: list[str], format: str) -> None:
    host.write(WITHOUT_WEB)
    host.write(WEB, "old.yaml")
    answer = host.reconcile(*command, "--basis", "file:old.yaml", "--format", format, *ALL)
    assert (answer.code, answer.err) == (0, "")
    files = written(host)
    assert set(files) == set(FORMATS)
    assert answer.out == files[format]
    assert "- " in files["text"]
    assert files["markdown"].startswith("<!-- reconcile:default -->\n")
    assert files["github"].startswith(
        "::warning file=reconcile.yaml,line=3,col=3,title=Is removed::container web on br-web"
    )
    assert json.loads(files["json"])["summary"]["delete"] > 0
    assert json.loads(files["sarif"])["runs"][0]["results"][0]["ruleId"] == "RC006"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("command", [["validate"], ["plan", "--basis", "empty"], ["--dry-run"], []])
def test_an_invalid_file_is_told_in_the_same_formats(host: Host, command: list[str], format: str) -> None:
    host.write(INVALID)
    answer = host.reconcile(*command, "--format", format, *ALL)
    assert answer.code == 3
    files = written(host)
    assert set(files) == set(FORMATS)
    assert answer.out == ("" if format == "text" else files[format])
    assert answer.err.startswith(files["text"])
    assert files["github"].startswith("::error file=reconcile.yaml,line=7,col=21,title=The file is invalid::")
    assert json.loads(files["json"])["problems"][0]["position"] == {"file": "reconcile.yaml", "line": 7, "column": 21}
    assert json.loads(files["sarif"])["runs"][0]["results"][0]["ruleId"] == "RC007"
    assert "The file is invalid" in files["markdown"]


def test_a_valid_file_is_told_too(host: Host) -> None:
    host.write(WEB)
    assert host.reconcile("validate", *ALL).out == written(host)["text"]
    files = written(host)
    assert files["text"] == "valid: reconcile.yaml: 1 bridge, 2 containers, 1 published port\n"
    assert (files["github"], json.loads(files["json"])["problems"]) == ("", [])
    assert json.loads(files["sarif"])["runs"][0]["results"] == []
    assert host.reconcile("validate", "--format", "markdown").out.endswith("### The file is valid\n")


def test_an_apply_and_a_down_write_the_plan_that_they_do(host: Host) -> None:
    host.write(WEB)
    answer = host.reconcile(*ALL)
    assert answer.code == 0
    assert answer.out.startswith(written(host)["text"])
    assert len(json.loads(written(host)["json"])["steps"]) > 10
    assert host.reconcile("--format", "github", *ALL).out == ""
    assert json.loads(written(host)["json"])["empty"] is True
    assert host.reconcile("down", *ALL).code == 0
    assert "taken down" in written(host)["json"]
    assert host.reconcile("down", *ALL).out.startswith("Nothing to do: nothing on this host carries the mark")
    assert json.loads(written(host)["json"])["empty"] is True


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("html=x", 64, "'html' is no format"),
        ("x.json", 64, "'x.json' is no format"),
        ("json", 64, "names no file"),
        ("json=", 64, "names no file"),
        ("json=-", 64, "says --format json"),
        ("json=nowhere/x", 1, "nowhere/x cannot be written: No such file or directory"),
        ("json=reconcile.yaml/x", 1, "reconcile.yaml/x cannot be written: Not a directory"),
        ("json=elsewhere", 1, "elsewhere cannot be written: it is a directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_done(
    host: Host, target: str, code: int, said: str
) -> None:
    host.write(WEB)
    (host.folder / "elsewhere").mkdir()
    before = host.state()
    answer = host.reconcile("--write", "text=text.out", "--write", target)
    assert (answer.code, answer.out, said in answer.err) == (code, "", True), answer.err
    assert host.state() == before
    assert written(host) == {}


def test_one_file_is_written_once(host: Host) -> None:
    host.write(WEB)
    answer = host.reconcile("--dry-run", "--write", "text=text.out", "--write", "json=./text.out")
    assert (answer.code, "twice" in answer.err, written(host)) == (64, True, {})


def test_a_file_is_replaced_whole_and_a_link_stays_one(host: Host) -> None:
    host.write(WEB)
    target = host.folder / "elsewhere"
    target.write_text("old\n")
    (host.folder / "text.out").symlink_to("elsewhere")
    with target.open() as before:
        answer = host.reconcile("plan", "--basis", "empty", "--write", "text=text.out")
        assert before.read() == "old\n"
    assert (host.folder / "text.out").is_symlink()
    assert target.read_text() == answer.out


def test_what_is_no_file_is_written_into_and_not_replaced(host: Host) -> None:
    host.write(WEB)
    pipe = host.folder / "elsewhere"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        answer = host.reconcile("plan", "--basis", "empty", "--write", f"text={pipe}")
        assert os.read(reader, 1 << 16).decode() == answer.out
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_failed_run_leaves_what_was_written_before(host: Host) -> None:
    host.write(WEB)
    (host.folder / "text.out").write_text("old\n")
    assert host.reconcile("plan", "--basis", "snapshot:not-there.json", "--write", "text=text.out").code == 64
    assert written(host) == {"text": "old\n"}
    answer = host.reconcile("plan", "--basis", "nonsense", "--write", "json=json.out")
    assert (answer.code, "json" in written(host)) == (64, False)


def test_names_of_files_are_relative_to_the_repository(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write(INVALID)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(host.folder.parent))
    below = f"{host.folder.name}/reconcile.yaml"
    for file in ("reconcile.yaml", str(host.folder / "reconcile.yaml")):
        assert f"file={below}," in host.reconcile("validate", "-f", file, "--format", "github").out
    monkeypatch.setenv("GITHUB_WORKSPACE", str(Path("/nowhere")))
    assert "file=reconcile.yaml," in host.reconcile("validate", "--format", "github").out
