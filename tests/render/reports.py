"""Reports of all sorts, with names that try to be more than names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import strategies as st

from reconciler.core.planner import Policy, plan
from reconciler.core.resource import Key, Level, Note, Origin, Resource, State
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.netns import Netns
from reconciler.kinds.tap import Tap
from reconciler.render.report import Report
from tests.render.doubles import Exposed, Rehearsed
from tests.render.test_properties import states

ROOT = Path(__file__).resolve().parents[2]

HOSTILE = st.one_of(
    st.sampled_from(
        [
            "</code></summary></details><img src=x onerror=alert(1)>",
            "```\n# out",
            "````",
            "`",
            " ` ",
            "-->",
            "--!><b>",
            "@torvalds",
            "a@everyone.org",
            "#1",
            "[x](https://example.org)",
            "![x](y)",
            "https://example.org/x",
            "www.example.org",
            "a|b|c",
            "**x** __y__ ~~z~~",
            "&lt;b&gt; &#64;x",
            "\\",
            "\\`",
            "\n\n- x\n",
            "    code",
            "1. one",
            "> quoted",
            "::error file=x::y",
            "a::b,c=d%0A%25",
            "{0} {x}",
            "\u202e\u200b\x1b[31m\x85\u2028",
            "\ud800",
            "é🎉" * 50,
            "x" * 3000,
            "`" * 3000,
            "",
        ]
    ),
    st.text(max_size=40),
)
NAMES = HOSTILE.filter(bool)
POSITIONS = st.one_of(st.just(""), st.builds("{}:{}:{}".format, HOSTILE, st.integers(1, 99), st.integers(1, 99)))
EXPOSED = st.builds(
    Exposed, st.sampled_from(["opened", "closed", "widened", "narrowed", "moved"]), HOSTILE, position=POSITIONS
)
REHEARSED = st.builds(Rehearsed, st.booleans(), st.lists(HOSTILE, max_size=5).map(tuple))
NOTES = st.builds(Note, level=st.sampled_from(Level), text=HOSTILE, position=POSITIONS)
THINGS: st.SearchStrategy[Resource] = st.one_of(
    st.builds(Bridge, owner=st.sampled_from(["me", "other"]), name=NAMES),
    st.builds(Netns, owner=st.just("me"), name=NAMES),
    st.builds(Tap, owner=st.just("me"), name=NAMES),
)


@st.composite
def hostile_states(draw: st.DrawFn) -> State:
    """What `states` draws, and things that are named as nobody should be."""
    base = draw(states())
    more: dict[Key, Resource] = {item.key: item for item in draw(st.lists(THINGS, max_size=6))}
    origins = {key: Origin(draw(POSITIONS), draw(HOSTILE), draw(HOSTILE)) for key in more}
    notes = (*base.notes, *draw(st.lists(NOTES, max_size=4)))
    return State({**base.resources, **more}, {**base.origins, **origins}, notes, draw(POSITIONS))


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """A plan from one such state to another, with all that may be known besides."""
    desired, found = draw(hostile_states()), draw(hostile_states())
    made = plan(desired, State(found.resources), "me", Policy(adopt=draw(st.booleans())), basis=draw(NAMES))
    exposure = draw(st.one_of(st.none(), st.lists(EXPOSED, max_size=12).map(tuple)))
    return Report(made, (desired, found), exposure, draw(st.one_of(st.none(), REHEARSED)))


def _validator(path: Path, kind: Any, part: str = "") -> Any:
    schema = json.loads(path.read_text())
    kind.check_schema(schema)
    # One definition by itself, since of `oneOf` a message says only that none fits.
    return kind({"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]} if part else schema)


PLAN_SCHEMA = _validator(ROOT / "docs" / "plan.schema.json", jsonschema.Draft202012Validator, "plan")
PROBLEMS_SCHEMA = _validator(ROOT / "docs" / "plan.schema.json", jsonschema.Draft202012Validator, "problems")
WHOLE_SCHEMA = _validator(ROOT / "docs" / "plan.schema.json", jsonschema.Draft202012Validator)
SARIF_SCHEMA = _validator(Path(__file__).with_name("sarif-schema-2.1.0.json"), jsonschema.Draft4Validator)
