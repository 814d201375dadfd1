"""Where a thing belongs, for people: to a bridge, and on it to a container.

What the file asks for says so itself (Origin). What is only found has to be placed by what it touches: an
address by its namespace and link, a veth by the bridge its port is of, a published port by the comment of its
element. And where in a file.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from reconciler.core.messages import HOST
from reconciler.core.plan import Plan
from reconciler.core.resource import Key, Origin, Resource, State
from reconciler.kinds.address import Address
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.links import link_key
from reconciler.kinds.netns import Netns
from reconciler.kinds.nftables import Element
from reconciler.kinds.peer import Peer
from reconciler.kinds.route import Route
from reconciler.kinds.sysctl import Sysctl
from reconciler.kinds.tap import Tap
from reconciler.kinds.veth import Veth
from reconciler.render.ports import Published

_COMMENT_LIMIT = 100
"""Bytes of `BRIDGE/CONTAINER` that the comment of an element keeps."""

End = tuple[str, str]
"""(namespace, link): a container's interface."""


class Place(NamedTuple):
    """A bridge, a container on it, or (both empty) the host."""

    bridge: str = ""
    container: str = ""


_HOST = Place()


class Places:
    """Tells the Place of a resource, from all the resources there are to go by."""

    def __init__(self, known: Iterable[tuple[Resource, Origin]]) -> None:
        self._unread = iter(known)
        """Not read before something is asked that no Origin says: to learn from all that there is takes longer than to plan."""
        self._bridges: set[str] = set()
        self._said: dict[Key, Place] = {}
        self._bridge_of_port: dict[str, str] = {}
        self._end_of_veth: dict[str, End] = {}
        self._veth_of_end: dict[End, str] = {}
        self._by_namespace: dict[str, Place] = {}
        self._bridge_of_container: dict[str, str] = {}

    @classmethod
    def of_plan(cls, plan: Plan, states: Iterable[State] = ()) -> Places:
        """From `plan`, and from the `states` it was made of where they are at hand, the wish first."""
        return cls(itertools.chain(_of_plan(plan), _of_states(states)))

    @classmethod
    def of_states(cls, *states: State) -> Places:
        """From `states`, the wish first."""
        return cls(_of_states(states))

    def place(self, resource: Resource, origin: Origin = Origin()) -> Place:
        """Where `resource` belongs: as `origin` says, else by what it touches."""
        if origin.bridge or origin.container:
            return Place(origin.bridge, origin.container)
        self._read()
        return self._said.get(resource.key) or self._derived(resource)

    def end(self, link: str) -> End | None:
        """The container's interface at the far end of the host's veth `link`."""
        # The first that says so counts, and a plan that asks mostly begins with it.
        while link not in self._end_of_veth and (known := next(self._unread, None)):
            self._learn(*known)
        return self._end_of_veth.get(link)

    def container(self, namespace: str) -> str:
        """The container that the network namespace is of; its own name if no file says."""
        self._read()
        return self._by_namespace[namespace].container if namespace in self._by_namespace else namespace

    def _read(self) -> None:
        for resource, origin in self._unread:
            self._learn(resource, origin)

    def _learn(self, resource: Resource, origin: Origin) -> None:
        said = _HOST
        if origin.bridge or origin.container:
            said = Place(origin.bridge, origin.container)
            self._said.setdefault(resource.key, said)
        match resource:
            case Element():
                if not said.container:
                    said = self._published_for(resource) or said
            case Bridge():
                self._bridges.add(resource.name)
            case BridgePort():
                self._bridges.add(resource.bridge)
                self._bridge_of_port.setdefault(resource.link, resource.bridge)
            case Veth(peer=tuple() as end) if end[0] != HOST:
                self._pair(resource.name, end)
            case Peer(host=str() as host):
                self._pair(host, (resource.namespace, resource.name))
        self._learn_container(resource, said)

    def _published_for(self, element: Element) -> Place | None:
        """The container that `element` publishes a port of, if it is not known yet."""
        _, _, container = element.comment.partition("/")
        if not container or container in self._bridge_of_container:
            return None  # one of ten thousand of them tells as much as all
        published = Published.of(element)
        return Place(published.bridge, published.container) if published else None

    def _learn_container(self, resource: Resource, said: Place) -> None:
        if not said.container:
            return
        if said.bridge:
            self._bridge_of_container.setdefault(said.container, said.bridge)
        namespace = resource.name if isinstance(resource, Netns) else resource.key.namespace
        if namespace != HOST:
            self._by_namespace.setdefault(namespace, said)

    def _pair(self, veth: str, end: End) -> None:
        self._end_of_veth.setdefault(veth, end)
        self._veth_of_end.setdefault(end, veth)

    def _derived(self, resource: Resource) -> Place:
        match resource:
            case Element():
                return self._of_element(resource)
            case Bridge():
                return Place(resource.name)
            case BridgePort():
                return self._of_host_link(resource.link)._replace(bridge=resource.bridge)
            case Veth(peer=tuple() as end) if end[0] != HOST:
                return self._of_end(end)
            case Veth() | Tap():
                return self._of_host_link(resource.name)
            case Peer():
                return self._of_end((resource.namespace, resource.name))
            case Address() | Route():
                return self._of_link(resource.namespace, resource.link)
            case Netns():
                return self._of_namespace(resource.name)
            case Sysctl():
                return self._of_sysctl(resource)
            case _:
                return Place()

    def _of_link(self, namespace: str, link: str) -> Place:
        return self._of_host_link(link) if namespace == HOST else self._of_end((namespace, link))

    def _of_host_link(self, link: str) -> Place:
        if link in self._bridges:
            return Place(link)
        if said := self._said.get(link_key(HOST, link)):
            return said
        end = self._end_of_veth.get(link)
        return self._of_end(end) if end else Place(self._bridge_of_port.get(link, ""))

    def _of_end(self, end: End) -> Place:
        if said := self._said.get(link_key(*end)):
            return said
        place = self._of_namespace(end[0])
        bridge = self._bridge_of_port.get(self._veth_of_end.get(end, ""))
        return place._replace(bridge=bridge) if bridge else place

    def _of_namespace(self, namespace: str) -> Place:
        if said := self._by_namespace.get(namespace):
            return said
        bridges = (
            self._bridge_of_port[veth]
            for end, veth in self._veth_of_end.items()
            if end[0] == namespace and veth in self._bridge_of_port
        )
        return Place(self._bridge_of_container.get(namespace) or next(bridges, ""), namespace)

    def _of_sysctl(self, resource: Sysctl) -> Place:
        links = [key for key in resource.inside() if key.space == "link"]
        if links:
            return self._of_link(links[0].namespace, links[0].name)
        return Place() if resource.namespace == HOST else self._of_namespace(resource.namespace)

    def _of_element(self, resource: Element) -> Place:
        bridge, _, container = resource.comment.partition("/")
        return Place(bridge, self._uncut(bridge, container, resource.comment))

    def _uncut(self, bridge: str, container: str, comment: str) -> str:
        """The whole name of a container that the element's comment had no room for."""
        if len(comment.encode(errors="replace")) < _COMMENT_LIMIT - 3:  # a character may be cut whole
            return container
        names = self._bridge_of_container.items()
        whole = (name for name, on in names if on == bridge and name.startswith(container))
        return next(whole, container)


def short_position(position: str) -> str:
    """`FILE:LINE` of `FILE:LINE:COLUMN`."""
    file, line, _ = split_position(position)
    return f"{file}:{line}" if line else file


@functools.lru_cache(maxsize=1 << 16)  # asked several times of each thing
def split_position(position: str) -> tuple[str, int, int]:
    """(file, line, column) of `FILE:LINE:COLUMN`; what is not there is 0. A file's name may hold colons."""
    before, more, last = position.rpartition(":")
    file, colon, line = before.rpartition(":")
    if colon and _is_number(line) and _is_number(last):
        return file, int(line), int(last)
    return (before, int(last), 0) if more and _is_number(last) else (position, 0, 0)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _of_plan(plan: Plan) -> Iterator[tuple[Resource, Origin]]:
    for step in plan.steps:
        yield from ((item, step.origin) for item in (step.after, step.before) if item is not None)
    yield from ((item.resource, item.origin) for item in plan.pending)
    yield from ((item.desired, item.origin) for item in plan.conflicts)
    yield from ((item, Origin()) for item in plan.foreign)


def _of_states(states: Iterable[State]) -> Iterator[tuple[Resource, Origin]]:
    nowhere = Origin()
    for state in states:
        origins = state.origins
        yield from ((item, origins.get(key, nowhere)) for key, item in state.resources.items())
