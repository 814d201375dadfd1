"""Findings as SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html), for code scanning.

A finding keeps its fingerprint when lines move, and is then the same alert. It stands where GitHub looks for it, under
`primaryLocationLineHash`: what GitHub would put there is a hash of the line, and so the same for all things that are gone from
one container.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from reconciler import __version__
from reconciler.render.formats import AS_IS, Base
from reconciler.render.places import split_position
from reconciler.render.report import RULES, Finding, Rule
from reconciler.render.terminal import clean

JSON = dict[str, Any]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def log(findings: Iterable[Finding], base: Base = AS_IS, *, owner: str = "", basis: str = "") -> JSON:
    """A log of one run with `findings`. `owner` tells the runs for several hosts apart; `basis` is that of the plan."""
    driver = {"name": "reconcile", "version": __version__, "rules": [_rule(rule) for rule in RULES]}
    seen: Counter[str] = Counter()
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "automationDetails": {"id": f"reconcile/{clean(owner)}/" if owner else "reconcile/"},
                "columnKind": "unicodeCodePoints",
                "results": [_result(item, base, seen) for item in findings],
                **({"properties": {"basis": clean(basis)}} if basis else {}),
            }
        ],
    }


def _rule(rule: Rule) -> JSON:
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.help},
        "help": {"text": rule.help},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _result(finding: Finding, base: Base, seen: Counter[str]) -> JSON:
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": RULES.index(finding.rule),
        "level": finding.rule.severity.value,
        "message": {"text": _message(finding.message)},
        "locations": [_location(finding.position, base)] if finding.position else [],
        "partialFingerprints": {"primaryLocationLineHash": _fingerprint(finding, seen)},
    }


def _message(text: str) -> str:
    """`text` as a message that is just that: braces would be placeholders (3.11.5), a bracketed word before a parenthesis a link
    (3.11.6)."""
    text = clean(text).replace("{", "{{").replace("}", "}}")
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]") if "](" in text else text


def _location(position: str, base: Base) -> JSON:
    file, line, column = split_position(position)
    path = base.seen(file)
    below = {"uri": _uri(path), "uriBaseId": "%SRCROOT%"}
    artifact = {"uri": f"file://{_uri(path)}"} if path.startswith("/") else below
    region = {"startLine": line, **({"startColumn": column} if column else {})} if line else {}
    return {"physicalLocation": {"artifactLocation": artifact, **({"region": region} if region else {})}}


def _uri(path: str) -> str:
    return quote(clean(path), safe="/")


def _fingerprint(finding: Finding, seen: Counter[str]) -> str:
    """A hash of what it says of which file, and which one it is of those that say the same."""
    # What a message says of another line moves too.
    message = re.sub(r"(\bline |\.ya?ml:)\d+", r"\1", finding.message)
    text = json.dumps([finding.rule.id, split_position(finding.position)[0], message])
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    seen[digest] += 1
    return f"{digest}:{seen[digest]}"
