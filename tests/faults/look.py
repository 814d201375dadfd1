"""All there is on a host, as text to compare, seen by ip(8), nft(8) and the files: not by the tool's own eyes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.ruleset import without_handles

NETNS = Path("/run/netns")
_FLEETING = re.compile(
    r"ifindex|link_index|link_netnsid|iflink|operstate|linkmode|stats(64)?|promiscuity|allmulti|num_[tr]x_queues|carrier.*|"
    r".*_timer|timer|message_age|state|designated_.*|id|cost|qdisc|root_.*|port_id|no|topology_change.*|fdb_n_learned|tentative|dadfailed|optimistic"
)
"""What the kernel changes by itself, or numbers as it likes."""
_LOUD = frozenset({"nf_conntrack_count", "stable_secret", "flush", "nf_conntrack_buckets", "nf_conntrack_max"})


def state(*, settings: bool = True) -> list[str]:
    """One line for each thing: links, addresses, routes and rules of every namespace, settings, nftables, mounts, files."""
    names = sorted(path.name for path in NETNS.iterdir() if _is_mounted_on(path)) if NETNS.is_dir() else []
    lines = [f"netns {name}: {line}" for name in ("", *names) for line in _namespace(name)]
    lines += [f"nft {line}" for line in _rules()]
    lines += [f"mount {line}" for line in _mounts()]
    lines += [f"file {line}" for line in _files()]
    if settings:
        lines += [f"sysctl {line}" for line in _settings(Path("/proc/sys/net"))]
    return lines


def _is_mounted_on(path: Path) -> bool:
    return path.lstat().st_dev != path.parent.stat().st_dev


def _namespace(name: str) -> Iterator[str]:
    command = ["ip", *(["-n", name] if name else []), "-j", "-d", "-batch", "-"]
    asked = "address show\nroute show table all\nrule show\n"
    said = subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout
    links, routes, rules = _documents(said)
    for link in sorted(links, key=lambda one: str(one.get("ifname"))):
        addresses = link.pop("addr_info", [])
        link["flags"] = sorted(set(link["flags"]) & {"UP"})
        yield f"link {_line(link)}"
        yield from sorted(f"address {link['ifname']} {_line(one)}" for one in addresses if one["scope"] != "link")
    yield from sorted(f"route {_line(one)}" for one in routes if not _by_itself(one))
    yield from sorted(f"rule {_line(one)}" for one in rules)


def _documents(text: str) -> list[Any]:
    """The JSON documents that stand behind one another in `text`."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        found.append(document)
    return found


def _by_itself(route: dict[str, Any]) -> bool:
    """Whether it comes and goes with an address, and at its own time."""
    route.pop("flags", None)
    return str(route.get("dst", "")).startswith(("fe80", "ff00")) or route.get("table") == "local"


def _line(value: Any) -> str:
    return json.dumps(_lasting(value), sort_keys=True)


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if not _FLEETING.fullmatch(key)}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def _rules() -> list[str]:
    said = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    lines, places = [], dict[tuple[str, ...], int]()
    for item in json.loads(said)["nftables"]:
        place = ""
        if "rule" in item:  # of rules, the order in their chain counts
            chain = tuple(str(item["rule"][part]) for part in ("family", "table", "chain"))
            places[chain] = places.get(chain, 0) + 1
            place = f"{places[chain]:03} "
        lines.append(place + json.dumps(without_handles(item), sort_keys=True))
    return sorted(lines)


def _mounts() -> list[str]:
    """Where something is mounted below /run, and of what kind."""
    lines = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return sorted(f"{words[4]} {words[words.index('-') + 1]}" for words in lines if words[4].startswith("/run"))


def _files() -> Iterator[str]:
    """The files below /run with what is in them; of a lock that it is there, since who held it last is no state."""
    for path in sorted(Path("/run").rglob("*")):
        if path.is_dir() or path.suffix == ".lock" or _is_mounted_on(path):
            yield re.sub(r"-\d+\.lock$", "-N.lock", str(path))  # the number is the namespace's
        else:
            yield f"{path} {path.read_bytes()[:200]!r}"


def _settings(folder: Path) -> Iterator[str]:
    """All settings of the host's namespace."""
    for root, _, names in sorted(os.walk(folder)):
        if "/neigh/" in root:
            continue
        for name in sorted(set(names) - _LOUD):
            path = f"{root}/{name}"
            try:
                with open(path, "rb") as file:
                    yield f"{path} {file.read().decode(errors='replace').strip()}"
            except OSError:
                continue
