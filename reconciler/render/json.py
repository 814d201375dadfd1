"""A Plan for machines. The format has a version: a higher minor number means that something was added, never
that something changed."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any

from reconciler import __version__
from reconciler.core.messages import to_json
from reconciler.core.plan import Action, Conflict, Pending, Plan, Step
from reconciler.core.resource import Difference, Key, Note, Origin, Resource, State
from reconciler.errors import Problem
from reconciler.render.places import Place, Places, split_position
from reconciler.render.report import ExposureChange, RehearsalResult, spot, told

FORMAT_VERSION = "1.1"

JSON = dict[str, Any]

_ADDRESSES = (IPv4Address, IPv6Address, IPv4Interface, IPv6Interface, IPv4Network, IPv6Network)


def plan_json(
    plan: Plan,
    requests: bool = True,
    *,
    states: Iterable[State] = (),
    exposure: Iterable[ExposureChange] | None = None,
    rehearsal: RehearsalResult | None = None,
) -> JSON:
    """`plan` as plain JSON values, the same for the same plan; with the requests that would be sent unless
    `requests` is False. docs/plan.schema.json describes it.

    `summary` counts steps: a replacement is a deletion and a creation, both marked `replacement`. `states`
    are those the plan was made of, where at hand: they tell to which bridge a thing belongs that the plan
    says little of. `exposure` and `rehearsal` are null if they were not computed.
    """
    places = Places.of_plan(plan, states)
    coming = {step.key for step in plan.steps if step.action is Action.CREATE}
    replaced = {step.key for step in plan.steps if step.action is Action.DELETE} & coming
    return {
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "owner": plan.owner,
        "basis": plan.basis,
        "empty": plan.empty,
        "summary": summary(plan),
        "steps": [_step(step, step.key in replaced, places, requests) for step in plan.steps],
        "conflicts": [_conflict(item, places) for item in plan.conflicts],
        "pending": [_pending(item, places) for item in plan.pending],
        "foreign": [_thing(item, places.place(item)) for item in plan.foreign],
        "notes": [_note(item) for item in plan.notes],
        "exposure": None if exposure is None else [_exposure(item) for item in exposure],
        "rehearsal": None if rehearsal is None else _rehearsal(rehearsal),
    }


def problems_json(problems: Iterable[Problem]) -> JSON:
    """What is wrong with a file that is invalid, as plain JSON values."""
    return {
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "problems": [{"position": position_json(spot(item)), "message": item.message} for item in problems],
    }


def summary(plan: Plan) -> dict[str, int]:
    """How many there are of each."""
    coming = {step.key for step in plan.steps if step.action is Action.CREATE}
    going = {step.key for step in plan.steps if step.action is Action.DELETE}
    return {
        "create": plan.count(Action.CREATE),
        "update": plan.count(Action.UPDATE),
        "delete": plan.count(Action.DELETE),
        "replace": len(coming & going),
        "disruptive": sum(step.disruptive for step in plan.steps),
        "conflicts": len(plan.conflicts),
        "pending": len(plan.pending),
        "foreign": len(plan.foreign),
        "managed": plan.managed,
    }


def plain(value: object) -> Any:
    """`value`, any field of a resource, as plain JSON. Raises TypeError for what has no such form."""
    if value is None or isinstance(value, bool | int | str | float):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, _ADDRESSES):  # before Iterable: a network iterates over all its addresses
        return str(value)
    if isinstance(value, Key):
        return value._asdict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # A resource's key only says again what its fields say; it stands beside it where it is needed.
        names = (
            item.name for item in dataclasses.fields(value) if item.name != "key" or not isinstance(value, Resource)
        )
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value)]
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    raise TypeError(f"no JSON form for {type(value).__name__}")


def kind_name(resource: Resource) -> str:
    """The kind as a word: `bridge_port`, `netns`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(resource).__name__).lower()


def position_json(position: str) -> JSON | None:
    """`FILE:LINE:COLUMN` taken apart; None if there is none."""
    if not position:
        return None
    file, line, column = split_position(position)
    return {"file": file, "line": line or None, "column": column or None}


def _thing(resource: Resource, place: Place) -> JSON:
    """What names a resource."""
    return {
        "kind": kind_name(resource),
        "key": plain(resource.key),
        "label": resource.label,
        "bridge": place.bridge or None,
        "container": place.container or None,
    }


def _placed(resource: Resource, origin: Origin, places: Places) -> JSON:
    return _thing(resource, places.place(resource, origin)) | {"position": position_json(origin.position)}


def _step(step: Step, replacement: bool, places: Places, requests: bool) -> JSON:
    sent = {"requests": [to_json(item) for item in step.requests()]} if requests else {}
    return {
        "action": step.action.value,
        **_placed(step.subject, step.origin, places),
        "before": plain(step.before),
        "after": plain(step.after),
        "differences": [_difference(item) for item in step.differences],
        "reason": step.reason,
        "replacement": replacement,
        "implied": step.implied,
        "disruptive": step.disruptive,
        **sent,
    }


def _difference(item: Difference) -> JSON:
    return {"field": item.field, "before": plain(item.before), "after": plain(item.after)}


def _conflict(item: Conflict, places: Places) -> JSON:
    placed = _placed(item.desired, item.origin, places)
    return placed | {"desired": plain(item.desired), "found": plain(item.found), "message": str(item)}


def _pending(item: Pending, places: Places) -> JSON:
    return _placed(item.resource, item.origin, places) | {"missing": plain(item.missing)}


def _note(item: Note) -> JSON:
    return {"level": item.level.value, "text": item.text, "position": position_json(item.position)}


def _exposure(item: ExposureChange) -> JSON:
    """What it says of itself, and what every change has."""
    return {**item.json(), "verb": str(item.verb), "text": told(item), "position": position_json(item.position)}


def _rehearsal(item: RehearsalResult) -> JSON:
    return {**item.json(), "ok": item.ok, "lines": list(item.lines)}
