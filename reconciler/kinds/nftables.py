"""The nftables table, its sets and maps, chains, and elements.

Inside our table everything is ours. What the table consists of, and why, stands in reconciler.kinds.layout; this is only
how such objects are written (nft(8) text) and read back (libnftables-json(5)).

Rules are compared by their comment, which ends in a digest of the rule's text. The kernel keeps rules as bytecode, and how a
listing spells it changes between versions of nft: to compare that text would be to repair forever on the version that spells it otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, ClassVar, Self

from reconciler.core.messages import HOST, FlushConntrack, Nft, NftElement, Request, Snapshot
from reconciler.core.resource import Key, Resource, Stage
from reconciler.kinds.layout import BRIDGE_CHAINS, BRIDGE_SETS, CHAINS, PUBLISHING, RULES, SETS, Rule
from reconciler.kinds.marks import owner_of_table

_INTERVALS = frozenset(item.name for item in SETS if "interval" in item.flags)
_NAMES_OF_INTERFACES = {
    item.name: tuple(place for place, type in enumerate(item.type) if type == "ifname")
    for item in (*SETS, *BRIDGE_SETS)
}
"""Where in the key of each set the name of an interface stands."""

RETIREMENT = 10
"""Seconds for which a port's former container may begin no flow from that port: longer than an answer is under way."""
_BLOCK = 256


@functools.cache
def table_key(name: str) -> Key:
    """The key of a table."""
    return Key("nft table", HOST, name)


@functools.cache  # there are few, and ten thousand elements are inside of one
def set_key(table: str, name: str) -> Key:
    """The key of a set or map."""
    return Key("nft set", HOST, f"{table} {name}")


def _objects(snapshot: Snapshot, *kinds: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(owner, table, object) of those objects in our tables that are of one of `kinds`.

    Leniently: what has another shape is passed over.
    """
    for name, listing in snapshot.tables.items():
        owner = owner_of_table(name)
        if owner is None:
            continue
        for item in listing:
            for kind in kinds:
                body = item.get(kind)
                if isinstance(body, Mapping):
                    yield owner, name, body


@dataclass(frozen=True, slots=True, kw_only=True)
class _NftResource(Resource):
    """What all of these have in common: they guard, so they stand before and go after what they guard."""

    def create_stage(self) -> Stage:
        return Stage.GUARD

    def delete_stage(self) -> Stage:
        return Stage.DISARM


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(_NftResource):
    """A table; `name` is with its family, as `inet reconciler`."""

    name: str

    rank: ClassVar[int] = 80

    def _key(self) -> Key:
        return table_key(self.name)

    @property
    def label(self) -> str:
        return f"nftables table {self.name}"

    def create(self) -> Iterator[Request]:
        yield Nft(f"add table {self.name}")

    def update(self, found: Self) -> Iterator[Request]:
        return iter(())

    def delete(self) -> Iterator[Request]:
        yield Nft(f"delete table {self.name}")

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Table]:
        for name in snapshot.tables:
            yield cls(owner=owner_of_table(name), name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Set(_NftResource):
    """A named set, or (with `data`) a map. Its types cannot be changed while rules use it, so a difference replaces the table."""

    table: str
    name: str
    type: tuple[str, ...]
    data: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    rank: ClassVar[int] = 81
    fixed: ClassVar[frozenset[str]] = frozenset({"type", "data", "flags"})
    replaces_outer: ClassVar[bool] = True

    def _key(self) -> Key:
        return set_key(self.table, self.name)

    @property
    def label(self) -> str:
        return f"nftables {'map' if self.data else 'set'} {self.name}"

    def inside(self) -> tuple[Key, ...]:
        return (table_key(self.table),)

    def create(self) -> Iterator[Request]:
        types = " . ".join(self.type) + (" : " + " . ".join(self.data) if self.data else "")
        flags = f"flags {', '.join(self.flags)}; " if self.flags else ""
        noun = "map" if self.data else "set"
        yield Nft(f"add {noun} {self.table} {self.name} {{ type {types}; {flags}}}")

    def update(self, found: Self) -> Iterator[Request]:
        return iter(())

    def delete(self) -> Iterator[Request]:
        yield Nft(f"delete {'map' if self.data else 'set'} {self.table} {self.name}")

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Set]:
        for owner, table, item in _objects(snapshot, "set", "map"):
            yield cls(
                owner=owner,
                table=table,
                name=str(item.get("name")),
                type=_strings(item.get("type")),
                data=_strings(item.get("map")),
                flags=tuple(sorted(_strings(item.get("flags")))),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(_NftResource):
    """A chain with its rules. `hook` is (type, hook, priority, policy) of a base chain, () of others."""

    table: str
    name: str
    hook: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    """The rules' comments."""
    body: tuple[Rule, ...] = field(default=(), compare=False)

    rank: ClassVar[int] = 82
    fixed: ClassVar[frozenset[str]] = frozenset({"hook"})
    replaces_outer: ClassVar[bool] = True

    @classmethod
    def of(cls, owner: str, table: str, name: str, hook: tuple[str, ...], rules: tuple[Rule, ...]) -> Chain:
        """The chain with these `rules`."""
        comments = tuple(rule.comment for rule in rules)
        return cls(owner=owner, table=table, name=name, hook=hook, rules=comments, body=rules)

    def _key(self) -> Key:
        return Key("nft chain", HOST, f"{self.table} {self.name}")

    @property
    def label(self) -> str:
        return f"nftables chain {self.name}"

    def inside(self) -> tuple[Key, ...]:
        return (table_key(self.table),)

    def create(self) -> Iterator[Request]:
        spec = ""
        if self.hook:
            type, hook, priority, policy = self.hook
            spec = f" {{ type {type} hook {hook} priority {priority}; policy {policy}; }}"
        yield Nft(f"add chain {self.table} {self.name}{spec}")
        yield from self._fill()

    def update(self, found: Self) -> Iterator[Request]:
        yield Nft(f"flush chain {self.table} {self.name}")
        yield from self._fill()

    def delete(self) -> Iterator[Request]:
        yield Nft(f"flush chain {self.table} {self.name}")
        yield Nft(f"delete chain {self.table} {self.name}")

    def _fill(self) -> Iterator[Request]:
        for rule in self.body:
            yield Nft(f'add rule {self.table} {self.name} {rule.text} comment "{rule.comment}"')

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Chain]:
        rules: dict[tuple[str, str], list[str]] = {}
        for _, table, item in _objects(snapshot, "rule"):
            place = table, str(item.get("chain"))
            rules.setdefault(place, []).append(str(item.get("comment", "")))
        for owner, table, item in _objects(snapshot, "chain"):
            name = str(item.get("name"))
            hook = ("type", "hook", "prio", "policy")
            yield cls(
                owner=owner,
                table=table,
                name=name,
                hook=tuple(str(item[part]) for part in hook) if item.get("hook") else (),
                rules=(comments := tuple(rules.get((table, name), ()))),
                body=tuple(RULES[comment] for comment in comments if comment in RULES),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Element(_NftResource):
    """An element of a set or map, spelled canonically: addresses as ipaddress has them, ranges as `first-last`.

    `waits_for` is what a published port leads to: as long as that is not there, neither is the port.
    """

    table: str
    set: str
    match: tuple[str, ...]
    data: tuple[str, ...] = ()
    comment: str = ""
    waits_for: tuple[Key, ...] = field(default=(), compare=False)

    rank: ClassVar[int] = 83
    disruptive: ClassVar[frozenset[str]] = frozenset({"data"})

    def _key(self) -> Key:
        return Key("nft element", HOST, f"{self.table} {self.set} {' . '.join(self.match)}")

    @property
    def label(self) -> str:
        to = f" → {' . '.join(self.data)}" if self.data else ""
        return f"element {' . '.join(self.match)}{to} of {self.set}"

    def inside(self) -> tuple[Key, ...]:
        return (set_key(self.table, self.set),)

    def needs(self) -> tuple[Key, ...]:
        return self.waits_for

    def crowd(self) -> Key | None:
        return set_key(self.table, self.set) if self.set in _INTERVALS else None

    def withdrawn(self) -> bool:
        """A port closes before what is behind it goes, and its flows are forgotten."""
        return self.set in PUBLISHING

    def create_stage(self) -> Stage:
        return Stage.EXPOSE if self.set in PUBLISHING else Stage.GUARD

    def delete_stage(self) -> Stage:
        return Stage.WITHDRAW if self.set in PUBLISHING else Stage.DISARM

    def create(self) -> Iterator[Request]:
        yield NftElement("add", self.table, self.set, self._text())
        yield from self._flush(translated=False)

    def update(self, found: Self) -> Iterator[Request]:
        yield NftElement("delete", self.table, self.set, self._match())
        yield NftElement("add", self.table, self.set, self._text())
        if self.data != found.data:
            yield from found._retire()
            yield from found._flush(translated=True)

    def delete(self) -> Iterator[Request]:
        yield NftElement("delete", self.table, self.set, self._match())
        yield from self._retire()
        yield from self._flush(translated=True)

    def _retire(self) -> Iterator[Request]:
        """The container's answers that are under way come too late: for a moment they are dropped, lest they begin a flow."""
        publishing = PUBLISHING.get(self.set)
        if publishing is None:
            return
        first, _, last = (self.data[1] if len(self.data) > 1 else self.match[-1]).partition("-")
        for name, ports in _retired(int(first), int(last or first)):
            text = f"{self.data[0]} . {self.match[-2]} . {ports} timeout {RETIREMENT}s"
            yield NftElement("add", self.table, f"{name}{publishing.version}", text)

    def _match(self) -> str:
        """The key in nft's words. Names of interfaces are quoted: `br.1` or `tcp` is a name like any other."""
        names = _NAMES_OF_INTERFACES.get(self.set)
        if not names:
            return " . ".join(self.match)
        return " . ".join(f'"{part}"' if place in names else part for place, part in enumerate(self.match))

    def _text(self) -> str:
        comment = f' comment "{self.comment}"' if self.comment else ""
        data = f" : {' . '.join(self.data)}" if self.data else ""
        return f"{self._match()}{comment}{data}"

    def _flush(self, *, translated: bool) -> Iterator[Request]:
        """The flows of this port forgotten: those that it led to its container, or those that came by before it was there."""
        publishing = PUBLISHING.get(self.set)
        if publishing is None:
            return
        *address, protocol, ports = self.match
        first, _, last = ports.partition("-")
        yield FlushConntrack(
            publishing.version,
            protocol,
            ip_address(address[0]) if address else None,
            (int(first), int(last or first)),
            ip_address(self.data[0]) if translated else None,
        )

    @classmethod
    def decode(cls, snapshot: Snapshot) -> Iterator[Element]:
        for owner, table, item in _objects(snapshot, "set", "map"):
            name = str(item.get("name"))
            if "timeout" in _strings(item.get("flags")):
                continue  # they go by themselves
            for element in item.get("elem", ()):
                match, data, comment = _element(element, is_map="map" in item)
                yield cls(owner=owner, table=table, set=name, match=match, data=data, comment=comment)


def _retired(first: int, last: int) -> Iterator[tuple[str, str]]:
    """(set, port or ports) that say `first`-`last`: whole aligned blocks, and single ports before and after them.

    Of intervals that end anywhere two could overlap, such as those of two ranges that were retired one after the other, and
    the kernel would refuse the second.
    """
    port = first
    while port <= last:
        if port % _BLOCK == 0 and port + _BLOCK - 1 <= last:
            yield "retired_range", f"{port}-{port + _BLOCK - 1}"
            port += _BLOCK
        else:
            yield "retired", str(port)
            port += 1


def skeleton(owner: str, table: str) -> Iterator[Resource]:
    """The table as reconciler.kinds.layout has it for its family, with no element in it."""
    sets, chains = (BRIDGE_SETS, BRIDGE_CHAINS) if table.startswith("bridge ") else (SETS, CHAINS)
    yield Table(owner=owner, name=table)
    for item in sets:
        yield Set(owner=owner, table=table, name=item.name, type=item.type, data=item.data, flags=item.flags)
    for chain in chains:
        yield Chain.of(owner, table, chain.name, chain.hook, chain.rules)


# --- libnftables-json(5) ---------------------------------------------------------------------------------------------


def _strings(value: Any) -> tuple[str, ...]:
    """A type, data type or flags: one string or a list of them, by version and number; concatenated types also as one string."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split("."))
    if isinstance(value, Mapping):
        return _strings(next(iter(value.values()), None))
    return tuple(str(item) for item in value)


def _element(item: Any, *, is_map: bool) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """(match, data, comment) of an element of a listing, which may say just that."""
    if isinstance(item, list | tuple) and len(item) == 3:
        return tuple(item[0]), tuple(item[1]), str(item[2])
    match, data = (item[0], item[1]) if is_map and isinstance(item, list) else (item, None)
    comment = ""
    if isinstance(match, Mapping) and "elem" in match:
        comment = str(match["elem"].get("comment", ""))
        match = match["elem"].get("val")
    return _values(match), () if data is None else _values(data), comment


def _values(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping) and "concat" in value:
        return tuple(_value(part) for part in value["concat"])
    return (_value(value),)


def _value(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _canonical(str(value))
    if "range" in value:
        return "-".join(_canonical(str(end)) for end in value["range"])
    if "prefix" in value:
        return f"{_canonical(str(value['prefix']['addr']))}/{value['prefix']['len']}"
    verdict = next(iter(value), "")  # {"accept": null}, {"jump": {"target": "x"}}
    target = value[verdict]
    return f"{verdict} {target['target']}" if isinstance(target, Mapping) and "target" in target else verdict


def _canonical(text: str) -> str:
    """An IPv6 address as ipaddress spells it; anything else, such as a MAC, as it is."""
    try:
        return str(ip_address(text)) if "::" in text or text.count(":") == 7 else text
    except ValueError:
        return text
