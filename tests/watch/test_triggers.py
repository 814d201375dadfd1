"""What wakes the agent, by itself."""

from __future__ import annotations

import os

import pytest

from reconciler.watch.triggers import Processes


def test_of_a_process_that_is_no_matter_any_more_no_descriptor_stays_open() -> None:
    processes = Processes()
    (opened,), gone = processes.watch(frozenset({os.getpid()}))
    assert (processes.pid(opened), gone) == (os.getpid(), frozenset())
    assert processes.watch(frozenset()) == (frozenset(), {opened})
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened)
    processes.close()
