"""plan(desired, found) → Plan. Pure: no I/O, no clock, no knowledge of any kind.

The rules, in the order in which they are applied:

1. What is wanted but rests on something that is neither wanted nor there *waits* (`Pending`), with all that rests on it. It is then as if
   it were not wanted: ports of a container that is away are closed.
2. What is wanted and there but carries no mark of ours is a *conflict*, unless a foreign one will do (`shared`) or we adopt.
3. What is wanted and not there is created; where a field differs, updated; where a fixed field differs, replaced.
4. What carries our mark and is not wanted is deleted.
5. What the kernel takes along with something deleted is gone too: if wanted, it is made anew.
6. What rests on something of which is not known whether it is there (`State.unknown`) waits too, but what is there of it stays, as long
   as all else that it rests on does: nobody is cut off because somebody else does not answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from reconciler.core.plan import Conflict, Pending, Plan, Step, arrange
from reconciler.core.resource import UNKNOWN, Difference, Key, Origin, Resource, State, differences

Resources = Mapping[Key, Resource]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the planner may do besides its plain duty: take over foreign things, remove foreign ones from our links. And what it calls the
    reason for which something goes that is not wanted."""

    adopt: bool = False
    prune_foreign: bool = False
    unwanted: str = "not in the file"


def plan(desired: State, found: State, owner: str, policy: Policy = Policy(), basis: str = "live") -> Plan:
    """What has to be done so that `found` becomes `desired`, for all that belongs to `owner`."""
    pending = _pending(desired, found, owner)
    waiting = {item.resource.key for item in pending}
    wanted = _without(desired.resources, waiting)
    there = found.resources
    # Nearly all is there, and ours: that is told without asking more.
    unsure = (key for key, item in wanted.items() if key in there and there[key].owner != item.owner)
    strangers = {key for key in unsure if _is_foreign(wanted[key], there[key])}
    conflicts = (
        ()
        if policy.adopt
        else tuple(
            Conflict(wanted[key], there[key], desired.origins.get(key, Origin())) for key in wanted if key in strangers
        )
    )
    if conflicts:
        # Nothing is done before they are settled: what the plan tells is what would be done besides.
        wanted = _without(wanted, strangers)
    kept = _kept(desired, found, waiting)
    managed = found.owned_by(owner)
    unwanted = {item.key for item in managed if item.key not in wanted and item.key not in kept}
    foreign = _foreign_on_ours(wanted, there, owner)
    if policy.prune_foreign:
        unwanted |= {item.key for item in foreign if item.prunable}
        foreign = tuple(item for item in foreign if not item.prunable)
    unlike = _unlike(wanted, there)
    replaced = {
        wanted[key].inside()[0] if wanted[key].replaces_outer else key
        for key, changes in unlike.items()
        if type(wanted[key]) is not type(there[key]) or any(item.field in wanted[key].fixed for item in changes)
    }
    gone = _with_contents(unwanted | replaced, there)
    steps = [
        *_deletions(gone, wanted, there, unwanted, replaced, waiting, policy.unwanted),
        *_writings(wanted, there, unlike, gone, desired.origins),
    ]
    return Plan(
        owner=owner,
        steps=arrange(steps),
        basis=basis,
        conflicts=conflicts,
        pending=pending,
        foreign=foreign,
        notes=(*desired.notes, *found.notes),
        managed=len(managed),
    )


def _without(resources: Resources, keys: Set[Key]) -> Resources:
    """`resources` less those of `keys`."""
    return {key: item for key, item in resources.items() if key not in keys} if keys else resources


def _pending(desired: State, found: State, owner: str) -> tuple[Pending, ...]:
    """What has to wait, each with the thing at the root of it. What is ours and not wanted is as good as gone."""
    missing: dict[Key, Key | None] = {}

    def lacks(key: Key) -> Key | None:
        if key not in missing:
            missing[key] = None  # a circle, were there one, would not be what a thing waits for
            resource = desired.resources.get(key)
            if resource is None:
                item = found.resources.get(key)
                missing[key] = key if item is None or _goes(item, owner) else None
            else:
                for need in (*resource.inside(), *resource.needs()):
                    root = missing[need] if need in missing else lacks(need)
                    if root is not None:
                        missing[key] = root
                        break
        return missing[key]

    result = []
    for key, resource in desired.resources.items():
        root = missing[key] if key in missing else lacks(key)
        if root is not None:
            result.append(Pending(resource, root, desired.origins.get(key, Origin())))
    return tuple(result)


def _kept(desired: State, found: State, waiting: set[Key]) -> set[Key]:
    """What of `waiting` stays as it is: all that it rests on is there, or hidden in a namespace of which nothing is known."""
    if not found.unknown:
        return set()
    known: dict[Key, bool] = {}

    def stands(key: Key) -> bool:
        if key not in known:
            known[key] = False
            resource = desired.resources.get(key)
            hidden = (key.name if key.space == "netns" else key.namespace) in found.unknown
            rests_on = () if resource is None else (*resource.inside(), *resource.needs())
            known[key] = (hidden or key in found.resources) and all(map(stands, rests_on))
        return known[key]

    return {key for key in waiting if key in found.resources and stands(key)}


def _goes(found: Resource, owner: str) -> bool:
    """Whether it goes if it is not wanted."""
    return found.owner == owner and found.removable


def _is_foreign(wanted: Resource, found: Resource) -> bool:
    if wanted.owner is None or wanted.shared:
        return False
    return found.owner not in (wanted.owner, UNKNOWN)


def _unlike(wanted: Resources, there: Resources) -> dict[Key, tuple[Difference, ...]]:
    """What is there, and not as it is wanted; without differences where it is of another type."""
    result = {}
    for key, item in wanted.items():
        found = there.get(key)
        if found is not None:
            alike = type(item) is type(found)
            changes = differences(item, found) if alike else ()
            if changes or not alike:
                result[key] = changes
    return result


def _foreign_on_ours(wanted: Resources, there: Resources, owner: str) -> tuple[Resource, ...]:
    """What hangs on things of ours without carrying our mark."""

    def ours(key: Key) -> bool:
        return key in there and there[key].owner == owner

    return tuple(
        item
        for key, item in there.items()
        if key not in wanted and item.owner != owner and item.removable and any(map(ours, item.inside()))
    )


def _with_contents(going: set[Key], there: Resources) -> set[Key]:
    """`going` and all found things that are, at any depth, inside of them and that the kernel takes along."""
    contents: defaultdict[Key, list[Key]] = defaultdict(list)
    if going:
        for key, item in there.items():
            if item.cascades:
                for outer in item.inside():
                    contents[outer].append(key)
    result: set[Key] = set()
    todo = list(going)
    while todo:
        key = todo.pop()
        if key not in result:
            result.add(key)
            todo += contents[key]
    return result


def _deletions(
    gone: set[Key],
    wanted: Resources,
    there: Resources,
    unwanted: set[Key],
    replaced: set[Key],
    waiting: set[Key],
    why_unwanted: str,
) -> Iterable[Step]:
    for key, item in there.items() if gone else ():
        if key not in gone:
            continue
        if key in waiting:
            reason = "what it needs is not there"
        elif key in unwanted:
            reason = why_unwanted if item.owner else "foreign, pruned"
        elif key in replaced and key in wanted:
            reason = f"replaced: {_why_replaced(wanted[key], item)}"
        else:
            reason = "goes with what it is inside of"
        yield Step(item, None, reason=reason)


def _why_replaced(wanted: Resource, found: Resource) -> str:
    if type(wanted) is not type(found):
        return f"{found.label} is not a {type(wanted).__name__.lower()}"
    names = [item.field for item in differences(wanted, found) if item.field in wanted.fixed]
    return f"{', '.join(names) or 'something inside'} cannot be changed in place"


def _writings(
    wanted: Resources,
    there: Resources,
    unlike: Mapping[Key, tuple[Difference, ...]],
    gone: set[Key],
    origins: Mapping[Key, Origin],
) -> Iterable[Step]:
    nowhere = Origin()
    for key, item in wanted.items():
        if key in there and key not in gone and key not in unlike:
            continue
        origin = origins.get(key, nowhere)
        found = None if key in gone else there.get(key)
        if found is None:
            yield Step(None, item, reason="made anew" if key in gone else "missing", origin=origin)
        elif changes := unlike[key]:
            adopted = any(change.field == "owner" for change in changes)
            yield Step(found, item, changes, "adopted" if adopted else "differs", origin)
