"""Files that nobody would write: read or refused, in less than a second each, and never a word of them for nftables to take as its own.

FUZZ=100000 tries so many (some minutes), FUZZ_SEED others than the same ones.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ManifestError
from reconciler.lower import lower
from reconciler.manifest import loads
from tests.manifest.nft_words import misread, requests_of

COUNT = int(os.environ.get("FUZZ", "1000"))
SEED = int(os.environ.get("FUZZ_SEED", "4"))
LIMIT = 1.0
"""Seconds of processor time for one file."""

ROOT = Path(__file__).parents[2]
GOOD = [path.read_text() for path in sorted((ROOT / "examples").glob("*.yaml"))]
BAD = [path.read_bytes() for path in sorted((Path(__file__).parent / "bad").rglob("*.yaml"))]
TEXTS = [
    "br-web", "web", "10.88.0.1/24", "fd00:88::1/64", "8080:80", "1-65535:1-65535/udp", "1-65534:2-65535", "net.ipv4.ip_forward",
    "02:00:00:00:00:01", "default", "yes", "~", "0x7f", "1e999", ".nan", "9" * 400, "", " ", "\n", "\r\n", "\t",
    # nftables' own words, and what ends a string or a command
    '"', '\\"', "'", "`", "; flush ruleset;", "} ; add table inet x {", '" } ; flush ruleset #', "$var", "@within", "include \"/etc/x\"",
    "accept", "drop", "goto only_open", "comment", "*", "br*", "# comment", "\\", "<<", "%s%n", "$(reboot)", "`reboot`", "../../etc/passwd",
    # what a terminal or an eye takes for something else
    "\x1b[2J", "\x00", "\x07", "\x7f", "\x85", "\u2028", "\u202e10.88.0.1", "\u200b", "\ufeff", "\ufffe", "\U000e0041", "é", "е", "𝕨𝕖𝕓",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "a" * 15, "ä" * 8, "x" * 300, "-", "--", "-f", ".", "..", "lo", "all",
]  # fmt: skip
MARKS = "[]{}:,-?&*!|>'\"%@`#\n\t <~\\;$="
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp037", "utf-7", "shift_jis")


class Hang(Exception):
    """It took too long."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Hang in what takes more of the processor's time."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def test_no_file_is_more_than_read_or_refused(
    record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes, slowest = Counter[str](), (0.0, -1)
    for number in range(COUNT):
        data = made(random.Random(SEED * 1_000_003 + number))
        began = time.process_time()
        try:
            with limited(LIMIT):
                outcomes[judged(data)] += 1
        except Exception as error:
            raise AssertionError(
                f"file {number} of seed {SEED}: {type(error).__name__}: {error}\n{data[:2000]!r}"
            ) from error
        slowest = max(slowest, (time.process_time() - began, number))
    record_property("outcomes", dict(outcomes))
    with capsys.disabled():
        print(
            f"\n{COUNT} files of seed {SEED}: {dict(outcomes)}; the slowest took {slowest[0]:.2f} s (file {slowest[1]})"
        )
    assert {"read", "refused"} <= set(outcomes)


def judged(data: bytes) -> str:
    """What came of a file: "read" or "refused". Raises for anything else."""
    try:
        document = loads(data, "f.yaml")
    except ManifestError as error:
        lines = str(error).split("\n")
        assert lines
        assert all(line.isprintable() and line.startswith("f.yaml:") for line in lines)
        return "refused"
    state = lower(document, "this host")
    assert misread(document.name, requests_of(state)) == []
    return "read"


# --- the files -------------------------------------------------------------------------------------------------------


def made(chance: random.Random) -> bytes:
    """A file."""
    match chance.randrange(10):
        case 0:
            return chance.randbytes(chance.randrange(400))
        case 1:
            return "".join(chance.choice(MARKS) for _ in range(chance.randrange(400))).encode()
        case 2:
            return chance.choice(BAD)[: chance.randrange(4000)]
        case 3:
            return deep(chance).encode()
        case 4 | 5:
            text = chance.choice(GOOD)
            return slipped(text.encode(chance.choice(ENCODINGS), "replace"), chance, chance.randrange(3))
        case _:
            return slipped(
                replaced(chance.choice(GOOD), chance).encode("utf-8", "replace"), chance, chance.randrange(2)
            )


def deep(chance: random.Random) -> str:
    """Much of the same: nested, repeated, or standing for much more than it is."""
    times = chance.choice((10, 100, 1000, 5000))
    many = [
        "[" * times,
        "{a: " * times,
        "- " * times,
        "? " * times,
        "a: 1\n" * times,
        "&a " * times + "x",
        "!!str " * times + "x",
        "\n".join(f"k{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]" for n in range(min(times, 30))),
        "version: 1\nbridges:\n"
        + "".join(f"  b{n}: {{addresses: [10.0.{n % 256}.1/16]}}\n" for n in range(times // 5)),
        "version: 1\nx-a: &a {addresses: [10.0.0.1/8], containers: {c: {}}}\nbridges: {"
        + ", ".join(f"b{n}: *a" for n in range(times // 5))
        + "}",
        "version: 1\nbridges:\n  b:\n    addresses: [10.0.0.1/8]\n    containers:\n"
        + "".join(f"      c{n}: {{ports: ['{n + 1}-{n + 50}:1-50']}}\n" for n in range(times // 5)),
        "# " + "x" * times * 20,
        "a: " + chance.choice(("'", '"', "|\n ", ">\n ")) + "\\n x" * times,
    ]
    return chance.choice(many)


def replaced(text: str, chance: random.Random) -> str:
    """`text` with some of its words exchanged for others, plain or in quotes."""
    words = text.split(" ")
    for _ in range(chance.randrange(1, 5)):
        new = chance.choice(TEXTS)
        if chance.random() < 0.6:
            new = quoted(new)
        place = chance.randrange(len(words))
        old = words[place]
        core = old.strip(",:[]{}\n")
        instead = old.replace(core, new) if core else new
        words[place] = chance.choice((new, old + new, new + ":", f"{new}: {{}}\n", instead, instead, instead))
    return " ".join(words)


def quoted(text: str) -> str:
    """As YAML writes what is not plain."""
    inner = "".join(one if one.isprintable() and one not in '"\\' else f"\\U{ord(one):08x}" for one in text)
    return f'"{inner}"'


def slipped(data: bytes, chance: random.Random, times: int) -> bytes:
    """`data` with bytes lost, doubled, or exchanged."""
    for _ in range(times):
        first = chance.randrange(len(data) + 1)
        last = min(len(data), first + chance.choice((0, 1, 1, 2, 40)))
        new: Any = chance.choice(
            (b"", chance.randbytes(2), data[first:last] * 2, chance.choice(TEXTS).encode("utf-8", "replace"))
        )
        data = data[:first] + new + data[last:]
    return data
