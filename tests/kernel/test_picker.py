"""What a Picker cuts out is what a walk over the message finds, whichever messages came before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.kernel import wire

PATHS = ((1,), (2, 1), (2, 3), (2, 4, 1), (5,))
START = 4

payloads = st.binary(max_size=9)


@st.composite
def attributes(draw: st.DrawFn, depth: int = 3) -> bytes:
    """Attributes one behind the other, some with attributes inside, of which one type may come twice."""
    made = b""
    for kind in draw(st.lists(st.integers(1, 6), max_size=4)):
        inside = depth and kind in (2, 4)
        made += wire.attribute(
            kind | draw(st.sampled_from((0, 0x8000))), draw(attributes(depth - 1) if inside else payloads)
        )
    return made


messages = st.builds(lambda head, body: head + body, st.binary(min_size=START, max_size=START), attributes())
anything = st.builds(lambda head, body: head + body, st.binary(min_size=START, max_size=START), st.binary(max_size=60))


def walked(data: bytes, path: tuple[int, ...]) -> bytes:
    """The payload at `path`, by one walk for each of its types."""
    at = START
    for kind in path:
        data = wire.pick(data, at, len(data), (kind,)).get(kind, b"")
        at = 0
    return data


@given(st.lists(messages | anything, min_size=1, max_size=6))
def test_a_picker_finds_what_a_walk_finds(seen: list[bytes]) -> None:
    pick = wire.Picker(START, *PATHS)
    for data in (*seen, *seen):
        assert pick(data) == tuple(walked(data, path) for path in PATHS)


@given(attributes(), st.binary(min_size=START, max_size=START))
def test_a_message_laid_out_like_an_earlier_one_is_not_walked(body: bytes, head: bytes) -> None:
    """It is cut by what was learned of the other, though all that it says may be another thing."""
    pick = wire.Picker(START, *PATHS)
    pick(bytes(START) + body)
    kept = pick._kept
    assert pick(head + body) == tuple(walked(head + body, path) for path in PATHS)
    assert pick._kept == kept


def test_layouts_are_kept_up_to_a_bound() -> None:
    pick = wire.Picker(START, *PATHS)
    for size in range(2 * pick._MOST):
        message = bytes(START) + wire.attribute(1, b"x" * 4 * size)
        assert pick(message)[0] == b"x" * 4 * size
    assert pick._kept == pick._MOST
