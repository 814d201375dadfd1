"""The picture of the network: nothing is left out of it, nothing overlaps, and whatever names there are, it stays a picture."""

from __future__ import annotations

import copy
import itertools
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.core.planner import plan
from reconciler.core.resource import State
from reconciler.errors import ReconcileError
from reconciler.kernel.model import ModelKernel
from reconciler.render import metrics
from reconciler.render.comparison import Comparison, Kind, Mark
from reconciler.render.dot import dot
from reconciler.render.drawing import Box, Drawing, Text, Wire, drawing
from reconciler.render.mermaid import mermaid
from reconciler.render.picture import BridgePicture, Label, Member, Picture, Port, picture
from reconciler.render.svg import STYLE, svg
from reconciler.render.terminal import clean
from tests.laws.doing import desired
from tests.laws.strategies import documents, hosts
from tests.render import pictures
from tests.render.pictures import EDGE, HOST, host, look, many, pictured, without
from tests.render.test_properties import states
from tests.support.tun import needs_tun

quiet = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = st.one_of(
    st.sampled_from(
        [
            "</text><script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "]]>&amp;&#x202e;",
            '"];x[label="',
            'a"] --> b["',
            "`**x**`",
            "\\N\\",
            "end",
            "\x1b[2J\x00\ufffe\ud800\u202e",
            "x" * 300,
            "名前" * 40,
            "",
        ]
    ),
    st.text(max_size=40),
)
MARKS = st.sampled_from([(), *((Mark(kind, clean(f"{kind}: \x07<why>")),) for kind in Kind)])


def cleaned(made: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """As picture() leaves it."""
    return made.map(clean)


LABELS = st.builds(Label, cleaned(HOSTILE), MARKS)
PORTS = st.builds(Port, cleaned(HOSTILE), cleaned(HOSTILE), MARKS)
MEMBERS = st.builds(
    Member,
    name=cleaned(HOSTILE),
    kind=st.sampled_from(["container", "vm", "veth", "link"]),
    interface=cleaned(HOSTILE),
    link=cleaned(HOSTILE),
    addresses=st.lists(LABELS, max_size=6).map(tuple),
    ports=st.lists(PORTS, max_size=10).map(tuple),
    notes=st.lists(LABELS, max_size=7).map(tuple),
    marks=MARKS,
    also=st.lists(cleaned(HOSTILE), max_size=2).map(tuple),
)
BRIDGES = st.builds(
    BridgePicture,
    name=cleaned(HOSTILE),
    mode=st.sampled_from(["", "nat", "routed", "isolated", "bridged"]),
    addresses=st.lists(LABELS, max_size=6).map(tuple),
    leaves=st.lists(LABELS, max_size=2).map(tuple),
    uplinks=st.lists(LABELS, max_size=8).map(tuple),
    members=st.lists(MEMBERS, max_size=5).map(tuple),
    notes=st.lists(LABELS, max_size=7).map(tuple),
    marks=MARKS,
)
# No host's name is longer (HOST_NAME_MAX), and above one of 300 characters Graphviz 2.43 loses its way.
NAMES = cleaned(HOSTILE).map(lambda text: text[:64])
PICTURES = st.builds(
    Picture,
    owner=NAMES,
    host=NAMES,
    compared=st.booleans(),
    interfaces=st.lists(MEMBERS, max_size=5).map(tuple),
    bridges=st.lists(BRIDGES, max_size=3).map(tuple),
    notes=st.lists(LABELS, max_size=12).map(tuple),
)


# --- what is in it ---------------------------------------------------------------------------------------------------


@quiet
@given(documents(), documents(), hosts())
def test_every_container_of_the_file_and_of_the_host_is_in_it(
    before: dict[str, Any], wanted: dict[str, Any], first: str
) -> None:
    kernel = ModelKernel.parse(first)
    try:
        pictures.apply(kernel, desired(before))
    except ReconcileError:
        kernel = ModelKernel.parse(first)  # something foreign was in the way: that host will do too
    made, view = look(kernel, wanted)
    shown = picture(view.found, view.desired, "default", plan=made)
    members = {(bridge.name, member.name) for bridge in shown.bridges for member in bridge.members}
    asked = {(name, inner) for name, bridge in wanted["bridges"].items() for inner in bridge.get("containers", {})}
    assert asked <= members
    places = Comparison(view.found, view.desired, "default").by_place
    assert {(clean(p.bridge), clean(p.container)) for p in places if p.bridge and p.container} <= members
    ports = {port.outside for bridge in shown.bridges for member in bridge.members for port in member.ports}
    for bridge in wanted["bridges"].values():
        for container in bridge.get("containers", {}).values():
            for port in container.get("ports", ()):
                assert any(_first_port(port) in outside for outside in ports), port


def _first_port(port: Any) -> str:
    text = str(port["published"]) if isinstance(port, dict) else port.rpartition(":")[0].rpartition(":")[2]
    return text.partition("-")[0]


@quiet
@given(states(), states(), st.booleans())
def test_whatever_states_there_are_nothing_of_them_is_lost(wanted: State, found: State, alone: bool) -> None:
    made = None if alone else plan(wanted, State(found.resources), "me")
    shown = picture(found, None if alone else wanted, "me", plan=made)
    members = [(bridge.name, member.name) for bridge in shown.bridges for member in bridge.members]
    places = Comparison(found, None if alone else wanted, "me").by_place
    assert {(clean(p.bridge), clean(p.container)) for p in places if p.bridge and p.container} <= set(members)
    check(shown, drawing(shown))


@needs_tun
def test_what_is_as_the_file_says_carries_no_mark() -> None:
    shown = pictured(host(EDGE), EDGE)
    ours = [bridge for bridge in shown.bridges if bridge.name != "docker0"]
    assert not any(member.off for bridge in ours for member in bridge.members)
    assert shown.verdict == "as the file says"
    assert shown.summary.startswith("4 bridges, 3 containers, 1 virtual machine, 2 published ports; ")


@needs_tun
def test_it_shows_what_a_host_consists_of() -> None:
    shown = pictured(host(EDGE), EDGE)
    web, isolated = shown.bridges[0], shown.bridges[2]
    assert (web.name, web.mode, [label.text for label in web.leaves]) == ("br-web", "nat", ["masquerade, by eth0"])
    assert web.members[0] == Member(
        name="web",
        kind="container",
        interface="eth0",
        link=web.members[0].link,
        addresses=(Label("10.88.0.10/24"), Label("2001:db8:1234:5678:9abc:def0:1234:5678/64")),
        ports=(Port("8080/tcp", "80"), Port("127.0.0.1:8443/tcp", "443")),
    )
    assert web.members[0].link.startswith("web-")
    assert [(label.text, label.marks) for label in shown.bridges[1].uplinks] == [("eth1", ())]
    assert [(member.name, member.kind, member.link) for member in shown.bridges[1].members] == [("vm1", "vm", "vnet0")]
    assert (isolated.mode, isolated.leaves, isolated.members[0].also) == ("isolated", (), ("br-web",))
    assert [(member.name, member.addresses) for member in shown.interfaces] == [("eth0", (Label("192.0.2.2/24"),))]
    assert [mark.text for mark in shown.bridges[3].marks] == ["foreign"]


def test_drift_is_marked_by_what_it_is() -> None:
    before, after = many(3), copy.deepcopy(many(3))
    inner = after["bridges"]["br-web"]["containers"]
    del inner["c0"]
    inner["c1"]["mtu"] = 1400
    inner["new"] = {"addresses": ["10.88.9.9"], "ports": ["99:99"]}
    inner["later"] = {"addresses": ["10.88.9.10"], "attach": {"docker": "later"}}
    kernel = without(
        str(host(before)), "address 10.88.0.12/16 on eth0 in c2", "route default via 10.88.0.1 on eth0 in c2"
    )
    shown = pictured(kernel, after)
    told = {member.name: [mark.text for mark in member.marks] for member in shown.bridges[0].members}
    assert told == {
        "c0": ["not in the file"],
        "c1": ["differs: mtu 1500, should be 1400"],
        "c2": [],
        "new": ["missing"],
        "later": ["waits for Docker container later"],
    }
    third = next(member for member in shown.bridges[0].members if member.name == "c2")
    assert [(label.text, [mark.kind for mark in label.marks]) for label in third.addresses] == [
        ("10.88.0.12/16", [Kind.MISSING])
    ]
    assert third.off


def test_a_bridge_whose_place_is_taken_by_something_else_is_in_it() -> None:
    shown = pictured(host(None, "link br-web dummy up\n"), many(2))
    assert [(bridge.name, len(bridge.members)) for bridge in shown.bridges] == [("br-web", 2)]


def test_an_empty_host_is_a_picture_too() -> None:
    shown = picture(State(), None, "default")
    assert shown.summary == "0 bridges, 0 containers, 0 published ports; held against no file"
    assert "There are no bridges on this host." in svg(shown)


# --- where it stands -------------------------------------------------------------------------------------------------


def check(shown: Picture, made: Drawing) -> None:
    """The laws of a drawing."""
    cards = [group for group in made.groups if group.role in ("container", "vm", "port")]
    assert len(cards) + made.folded == sum(len(bridge.members) for bridge in shown.bridges)
    leaves = [part for part in made.parts() if isinstance(part, Box) and part.leaf]
    _disjoint(leaves)
    for group in made.groups:
        own = [part for part in group.parts if isinstance(part, Box) and part.leaf]
        for part in group.parts:
            _inside_the_canvas(part, made)
            if isinstance(part, Text):
                width = metrics.width(part.text, part.font.size, mono=part.font.mono)
                assert width <= part.room + 0.01, (part, width)
                assert part.x + part.room <= made.width
                for box in own:
                    if box.y < part.y <= box.bottom and box.x <= part.x < box.right:
                        assert part.x + width <= box.right, (part, box)
                        assert part.y <= box.bottom - 2, (part, box)


def _disjoint(boxes: list[Box]) -> None:
    """By a sweep from the left, since there may be many."""
    active: list[Box] = []
    for box in sorted(boxes, key=lambda box: box.x):
        active = [other for other in active if other.right > box.x]
        for other in active:
            assert box.bottom <= other.y or other.bottom <= box.y, (box, other)
        active.append(box)


def _inside_the_canvas(part: Box | Text | Wire, made: Drawing) -> None:
    match part:
        case Box():
            assert part.x >= 0
            assert part.y >= 0
            assert part.width > 0
            assert part.height > 0
            assert part.right <= made.width
            assert part.bottom <= made.height
        case Text():
            assert part.x >= 0
            assert 0 < part.y < made.height
        case Wire():
            for x, y in part.points:
                assert 0 <= x <= made.width
                assert 0 <= y <= made.height


@quiet
@given(PICTURES, st.integers(1, 8), st.integers(1, 30))
def test_nothing_overlaps_and_no_text_leaves_its_box(shown: Picture, columns: int, most: int) -> None:
    made = drawing(shown, columns=columns, most=most)
    check(shown, made)
    assert made == drawing(shown, columns=columns, most=most)


@pytest.mark.parametrize("count", [1, 2, 5, 10, 100, 1000])
def test_any_number_of_containers_can_be_drawn(count: int) -> None:
    wish = desired(many(count))
    shown = picture(wish, None, "default")
    made = drawing(shown)
    check(shown, made)
    assert made.folded == max(0, count - 150)
    text = svg(shown)
    assert len(text) < 150_000
    assert (f"and {made.folded} more" in text) == bool(made.folded)


def test_what_differs_is_folded_last() -> None:
    wish = desired(many(300))
    gone = {"c280", "c299"}
    found = State({key: item for key, item in wish.resources.items() if wish.origins[key].container not in gone})
    shown = picture(found, wish, "default")
    text = svg(shown)
    assert all(f">{name}</text>" in text for name in gone)
    assert ">c200</text>" not in text


def test_room_is_shared_between_bridges() -> None:
    def bridge(name: str, count: int) -> BridgePicture:
        return BridgePicture(name, members=tuple(Member(f"{name}{n}", "container") for n in range(count)))

    made = drawing(Picture("me", bridges=(bridge("a", 1000), bridge("b", 3))), most=50)
    drawn = [group.title.removeprefix("container ") for group in made.groups if group.role == "container"]
    assert {"b0", "b1", "b2"} <= set(drawn)
    assert len(drawn) <= 50
    many_bridges = drawing(Picture("me", bridges=tuple(bridge(f"x{n}.", 2) for n in range(100))))
    assert sum(group.role == "bridge" for group in many_bridges.groups) == 40
    assert many_bridges.folded == 120


@given(st.text(max_size=60), st.floats(20, 300), st.booleans())
def test_a_text_is_cut_to_its_room(text: str, room: float, mono: bool) -> None:
    cut = metrics.fitted(text, room, 11, mono=mono)
    assert metrics.width(cut, 11, mono=mono) <= room + 0.01
    assert cut == text or "…" in cut
    for most in (1, 3):
        lines = metrics.wrapped(text, room, 11, mono=mono, most=most)
        assert 1 <= len(lines) <= most
        assert all(metrics.width(line, 11, mono=mono) <= room + 0.01 for line in lines)


def test_the_ends_of_a_long_name_are_kept() -> None:
    cut = metrics.fitted("payments-worker-of-the-northern-region-042", 150, 11, mono=True)
    assert cut.startswith("payments")
    assert cut.endswith("042")


# --- SVG -------------------------------------------------------------------------------------------------------------


@quiet
@given(PICTURES)
def test_whatever_the_names_it_is_xml_with_nothing_in_it_that_runs_or_loads(shown: Picture) -> None:
    root = ElementTree.fromstring(svg(shown))
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "defs", "marker", "path", "g", "rect", "text", "polyline"}
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert "href" not in name
            assert "url(" not in value or value.startswith("url(#head-")
    assert [element.text for element in root.iter(f"{SVG}style")] == [STYLE]
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_it_says_what_it_is_to_those_who_do_not_see_it() -> None:
    root = ElementTree.fromstring(svg(picture(desired(many(2)), None, "default", host="edge-7")))
    assert root.get("role") == "img"
    named = {element.get("id"): element.text for element in root if element.get("id")}
    assert root.get("aria-labelledby", "").split() == ["network-title", "network-desc"]
    assert named["network-title"] == "Network of edge-7 (default)"
    assert named["network-desc"] == "1 bridge, 2 containers, 2 published ports; held against no file"


def test_drift_is_told_in_words_and_not_by_colour_alone() -> None:
    shown = pictured(host(None, HOST), many(1))
    texts = [element.text for element in ElementTree.fromstring(svg(shown)).iter(f"{SVG}text")]
    assert "missing" in texts
    assert "(missing)" in texts


def test_what_goes_in_and_out_is_missing_with_what_it_goes_to() -> None:
    def lanes(shown: Picture) -> dict[str, Kind | None]:
        parts = [part for group in drawing(shown).groups if group.role.startswith("lane") for part in group.parts]
        return {part.role: part.mark for part in parts if isinstance(part, Wire)}

    assert lanes(pictured(host(many(1)), many(1))) == {"publish": None, "leave": None}
    assert lanes(pictured(host(many(0)), many(1))) == {"publish": Kind.MISSING, "leave": None}
    assert lanes(pictured(host(), many(1))) == {"publish": Kind.MISSING, "leave": Kind.MISSING}


def test_every_class_of_the_style_has_a_light_and_a_dark_colour() -> None:
    used = set(re.findall(r"var\(--([\w-]+)\)", STYLE))
    light, dark = re.findall(r"\.network\{((?:--[\w-]+:[^;]+;)+)", STYLE)
    for block in (light, dark):
        assert used <= set(re.findall(r"--([\w-]+):", block))


def _luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_enough_in_both() -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1."""
    for block in re.findall(r"\.network\{((?:--[\w-]+:[^;]+;)+)", STYLE):
        colors = dict(re.findall(r"--([\w-]+):(#[0-9a-f]{6})", block))
        pairs = [
            ("ink", "card"),
            ("ink", "rail"),
            ("dim", "rail"),
            ("dim", "card"),
            ("dim", "outside"),
            ("port", "port-back"),
        ]
        pairs += [
            ("leave", "host"),
            ("port", "host"),
            *((name, f"{name}-back") for name in ("missing", "waits", "differs")),
        ]
        pairs += [
            ("extra", "extra-back"),
            ("foreign", "foreign-back"),
            *((name, "card") for name in ("missing", "differs")),
        ]
        for ink, paper in pairs:
            high, low = sorted((_luminance(colors[ink]), _luminance(colors[paper])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)


# --- Mermaid ---------------------------------------------------------------------------------------------------------

_TEXT = r'"(?:[^"`<>#&{}|;\n\\]|#\d+;|<br/>)*"'
_MERMAID = [
    r"flowchart LR",
    r"  accTitle: [^\n#;{}]*",
    r"  accDescr: [^\n#;{}]*",
    r'  outside\(\("outside"\)\)',
    rf"  subgraph host\[{_TEXT}\]",
    r"  end",
    rf"    (?:b\d+\[\[{_TEXT}\]\]|b\d+c\d+\[{_TEXT}\]|b\d+c\d+\(\[{_TEXT}\]\)|notes\[{_TEXT}\])",
    rf"  (?:outside ---\|{_TEXT}\| b\d+|b\d+ -\.->\|{_TEXT}\| outside|b\d+ ---(?:\|{_TEXT}\|)? b\d+c\d+)",
    rf"  outside -->\|{_TEXT}\| b\d+c\d+",
    r"  classDef \w+ [\w:#,\- ]+",
    r"  class [\w,]+ \w+",
]


@quiet
@given(PICTURES)
def test_mermaid_is_of_the_grammar_whatever_the_names(shown: Picture) -> None:
    text = mermaid(shown)
    for line in text.splitlines():
        assert any(re.fullmatch(form, line) for form in _MERMAID), line
    assert len(re.findall(r"^    b\d+c\d+", text, re.MULTILINE)) == sum(len(bridge.members) for bridge in shown.bridges)
    declared = set(re.findall(r"^    (\w+)[\[(]", text, re.MULTILINE)) | {"outside"}
    assert set(re.findall(r"\bb\d+(?:c\d+)?\b", re.sub(_TEXT, "", text))) <= declared


def test_mermaid_reads_as_a_person_would_write_it() -> None:
    text = mermaid(picture(desired(many(1)), None, "default"))
    assert '    b0c0["c0<br/>eth0<br/>10.88.0.10/16"]' in text
    assert '  outside -->|"10000/tcp → 80"| b0c0' in text
    assert '  b0 -.->|"masquerade"| outside' in text


# --- DOT -------------------------------------------------------------------------------------------------------------


@quiet
@given(PICTURES)
def test_dot_has_no_text_outside_of_its_strings(shown: Picture) -> None:
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "S", dot(shown))
    assert re.fullmatch(r"[\w\s\[\]{}=,;>-]*", bare), bare
    assert bare.count("{") == bare.count("}") == 2


needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed (Debian: graphviz)")


def graphviz(text: str) -> str:
    """What Graphviz makes of it."""
    done = subprocess.run(["dot", "-Tplain"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@needs_graphviz
@settings(quiet, max_examples=15)
@given(PICTURES)
def test_graphviz_draws_whatever_the_names(shown: Picture) -> None:
    nodes = [line for line in graphviz(dot(shown)).splitlines() if line.startswith("node ")]
    expected = 1 + len(shown.bridges) + bool(shown.notes) + sum(len(bridge.members) for bridge in shown.bridges)
    assert len(nodes) == expected


def test_ports_to_one_container_are_one_edge() -> None:
    """Graphviz needs minutes for some dozens of parallel ones."""
    shown = picture(desired(many(1)), None, "default")
    (bridge,) = shown.bridges
    ports = tuple(Port(f"{number}/tcp", "80") for number in range(8000, 8200))
    crowded = replace(shown, bridges=(replace(bridge, members=(replace(bridge.members[0], ports=ports),)),))
    text = dot(crowded)
    assert text.count("outside -> b0c0") == 1
    assert all(port.outside in text for port in ports)


@needs_graphviz
def test_graphviz_shows_a_backslash_as_one() -> None:
    shown = Picture("me", bridges=(BridgePicture('a\\Nb"c&lt;d'),))
    done = subprocess.run(["dot", "-Tsvg"], input=dot(shown), capture_output=True, text=True, timeout=60, check=True)
    texts = [element.text for element in ElementTree.fromstring(done.stdout).iter(f"{SVG}text")]
    assert 'a\\Nb"c&lt;d' in texts


def test_the_three_say_the_same() -> None:
    shown = pictured(host(many(2)), many(3))
    for name, form in itertools.product(
        ("br-web", "c0", "c1", "c2", "10.88.0.11/16", "10001/tcp"), (svg, mermaid, dot)
    ):
        assert name in form(shown), (name, form)
