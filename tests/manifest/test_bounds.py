"""What a file may take: of bytes, of depth, of time, of ports, of a log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import ManifestError
from reconciler.manifest import MAX_TOLD, files, load, loads, yaml
from reconciler.manifest.claims import MAX_SINGLE_PORTS
from tests.manifest.test_fuzz import limited


def refused(text: str | bytes) -> list[str]:
    """The problems of a file that is to be refused."""
    with pytest.raises(ManifestError) as caught:
        loads(text, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


def ports(*given: str) -> str:
    listed = ", ".join(f'"{one}"' for one in given)
    return (
        'version: 1\nbridges:\n  br:\n    addresses: [10.0.0.1/24, "fd00::1/64"]\n    containers:\n      c:\n'
        f'        addresses: [10.0.0.2, "fd00::2"]\n        ports: [{listed}]\n'
    )


def test_ports_that_lead_to_other_numbers_are_counted_over_families_and_addresses() -> None:
    """Each is an element of its own; a range that keeps its numbers is one."""
    half = MAX_SINGLE_PORTS // 2
    loads(ports("1-65535:1-65535", "1-65535:1-65535/udp"))
    loads(ports(f"1-{half}:2-{half + 1}"))
    (problem,) = refused(ports(f"1-{half}:2-{half + 1}", "40000:1/udp"))
    assert problem == (
        "f.yaml:8:36: error: from here on more than 65536 ports lead to other numbers, one by one (a range that keeps its numbers "
        "counts as one)"
    )
    many = [f"10.1.{n // 256}.{n % 256}:1-60000:2-60001" for n in range(200)]
    with limited(1.0):
        assert len(refused(ports(*many))) == 1


def test_of_very_many_problems_the_first_are_told_and_how_many_more_there_are() -> None:
    told = refused("version: 1\nbridges:\n" + "".join(f"  b{number}:\n" for number in range(MAX_TOLD + 500)))
    assert len(told) == MAX_TOLD + 1
    assert told[-1] == f"f.yaml:{MAX_TOLD + 3}:3: error: and 500 more problems from here on (correct those above first)"


@pytest.mark.parametrize(
    "text",
    [
        "- 1\n" * (yaml.MAX_NODES + 1),
        "[" + "1," * yaml.MAX_NODES + "1]",
        "a: [" + "x, " * 100 + "]\n" + "b: &b [" + "x, " * 1000 + "]\nc: [" + "*b, " * 1000 + "]",
    ],
    ids=["lines", "flow", "aliases"],
)
def test_values_are_counted(text: str) -> None:
    assert "more than 200000 values" in refused(text)[0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "cp037"])
def test_other_encodings_are_told_as_such(encoding: str) -> None:
    (problem,) = refused("version: 1\nname: é\n".encode(encoding))
    assert "is not UTF-8 (save the file as UTF-8)" in problem or "is not allowed in YAML" in problem


def test_all_files_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_TOTAL", 100)
    for number in range(3):
        (tmp_path / f"{number}.yaml").write_text("version: 1\n#" + "x" * 40)
    with pytest.raises(ManifestError) as caught:
        load([tmp_path])
    assert [str(problem) for problem in caught.value.problems] == [
        f"{tmp_path}/1.yaml:1:1: error: with this one the files are larger than 0 MiB together (name fewer)"
    ]


def test_a_pipe_in_a_directory_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\n")
    os.mkfifo(tmp_path / "b.yaml")
    with pytest.raises(ManifestError) as caught:
        load([tmp_path])
    what = "is a device, pipe or socket, and no plain file (take it out of the directory)"
    assert [str(problem) for problem in caught.value.problems] == [f"{tmp_path}/b.yaml:1:1: error: {what}"]
