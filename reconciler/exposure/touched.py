"""What of a State has a say in how a plan changes the exposure.

All of it may hold ten thousand ports, and a plan may change one. What is published or opened at a port depends on what is published or
opened there by the same protocol, on whichever address, and on nothing else: so of the elements that say so, those suffice that share a
port with one that changes. Besides,

- what is open at a container's own address has the line in the file of what is published of it;
- a container that the file does not name is named by what is published of it. That can be anything, so then all is looked at.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from reconciler.core.messages import HOST
from reconciler.core.plan import Step
from reconciler.core.resource import Key, Origin, Resource, State
from reconciler.exposure.state import OPENING, ports_of
from reconciler.kinds import BridgePort, Element, Tap, Veth
from reconciler.kinds.layout import PUBLISHING
from reconciler.kinds.links import link_key

_VERSIONS: Mapping[str, int] = {**{name: kind.version for name, kind in PUBLISHING.items()}, **OPENING}
"""By the set of elements that say something of ports: the version of IP."""
_WITH_ADDRESS = 3
"""So many parts has what such an element matches, if it names an address."""
_NOWHERE = Origin()

_Ports: TypeAlias = Mapping[tuple[int, str], Sequence[int]]
"""By version of IP and protocol, sorted."""


def touched(steps: Sequence[Step], found: State, origins: Mapping[Key, Origin], owner: str) -> dict[Key, Resource]:
    """What of `found` an exposure must know, before and after `steps`, so that it differs as that of all of it does."""
    elements: dict[Key, Element] = {}
    rest: dict[Key, Resource] = {}
    for key, item in found.resources.items():
        if isinstance(item, Element) and item.set in _VERSIONS and item.owner == owner:
            elements[key] = item
        else:
            rest[key] = item
    if not elements or _names_wanted(steps, rest, origins, owner):
        return dict(found.resources)
    changing = [item for step in steps for item in (step.before, step.after) if item is not None]
    saying = [item for item in changing if isinstance(item, Element) and item.set in _VERSIONS and item.owner == owner]
    ports = _ports(saying, elements.values())
    # Who has what address, and may ask whom, depends on no port.
    result = rest if len(saying) < len(changing) else {}
    result.update((key, item) for key, item in elements.items() if _is_near(item, ports))
    return result


def _names_wanted(
    steps: Iterable[Step], resources: Mapping[Key, Resource], origins: Mapping[Key, Origin], owner: str
) -> bool:
    """Whether a container, there or to come, is named by its ports."""
    coming = {step.key: step.after for step in steps if step.after is not None and not isinstance(step.after, Element)}
    for item in (*resources.values(), *coming.values()):
        if isinstance(item, BridgePort) and not origins.get(item.key, _NOWHERE).container:
            key = link_key(HOST, item.link)
            for link in (resources.get(key), coming.get(key)):
                if isinstance(link, Veth | Tap) and link.owner == owner:
                    return True
    return False


def _ports(changing: Iterable[Element], all: Iterable[Element]) -> _Ports:
    """At which ports the exposure may change: those of what changes, and of what is published of a container that is asked itself."""
    ports: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
    asked = set()
    for item in changing:
        _add(ports, item)
        if len(item.match) == _WITH_ADDRESS:
            asked.add(item.match[0])
    if asked:
        for item in all:
            if item.set in PUBLISHING and item.data[0] in asked:
                _add(ports, item)
    return {key: sorted(numbers) for key, numbers in ports.items()}


def _add(ports: Mapping[tuple[int, str], set[int]], item: Element) -> None:
    first, last = ports_of(item.match[-1])
    ports[_VERSIONS[item.set], item.match[-2]].update(range(first, last + 1))


def _is_near(item: Element, ports: _Ports) -> bool:
    known = ports.get((_VERSIONS[item.set], item.match[-2]))
    if known is None:
        return False
    first, last = ports_of(item.match[-1])
    place = bisect_left(known, first)
    return place < len(known) and known[place] <= last
