"""Each of these tests has a kernel of its own to write to: a fresh network namespace and an empty /run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.kernel.live import LiveKernel
from tests.support.scratch import ScratchUnavailable, enter_scratch


@pytest.fixture(autouse=True)
def _scratch() -> None:
    try:
        enter_scratch()
    except ScratchUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def kernel() -> Iterator[LiveKernel]:
    """The running kernel, seen from the scratch namespace."""
    with LiveKernel() as live:
        yield live
