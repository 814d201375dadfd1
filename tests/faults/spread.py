"""Tries that know nothing of each other, on as many hosts at a time as there are processors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from tests.faults.host import FaultyHost
from tests.faults.plans import Way
from tests.faults.scene import Scene, scene

Case = TypeVar("Case")
Result = TypeVar("Result")


@contextmanager
def scenes(folder: Path, way: Way) -> Iterator[list[Scene]]:
    """The scene of `way` on several hosts. Raises NoScratch."""
    with ExitStack() as stack:
        made = []
        for number in range(min(4, os.cpu_count() or 1)):
            own = folder / str(number)
            own.mkdir()
            made.append(scene(stack.enter_context(FaultyHost(own)), way))
        yield made


def spread(stages: list[Scene], attempt: Callable[[Scene, Case], Result], cases: Iterable[Case]) -> list[Result]:
    """What `attempt` says of each case, in their order. The hosts are processes: a thread for each only waits for it."""
    free: SimpleQueue[Scene] = SimpleQueue()
    for stage in stages:
        free.put(stage)

    def one(case: Case) -> Result:
        stage = free.get()
        try:
            return attempt(stage, case)
        finally:
            free.put(stage)

    with ThreadPoolExecutor(len(stages)) as pool:
        return list(pool.map(one, cases))
