"""What is known of the kernel, kept true place by place, and what is to be done at some places.

A heal must not take longer the more containers there are, so nothing here goes through all of them but the making of a Mirror. The
planner gets two small States: all that is wanted or found at these places, and what that rests on. It is the same planner, and what
it sees of these things is the same; only what is elsewhere is left out.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from reconciler.core.messages import HOST, Scope
from reconciler.core.plan import Action, Plan
from reconciler.core.planner import Policy
from reconciler.core.planner import plan as make_plan
from reconciler.core.resource import Key, Resource, State
from reconciler.kinds import Element, Sysctl, Veth
from reconciler.kinds import places as at
from reconciler.kinds.places import Place


class Mirror:
    """`desired` and `found`, as they were at a full look, by places. `found` is kept true by `refresh`."""

    def __init__(self, desired: State, found: State, owner: str, policy: Policy = Policy()) -> None:
        self.desired = desired
        self.owner = owner
        self.policy = policy
        self._lock = threading.Lock()
        self._found: dict[Key, Resource] = dict(found.resources)
        self._unknown = set(found.unknown)
        self._found_at: defaultdict[Place, set[Key]] = defaultdict(set)
        self._far: defaultdict[Place, set[Place]] = defaultdict(set)
        for key, item in found.resources.items():
            self._found_at[at.place(item)].add(key)
            self._pair(item)
        self._order = {key: position for position, key in enumerate(desired.resources)}
        self._desired_at: defaultdict[Place, set[Key]] = defaultdict(set)
        self._resting: defaultdict[Key, set[Key]] = defaultdict(set)
        for item in desired.resources.values():
            self._expect(item)

    @property
    def found(self) -> State:
        """All that is known to be there. From any thread."""
        with self._lock:
            return State(dict(self._found), unknown=frozenset(self._unknown))

    @property
    def managed(self) -> int:
        """How many things of the owner's are known to be there."""
        return sum(item.owner == self.owner and item.removable for item in self._found.values())

    def _expect(self, item: Resource) -> None:
        self._desired_at[at.place(item)].add(item.key)
        for outer in (*item.inside(), *item.needs()):
            self._resting[outer].add(item.key)
        self._pair(item)

    def _expect_no_more(self, item: Resource) -> None:
        where = at.place(item)
        self._desired_at[where].discard(item.key)
        if not self._desired_at[where]:
            del self._desired_at[where]
        for outer in (*item.inside(), *item.needs()):
            self._resting[outer].discard(item.key)

    def unlike(self, desired: State) -> frozenset[Place]:
        """The places at which `desired` is another wish than the one that is known."""
        return frozenset(at.place(item) for item in _unlike(self.desired.resources, desired.resources))

    def want(self, desired: State) -> None:
        """From now on, `desired` is what is wanted."""
        changed = tuple(_unlike(self.desired.resources, desired.resources))
        for item in changed:
            if self.desired.resources.get(item.key) is item:
                self._expect_no_more(item)
        for item in changed:
            if desired.resources.get(item.key) is item:
                self._expect(item)
        self._order = {key: position for position, key in enumerate(desired.resources)}
        self.desired = desired

    def _pair(self, item: Resource) -> None:
        """The two ends of a veth are looked at together: what the one is called, only the other's namespace tells."""
        if isinstance(item, Veth) and item.peer is not None:
            namespace, name = item.peer
            near, far = at.link(item.name), at.link(name) if namespace == HOST else at.netns(namespace)
            self._far[near].add(far)
            self._far[far].add(near)

    def places(self) -> frozenset[Place]:
        """All where anything is wanted or found."""
        return frozenset(self._desired_at) | frozenset(self._found_at)

    def concerns(self, place: Place) -> bool:
        """Whether there is anything wanted, or anything of ours, at `place`."""
        # What is told of elements is of our own tables, in which everything is ours.
        if place in self._desired_at or place.sort in ("element", "table"):
            return True
        return any(self._found[key].owner == self.owner for key in self._found_at.get(place, ()))

    def around(self, places: Iterable[Place]) -> frozenset[Place]:
        """`places`, and the other ends of the veth pairs there: a container on several bridges with all its links."""
        found: set[Place] = set()
        todo = list(places)
        while todo:
            place = todo.pop()
            if place not in found:
                found.add(place)
                todo += self._far.get(place, ())
        return frozenset(found)

    def scope(self, places: Iterable[Place]) -> Scope:
        """What has to be looked at for that. Raises ValueError if that is only to be had by a full look."""
        wanted = set(places)
        sysctls = {
            (item.namespace, item.name)
            for place in wanted
            for key in self._desired_at.get(place, ())
            if isinstance(item := self.desired.resources[key], Sysctl)
        }
        return Scope(sysctls=frozenset(sysctls), part=at.part(wanted))

    def refresh(self, places: Iterable[Place], seen: State) -> None:
        """Takes over what is there at `places`; of what else was `seen` nothing."""
        wanted = frozenset(places)
        names = {place.name for place in wanted if place.sort == "netns"}
        self._unknown = (self._unknown - names) | (seen.unknown & names)
        with self._lock:
            for place in wanted:
                for key in self._found_at.pop(place, ()):
                    del self._found[key]
            for key, item in seen.resources.items():
                where = at.place(item)
                if where in wanted:
                    self._found[key] = item
                    self._found_at[where].add(key)
                    self._pair(item)

    def plan(self, places: Iterable[Place]) -> Plan:
        """What is to be done at `places`."""
        keys = self.keys(places)
        wanted = sorted((key for key in keys if key in self._order), key=self._order.__getitem__)
        desired = State(
            {key: self.desired.resources[key] for key in wanted},
            {key: self.desired.origins[key] for key in wanted if key in self.desired.origins},
        )
        there = {key: self._found[key] for key in keys if key in self._found}
        found = State(there, unknown=frozenset(self._unknown))
        return make_plan(desired, found, self.owner, self.policy)

    def at(self, places: Iterable[Place]) -> set[Key]:
        """All that is wanted or found at `places`, and what waits for that (a port for its container)."""
        keys: set[Key] = set()
        for place in places:
            keys |= self._desired_at.get(place, set())
            keys |= self._found_at.get(place, set())
        for key in tuple(keys):
            keys |= {
                other for other in self._resting.get(key, ()) if isinstance(self.desired.resources[other], Element)
            }
        return keys

    def keys(self, places: Iterable[Place]) -> set[Key]:
        """The same, and what all of it rests on."""
        keys = self.at(places)
        todo = list(keys)
        while todo:
            item = self.desired.resources.get(todo.pop())
            for outer in (*item.inside(), *item.needs()) if item is not None else ():
                if outer not in keys:
                    keys.add(outer)
                    todo.append(outer)
        return keys

    def touched(self, plan: Plan) -> frozenset[Place]:
        """The places that `plan` changes something at."""
        return self.around(at.place(step.subject) for step in plan.steps)


def _unlike(one: Mapping[Key, Resource], other: Mapping[Key, Resource]) -> Iterator[Resource]:
    """What is in only one of the two, and of what is in both and not the same, both."""
    for key, item in one.items():
        counterpart = other.get(key)
        if counterpart is None:
            yield item
        # Most are the very same, and then no field needs to be compared.
        elif counterpart is not item and (counterpart != item or counterpart.needs() != item.needs()):
            yield item
            yield counterpart
    yield from (item for key, item in other.items() if key not in one)


def is_small(plan: Plan) -> bool:
    """Whether a plan for some places is also what a plan for everything would say of them.

    What takes other things along when it goes, and what stands in the way, is a matter for a full look.
    """
    if plan.conflicts:
        return False
    return not any(
        step.action is Action.DELETE
        and not step.implied
        and step.key.space in ("link", "netns", "nft table", "nft set")
        for step in plan.steps
    )


def described(plan: Plan) -> dict[Key, str]:
    """What `plan` does, in words, with what others hang on first; not what comes by itself."""
    steps = sorted(plan.steps, key=lambda step: step.subject.rank)
    return {step.key: f"{step.action} {step.subject.label}" for step in steps if not step.implied}
