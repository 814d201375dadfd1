"""Two exposures → what changed."""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from operator import itemgetter
from typing import Any, TypeAlias

from reconciler.core.plan import Plan
from reconciler.core.resource import State
from reconciler.exposure.reach import (
    NEVER,
    THIS_HOST,
    WHOLE,
    End,
    Reach,
    joined,
    order,
    ordered,
    place,
    row,
    rows,
    target,
    to,
    what,
    where,
    who,
)
from reconciler.exposure.state import ways
from reconciler.exposure.touched import touched


class Verb(enum.StrEnum):
    """What became of a way in. The loudest first."""

    OPENED = "opened"
    WIDENED = "widened"
    MOVED = "moved"
    NARROWED = "narrowed"
    CLOSED = "closed"


_VERBS = {verb: place for place, verb in enumerate(Verb)}

GROWING = frozenset({Verb.OPENED, Verb.WIDENED})
"""Something can be reached that could not be, or from where it could not be."""


@dataclass(frozen=True, slots=True)
class Change:
    """What can be reached now and could not be before (opened, widened), or the other way round (closed, narrowed), or leads elsewhere
    (moved). `reach` is just that: points of before and after that stay the same are in no Change, and no point is in two.

    Widened and narrowed: the same ports lead to the same end for others as well, before and after: `beside`, by address. An `address`
    of None is every address on which the port is published by itself neither before nor after.
    """

    verb: Verb
    reach: Reach
    was: Reach | None = None
    """Of what moved: as it was before."""
    beside: tuple[tuple[str | None, frozenset[str]], ...] = ()

    @property
    def position(self) -> str:
        """`FILE:LINE:COLUMN` of what is there afterwards; of what is gone the old one, or "" where no file is at hand."""
        return self.reach.position

    def __str__(self) -> str:
        """One line for people, `VERB: WHAT`."""
        reach, was = self.reach, self.was
        if was is not None:
            if reach.direct:
                now = f"{what(reach)} on {reach.address} ({reach.container or reach.bridge}, was {was.container or was.bridge})"
            else:
                # The same name says nothing of what moved.
                named = target(reach) != target(was)
                then = target(was) if named else f"{was.bridge}, {was.target}"
                now = f"{what(reach)} on {place(reach)}{to(reach)} (was {then})"
            return f"{self.verb}: {now}, {who(reach.sources)}"
        if not self.beside:
            return f"{self.verb}: {reach}"
        change, rest = ("now also", "so far") if self.verb is Verb.WIDENED else ("no longer", "still")
        if all(address == reach.address for address, _ in self.beside):
            others = " and ".join(who(sources) for _, sources in self.beside)
            return f"{self.verb}: {what(reach)} on {place(reach)}{to(reach)}, {change} {who(reach.sources)} ({rest} {others})"
        others = "; ".join(f"on {where(reach.version, address)}, {who(sources)}" for address, sources in self.beside)
        return (
            f"{self.verb}: {what(reach)}{to(reach)}, {change} on {place(reach)}, {who(reach.sources)} ({rest} {others})"
        )

    def json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "verb": self.verb.value,
            "text": str(self),
            **self.reach.json(),
            "was": self.was.json() if self.was else None,
            "beside": [{"address": address, "sources": list(ordered(sources))} for address, sources in self.beside],
        }


def of_plan(plan: Plan, found: State, desired: State) -> tuple[Change, ...]:
    """What carrying out `plan` changes. It was made of `found` and `desired`; what it leaves undone (what waits, what is foreign) is as
    it was."""
    if not plan.steps:
        return ()
    before = touched(plan.steps, found, desired.origins, plan.owner)
    after = dict(before)
    for step in plan.steps:
        if step.after is None:
            after.pop(step.key, None)
        else:
            after[step.key] = step.after
    old, new = (ways(State(resources, desired.origins), plan.owner) for resources in (before, after))
    return difference(old, new)


def difference(before: Iterable[Reach], after: Iterable[Reach]) -> tuple[Change, ...]:
    """What makes the points of `before` those of `after`. Only points count: that a range was split, or two were merged, is no change."""
    # Addresses of the host depend on each other, since a port can be published on all of them.
    sides: defaultdict[tuple[int, str, str | None], tuple[list[Reach], list[Reach]]] = defaultdict(lambda: ([], []))
    for side, reaches in enumerate((before, after)):
        for item in reaches:
            address = item.address if item.address == item.target else None
            sides[item.version, item.protocol, address][side].append(item)
    pieces = (change for old, new in sides.values() if old != new for change in _compare(old, new))
    return tuple(sorted(_merged(pieces), key=_loudness))


def _compare(before: Sequence[Reach], after: Sequence[Reach]) -> Iterator[Change]:
    """The changes of what is alike in version, protocol and (of containers' own) address."""
    for old, new in _overlapping(before, after):
        if len(old) + len(new) == 1:
            # Alone there: nobody keeps anything, and nothing is in between.
            yield Change(Verb.OPENED, new[0]) if new else Change(Verb.CLOSED, old[0])
        elif old != new:
            yield from _compare_overlapping(old, new)


def _overlapping(before: Sequence[Reach], after: Sequence[Reach]) -> Iterator[tuple[list[Reach], list[Reach]]]:
    """Both sides in parts that have no port in common."""
    items = [(item.ports, side, item) for side, reaches in enumerate((before, after)) for item in reaches]
    items.sort(key=itemgetter(0))
    part: tuple[list[Reach], list[Reach]] = ([], [])
    end = -1
    for (first, last), side, item in items:
        if first > end and end >= 0:
            yield part
            part = ([], [])
        part[side].append(item)
        end = max(end, last)
    yield part


def _compare_overlapping(before: Sequence[Reach], after: Sequence[Reach]) -> Iterator[Change]:
    """The changes for each stretch of ports in which nothing begins or ends."""
    bounds = sorted({bound for item in (*before, *after) for bound in (item.ports[0], item.ports[1] + 1)})
    stretches: list[tuple[list[Reach], list[Reach]]] = [([], []) for _ in bounds]
    for side, reaches in enumerate((before, after)):
        for item in reaches:
            for number in range(bisect_left(bounds, item.ports[0]), bisect_left(bounds, item.ports[1] + 1)):
                stretches[number][side].append(item)
    for first, end, (old, new) in zip(bounds, bounds[1:], stretches, strict=False):
        if old != new:
            named = {item.address for item in (*old, *new)}
            yield from _compare_stretch(_points(old, named), _points(new, named), (first, end - 1))


_Points: TypeAlias = dict[tuple[str | None, str], Reach]
"""By address and source, of one stretch of ports."""


def _points(reaches: Iterable[Reach], named: Iterable[str | None]) -> _Points:
    """What is reached; what is on every address also at those `named` on which there is nothing else."""
    points = {}
    for item in sorted(reaches, key=lambda item: (item.address is not None, order(item))):
        for address in named if item.address is None else (item.address,):
            for source in item.sources if item.address or not address else _of_every_address(item.sources, address):
                points[address, source] = item
    return points


def _of_every_address(sources: frozenset[str], address: str) -> frozenset[str]:
    """Who of `sources` reaches at `address` what is published on every address."""
    if address in NEVER:
        return frozenset()
    return sources & {THIS_HOST} if ip_address(address).is_loopback else sources


def _compare_stretch(before: _Points, after: _Points, ports: tuple[int, int]) -> Iterator[Change]:
    sources: defaultdict[tuple[str | None, End | None, End | None], set[str]] = defaultdict(set)
    for address, source in {*before, *after}:
        was, now = before.get((address, source)), after.get((address, source))
        sources[address, was.end if was else None, now.end if now else None].add(source)
    kept: defaultdict[End | None, list[tuple[str | None, frozenset[str]]]] = defaultdict(list)
    for (address, old, new), askers in sources.items():
        if old == new:
            kept[new].append((address, frozenset(askers)))
    for (address, old, new), askers in sources.items():
        if old == new:
            continue
        point = address, min(askers)
        was, now = (
            item.part(*ports, address=address, sources=frozenset(askers)) if item else None
            for item in (before.get(point), after.get(point))
        )
        if was and now:
            yield Change(Verb.MOVED, now, was)
            continue
        beside = tuple(sorted(kept[new or old], key=lambda item: item[0] or ""))
        if now:
            yield Change(Verb.WIDENED if beside else Verb.OPENED, now, beside=beside)
        elif was and beside:
            stays = after[beside[0][0], min(beside[0][1])]
            yield Change(Verb.NARROWED, replace(was, position=stays.position), beside=beside)
        elif was:
            yield Change(Verb.CLOSED, was)


def _merged(changes: Iterable[Change]) -> Iterator[Change]:
    """`changes` with those made one that differ by nothing but ports which touch."""
    for alike in rows(changes, lambda item: item.reach, _row):
        if len(alike) == 1:
            yield alike[0]
            continue
        alike.sort(key=lambda item: item.reach.ports)
        for ports, item in joined((item.reach.ports, item) for item in alike):
            if item.reach.ports == ports:
                yield item
            else:
                yield replace(item, reach=item.reach.part(*ports), was=item.was.part(*ports) if item.was else None)


def _row(change: Change) -> tuple[object, ...]:
    """All of it but the ports."""
    return change.verb, row(change.reach), change.was.end if change.was else None, change.beside


def _loudness(change: Change) -> tuple[object, ...]:
    """Ports before what is between neighbours only, and among them by what happened."""
    return change.reach.protocol in WHOLE, _VERBS[change.verb], order(change.reach)
