"""What the planner compares: a Key, a Resource, and a State made of them.

A Resource is one thing in the kernel, as a frozen value. *Desired and found are the same type*: lowering the file and decoding the
kernel both end in the same canonical form, so that one comparison, written once (`differences`), serves every kind.

A kind is a subclass, in a file of its own under reconciler.kinds. It says

- what makes it the same thing across states: `_key()`;
- what must exist before it and takes it along when it goes: `inside()`;
- how a change of it is spelled for the kernel: `create`, `update`, `delete`, which yield Requests and perform nothing;
- how it is read out of a Snapshot: `decode`.

In a desired value, None means "not managed": the field is neither compared nor written.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, Self

from reconciler.core.messages import Request, Snapshot

UNKNOWN = "?"
"""The owner of something that this kernel cannot mark (addresses before 5.18). It may be ours: if wanted, it is taken for ours, if not, it
is left alone."""


class Key(NamedTuple):
    """What makes a thing the same thing across states. Links of all kinds share the space `link`: the kernel gives a name once."""

    space: str
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.space} {self.name}{where}"


class Stage(enum.IntEnum):
    """When, within a plan, a change comes. A port opens last and closes first; guards stand before what they guard."""

    WITHDRAW = 0
    GUARD = 1
    CLEAR = 2
    BUILD = 3
    TIDY = 4
    EXPOSE = 5
    DISARM = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One thing in the kernel. See the module's text for what a kind has to say."""

    owner: str | None = None
    """Whose mark it carries; None in a found value: nobody's, so it is foreign."""
    key: Key = field(init=False, repr=False, compare=False)
    """What makes this the same thing across states. Spelled once, at birth: it is asked for a dozen times, by every stage of planning."""

    rank: ClassVar[int]
    """The place of this kind in the order of creation: what others are inside of has the lower one."""
    fixed: ClassVar[frozenset[str]] = frozenset()
    """Fields the kernel cannot change in place: a difference means delete and create."""
    replaces_outer: ClassVar[bool] = False
    """What cannot be changed in place is what this is inside of, so that is what gets replaced."""
    disruptive: ClassVar[frozenset[str]] = frozenset()
    """Fields whose change interrupts traffic, besides the fixed ones."""
    shared: ClassVar[bool] = False
    """A foreign one is as good as ours: it is used as it is and never changed."""
    removable: ClassVar[bool] = True
    """False: a setting, which is there or not by itself. It is written, and never taken away."""
    prunable: ClassVar[bool] = False
    """`--prune=foreign` may remove a foreign one from a link of ours."""
    cascades: ClassVar[bool] = True
    """The kernel removes it along with what it is inside of."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self._key())

    def _key(self) -> Key:
        raise NotImplementedError

    @property
    def label(self) -> str:
        """How a person calls it, such as `bridge br-web`."""
        return str(self.key)

    def inside(self) -> tuple[Key, ...]:
        """What must exist before this and takes it along when it goes."""
        return ()

    def needs(self) -> tuple[Key, ...]:
        """What else must be there for this to make sense; while it is not, this waits (a port whose container is not there yet)."""
        return ()

    def follows(self) -> Key | None:
        """What this is created right behind, rather than with its kind, if that is created too."""
        return None

    def create(self) -> Iterator[Request]:
        """The requests that make this where nothing is."""
        raise NotImplementedError

    def update(self, found: Self) -> Iterator[Request]:
        """The requests that turn `found`, of the same key and with equal fixed fields, into this."""
        raise NotImplementedError

    def delete(self) -> Iterator[Request]:
        """The requests that remove this."""
        raise NotImplementedError

    def crowd(self) -> Key | None:
        """Where this takes up room that another may need (an interval in a set): there, what goes goes before others come."""
        return None

    def withdrawn(self) -> bool:
        """Deleted by a request of its own, early, also where the kernel would take it along later."""
        return False

    def create_stage(self) -> Stage:
        """When to create or update this."""
        return Stage.BUILD

    def delete_stage(self) -> Stage:
        """When to delete this."""
        return Stage.CLEAR

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Resource]:
        """Every one of this kind in `snapshot`, whoever made it."""
        raise NotImplementedError


class Difference(NamedTuple):
    """One field that is not as it should be. The names are `before` and `after` of the change that would mend it."""

    field: str
    before: Any
    after: Any


_COMPARED: dict[type[Resource], tuple[str, ...]] = {}


def compared_fields(kind: type[Resource]) -> tuple[str, ...]:
    """The fields of `kind` that take part in comparison, that is, all not declared with compare=False."""
    if kind not in _COMPARED:
        _COMPARED[kind] = tuple(item.name for item in fields(kind) if item.compare)
    return _COMPARED[kind]


def differences(desired: Resource, found: Resource) -> tuple[Difference, ...]:
    """Where `found` is not what `desired` says. Both have the same key and the same type.

    Compared is only what is managed (not None), and not the owner where a foreign one will do or cannot be known.
    """
    if desired == found:  # as nearly everything is, nearly always
        return ()
    result = []
    for name in compared_fields(type(desired)):
        after, before = getattr(desired, name), getattr(found, name)
        if after is None or after == before:
            continue
        if name == "owner" and (desired.shared or before == UNKNOWN):
            continue
        result.append(Difference(name, before, after))
    return tuple(result)


class Origin(NamedTuple):
    """Where in the file a resource comes from: `FILE:LINE:COL` (empty if it has no line of its own), and for whom it is."""

    position: str = ""
    bridge: str = ""
    container: str = ""


class Level(enum.StrEnum):
    """How much a Note matters."""

    INFO = "note"
    WARNING = "warning"


class Note(NamedTuple):
    """Something that a reader of the plan should know, which is no change."""

    level: Level
    text: str
    position: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """A set of resources, desired or found, in the order in which they were named or seen."""

    resources: Mapping[Key, Resource] = field(default_factory=dict)
    origins: Mapping[Key, Origin] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    position: str = field(default="", compare=False)
    """Where in the file the whole of it is asked for, `FILE:LINE:COL`: there to point at for what is in the file no more."""
    unknown: frozenset[str] = frozenset()
    """Of a found state: namespaces of which could not be found out whether they are there."""

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> State:
        """The state of just these `resources`; the first of a key counts."""
        found: dict[Key, Resource] = {}
        for resource in resources:
            found.setdefault(resource.key, resource)
        return cls(found)

    def owned_by(self, owner: str) -> tuple[Resource, ...]:
        """Those that carry the mark of `owner` and could be taken away."""
        return tuple(item for item in self.resources.values() if item.owner == owner and item.removable)
