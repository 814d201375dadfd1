"""Links of the host of every other kind: physical ones, VLANs, tunnels. They are never made or removed by us.

An uplink is set up with its bridge (reconciler.kinds.bridge_port); that it was down before is known here, for an undo.
Besides, they are decoded so that an uplink can be found, and so that a name we want to give is seen to be taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from reconciler.core.messages import HOST, Request, Snapshot
from reconciler.core.resource import Key, Resource
from reconciler.kinds.links import delete_link, link_key, links, set_link

_OWN_KINDS = frozenset({"bridge", "veth"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLink(Resource):
    """A link that has a kind of its own. It is always foreign, whatever its alias says."""

    name: str
    kind: str = ""
    up: bool | None = None

    rank: ClassVar[int] = 22
    fixed: ClassVar[frozenset[str]] = frozenset({"kind"})

    def _key(self) -> Key:
        return link_key(HOST, self.name)

    @property
    def label(self) -> str:
        return f"{self.kind or 'link'} {self.name}"

    def create(self) -> Iterator[Request]:
        return iter(())

    def update(self, found: Self) -> Iterator[Request]:
        return set_link(HOST, self.name, up=self.up)

    def delete(self) -> Iterator[Request]:
        # Reached only where --adopt puts one of ours in its place.
        return delete_link(HOST, self.name)

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[HostLink]:
        for _, link in links(snapshot, host=True):
            if link.kind not in _OWN_KINDS and not link.tap:
                yield cls(name=link.name, kind=link.kind, up=link.up)
