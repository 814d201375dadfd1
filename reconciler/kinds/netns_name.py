"""What a run that was killed leaves of a network namespace: its name, a file under /run/netns with nothing mounted on it.

A name is a file and a mount, and no system call makes or removes both. So the file holds our mark before anything is mounted over
it, and whatever moment a run ends in, the next one knows the file again (reconciler.kernel.namespaces).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reconciler.core.messages import HOST, DeleteNamespace, Request, Snapshot
from reconciler.core.resource import Key, Resource
from reconciler.kinds.marks import owner_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NetnsName(Resource):
    """The name of a network namespace that is no more. Never wanted: it is found, and removed."""

    name: str

    rank: ClassVar[int] = 0

    def _key(self) -> Key:
        return Key("netns name", HOST, self.name)

    @property
    def label(self) -> str:
        return f"leftover name of the network namespace {self.name}"

    def create(self) -> Iterator[Request]:
        return iter(())

    def delete(self) -> Iterator[Request]:
        yield DeleteNamespace(self.name)

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[NetnsName]:
        for name, mark in snapshot.leftovers.items():
            yield cls(owner=owner_of(mark), name=name)
