"""The nftables of the model kernel: the words of nft(8) that our kinds use, and its JSON listing (libnftables-json(5)).

Rules are kept as text. What they name (sets, chains) must exist and cannot be taken away while they name it; whether the rest
of a rule means anything is for a real kernel to say.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network, summarize_address_range
from typing import Any, NamedTuple

from reconciler.core.messages import ForwardChain

_COMMENT_LIMIT = 128  # NFTNL_UDATA_COMMENT_MAXLEN
_COMMAND = re.compile(r"(\w+) (table|set|map|chain|rule|element) (\w+) (\S+)(?: (.*))?", re.DOTALL)
_SET = re.compile(r"(\S+) \{ type ([^;:]+?)(?: : ([^;]+?))? ?; (?:flags ([^;]+?) ?; )?\}")
_HOOK = re.compile(r"\{ type (\w+) hook (\w+) priority (-?\d+); policy (\w+); \}")
_ELEMENT = re.compile(
    r'(?P<match>.+?)(?P<timeout> timeout \d+s)?(?: comment "(?P<comment>[^"]*)")?(?: : (?P<data>.+))?'
)
_COMMENTED = re.compile(r'(?P<text>.*) comment "(?P<comment>[^"]*)"')
_WORD = re.compile(r"[A-Za-z_.][\w./-]*")
_KEYWORDS = frozenset(
    {"accept", "add", "chain", "dnat", "drop", "ip", "ip6", "map", "meta", "nat", "rule", "set", "tcp", "udp"}
)
"""Some of the words that nft does not take for a name unless they are quoted."""

Bounds = tuple[Any, Any]
"""The first and the last value of an interval; of a single value, itself twice."""


class Entry(NamedTuple):
    """An element of a set or map."""

    match: tuple[Bounds, ...]
    data: tuple[str, ...]
    comment: str
    passing: bool = False
    """Has a timeout. In this kernel no time passes but between two requests, and then all of it."""


@dataclass(slots=True)
class NamedSet:
    """A set, or (with `data`) a map."""

    type: tuple[str, ...]
    data: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    elements: dict[tuple[Bounds, ...], Entry] = field(default_factory=dict)

    @property
    def noun(self) -> str:
        return "map" if self.data else "set"

    def copy(self) -> NamedSet:
        return NamedSet(self.type, self.data, self.flags, dict(self.elements))

    def parse(self, text: str) -> Entry:
        """The element that `text` is. Raises OSError: EINVAL."""
        found = _ELEMENT.fullmatch(text.strip())
        if found is None:
            raise _invalid("not an element", text)
        match = _parts(found["match"])
        data = _parts(found["data"]) if found["data"] else ()
        comment = found["comment"] or ""
        if len(match) != len(self.type) or len(comment.encode()) > _COMMENT_LIMIT:
            raise _invalid(f"not an element of type {' . '.join(self.type)}", text)
        bounds = tuple(map(_bounds, self.type, match))
        if "interval" not in self.flags and any(first != last for first, last in bounds):
            raise _invalid("an interval in a set without the flag", text)
        if found["timeout"] and "timeout" not in self.flags:
            raise _invalid("a timeout in a set without the flag", text)
        return Entry(bounds, self._data(data), comment, bool(found["timeout"]))

    def _data(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        if parts and len(parts) != len(self.data):
            raise _invalid(f"not data of type {' . '.join(self.data)}", " . ".join(parts))
        if not parts or self.data == ("verdict",):
            return parts
        return tuple(_spell(kind, *_bounds(kind, part)) for kind, part in zip(self.data, parts, strict=True))

    def add(self, new: Entry) -> None:
        """Raises OSError: EEXIST for other data, and for an overlap; EINVAL for a map's element without data."""
        if bool(new.data) != bool(self.data):
            raise _invalid("data where none belongs, or none where it does", str(new.match))
        old = self.elements.get(new.match)
        if old is not None and old.data != new.data:
            raise FileExistsError(errno.EEXIST, "element exists with other data", str(new.match))
        if old is None:
            if "interval" in self.flags and any(_overlap(new.match, other) for other in self.elements):
                raise FileExistsError(errno.EEXIST, "interval overlaps an existing one", str(new.match))
            if new.passing:
                return
            self.elements[new.match] = new

    def remove(self, entry: Entry) -> None:
        """Raises OSError: ENOENT."""
        if self.elements.pop(entry.match, None) is None:
            raise FileNotFoundError(errno.ENOENT, "no such element", str(entry.match))

    def spell(self, entry: Entry) -> str:
        """The element in nft's words."""
        match = " . ".join(
            _spell(kind, *bounds, quote='"') for kind, bounds in zip(self.type, entry.match, strict=True)
        )
        comment = f' comment "{entry.comment}"' if entry.comment else ""
        return match + comment + (f" : {' . '.join(entry.data)}" if entry.data else "")


@dataclass(slots=True)
class Chain:
    """A chain. `hook` is (type, hook, priority, policy) of a base chain; rules are (text, comment)."""

    hook: tuple[str, ...] = ()
    rules: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """A table."""

    sets: dict[str, NamedSet] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)

    def copy(self) -> Table:
        return Table(
            {name: item.copy() for name, item in self.sets.items()},
            {name: Chain(item.hook, list(item.rules)) for name, item in self.chains.items()},
        )

    def set(self, name: str, noun: str | None = None) -> NamedSet:
        """Raises OSError: ENOENT."""
        found = self.sets.get(name)
        if found is None or noun not in (None, found.noun):
            raise FileNotFoundError(errno.ENOENT, f"no such {noun or 'set'}", name)
        return found

    def chain(self, name: str) -> Chain:
        """Raises OSError: ENOENT."""
        if name not in self.chains:
            raise FileNotFoundError(errno.ENOENT, "no such chain", name)
        return self.chains[name]

    def rule_texts(self) -> Iterator[str]:
        """What all rules do."""
        return (text for chain in self.chains.values() for text, _ in chain.rules)

    def verdicts(self) -> Iterator[str]:
        """The data of all verdict maps."""
        maps = (item for item in self.sets.values() if item.data == ("verdict",))
        return (entry.data[0] for item in maps for entry in item.elements.values())


class Ruleset:
    """All tables, by family and name."""

    def __init__(self, tables: Mapping[tuple[str, str], Table] | None = None) -> None:
        self.tables = dict(tables or {})
        self._commands: dict[tuple[str, str], Callable[[str, str, str], None]] = {
            ("add", "table"): self._add_table,
            ("delete", "table"): self._delete_table,
            ("flush", "table"): self._flush_table,
            ("add", "set"): self._add_set,
            ("add", "map"): self._add_set,
            ("delete", "set"): self._delete_set,
            ("delete", "map"): self._delete_map,
            ("add", "chain"): self._add_chain,
            ("delete", "chain"): self._delete_chain,
            ("flush", "chain"): self._flush_chain,
            ("add", "rule"): self._add_rule,
            ("add", "element"): self._add_elements,
            ("delete", "element"): self._delete_elements,
        }

    def copy(self) -> Ruleset:
        """What a transaction works on until it is committed."""
        return Ruleset({key: table.copy() for key, table in self.tables.items()})

    def execute(self, text: str) -> None:
        """Do the commands of `text`, one per line. Raises OSError as the kernel refuses, ValueError for other words than ours."""
        for line in filter(None, map(str.strip, text.splitlines())):
            if line == "flush ruleset":
                self.tables.clear()
                continue
            found = _COMMAND.fullmatch(line)
            command = self._commands.get((found[1], found[2])) if found else None
            if found is None or command is None:
                raise ValueError(f"the model kernel does not know this nft command: {line}")
            command(found[3], found[4], found[5] or "")

    def element(self, verb: str, table: str, set: str, text: str) -> None:
        """Add or delete one element of a set of `table` (as `inet filter`). Raises OSError: ENOENT, EEXIST, EINVAL."""
        family, _, name = table.partition(" ")
        owner = self._table(family, name)
        target = owner.set(set)
        entry = target.parse(text)
        if verb == "delete":
            target.remove(entry)
            return
        if target.data == ("verdict",):
            _check_jumps(owner, entry.data[0])
        target.add(entry)

    def _table(self, family: str, name: str) -> Table:
        if (family, name) not in self.tables:
            raise FileNotFoundError(errno.ENOENT, "no such table", name)
        return self.tables[family, name]

    def _add_table(self, family: str, name: str, rest: str) -> None:
        self.tables.setdefault((family, name), Table())

    def _delete_table(self, family: str, name: str, rest: str) -> None:
        self._table(family, name)
        del self.tables[family, name]

    def _flush_table(self, family: str, name: str, rest: str) -> None:
        for chain in self._table(family, name).chains.values():
            chain.rules.clear()

    def _add_set(self, family: str, name: str, rest: str) -> None:
        found = _SET.fullmatch(rest)
        if found is None:
            raise ValueError(f"the model kernel cannot read this set: {rest}")
        flags = tuple(sorted(part.strip() for part in (found[4] or "").split(",") if part))
        new = NamedSet(_parts(found[2]), _parts(found[3] or ""), flags)
        old = self._table(family, name).sets.setdefault(found[1], new)
        if (old.type, old.data, old.flags) != (new.type, new.data, new.flags):
            raise FileExistsError(errno.EEXIST, "set exists with another type", found[1])

    def _delete_set(self, family: str, name: str, rest: str, noun: str = "set") -> None:
        table = self._table(family, name)
        table.set(rest, noun)
        if any(re.search(rf"@{re.escape(rest)}\b", text) for text in table.rule_texts()):
            raise OSError(errno.EBUSY, "set is used by a rule", rest)
        del table.sets[rest]

    def _delete_map(self, family: str, name: str, rest: str) -> None:
        self._delete_set(family, name, rest, "map")

    def _add_chain(self, family: str, name: str, rest: str) -> None:
        chain, _, spec = rest.partition(" ")
        found = _HOOK.fullmatch(spec)
        if spec and found is None:
            raise ValueError(f"the model kernel cannot read this chain: {rest}")
        hook = found.groups() if found else ()
        if self._table(family, name).chains.setdefault(chain, Chain(hook)).hook != hook:
            raise FileExistsError(errno.EEXIST, "chain exists with another hook", chain)

    def _delete_chain(self, family: str, name: str, rest: str) -> None:
        table = self._table(family, name)
        chain = table.chain(rest)
        others = [text for other in table.chains.values() if other is not chain for text, _ in other.rules]
        if any(rest in _targets(text) for text in (*others, *table.verdicts())):
            raise OSError(errno.EBUSY, "chain is jumped to", rest)
        del table.chains[rest]

    def _flush_chain(self, family: str, name: str, rest: str) -> None:
        self._table(family, name).chain(rest).rules.clear()

    def _add_rule(self, family: str, name: str, rest: str) -> None:
        chain, _, rule = rest.partition(" ")
        table = self._table(family, name)
        found = _COMMENTED.fullmatch(rule)
        text, comment = (found["text"], found["comment"]) if found else (rule, "")
        if len(comment.encode()) > _COMMENT_LIMIT:
            raise _invalid("comment too long", comment)
        for used in re.findall(r"@(\w+)", text):
            table.set(used)
        _check_jumps(table, text)
        table.chain(chain).rules.append((text, comment))

    def _add_elements(self, family: str, name: str, rest: str) -> None:
        set, _, text = rest.partition(" ")
        self.element("add", f"{family} {name}", set, text.removeprefix("{").removesuffix("}"))

    def _delete_elements(self, family: str, name: str, rest: str) -> None:
        set, _, text = rest.partition(" ")
        self.element("delete", f"{family} {name}", set, text.removeprefix("{").removesuffix("}"))

    # --- what is there ---

    def forward_chains(self) -> Iterator[ForwardChain]:
        """All base chains of the forward hook."""
        for (family, table), content in sorted(self.tables.items()):
            for name, chain in content.chains.items():
                if chain.hook[1:2] == ("forward",):
                    yield ForwardChain(family, table, name, chain.hook[3])

    def listing(self, name: str) -> tuple[Mapping[str, Any], ...] | None:
        """The table (as `inet filter`) as `nft -j list table` of nft 1.0.6 has it; None if there is none."""
        family, _, name = name.partition(" ")
        table = self.tables.get((family, name))
        if table is None:
            return None
        place = {"family": family, "table": name}
        items: list[Mapping[str, Any]] = [{"table": {"family": family, "name": name}}]
        items += [{item.noun: place | _set_json(key, item)} for key, item in table.sets.items()]
        items += [{"chain": place | _chain_json(key, item)} for key, item in table.chains.items()]
        items += [
            {"rule": place | {"chain": key, "expr": []} | ({"comment": comment} if comment else {})}
            for key, chain in table.chains.items()
            for _, comment in chain.rules
        ]
        return tuple(items)

    def lines(self) -> Iterator[str]:
        """The nft commands that make this."""
        for (family, table), content in sorted(self.tables.items()):
            place = f"{family} {table}"
            yield f"add table {place}"
            for name, chain in content.chains.items():
                hook = "type {} hook {} priority {}; policy {};".format(*chain.hook) if chain.hook else ""
                yield f"add chain {place} {name}" + (f" {{ {hook} }}" if hook else "")
            for name, item in sorted(content.sets.items()):
                types = " . ".join(item.type) + (f" : {' . '.join(item.data)}" if item.data else "")
                flags = f"flags {', '.join(item.flags)}; " if item.flags else ""
                yield f"add {item.noun} {place} {name} {{ type {types}; {flags}}}"
                for text in sorted(map(item.spell, item.elements.values())):
                    yield f"add element {place} {name} {{ {text} }}"
            for name, chain in content.chains.items():
                for text, comment in chain.rules:
                    yield f"add rule {place} {name} {text}" + (f' comment "{comment}"' if comment else "")


def _invalid(why: str, text: str) -> OSError:
    return OSError(errno.EINVAL, why, text)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(" . ")) if text else ()


def _targets(text: str) -> list[str]:
    return re.findall(r"\b(?:jump|goto) (\S+)", text)


def _check_jumps(table: Table, text: str) -> None:
    for target in _targets(text):
        table.chain(target)


def _bounds(kind: str, text: str) -> Bounds:
    """The first and last value of what `text` says, in a form that can be compared."""
    try:
        if kind in ("ipv4_addr", "ipv6_addr"):
            if "/" in text:
                network = ip_network(text)
                return network[0], network[-1]
            first, _, last = text.partition("-")
            return ip_address(first), ip_address(last or first)
        if kind == "inet_service":
            first, _, last = text.partition("-")
            return int(first), int(last or first)
    except ValueError as error:
        raise _invalid(str(error), text) from error
    if kind == "ifname":
        plain = text.strip('"')
        if plain == text and (not _WORD.fullmatch(text) or text in _KEYWORDS):
            raise _invalid("syntax error: a name that has to be quoted", text)
        return plain, plain
    return text, text


def _spell(kind: str, first: Any, last: Any, quote: str = "") -> str:
    if kind == "ifname":
        return f"{quote}{first}{quote}"
    if first == last:
        return str(first)
    networks = list(summarize_address_range(first, last)) if kind.startswith("ipv") else []
    return str(networks[0]) if len(networks) == 1 else f"{first}-{last}"


def _overlap(one: tuple[Bounds, ...], other: tuple[Bounds, ...]) -> bool:
    return all(a[0] <= b[1] and b[0] <= a[1] for a, b in zip(one, other, strict=True))


# --- libnftables-json(5) ---------------------------------------------------------------------------------------------


def _set_json(name: str, item: NamedSet) -> dict[str, Any]:
    body: dict[str, Any] = {"name": name, "type": item.type[0] if len(item.type) == 1 else list(item.type)}
    if item.data:
        body["map"] = " . ".join(item.data)
    if item.flags:
        body["flags"] = list(item.flags)
    if item.elements:
        body["elem"] = [_entry_json(item, entry) for entry in item.elements.values()]
    return body


def _chain_json(name: str, chain: Chain) -> dict[str, Any]:
    if not chain.hook:
        return {"name": name}
    type, hook, priority, policy = chain.hook
    return {"name": name, "type": type, "hook": hook, "prio": int(priority), "policy": policy}


def _entry_json(item: NamedSet, entry: Entry) -> Any:
    match = _concat([_value_json(kind, *bounds) for kind, bounds in zip(item.type, entry.match, strict=True)])
    if entry.comment:
        match = {"elem": {"val": match, "comment": entry.comment}}
    if not item.data:
        return match
    if item.data == ("verdict",):
        verdict, _, target = entry.data[0].partition(" ")
        return [match, {verdict: {"target": target} if target else None}]
    data = [_value_json(kind, *_bounds(kind, part)) for kind, part in zip(item.data, entry.data, strict=True)]
    return [match, _concat(data)]


def _concat(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else {"concat": values}


def _value_json(kind: str, first: Any, last: Any) -> Any:
    if first == last:
        return first if kind == "inet_service" else str(first)
    text = _spell(kind, first, last)
    if "/" in text:
        address, _, length = text.partition("/")
        return {"prefix": {"addr": address, "len": int(length)}}
    return {"range": [first, last] if kind == "inet_service" else [str(first), str(last)]}
