"""Laws of all formats: whatever a plan holds, it cannot break out, fits, and is what its schema says."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.core.plan import Plan
from reconciler.core.resource import Level, Note, State
from reconciler.manifest.position import Position, Problem
from reconciler.render.formats import FORMATS, Base, render, render_problems
from reconciler.render.markdown import LIMIT
from reconciler.render.outline import outline
from reconciler.render.report import Report, findings, invalid
from reconciler.render.sarif import log
from reconciler.render.terminal import clean
from tests.render.doubles import Exposed, Rehearsed
from tests.render.markup import read
from tests.render.reports import (
    HOSTILE,
    PLAN_SCHEMA,
    PROBLEMS_SCHEMA,
    SARIF_SCHEMA,
    WHOLE_SCHEMA,
    reports,
)

LAW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
PROBLEMS = st.lists(
    st.builds(Problem, st.builds(Position, HOSTILE, st.integers(1, 99), st.integers(1, 99)), HOSTILE), max_size=30
)


def is_clean(text: str) -> bool:
    """Whole lines, of nothing that cannot be seen."""
    return all(line == clean(line) for line in text.split("\n")) and (not text or text.endswith("\n"))


def can_be_asked(report: Report) -> bool:
    """Whether the requests of the plan can be made at all, which not all that is drawn can be."""
    try:
        for step in report.plan.steps:
            list(step.requests())
    except (AssertionError, ValueError, TypeError, KeyError, IndexError):
        return False
    return True


# --- markdown --------------------------------------------------------------------------------------------------------


def sizes(text: str) -> tuple[int, ...]:
    """Its length in every way that one may count it."""
    return len(text), len(text.encode("utf-16-le")) // 2, len(text.encode())


@LAW
@given(reports(), st.booleans())
def test_a_comment_fits_and_holds_only_marks_of_ours(report: Report, verbose: bool) -> None:
    text = render("markdown", report, verbose=verbose and can_be_asked(report))
    assert max(sizes(text)) <= LIMIT
    assert is_clean(text.replace("\u200b", ""))
    assert text.startswith("<!-- reconcile:me -->\n")
    read(text)


@LAW
@given(PROBLEMS)
def test_a_comment_of_an_invalid_file_fits_and_holds_only_marks_of_ours(problems: list[Problem]) -> None:
    text = render_problems("markdown", problems)
    assert max(sizes(text)) <= LIMIT
    assert text.startswith("<!-- reconcile -->\n")
    read(text)


@LAW
@given(HOSTILE)
def test_names_come_out_as_they_went_in(name: str) -> None:
    """Escaped for the eye, as in text, and cut if longer than any name is; Markdown takes nothing away and adds nothing."""
    shown = clean(name)
    exposure = (Exposed("opened", name[:500]),)
    report = Report(Plan("me", basis=name[:150] or "live", notes=(Note(Level.WARNING, name[:500]),)), exposure=exposure)
    said = read(render("markdown", report))
    assert any("".join(clean(name[:500]).split()) == "".join(line.split()) for line in said.said) or not shown.split()
    assert "".join(clean(name[:500]).split()) in "".join("".join(said.fenced).split())
    if name:
        assert (
            f"Nothing to do: {'this host' if name == 'live' else clean(name[:150])} is as the file says." in said.said
        )


def many(count: int, name: str = "c{}") -> Report:
    """A plan that changes much: `count` containers' ports open, and as many notes and lines of all sorts."""
    from tests.render import hosts

    parts = [*hosts.bridge("br0", 4, "10.0.0.1/8")]
    for number in range(count):
        inside = name.format(number)
        parts += hosts.container("br0", inside, 10 + number, f"10.{number // 250 + 1}.{number % 250}.2/8")
        parts.append(hosts.port("br0", inside, 10 + number, f"{number + 1}/tcp", "10.1.1.1"))
    from reconciler.core.planner import plan

    wanted = hosts.state(parts, *(hosts.note(f"of {number}") for number in range(count)))
    exposure = tuple(Exposed("opened", f"{number}/tcp", f"net.yaml:{number + 1}:1") for number in range(count))
    made = plan(wanted, hosts.host(), hosts.OWNER)
    return Report(made, (wanted,), exposure, Rehearsed(True, ("fine",) * count))


@pytest.mark.parametrize("count", [40, 3000])
@pytest.mark.parametrize("name", ["c{}", "```````````````{}", "é🎉{}"])
def test_a_comment_that_is_cut_tells_all_counts_and_how_much_is_missing(count: int, name: str) -> None:
    report = many(count, name)
    text = render("markdown", report)
    assert max(sizes(text)) <= LIMIT
    said = read(text)
    summary = render("text", report).splitlines()[-1]
    assert summary.startswith(f"Plan (basis: live): {said.said[1].split(' (basis')[0]}")
    assert f"exposure: {count} opened" in said.said
    folded = outline(report.plan, report.states)
    everything = sum(map(len, (*folded.blocks, folded.waiting, folded.foreign, folded.conflicts))) + 3 * count
    details = [*said.fenced, *(line for line in said.said if line == "fine" or re.match("net.yaml:3: of ", line))]
    kept = [line for line in details if not re.fullmatch(r"… and \d+ more", line)]
    missing = re.search(r"\n\*\*(\d+) lines are left out\*\*", text)
    assert len(kept) + int(missing[1] if missing else 0) == everything
    assert bool(missing) == (count > 1000)


# --- github ----------------------------------------------------------------------------------------------------------


def taken(line: str) -> tuple[str, dict[str, str], str]:
    """(command, properties, message) as the runner takes them from a line (ActionCommand.TryParseV2 of actions/runner)."""
    assert line.startswith("::")
    end = line.index("::", 2)
    command, _, given = line[2:end].partition(" ")
    properties = dict(pair.split("=", 1) for pair in given.split(",") if pair)
    plain = {name: unescaped(value) for name, value in properties.items()}
    return command, plain, unescaped(line[end + 2 :], of_property=False)


def unescaped(text: str, *, of_property: bool = True) -> str:
    for code, character in [("%2C", ","), ("%3A", ":")] * of_property + [("%0A", "\n"), ("%0D", "\r"), ("%25", "%")]:
        text = text.replace(code, character)
    return text


@LAW
@given(reports())
def test_annotations_are_at_most_ten_and_say_what_was_found(report: Report) -> None:
    found = findings(report)
    text = render("github", report)
    lines = text.split("\n")[:-1]
    assert is_clean(text)
    assert len(lines) == min(len(found), 10)
    for line, item in zip(lines[:9], found, strict=False):
        command, properties, message = taken(line)
        assert (command, message) == (item.rule.severity.value, clean(item.message))
        assert properties["title"] == item.rule.title
        place = [properties.get(name, "") for name in ("file", "line", "col")]
        assert set(properties) <= {"file", "line", "col", "title"}
        if item.position:
            assert place[1:] == item.position.rsplit(":", 2)[1:]
        else:
            assert place == ["", "", ""]
    if len(found) > 9:
        command, _, message = taken(lines[9])
        assert message.startswith(f"{len(found) - 9} more")
        assert command == ("error" if any(item.rule.severity == "error" for item in found[9:]) else "warning")


@LAW
@given(PROBLEMS)
def test_annotations_of_an_invalid_file_stand_where_it_is_wrong(problems: list[Problem]) -> None:
    lines = render_problems("github", problems).split("\n")[:-1]
    for line, problem in zip(lines[:9], problems, strict=False):
        command, properties, message = taken(line)
        assert (command, message) == ("error", clean(problem.message))
        assert (properties["line"], properties["col"]) == (str(problem.position.line), str(problem.position.column))


@pytest.mark.parametrize(
    ("base", "file", "seen"),
    [
        (Base(), "./net.yaml", "net.yaml"),
        (Base("/repo/hosts", "/repo"), "net.yaml", "hosts/net.yaml"),
        (Base("/repo/hosts", "/repo"), "../net.yaml", "net.yaml"),
        (Base("/repo", "/repo"), "/repo/a/net.yaml", "a/net.yaml"),
        (Base("/repo", "/repo"), "/repository/net.yaml", "/repository/net.yaml"),
        (Base("/", "/"), "/etc/net.yaml", "etc/net.yaml"),
    ],
)
def test_files_are_named_as_seen_from_the_root_of_the_repository(base: Base, file: str, seen: str) -> None:
    problem = Problem(Position(file, 1, 1), "wrong")
    assert taken(render_problems("github", [problem], base=base).strip())[1]["file"] == seen
    uri = log(invalid([problem]), base)["runs"][0]["results"][0]["locations"][0]["physicalLocation"][
        "artifactLocation"
    ]["uri"]
    assert uri == (seen if not seen.startswith("/") else f"file://{seen}")


# --- sarif -----------------------------------------------------------------------------------------------------------


def errors(validator, value) -> list[str]:  # type: ignore[no-untyped-def]
    """What a schema has against `value`."""
    return [f"{item.json_path}: {item.message[:200]}" for item in validator.iter_errors(value)]


def prints(body) -> list[str]:  # type: ignore[no-untyped-def]
    return [item["partialFingerprints"]["primaryLocationLineHash"] for item in body["runs"][0]["results"]]


@LAW
@given(reports(), PROBLEMS, st.integers(1, 50))
def test_sarif_is_valid_and_its_fingerprints_are_steady(report: Report, problems: list[Problem], down: int) -> None:
    for found in (findings(report), invalid(problems)):
        body = log(found, owner="me", basis=report.plan.basis)
        assert errors(SARIF_SCHEMA, body) == []
        assert len(body["runs"][0]["results"]) == len(found)
        assert len(set(prints(body))) == len(found)
        moved = [item._replace(position=lower(item.position, down)) for item in found]
        assert prints(log(moved)) == prints(body)
    assert json.loads(render("sarif", report))["version"] == "2.1.0"


def lower(position: str, lines: int) -> str:
    """`position`, so many lines further down."""
    if not position:
        return ""
    file, line, column = position.rsplit(":", 2)
    return f"{file}:{int(line) + lines}:{column}"


# --- json and text ---------------------------------------------------------------------------------------------------


@LAW
@given(reports())
def test_json_is_as_its_schema_says(report: Report) -> None:
    if not can_be_asked(report):
        report = replace(report, plan=replace(report.plan, steps=()))
    body = json.loads(render("json", report))
    assert errors(PLAN_SCHEMA, body) == []
    assert (body["exposure"] is None, body["rehearsal"] is None) == (report.exposure is None, report.rehearsal is None)


@LAW
@given(PROBLEMS)
def test_json_of_an_invalid_file_is_as_its_schema_says(problems: list[Problem]) -> None:
    body = json.loads(render_problems("json", problems))
    assert errors(PROBLEMS_SCHEMA, body) == []
    assert [item["message"] for item in body["problems"]] == [item.message for item in problems]


def test_the_schema_takes_no_mixture_and_no_unknown_key() -> None:
    plan = json.loads(render("json", Report(Plan("me"))))
    problems = json.loads(render_problems("json", []))
    assert errors(WHOLE_SCHEMA, plan) == errors(WHOLE_SCHEMA, problems) == []
    for wrong in (plan | problems, plan | {"more": 1}, {}, plan | {"format_version": "2.0"}):
        assert errors(WHOLE_SCHEMA, wrong) != []


@LAW
@given(reports())
def test_text_shows_all_that_is_known(report: Report) -> None:
    text = render("text", report)
    assert is_clean(text)
    lines = text.splitlines()
    signs = {"opened": "+", "closed": "-"}
    for item in report.exposure or ():
        assert any(line.startswith(f"{signs.get(item.verb, '~')} {item.verb}") for line in lines)
    if report.rehearsal is not None:
        assert f"Rehearsal {'passed' if report.rehearsal.ok else 'failed'}:" in lines
        assert {f"  {clean(line)}".rstrip() for line in report.rehearsal.lines} <= set(lines)


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_to_do_is_told_in_every_format(format: str) -> None:
    text = render(format, Report(Plan("me"), (State(), State())))
    expected = {
        "text": "Nothing to do: this host is as the file says.\n",
        "markdown": "<!-- reconcile:me -->\n### Network plan of `me`\n\n**Nothing to do**: this host is as the file says.\n",
        "github": "",
    }
    assert text == expected.get(format, text)
    if format == "json":
        assert json.loads(text)["empty"] is True
    if format == "sarif":
        assert json.loads(text)["runs"][0]["results"] == []
