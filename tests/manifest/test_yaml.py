"""YAML 1.2 by the core schema, and the places of things."""

from __future__ import annotations

import math
from typing import Any

import pytest

from reconciler.manifest import yaml
from reconciler.manifest.position import Position


def value(text: str) -> Any:
    """What `text` says. No problem is expected."""
    node, problems = yaml.read(text, "f.yaml")
    assert problems == []
    assert node is not None
    return node.plain()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Scalars that YAML 1.1 reads in another way.
        ("22:22", "22:22"),
        ("12:30:45", "12:30:45"),
        ("00:11:22:33:44:55", "00:11:22:33:44:55"),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("0o14", 12),
        ("014", 14),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("2026-01-02", "2026-01-02"),
        ("1e3", 1000.0),
        # Scalars that both read alike.
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("nuLL", "nuLL"),
        ("true", True),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("False", False),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5E-3", -0.0015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        (".", "."),
        ("-", [None]),
        ("1.2.3", "1.2.3"),
        ("10.88.0.1", "10.88.0.1"),
        ("10.88.0.1/24", "10.88.0.1/24"),
        ('"8080"', "8080"),
        ("'~'", "~"),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        ("|\n  12\n", "12\n"),
        ("٨", "٨"),
    ],
)
def test_scalars_are_those_of_the_core_schema(text: str, expected: Any) -> None:
    actual = value(text)
    assert (type(actual), actual) == (type(expected), expected)


def test_not_a_number_is_one() -> None:
    assert math.isnan(value(".nan"))


def test_a_number_of_ten_thousand_digits_does_no_harm() -> None:
    assert value("9" * 10_000) == math.inf


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff", "%YAML 1.2\n---\n"])
def test_nothing_is_no_problem(text: str) -> None:
    node, problems = yaml.read(text.encode(), "f.yaml")
    assert problems == []
    assert node is None or node.value is None


def test_a_byte_order_mark_is_passed_over() -> None:
    node, _ = yaml.read("\ufeffversion: 1".encode(), "f.yaml")
    assert node is not None
    assert node.plain() == {"version": 1}


def test_keys_given_in_place_win_over_merged_ones_and_earlier_over_later() -> None:
    text = """
base: &base {a: 1, b: 1}
other: &other {b: 2, c: 2}
one: {<<: *base, a: 3}
several:
  <<: [*base, *other]
  d: 4
"""
    expected = {
        "base": {"a": 1, "b": 1},
        "other": {"b": 2, "c": 2},
        "one": {"a": 3, "b": 1},
        "several": {"a": 1, "b": 1, "c": 2, "d": 4},
    }
    assert value(text) == expected


def test_what_an_alias_repeats_is_at_the_alias_and_defined_at_the_anchor() -> None:
    node, _ = yaml.read("a: &a\n  x: [1, 2]\nb: *a\nc:\n  <<: *a\n", "f.yaml")
    assert node is not None
    assert node.place(("a", "x", 1)) == Position("f.yaml", 2, 10)
    assert node.place(("b", "x", 1)) == Position("f.yaml", 3, 4)
    assert node.key_place(("b",)) == Position("f.yaml", 3, 1)
    assert node.key_place(("b", "x")) == Position("f.yaml", 3, 4)
    assert node.place(("c", "x", 1)) == Position("f.yaml", 5, 7)
    assert node.key_place(("c", "x")) == Position("f.yaml", 5, 7)
    assert node.definition(("c", "x", 1)) == Position("f.yaml", 2, 10)
    assert node.key_definition(("c", "x")) == Position("f.yaml", 2, 3)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a: [1, 2]\nb:\n  - &x 3\n  - *x\n", ("a",)),
        ("a: [1, 2]\nb:\n  - &x 3\n  - *x\n", ("b",)),
        ("a: &l {x: [1, 2]}\nb: *l\nc:\n  <<: *l\n", ("b", "x")),
        ("a: &l {x: [1, 2]}\nb: *l\nc:\n  <<: *l\n", ("c", "x")),
    ],
)
def test_the_places_of_a_list_are_those_of_its_values(text: str, path: tuple[str, ...]) -> None:
    node, problems = yaml.read(text, "f.yaml")
    assert node is not None
    assert not problems
    assert node.places(path) == [node.place((*path, number)) for number in range(2)]
    assert node.places((*path, "no", "list")) == []


def test_a_place_that_is_not_there_is_the_nearest_around_it() -> None:
    node, _ = yaml.read("a:\n  b: 1\n", "f.yaml")
    assert node is not None
    assert node.place(("a", "c", 4)) == Position("f.yaml", 2, 3)
    assert node.key_place(("a", "c")) == Position("f.yaml", 1, 1)


def test_columns_count_characters() -> None:
    _, problems = yaml.read('"ü": 1\n"öö": {"ä": 1, "ä": 2}\n', "f.yaml")
    assert [problem.position for problem in problems] == [Position("f.yaml", 2, 16)]


def test_a_hundred_thousand_open_brackets_are_a_problem_and_no_crash() -> None:
    for text in ("[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000):
        node, problems = yaml.read(text, "f.yaml")
        assert node is None
        assert len(problems) == 1


def test_a_bomb_of_aliases_is_refused_before_it_goes_off() -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"k{depth}: &a{depth} [{', '.join([f'*a{depth - 1}'] * 10)}]" for depth in range(1, 30)]
    node, problems = yaml.read("\n".join(lines), "f.yaml")
    assert node is None
    assert [problem.message for problem in problems] == [
        "more than 200000 values, counting what aliases repeat (use fewer aliases)"
    ]


def test_problems_without_end_are_told_up_to_a_limit() -> None:
    _, problems = yaml.read("\n".join(["a: 1"] * 5000), "f.yaml")
    assert len(problems) == yaml.MAX_PROBLEMS


def test_a_file_too_large_is_refused_unread() -> None:
    node, problems = yaml.read(b"#" * (yaml.MAX_BYTES + 1), "f.yaml")
    assert node is None
    assert [problem.message for problem in problems] == [
        "the file is larger than 8 MiB (split it: a directory of files is merged)"
    ]
