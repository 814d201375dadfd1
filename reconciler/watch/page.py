"""What is shown, as the one page and as JSON. Pure: the time is given.

The page is whole without any script: status, picture, differences, the last changes. Its script only fetches it anew when there is
something new, and puts that in place. All text passes through `html.escape`, and is cleaned of characters that cannot be seen.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from reconciler.core.plan import Plan
from reconciler.core.resource import State
from reconciler.render.outline import outline
from reconciler.render.picture import Picture, picture
from reconciler.render.status import status_json, telling
from reconciler.render.svg import STYLE, svg
from reconciler.render.terminal import clean
from reconciler.render.tree import tree
from reconciler.watch.served import Change, Condition, Kind, Served

FORMAT_VERSION = "1.0"
LISTED = 200
"""So many differences are listed; the plan has them all."""
_GOOD = frozenset({Kind.HEALTHY, Kind.SYNCED})
_LOOKS = {
    Kind.DEGRADED: ("bad", "Degraded"),
    Kind.AWAITING_CONFIRM: ("ask", "Awaiting confirmation"),
    Kind.SUSPENDED: ("still", "Suspended"),
    Kind.PENDING: ("wait", "Pending"),
    Kind.HEALTHY: ("good", "Healthy"),
    Kind.SYNCED: ("good", "Synced"),
}
_NAMES_OF_NOT = {Kind.HEALTHY: "Not healthy", Kind.SYNCED: "Not synced"}
_SIGNS = {"+": "to create", "~": "to update", "-": "to delete", "±": "to replace"}


@cache
def _resource(name: str) -> str:
    return (Path(__file__).parent / "resources" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The source expression for an inline element with this content (CSP 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page_policy() -> str:
    """The page's Content-Security-Policy: its own style and script, its own server, and nothing else."""
    return (
        "default-src 'none'; "
        f"style-src {_hash(_resource('page.css'))} {_hash(STYLE)}; script-src {_hash(_resource('page.js'))}; "
        "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def picture_policy() -> str:
    """That of the picture when it is looked at by itself."""
    return f"default-src 'none'; style-src {_hash(STYLE)}; frame-ancestors 'none'; sandbox"


def icon() -> str:
    """The page's icon, as SVG."""
    return _resource("icon.svg")


def pictured(served: Served) -> Picture:
    """The picture of what is shown."""
    return picture(served.found, served.desired, served.owner, plan=served.plan, host=served.host)


def state_json(served: Served, now: float) -> dict[str, Any]:
    """What is shown, as plain JSON values. Times are seconds of the epoch."""
    status = None
    if served.plan is not None:
        status = status_json(served.plan, served.found, served.desired or State())
    return {
        "format_version": FORMAT_VERSION,
        "version": served.version,
        "owner": served.owner,
        "host": served.host,
        "revision": served.revision,
        "looked_at": served.looked_at,
        "stale": served.stale(now),
        "healthy": not served.unhealthy,
        "ready": not served.unready,
        "conditions": [
            {"condition": item.kind.value, "holds": item.holds, "since": item.since, "reason": item.reason}
            for item in served.conditions
        ],
        "status": status,
        "changes": [
            {"at": item.at, "what": item.what, "outcome": item.outcome, "why": item.why, "seconds": item.seconds}
            for item in served.changes
        ],
    }


# --- the page --------------------------------------------------------------------------------------------------------


def page(served: Served, now: float, columns: int | None = None) -> str:
    """The whole page, with at most `columns` containers side by side."""
    parts = {
        "title": f"{_headline(served, now)[1]} · {served.host or 'this host'}",
        "style": _resource("page.css"),
        "script": _resource("page.js"),
        "main": "".join(_main(served, now, columns)),
    }
    text = _resource("page.html")
    for name in ("title", "style", "script", "main"):
        before, mark, after = text.partition(f"<!--{name}-->")
        assert mark, f"page.html has no place for {name}"
        text = before + (parts[name] if name != "title" else _text(parts[name])) + after
    return text


def _main(served: Served, now: float, columns: int | None) -> Iterator[str]:
    drawn = pictured(served)
    yield f'<main id="main" data-version="{served.version}" data-stale="{int(served.stale(now))}">'
    yield from _header(served, now)
    yield '<section class="sheet" aria-label="The network">'
    yield f'<figure tabindex="0" id="picture">{svg(drawn, columns=columns)}</figure>'
    yield f'<p class="dim">{_text(_sentence(drawn.summary))}</p>'
    yield '<details id="as-text"><summary>The same as text</summary>'
    yield f"<pre>{escape(tree(served.found, served.desired, served.owner, color=False))}</pre></details>"
    yield "</section>"
    yield '<div class="lists">'
    yield from _differences(served)
    yield from _changes(served)
    yield "</div></main>"


def _header(served: Served, now: float) -> Iterator[str]:
    look, word, reason = _headline(served, now)
    yield "<header>"
    host = f"{_text(served.host)}" if served.host else "this host"
    yield f'<h1>{host} <span class="dim">{_text(served.owner)}</span></h1>'
    yield f'<p class="status {look}" id="status"><strong>{_text(word)}</strong>'
    yield f"<span>{_text(reason)}</span></p>" if reason else "</p>"
    yield '<ul class="conditions">'
    for kind in Kind:
        condition = served.condition(kind)
        if condition is not None:
            yield _condition(condition)
    yield "</ul><dl>"
    yield f"<div><dt>Revision</dt><dd><code>{_text(served.revision or 'none')}</code></dd></div>"
    seen = _time(served.looked_at) if served.looked_at is not None else "never"
    yield f"<div><dt>Last look at the kernel</dt><dd>{seen}</dd></div>"
    yield "</dl></header>"


def _headline(served: Served, now: float) -> tuple[str, str, str]:
    """(look, word, reason): the one thing to be said first."""
    if served.looked_at is None:
        return "still", "Starting", served.unready
    if served.stale(now):
        return "bad", "Stale", "the agent has not seen the kernel for too long: what is below may be out of date"
    for kind in Kind:
        condition = served.condition(kind)
        if condition is not None and condition.holds is not (kind in _GOOD):
            look = _LOOKS[kind][0] if condition.holds else "wait"
            return look, _name(condition), condition.reason
    synced = served.condition(Kind.SYNCED)
    if synced is not None:
        return "good", "Synced", synced.reason
    return "still", "Unknown", "the agent has not said"


def _name(condition: Condition) -> str:
    name = _LOOKS[condition.kind][1]
    return name if condition.holds else _NAMES_OF_NOT.get(condition.kind, f"Not {name.lower()}")


def _condition(condition: Condition) -> str:
    usual = condition.holds is (condition.kind in _GOOD)
    look = ("good" if condition.holds else "none") if usual else _LOOKS[condition.kind][0].replace("good", "wait")
    sign = "✓" if usual and condition.holds else "–" if usual else "!"
    reason = f" {_text(condition.reason)}" if condition.reason and not usual else ""
    return (
        f'<li class="{look}"><span aria-hidden="true">{sign}</span> <b>{_text(_name(condition))}</b>{reason} '
        f'<span class="dim">since {_time(condition.since)}</span></li>'
    )


def _differences(served: Served) -> Iterator[str]:
    yield '<section aria-labelledby="drift-title"><h2 id="drift-title">What differs</h2>'
    if served.plan is None or served.desired is None:
        yield '<p class="dim">No file could be read, so there is nothing to hold the host against.</p></section>'
        return
    rows = list(_rows(served.plan, served.found, served.desired))
    if not rows:
        yield "<p>Nothing: the host is as the file says.</p></section>"
        return
    yield '<ul class="drift">'
    for sign, text, note in rows[:LISTED]:
        yield f'<li><span class="sign">{_text(sign)}</span> <span>{_text(text)} <span class="dim">{_text(note)}</span></span></li>'
    if len(rows) > LISTED:
        yield f'<li><span class="sign"> </span> <span class="dim">and {len(rows) - LISTED} more</span></li>'
    yield "</ul></section>"


def _rows(plan: Plan, found: State, desired: State) -> Iterator[tuple[str, str, str]]:
    """(sign, what, note) of all that is not as the file says."""
    if plan.empty and not plan.pending and not plan.foreign:
        return
    folded = outline(plan, (desired, found))
    for row in telling(folded):
        yield row.sign.value, row.noun, ", ".join(filter(None, [_SIGNS.get(row.sign.value, ""), row.note]))
    for sign, rows, what in (
        ("!", folded.conflicts, "in the way"),
        ("…", folded.waiting, ""),
        ("?", folded.foreign, "foreign"),
    ):
        for row in rows:
            yield sign, f"{row.noun} {row.text}".strip(), ", ".join(filter(None, [what, row.note]))


def _changes(served: Served) -> Iterator[str]:
    yield '<section aria-labelledby="changes-title"><h2 id="changes-title">Last changes</h2>'
    if not served.changes:
        yield '<p class="dim">None since the agent began.</p></section>'
        return
    yield '<ol class="changes">'
    yield from map(_change, served.changes)
    yield "</ol></section>"


def _change(change: Change) -> str:
    took = f" in {change.seconds * 1000:.0f} ms" if change.seconds is not None else ""
    why = f'<br><span class="dim">{_text(change.why)}</span>' if change.why else ""
    look = "good" if change.outcome in ("applied", "healed") else "bad"
    return (
        f'<li>{_time(change.at)} <b class="{look}">{_text(change.outcome)}</b>{took}<br>{_text(change.what)}{why}</li>'
    )


def _time(seconds: float) -> str:
    """A moment, which the script tells as how long ago it was."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f'<time datetime="{moment.isoformat(timespec="seconds")}">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _text(text: str) -> str:
    return escape(clean(text))
