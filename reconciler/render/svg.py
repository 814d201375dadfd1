"""A drawing as SVG: one file with its own style, light and dark, that says by words and shapes, and not by colour alone, what is
not as it should be. It loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from reconciler.render.comparison import Kind
from reconciler.render.drawing import FONTS, Box, Drawing, Group, Text, Wire, drawing
from reconciler.render.picture import Picture

_SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'
_MONO = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace'
_LIGHT = {
    "paper": "#fbfcfd",
    "host": "#ffffff",
    "host-line": "#c5ccd6",
    "outside": "#eef1f5",
    "card": "#ffffff",
    "card-line": "#b9c3cf",
    "rail": "#e6eef8",
    "rail-line": "#8fabd0",
    "wire": "#8d9aab",
    "ink": "#1c2733",
    "dim": "#5a6775",
    "port": "#1f63b3",
    "port-back": "#e3eefb",
    "leave": "#2c7a57",
    "missing": "#a8201a",
    "missing-back": "#fdeceb",
    "waits": "#42566e",
    "waits-back": "#e9eff6",
    "differs": "#7d5200",
    "differs-back": "#fff3d1",
    "extra": "#64389a",
    "extra-back": "#f2ebfb",
    "foreign": "#5a6775",
    "foreign-back": "#f0f2f5",
}
_DARK = {
    "paper": "#11161c",
    "host": "#171d25",
    "host-line": "#3a4655",
    "outside": "#1d252f",
    "card": "#1c242e",
    "card-line": "#445163",
    "rail": "#1c2b40",
    "rail-line": "#4a6c9b",
    "wire": "#76859a",
    "ink": "#e6ebf1",
    "dim": "#a3b0bf",
    "port": "#8bbcf7",
    "port-back": "#1d3350",
    "leave": "#78c9a1",
    "missing": "#ff9d96",
    "missing-back": "#431d1d",
    "waits": "#b4c6dc",
    "waits-back": "#253243",
    "differs": "#f3c765",
    "differs-back": "#3b2f12",
    "extra": "#cdaef5",
    "extra-back": "#2f2342",
    "foreign": "#a3b0bf",
    "foreign-back": "#242d38",
}
_CLASSES = {
    Kind.MISSING: "missing",
    Kind.WAITS: "waits",
    Kind.DIFFERS: "differs",
    Kind.EXTRA: "extra",
    Kind.FOREIGN: "foreign",
    Kind.OTHERS: "foreign",
}
_DASHES = {"missing": "6 4", "waits": "2 4", "foreign": "1 3"}
_HEADS = ("wire", "publish", "leave", "route", "arrow")
_RADII = {"host": 14, "outside": 12, "bridge": 9, "plug": 5, "pill": 8, "badge": 5}


def _style() -> str:
    """The style sheet. It is the same for every picture, so that a page can allow just this one by its hash."""

    def variables(colors: dict[str, str]) -> str:
        return "".join(f"--{name}:{color};" for name, color in colors.items())

    rules = [
        f".network{{{variables(_LIGHT)}color-scheme:light dark}}",
        f"@media (prefers-color-scheme:dark){{.network{{{variables(_DARK)}}}}}",
        f".network text{{font-family:{_SANS};fill:var(--ink);white-space:pre}}",
        *(f".network .{font.name}{{font-size:{font.size}px}}" for font in FONTS),
        f".network :is({','.join(f'.{font.name}' for font in FONTS if font.mono)}){{font-family:{_MONO}}}",
        ".network .name,.network .title{font-weight:600}",
        ".network .dim{fill:var(--dim)}",
        ".network rect{fill:var(--card);stroke:var(--card-line)}",
        ".network .paper{fill:var(--paper);stroke:none}",
        ".network .host{fill:var(--host);stroke:var(--host-line);stroke-width:1.5}",
        ".network .outside{fill:var(--outside);stroke:none}",
        ".network .bridge{fill:var(--rail);stroke:var(--rail-line);stroke-width:1.25}",
        ".network .vm{stroke-width:1.75;stroke-dasharray:9 3}",
        ".network .more{stroke:none;fill:var(--outside)}",
        ".network .remark{stroke:none;fill:var(--outside)}",
        ".network .pill{fill:var(--port-back);stroke:none}",
        ".network .on-pill,.network .on-publish{fill:var(--port)}",
        ".network .on-leave,.network .on-route{fill:var(--leave)}",
        ".network .on-closed,.network .on-cable{fill:var(--dim)}",
        ".network .badge{stroke:none}",
        ".network polyline{fill:none;stroke:var(--wire);stroke-width:1.25}",
        ".network .cable{stroke-width:2}",
        ".network :is(.publish,.arrow){stroke:var(--port)}",
        ".network :is(.leave,.route){stroke:var(--leave)}",
        ".network .closed{stroke-dasharray:3 5}",
        ".network marker path{stroke:none;fill:var(--wire)}",
        ".network :is(#head-publish,#head-arrow) path{fill:var(--port)}",
        ".network :is(#head-leave,#head-route) path{fill:var(--leave)}",
    ]
    for name in dict.fromkeys(_CLASSES.values()):
        dash = f";stroke-dasharray:{_DASHES[name]}" if name in _DASHES else ""
        rules += [
            f".network rect.is-{name}{{stroke:var(--{name});stroke-width:1.5{dash}}}",
            f".network text.is-{name}{{fill:var(--{name})}}",
            f".network rect:is(.pill,.badge).is-{name}{{fill:var(--{name}-back);stroke:none}}",
        ]
        if name in _DASHES:
            rules.append(f".network polyline.is-{name}{{stroke-dasharray:{_DASHES[name]}}}")
    rules.append(".network .bridge.is-foreign{fill:var(--foreign-back)}")
    return "".join(rules)


STYLE = _style()
"""The content of the one style element."""


def svg(picture: Picture, *, columns: int | None = None) -> str:
    """`picture` as an SVG document, with at most `columns` containers side by side (None: as becomes it). Ends in a newline."""
    made = drawing(picture, columns=columns)
    return "".join(f"{line}\n" for line in _lines(picture, made))


def _lines(picture: Picture, made: Drawing) -> Iterator[str]:
    width, height = _number(made.width), _number(made.height)
    whole = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="network" role="img" aria-labelledby="network-title network-desc" {whole}>'
    )
    name = f"Network of {picture.host}" if picture.host else "Network of this host"
    yield f'<title id="network-title">{_text(f"{name} ({picture.owner})")}</title>'
    yield f'<desc id="network-desc">{_text(picture.summary)}</desc>'
    yield f"<style>{STYLE}</style>"
    yield "<defs>" + "".join(map(_head, _HEADS)) + "</defs>"
    yield f'<rect class="paper" width="{width}" height="{height}"/>'
    for group in made.groups:
        yield _group(group)
    yield "</svg>"


def _head(role: str) -> str:
    """The head of an arrow, which must be one for each colour."""
    return (
        f'<marker id="head-{role}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0.5 8 4 0 7.5Z"/></marker>'
    )


def _group(group: Group) -> str:
    title = f"<title>{_text(group.title)}</title>" if group.title else ""
    return f'<g class="group-{group.role.split()[0]}">{title}{"".join(map(_part, group.parts))}</g>'


def _part(part: Box | Text | Wire) -> str:
    match part:
        case Box():
            place = f'x="{_number(part.x)}" y="{_number(part.y)}" width="{_number(part.width)}" height="{_number(part.height)}"'
            return f'<rect class="{_classes(part.role, part.mark)}" {place} rx="{_RADII.get(part.role, 7)}"/>'
        case Text():
            classes = _classes(f"{part.font.name} {part.role}".rstrip(), part.mark)
            return f'<text class="{classes}" x="{_number(part.x)}" y="{_number(part.y)}">{_text(part.text)}</text>'
        case Wire():
            points = " ".join(f"{_number(x)},{_number(y)}" for x, y in part.points)
            heads = f' marker-start="url(#head-{part.role})"' if part.start else ""
            heads += f' marker-end="url(#head-{part.role})"' if part.end else ""
            return f'<polyline class="{_classes(part.role, part.mark)}" points={quoteattr(points)}{heads}/>'


def _classes(role: str, mark: Kind | None) -> str:
    return f"{role} is-{_CLASSES[mark]}" if mark else role


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    """`text` between tags. What XML cannot have at all has been cleaned away with all else that cannot be seen."""
    return escape(text)
