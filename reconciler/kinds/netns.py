"""Network namespaces: those named under /run/netns, and those of a process (`pid:71`), which only others can make.

The mark of one that we made is the alias of its `lo`: the one link that is there from the start and cannot be moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from reconciler.core.messages import HOST, CreateNamespace, DeleteNamespace, Request, Snapshot
from reconciler.core.resource import Key, Resource
from reconciler.kinds.links import netns_key, set_link
from reconciler.kinds.marks import alias, owner_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Netns(Resource):
    """A network namespace. One made by others is used as it is (`shared`), and stays when we go."""

    name: str
    loopback: bool | None = None
    """Whether its `lo` is up."""

    rank: ClassVar[int] = 0
    shared: ClassVar[bool] = True

    def _key(self) -> Key:
        return netns_key(self.name)

    @property
    def label(self) -> str:
        return f"network namespace {self.name}"

    def create(self) -> Iterator[Request]:
        assert self.owner is not None
        yield CreateNamespace(self.name, alias(self.owner))

    def update(self, found: Self) -> Iterator[Request]:
        if found.owner == self.owner:
            yield from set_link(self.name, "lo", up=self.loopback)

    def delete(self) -> Iterator[Request]:
        yield DeleteNamespace(self.name)

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Netns]:
        for name, record in snapshot.namespaces.items():
            if name != HOST:
                loopback = next((link for link in record.links if link.name == "lo"), None)
                owner = owner_of(loopback.alias) if loopback else None
                # The state of a foreign one's lo is not ours to compare: found as wanted.
                up = loopback.up if owner and loopback else True
                yield cls(owner=owner, name=name, loopback=up)
