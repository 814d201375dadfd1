"""What a command line means does not hang on how much of the parser was put together to read it."""

from __future__ import annotations

import pytest

from reconciler.cli import parser

WORDS = (
    [],
    ["--dry-run", "-f", "a.yaml", "-f", "b.yaml", "--fail-on", "delete,drift", "--timings"],
    ["--confirm-timeout", "60", "--protect", "192.0.2.1", "--max-deletes", "3", "--adopt"],
    ["-f", "plan"],
    ["plan", "--basis", "empty", "--write", "json=plan.json"],
    ["apply", "saved.plan"],
    ["validate", "a.yaml", "b.yaml"],
    ["watch", "--listen", "--drift", "report"],
    ["test", "-f", "a.yaml"],
    *([word] for word in parser.COMMANDS if word not in ("apply", "completion")),
)


def said(arguments: object) -> dict[str, object]:
    """What is in a namespace, without the function that stands for `never` and is another one in each parser."""
    return {name: value for name, value in vars(arguments).items() if getattr(value, "__name__", "") != "<lambda>"}


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_brief_parser_reads_what_the_whole_one_reads(words: list[str]) -> None:
    assert said(parser._brief(words).parse_args(words)) == said(parser.build().parse_args(words))


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["plna"],
        ["--dry-run", "plan"],
        ["plan", "--dry-runn"],
        ["--fail-on", "everything"],
        ["-f"],
        ["apply"],
        ["plan", "--help"],
    ],
    ids=" ".join,
)
def test_what_is_wrong_and_what_helps_is_said_by_the_whole_parser(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse(words)
    code, told = ended.value.code, capsys.readouterr()
    with pytest.raises(SystemExit) as expected:
        parser.build().parse_args(words)
    assert (code, told) == (expected.value.code, capsys.readouterr())
    assert code == (0 if "--help" in words else 64)
