"""A Plan as the lines a person reads, whatever they are printed as: the fold from kernel objects to bridges
and containers.

A line has a sign, a depth, a noun and the rest. A container that comes is a few lines, one that goes is one,
with the ports that close below it. What is folded away is counted; `Step.requests` has it all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, TypeAlias

from reconciler.core.messages import HOST
from reconciler.core.plan import Action, Conflict, Pending, Plan, Step
from reconciler.core.resource import Note, Origin, Resource, State
from reconciler.kinds.address import Address
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.netns import Netns
from reconciler.kinds.nftables import Chain, Element, Set, Table
from reconciler.kinds.peer import Peer
from reconciler.kinds.route import Route
from reconciler.kinds.sysctl import Sysctl
from reconciler.kinds.tap import Tap
from reconciler.kinds.veth import Veth
from reconciler.render import words
from reconciler.render.changes import Change, Sign, changes
from reconciler.render.places import Place, Places, short_position, split_position
from reconciler.render.ports import Numbers, Published, Range

_NAMED = 4
"""So many names stand in a line, of more there is a count."""


class Row(NamedTuple):
    """A line. `where` is its place in the file, `FILE:LINE`, or for what goes the reason; `note` is what to
    know besides."""

    sign: Sign
    depth: int
    noun: str
    text: str = ""
    note: str = ""
    where: str = ""
    heading: bool = False
    name: str = ""
    """Of a heading: what the lines below are about."""
    disruptive: bool = False
    position: str = ""
    """Its place in the file, `FILE:LINE:COLUMN`, also where the line above has told it already."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A plan in lines: a block for each bridge and one for the host, then what is not done, and why."""

    blocks: tuple[tuple[Row, ...], ...]
    waiting: tuple[Row, ...]
    foreign: tuple[Row, ...]
    conflicts: tuple[Row, ...]
    notes: tuple[Note, ...]
    replaced: int
    """How many of the things deleted are made anew."""
    disruptive: int
    """How many lines, of things changed or replaced, interrupt traffic."""


def outline(plan: Plan, states: Sequence[State] = ()) -> Outline:
    """`plan` folded into lines. `states` are those it was made of, where at hand: they tell what belongs
    where."""
    places = Places.of_plan(plan, states)
    folded = changes(plan, places)
    everything = [part for item in folded for part in (item, *item.along)]
    blocks = tuple(_blocks(folded, places))
    going = {step.key for step in plan.steps if step.action is Action.DELETE} if plan.foreign else set()
    return Outline(
        blocks=blocks,
        waiting=tuple(_waiting(plan.pending)),
        foreign=tuple(_foreign(item, places) for item in plan.foreign if item.key not in going),
        conflicts=tuple(_conflict(item) for item in plan.conflicts),
        notes=plan.notes,
        replaced=sum(item.sign is Sign.REPLACE for item in everything),
        disruptive=sum(row.disruptive for block in blocks for row in block),
    )


# --- blocks ----------


def _blocks(folded: Sequence[Change], places: Places) -> Iterator[tuple[Row, ...]]:
    host, rest = _split(folded, _is_of_host)
    guards = _guards(host)
    of_modes = [parts[0] for bridge, parts in guards.items() if _mode_change(bridge, parts)]
    only_headings = set(map(id, of_modes))
    for bridge, items in _grouped([*rest, *of_modes], lambda item: item.place.bridge).items():
        if bridge:
            own = [item for item in items if id(item) not in only_headings]
            yield tuple(_bridge_rows(bridge, own, guards.get(bridge, []), places))
        else:
            yield from _loose_blocks(items, places)
    if host:
        yield tuple(_host_rows(host))


def _loose_blocks(items: Sequence[Change], places: Places) -> Iterator[tuple[Row, ...]]:
    """Containers of no known bridge, as a run that was killed leaves them: those with a line each are one block."""
    groups = _grouped(items, lambda item: item.place.container)
    blocks = [tuple(_container_rows(container, parts, places, 0)) for container, parts in groups.items()]
    for short, several in itertools.groupby(blocks, lambda block: len(block) == 1):
        if short:
            yield tuple(itertools.chain.from_iterable(several))
        else:
            yield from several


def _split(items: Iterable[Change], chosen: Callable[[Change], bool]) -> tuple[list[Change], list[Change]]:
    """(those `chosen`, the rest), both in order."""
    result: tuple[list[Change], list[Change]] = ([], [])
    for item in items:
        result[not chosen(item)].append(item)
    return result


def _is_of_host(item: Change) -> bool:
    """The firewall and settings of the whole host, whichever bridge asks for them, and what belongs
    nowhere."""
    if item.place == _HOST or _is_firewall(item.subject):
        return True
    return isinstance(item.subject, Sysctl) and item.subject.namespace == HOST and not item.subject.inside()


_HOST = Place()
_OF_FIREWALL = (Table, Set, Chain, Element)


def _is_firewall(item: Resource) -> bool:
    return isinstance(item, _OF_FIREWALL) and not _is_port(item)


def _guards(items: Iterable[Change]) -> dict[str, list[Change]]:
    """For each bridge the changes of the elements that make up its mode."""
    guards: dict[str, list[Change]] = {}
    for part in (part for item in items for part in (item, *item.along)):
        if isinstance(part.subject, Element) and part.subject.match[:1] == (part.place.bridge,):
            guards.setdefault(part.place.bridge, []).append(part)
    return guards


def _grouped(items: Iterable[Change], name: Callable[[Change], str]) -> dict[str, list[Change]]:
    """`items` by name, in the order of the file; what is in no file any more comes behind, the nameless
    last."""
    groups: dict[str, list[Change]] = {}
    for item in items:
        groups.setdefault(name(item), []).append(item)
    return {key: groups[key] for key in sorted(groups, key=lambda key: (not key, _rank(groups[key]), key))}


def _rank(items: Iterable[Change]) -> tuple[bool, str, int]:
    positions = [split_position(item.origin.position)[:2] for item in items if item.origin.position]
    return (False, *min(positions)) if positions else (True, "", 0)


def _bridge_rows(name: str, items: Sequence[Change], guards: Sequence[Change], places: Places) -> Iterator[Row]:
    own = [item for item in items if not item.place.container]
    bridge = next((item for item in own if isinstance(item.subject, Bridge)), None)
    rest = [item for item in own if item is not bridge]
    yield _bridge_heading(name, bridge, guards)
    yield from _inherit(_plain_rows(rest, 1, places), bridge.origin if bridge else Origin())
    below = [item for item in items if item.place.container]
    for container, parts in _grouped(below, lambda item: item.place.container).items():
        yield from _container_rows(container, parts, places, 1)


def _bridge_heading(name: str, item: Change | None, guards: Sequence[Change]) -> Row:
    """A bridge whose mode changes is changed, though to the kernel it is the firewall alone."""
    mode = _mode_change(name, guards)
    if item is None:
        text = f"{name}: {mode}" if mode else name
        position = next((guard.origin.position for guard in guards if guard.after), "")
        sign, where = (Sign.UPDATE, short_position(position)) if mode else (Sign.NONE, "")
        return Row(sign, 0, "bridge", text, where=where, heading=True, name=name, position=position)
    bridge = item.after if isinstance(item.after, Bridge) else None
    details = [words.mode(_elements(guards, new=True), name)] if item.sign is Sign.CREATE else [mode]
    details += [*_bridge_details(bridge)] if bridge and item.sign is Sign.CREATE else []
    details += [words.change(difference) for difference in item.differences]
    details = [detail for detail in details if detail]
    text = f"{name}: {', '.join(details)}" if details else name
    return _row(item, 0, "bridge", text)._replace(heading=True, name=name)


def _mode_change(bridge: str, guards: Sequence[Change]) -> str:
    """`mode nat → routed`, or nothing."""
    old, new = (words.mode(_elements(guards, new=new), bridge) for new in (False, True))
    return f"mode {old} → {new}" if old and new and old != new else ""


def _elements(guards: Iterable[Change], *, new: bool) -> list[Element]:
    """The firewall's elements as they are to be, or as they were."""
    items = [guard.after if new else guard.before for guard in guards]
    return [item for item in items if isinstance(item, Element)]


def _bridge_details(bridge: Bridge) -> Iterator[str]:
    if bridge.mtu:
        yield f"mtu {bridge.mtu}"
    if bridge.mac:
        yield f"mac {bridge.mac}"
    if bridge.stp is not None:
        yield f"stp {words.value(bridge.stp)}"


def _container_rows(name: str, items: Sequence[Change], places: Places, depth: int) -> Iterator[Row]:
    """A container: a heading, and below it what changes; of one that goes, only the ports that close."""
    sign = _container_sign(items)
    position = min((item.origin.position for item in items if item.origin.position), key=split_position, default="")
    where = short_position(position)
    heading = Row(sign, depth, "container", name, where=where, heading=True, name=name, position=position)
    below = list(items)
    if sign is Sign.DELETE:
        below, folded = _split(items, lambda item: _is_port(item.subject) or item.subject.owner is None)
        going = [resource for item in folded for resource in item.with_along]
        heading = heading._replace(note=words.tally(_sorted(going)), where=_reason(folded))
    elif sign is Sign.NONE:
        heading = heading._replace(where="")
    yield heading
    yield from _inherit(_plain_rows(below, depth + 1, places), Origin(position) if heading.where else Origin())


_WHOLE = (Netns, Peer, Veth, Tap)
"""A container comes and goes with these."""


def _container_sign(items: Sequence[Change]) -> Sign:
    """Whether the container as a whole comes or goes."""
    signs = {item.sign for item in items}
    if signs != {Sign.CREATE} and signs != {Sign.DELETE}:
        return Sign.NONE
    return signs.pop() if any(isinstance(item.subject, _WHOLE) for item in items) else Sign.NONE


def _inherit(rows: Iterable[Row], origin: Origin) -> Iterator[Row]:
    """`rows` without the place that their heading has told already."""
    told = short_position(origin.position)
    for row in rows:
        yield row._replace(where="") if told and row.where == told else row


# --- lines ----------

_ORDER = (Netns, Peer, Tap, Veth, BridgePort, Address, Route, Sysctl, Element)
_RANKS = {kind: rank for rank, kind in enumerate(_ORDER)}
_LINKS = (Peer, Tap, Veth, BridgePort)


def _sorted(items: Iterable[Resource]) -> list[Resource]:
    return sorted(items, key=_kind_rank)


def _kind_rank(item: Resource) -> int:
    return _RANKS.get(type(item), len(_ORDER))


def _plain_rows(items: Sequence[Change], depth: int, places: Places) -> Iterator[Row]:
    """The lines of things of one place, kind by kind."""
    ports, rest = _split(items, lambda item: _is_port(item.subject))
    namespaces, rest = _split(rest, lambda item: isinstance(item.subject, Netns))
    links, rest = _split(rest, lambda item: isinstance(item.subject, _LINKS))
    yield from (_single(item, depth) for item in namespaces)
    yield from _interface_rows(links, depth, places)
    yield from _folded_rows(sorted(rest, key=lambda item: _kind_rank(item.subject)), depth)
    yield from _port_rows(ports, depth)


def _is_port(item: Resource) -> bool:
    return isinstance(item, Element) and Published.of(item) is not None


_FOLDED = (Address, Route)


def _folded_rows(items: Sequence[Change], depth: int) -> Iterator[Row]:
    """Addresses and routes of one sign and one line of the file share a line; everything else has its own."""
    shared: dict[tuple[object, ...], list[Change]] = {}
    for item in items:
        foldable = isinstance(item.subject, _FOLDED) and item.sign in (Sign.CREATE, Sign.DELETE)
        place: object = (type(item.subject), _place_or_reason(item), _belongs(item)) if foldable else item.subject.key
        shared.setdefault((item.sign, place), []).append(item)
    for parts in shared.values():
        row = _single(parts[0], depth)
        if len(parts) > 1:
            text = ", ".join(words.name(item.subject) for item in parts)
            row = row._replace(noun=f"{row.noun}es" if row.noun.endswith("s") else f"{row.noun}s", text=text)
        yield row


def _belongs(item: Change) -> str:
    return item.subject.owner or ""


def _single(item: Change, depth: int) -> Row:
    subject = item.subject
    text = words.name(subject)
    if isinstance(subject, Sysctl) and item.sign is Sign.CREATE:
        text = f"{text} = {subject.value}"
    if isinstance(subject, Sysctl) and item.differences:
        text = f"{text} {words.value(item.differences[0].before)} → {subject.value}"
    elif item.differences:
        text = f"{text}: {', '.join(map(words.change, item.differences))}"
    return _row(item, depth, words.noun(subject), text)


def _row(item: Change, depth: int, noun: str, text: str, along: Iterable[Change] | None = None) -> Row:
    """A line about `item`, with what goes along and whatever is to be known besides."""
    disruptive = _interrupts(item)
    note = "; ".join(_notes(item, along))
    where, position = _place_or_reason(item), item.origin.position
    return Row(item.sign, depth, noun, text, note, where, disruptive=disruptive, position=position)


def _notes(item: Change, along: Iterable[Change] | None) -> Iterator[str]:
    if item.sign is Sign.REPLACE and item.reason:
        yield item.reason
    if item.sign is Sign.DELETE and item.subject.owner is None:
        yield "foreign"
    given_back = isinstance(item.subject, BridgePort) and item.subject.owner and not item.place.container
    if item.sign is Sign.DELETE and given_back:
        yield "given back"
    parts = [part.subject for part in (item.along if along is None else along)]
    if parts and (tally := words.tally(_sorted(parts))):
        yield f"with {tally}"
    if _interrupts(item):
        yield "interrupts traffic"


def _interrupts(item: Change) -> bool:
    """Of what goes that is no news."""
    return item.disruptive and item.sign in (Sign.UPDATE, Sign.REPLACE)


def _place_or_reason(item: Change) -> str:
    return _reason([item]) if item.sign is Sign.DELETE else short_position(item.origin.position)


def _reason(items: Iterable[Change]) -> str:
    """Why things go: the reason of those that do not just go along."""
    reasons = dict.fromkeys(item.reason for item in items if not item.implied and item.reason)
    return ", ".join(reasons) or next((item.reason for item in items if item.reason), "")


# --- interfaces: what is three things to the kernel is one to a reader ----------


def _interface_rows(items: Sequence[Change], depth: int, places: Places) -> Iterator[Row]:
    anew = {_interface(item.subject, places) for item in items if item.sign is Sign.REPLACE}
    bundles: dict[tuple[object, ...], list[Change]] = {}
    for item in items:
        end = _interface(item.subject, places)
        # One that is made anew is one line, though its near end has another name and so is another thing.
        bundles.setdefault((end, Sign.REPLACE if end in anew else item.sign), []).append(item)
    for parts in bundles.values():
        ordered = sorted(parts, key=lambda item: (item.sign is not Sign.REPLACE, _kind_rank(item.subject)))
        yield _interface_row(ordered, depth, places)


def _interface(item: Resource, places: Places) -> tuple[str, str]:
    """(namespace, name) of the interface that the link, or the port, is part of."""
    match item:
        case Peer():
            return item.namespace, item.name
        case Veth(peer=tuple() as end):
            return end
        case BridgePort():
            return places.end(item.link) or (HOST, item.link)
        case _:
            return HOST, words.name(item)


def _interface_row(parts: Sequence[Change], depth: int, places: Places) -> Row:
    """One line for the far end, the near end and the bridge's port of an interface."""
    main = parts[0]
    members = {item.subject.key for item in parts}
    along = [item for part in parts for item in part.along if item.subject.key not in members]
    # A part that only goes along is not listed, but still part of what the line is about.
    along = [item for item in along if not isinstance(item.subject, BridgePort | Peer | Veth)]
    namespace, name = _interface(main.subject, places)
    noun = _interface_noun(main, namespace)
    details = list(_interface_details(main, parts)) if main.sign is Sign.CREATE else _merged_changes(parts)
    if main.sign is Sign.REPLACE:
        ports = (part.after for part in parts if part.sign is Sign.CREATE)
        details += [f"put on {port.bridge}" for port in ports if isinstance(port, BridgePort)]
    separator = ", " if main.sign is Sign.CREATE else ": "
    text = separator.join(part for part in (name, ", ".join(details)) if part)
    telling = _most_telling(parts)
    if any(item.field == "host" for item in main.differences):  # the near end's name, which is no reason to a reader
        telling = replace(main, reason="made anew", disruptive=True)
    row = _row(telling, depth, noun, text, along)
    return row if row.where else row._replace(where=_place_or_reason(main), position=main.origin.position)


def _interface_noun(main: Change, namespace: str) -> str:
    if isinstance(main.subject, Tap):
        return "tap"
    if isinstance(main.subject, BridgePort) and namespace == HOST:
        return "uplink" if main.subject.owner and not main.place.container else "port"
    return "interface"


def _interface_details(main: Change, parts: Sequence[Change]) -> Iterator[str]:
    namespace = main.subject.key.namespace
    if isinstance(main.subject, Peer) and namespace != main.place.container:
        yield f"in {namespace}"
    subjects = [part.subject for part in parts]
    for item in subjects:
        if isinstance(item, Peer) and item.mac:
            yield f"mac {item.mac}"
    mtu = next((item.mtu for item in subjects if isinstance(item, Peer | Tap | Veth) and item.mtu), None)
    if mtu:
        yield f"mtu {mtu}"
    veth = next((item.name for item in subjects if isinstance(item, Veth)), None)
    if veth:
        yield f"veth {veth}"
    if isinstance(main.subject, BridgePort | Veth) and main.place.container:
        yield from (f"put on {item.bridge}" for item in subjects if isinstance(item, BridgePort))
    if any(isinstance(item, BridgePort) and item.isolated for item in subjects):
        yield "isolated from its neighbours"


def _merged_changes(parts: Sequence[Change]) -> list[str]:
    """The changes of all parts, those that are the same once; where a field of two changes unlike, the second
    says whose."""
    fields: set[str] = set()
    told: dict[str, None] = {}
    for part in parts:
        for difference in part.differences:
            text = words.change(difference)
            whose = f"{words.noun(part.subject)} " if difference.field in fields and text not in told else ""
            fields.add(difference.field)
            told[whose + text] = None
    return list(told)


def _most_telling(parts: Sequence[Change]) -> Change:
    """The part whose reason and disruption the line tells: one that does not just go along."""
    main = next((item for item in parts if not item.implied), parts[0])
    return replace(main, disruptive=True) if any(item.disruptive for item in parts) else main


# --- published ports ----------


def _port_rows(items: Sequence[Change], depth: int) -> Iterator[Row]:
    """A line for each host port; its IPv4 and its IPv6 side share one, and so do the ports of a range that lead to other numbers."""
    crowds, others = _split(items, lambda item: bool(item.ports))
    sides: dict[_PortKey, list[Change]] = {}
    for item in others:
        sides.setdefault(_port_key(item), []).append(item)
    rows = [(key, _port_row(parts, depth)) for key, parts in sides.items()]
    rows += [_run_row(crowd, run, depth) for crowd in crowds for run in _runs(crowd.ports)]
    yield from (row for _, row in sorted(rows, key=lambda pair: _port_order(pair[0])))


_FEWEST = 3
"""So many ports in a row are told as a range."""


def _runs(ports: Mapping[Numbers, Sequence[Step]]) -> Iterator[Sequence[Numbers]]:
    """The ports in a row that lead to one port or to as many in a row, of what is alike in all else but where it leads."""
    alike: dict[tuple[_End, ...], list[Numbers]] = {}
    for port, steps in ports.items():
        alike.setdefault(tuple(sorted(map(_led_to, steps))), []).append(port)
    for those in alike.values():
        for run in _in_a_row(sorted(those)):
            yield from [run] if len(run) >= _FEWEST else ([port] for port in run)


_End: TypeAlias = tuple[str, str]
"""The container's address, and the container."""


def _led_to(step: Step) -> _End:
    element = step.subject
    assert isinstance(element, Element)
    return element.data[0], element.comment


def _in_a_row(ports: Iterable[Numbers]) -> Iterator[list[Numbers]]:
    """`ports`, which are sorted, cut where the next one is not one further on either side, or on the container's not as before."""
    run: list[Numbers] = []
    pace, before, led = -2, -2, -2
    for port in ports:
        first, last, inner, _ = port
        step = inner - led
        if run and first == last == before + 1 and (step == pace if len(run) > 1 else step in (0, 1)):
            run.append(port)
        else:
            if run:
                yield run
            run = [port]
        # Behind a range nothing goes on.
        pace, before, led = step, first if first == last else -2, inner
    if run:
        yield run


def _run_row(crowd: Change, run: Sequence[Numbers], depth: int) -> tuple[_PortKey, Row]:
    """One line for all of `run`, which is of `crowd`, with what it is sorted by."""
    steps = crowd.ports[run[0]]
    (first, last, inner, inner_last), (*_, end) = run[0], run
    each = len(run) > 1 and end[2:] == (inner, inner_last)
    ports = Range(first, end[1])
    led_to = Range(inner, end[2]) if len(run) > 1 and not each else Range(inner, inner_last)
    sides = [_published(step.subject) for step in steps]
    if len(run) > 1:
        sides = [replace(side, ports=ports, target_ports=led_to) for side in sides]
    targets = ", ".join(dict.fromkeys(side.inside for side in sides))
    step = steps[0]
    one = Change(crowd.sign, step.before, step.after, crowd.place, reason=step.reason, origin=step.origin)
    row = _row(one, depth, "port", f"{words.port_name(sides[0])}{', each' if each else ''} → {targets}")
    key = _PortKey(
        crowd.sign, sides[0].address, sides[0].protocol, Range(first, last), Range(inner, inner_last), row.where
    )
    return key, row


def _published(item: Resource) -> Published:
    published = Published.of(item) if isinstance(item, Element) else None
    assert published is not None
    return published


class _PortKey(NamedTuple):
    """What the sides of one port have in common."""

    sign: Sign
    address: IPv4Address | IPv6Address | None
    protocol: str
    ports: Range
    target_ports: Range
    where: str


def _port_key(item: Change) -> _PortKey:
    port = _published(item.subject)
    return _PortKey(item.sign, port.address, port.protocol, port.ports, port.target_ports, _place_or_reason(item))


def _port_order(key: _PortKey) -> tuple[object, ...]:
    address = "" if key.address is None else str(key.address)
    return str(key.ports).rjust(11), key.protocol, address, key.sign, str(key.target_ports), key.where


def _port_row(items: Sequence[Change], depth: int) -> Row:
    first = items[0]
    targets = ", ".join(dict.fromkeys(_published(item.subject).inside for item in items))
    text = f"{words.port_name(_published(first.subject))} → {targets}"
    text += "".join(f" ({detail})" for detail in dict.fromkeys(map(_port_change, items)) if detail)
    return _row(first, depth, "port", text)


def _port_change(item: Change) -> str:
    """Where the port led before, if it moves."""
    old = Published.of(item.before) if item.sign is not Sign.DELETE and isinstance(item.before, Element) else None
    if old is None:
        return ""
    new = _published(item.subject)
    led = [f"was {old.inside}"] if old.inside != new.inside else []
    whose = [f"was {old.container}'s"] if old.container != new.container and old.container else []
    moved = [f"was on {old.bridge}"] if old.bridge != new.bridge and old.bridge and not whose else []
    return ", ".join(led + whose + moved)


# --- the host: settings and the firewall ----------


def _host_rows(items: Sequence[Change]) -> Iterator[Row]:
    yield Row(Sign.NONE, 0, "host", heading=True, name="host")
    firewall, rest = _split(items, lambda item: _is_firewall(item.subject))
    yield from _folded_rows(rest, 1)
    yield from _firewall_rows(firewall)


def _firewall_rows(items: Sequence[Change]) -> Iterator[Row]:
    """What guards is summed up, for it is the same everywhere; what is updated in it is told."""
    for sign in (Sign.CREATE, Sign.REPLACE, Sign.DELETE):
        parts = [item for item in items if item.sign is sign]
        if parts:
            yield _firewall_row(sign, parts)
    yield from (_guard_row(item) for item in items if item.sign is Sign.UPDATE)


def _guard_row(item: Change) -> Row:
    """A chain whose rules change, an element that says another thing."""
    subject = item.subject
    of = f"{subject.set} {' . '.join(subject.match)}" if isinstance(subject, Element) else words.thing(subject)
    details = ", ".join(words.change(part).removeprefix("to ") for part in item.differences)
    return _row(item, 1, "firewall", f"{of}: {details}")


def _firewall_row(sign: Sign, parts: Sequence[Change]) -> Row:
    resources = sorted((item for part in parts for item in part.with_along), key=_firewall_rank)
    table = next((part for part in parts if isinstance(part.subject, Table)), None)
    if table is None:
        return Row(sign, 1, "firewall", words.tally(resources), _set_names(resources), _reason_if(sign, parts))
    text = f"table {words.name(table.subject)}"
    contents = words.tally(item for item in resources if not isinstance(item, Table))
    return _row(table, 1, "firewall", f"{text}: {contents}" if contents else text, ())


def _firewall_rank(item: Resource) -> int:
    return next((index for index, kind in enumerate((Table, Chain, Set, Element)) if isinstance(item, kind)), 9)


def _reason_if(sign: Sign, parts: Sequence[Change]) -> str:
    return _reason(parts) if sign is Sign.DELETE else ""


def _set_names(resources: Iterable[Resource]) -> str:
    names = dict.fromkeys(item.set if isinstance(item, Element) else words.name(item) for item in resources)
    shown = list(names)[:_NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


# --- what is not done ----------


def _waiting(pending: Sequence[Pending]) -> Iterator[Row]:
    """A line for each container, uplink or bridge and what it waits for."""
    groups: dict[tuple[object, ...], list[Pending]] = {}
    for item in pending:
        groups.setdefault((item.origin.bridge, item.origin.container, item.missing), []).append(item)
    for items in groups.values():
        first = items[0]
        resources = _sorted(item.resource for item in items)
        what, note = words.thing(resources[0]), ""
        if first.origin.container:
            what = f"container {first.origin.container} on {first.origin.bridge}"
            note = words.tally(resources)
        elif len(items) > 1:
            what = f"bridge {first.origin.bridge}" if first.origin.bridge else "host"
            note = words.tally(resources)
        position = min((item.origin.position for item in items), key=split_position)
        text = f"{what} waits for {words.key_name(first.missing)}"
        yield Row(Sign.OPEN, 0, text, "", note, short_position(position), position=position)


def _foreign(item: Resource, places: Places) -> Row:
    place = places.place(item)
    on = "/".join(part for part in place if part)
    at = f"on {on}" if on and on not in words.thing(item).split() else ""
    return Row(Sign.OPEN, 0, words.thing(item), "", at)


def _conflict(item: Conflict) -> Row:
    found, desired = words.thing(item.found), words.thing(item.desired)
    owner = item.found.owner
    whose = f"belongs to the owner {owner}" if owner else "was not made by reconcile"
    wanted = f"; wanted is a {words.noun(item.desired)}" if found != desired else ""
    return Row(
        Sign.OPEN,
        0,
        f"{found} is there already and {whose}{wanted}",
        where=short_position(item.origin.position),
        position=item.origin.position,
    )
