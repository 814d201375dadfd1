"""A change of published ports read by itself, against reading everything: the same Document, or no answer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import ManifestError
from reconciler.lower import lower, with_ports
from reconciler.manifest import Document, loads, revise
from reconciler.manifest.revision import _MOST
from tests.manifest.test_laws import BAD, EXAMPLES

FILE = """\
# what hangs on this host
version: 1
bridges:
  br-web:   # the first
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web:
        addresses: [10.88.0.10, "fd00:88::10"]
        ports:
          - 8080:80
          - "127.0.0.1:8443:443/tcp"
      db: {ports: ["5432:5432"]}
      # nothing yet
      cache:

      "last":
        mtu: 1400
        ports: [{published: 9000-9003, target: 9000-9003, protocol: udp}]
  br-lan:
    mode: routed
    addresses: [10.89.0.1/24]
    containers:
      tv: {ports: ["81:81", "82-83:182-183"]}
"""


def read(text: str | bytes) -> Document | None:
    try:
        return loads(text, "host.yaml")
    except ManifestError:
        return None


def taken_up(before: str | bytes, after: str | bytes) -> Document | None:
    """What is known of `after` by its changed lines. Whatever that is, it must be what reading everything says."""
    document = read(before)
    assert document is not None
    found = revise(document, [("host.yaml", before)], [("host.yaml", after)])
    if found is not None:
        whole = read(after)
        assert whole is not None
        assert replace(found, notes=()) == replace(whole, notes=())
        assert [note.message for note in found.notes] == [note.message for note in whole.notes]
        one, other = lower(found), with_ports(lower(document), document, found)
        assert one.resources == other.resources
        assert one.origins == other.origins
    return found


PORTS = st.one_of(
    st.builds(lambda port, inner: f"{port}:{inner}", st.integers(8078, 8082), st.integers(79, 82)),
    st.sampled_from(["9000-9002:9000-9002/udp", "70-72:90-92", "127.0.0.1:81:81", "[::1]:53:53/udp", "81", "x:y", "0.0.0.0:1:1"]),
    st.sampled_from(["10.88.0.10:7:7", "10.88.0.1:7:7", '8080:80"', "8080:80]", "&a 1:1", "*a", "- 1:1", "# none", ""]),
)  # fmt: skip


@given(st.lists(PORTS, max_size=4), st.sampled_from(["web", "db", "last", "tv"]), st.booleans())
@settings(deadline=None)
def test_ports_by_themselves_are_what_the_whole_file_says_of_them(ports: list[str], name: str, flow: bool) -> None:
    written = (
        "[" + ", ".join(f'"{port}"' for port in ports) + "]" if flow else "".join(f"\n          - {p}" for p in ports)
    )
    blocks = {
        "web": (
            '        ports:\n          - 8080:80\n          - "127.0.0.1:8443:443/tcp"',
            f"        ports: {written}",
        ),
        "db": ('{ports: ["5432:5432"]}', f"\n        ports: {written}"),
        "last": ("[{published: 9000-9003, target: 9000-9003, protocol: udp}]", written),
        "tv": ('{ports: ["81:81", "82-83:182-183"]}', f"\n        ports: {written}"),
    }
    taken_up(FILE, FILE.replace(*blocks[name]))


LINES = st.sampled_from(
    [
        "          - 8081:80", '        ports: ["8081:80"]', "          8082:80", "        mtu: 1300", "      db:",
        "      new: {ports: ['1:1']}",
        "    containers: {", "  br-web:", "bridges:", "x-a: &a 1", "      # mine", "", "}", "---", "...", "\tx",
    ]
)  # fmt: skip


@given(st.data(), st.sampled_from([FILE, *EXAMPLES]))
@settings(deadline=None, max_examples=400)
def test_whatever_is_done_to_lines_the_answer_is_that_of_the_whole_file_or_none(data: Any, text: str) -> None:
    lines = text.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.integers(0, len(lines) - 1))
        line = lines[number]
        digits = list(re.finditer(r"\d", line))
        what = data.draw(st.sampled_from(["add", "drop", "replace", "twice", *(["digit"] * 4 if digits else [])]))
        if what == "add":
            lines.insert(number, data.draw(LINES))
        elif what == "drop":
            del lines[number]
        elif what == "replace":
            lines[number] = data.draw(LINES)
        elif what == "twice":
            lines.insert(number, line)
        else:
            at = data.draw(st.sampled_from(digits)).start()
            lines[number] = line[:at] + data.draw(st.sampled_from("0123456789")) + line[at + 1 :]
        if not lines:
            return
    taken_up(text, "\n".join(lines) + "\n")


@pytest.mark.parametrize("bad", BAD[:60])
def test_a_bad_file_is_never_taken_up_by_its_lines(bad: bytes) -> None:
    assert taken_up(FILE, bad) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("- 8080:80", "- 8081:80"),
        ("          - 8080:80\n", ""),
        ("- 8080:80", "- 8080:80\n          - 8090:80  # another"),
        ('["5432:5432"]', "[]"),
        ('db: {ports: ["5432:5432"]}', "db:"),
        ("cache:\n", "cache: {ports: ['1:1']}\n"),
        ("82-83:182-183", "82-84:182-184"),
        ("published: 9000-9003, target: 9000-9003", "published: 9001, target: 9000"),
    ],
)
def test_a_change_of_ports_is_taken_up(old: str, new: str) -> None:
    changed = FILE.replace(old, new)
    assert changed != FILE
    assert taken_up(FILE, changed) is not None
    assert taken_up(changed, FILE) is not None


def test_ports_of_several_containers_are_taken_up_together() -> None:
    changed = FILE.replace("8080:80", "8085:80").replace("5432:5432", "5433:5432").replace('"81:81"', '"84:81"')
    assert taken_up(FILE, changed) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("- 8080:80", "- 5432:80"),  # taken by db
        ("- 8080:80", "- 10.88.0.10:8080:80"),  # a container's address
        ("mtu: 1400", "mtu: 1300"),
        ("cache:\n", "cache:\n      more: {ports: ['1:1']}\n"),
        ('db: {ports: ["5432:5432"]}\n', ""),
        ("addresses: [10.89.0.1/24]", "addresses: [10.89.0.2/24]"),
        ("- 8080:80", "- &port 8080:80"),
        ("- 8080:80", "- |\n            8080:80"),
        ("\n", "\r\n"),
        ("          - 8080:80\n", "          - 8080:80\n...\n"),  # the end of the document, in the midst of it
        ("      # nothing yet\n", "---\n"),
        ("          - 8080:80\n", "          - 8080:80\nx-a: 1\n"),
    ],
)
def test_anything_else_takes_reading_the_whole_file(old: str, new: str) -> None:
    changed = FILE.replace(old, new)
    assert changed != FILE
    assert taken_up(FILE, changed) is None


@pytest.mark.parametrize(
    "text",
    [
        yaml.safe_dump(yaml.safe_load(FILE), default_flow_style=True, width=30),
        FILE.replace("    containers:\n      web:", "    containers: &all\n      web:"),
        "%YAML 1.2\n---\n" + FILE,
    ],
    ids=["braces", "an anchor around", "a directive"],
)
def test_a_file_that_is_not_plain_takes_reading_it(text: str) -> None:
    assert read(text) is not None
    assert taken_up(text, text.replace("8080:80", "8081:80")) is None


def test_where_many_ports_change_the_file_is_read() -> None:
    inner = "".join(f"      c{place}: {{ports: ['{place}:80']}}\n" for place in range(1, _MOST + 2))
    text = f"version: 1\nbridges:\n  br0:\n    addresses: [10.0.0.1/16]\n    containers:\n{inner}"
    assert taken_up(text, text.replace(":80'", ":81'")) is None
    assert taken_up(text, text.replace(":80'", ":81'", _MOST)) is not None
