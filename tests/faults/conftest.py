"""Hosts of their own for these tests, served by processes that they start and end (tests/faults/server.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.host import FaultyHost, NoScratch
from tests.faults.plans import WAYS
from tests.faults.scene import Scene
from tests.faults.spread import scenes


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FaultyHost]:
    """A host with nothing on it."""
    try:
        made = FaultyHost(tmp_path)
    except NoScratch as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture(params=WAYS.values(), ids=WAYS, scope="package")
def stages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    """One way from a file to another, on several hosts."""
    try:
        with scenes(tmp_path_factory.mktemp("hosts"), request.param) as made:
            yield made
    except NoScratch as error:
        pytest.skip(str(error))


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Iterator[list[str]]:
    """Where a test says what it counted, for the end of the run (tests/conftest.py)."""
    own: list[str] = []
    yield own
    for line in own:
        record_property("counted", line)
