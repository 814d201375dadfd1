"""Kernel settings below net. They are written where a file asks for them, and never taken back: who else relies on them, nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from reconciler.core.messages import HOST, Request, Snapshot, WriteSysctl
from reconciler.core.resource import Key, Resource
from reconciler.kinds.links import link_key, netns_key


def route_localnet(link: str) -> str:
    """The setting of a bridge that lets 127.0.0.1, translated, out to a container, and the answer back in."""
    return f"net.ipv4.conf.{link.replace('.', '/')}.route_localnet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl(Resource):
    """One setting, dotted as in sysctl(8): a dot inside an interface's name is a slash."""

    namespace: str
    name: str
    value: str

    rank: ClassVar[int] = 50
    removable: ClassVar[bool] = False

    def _key(self) -> Key:
        return Key("sysctl", self.namespace, self.name)

    @property
    def label(self) -> str:
        return f"sysctl {self.name}"

    def inside(self) -> tuple[Key, ...]:
        parts = self.name.split(".")
        own_link = len(parts) == 5 and parts[2] in ("conf", "neigh") and parts[3] not in ("all", "default", "lo")
        if own_link:
            return (link_key(self.namespace, parts[3].replace("/", ".")),)
        return () if self.namespace == HOST else (netns_key(self.namespace),)

    def create(self) -> Iterator[Request]:
        yield WriteSysctl(self.namespace, self.name, self.value)

    def update(self, found: Self) -> Iterator[Request]:
        yield WriteSysctl(self.namespace, self.name, self.value)

    def delete(self) -> Iterator[Request]:
        return iter(())

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Sysctl]:
        for namespace, record in snapshot.namespaces.items():
            for name, value in record.sysctls.items():
                # Those of several numbers come back with tabs between them (proc_dointvec).
                yield cls(namespace=namespace, name=name, value=" ".join(value.split()))
