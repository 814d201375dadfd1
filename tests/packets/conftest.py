"""Fixtures for tests that send packets. The process is in a scratch namespace already (tests/conftest.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.packets.world import Traces, World


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fails when the test leaves a namespace, link, thread, child process or socket behind."""
    before = Traces.now()
    yield
    assert Traces.now().added_since(before) == []


@pytest.fixture
def world(nothing_left: None) -> Iterator[World]:
    """A fresh world, gone after the test."""
    with World() as made:
        yield made
