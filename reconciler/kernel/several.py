"""One thing done to many items by a few threads: for calls that mostly wait in the kernel, and that it lets wait together.

The threads begin where the caller is (namespaces(7): setns moves one thread only), and have ended when it goes on: none is there to be
forked or unshared beside.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def attempts(action: Callable[[T], None], items: Sequence[T], threads: int) -> Sequence[OSError | None]:
    """Does `action` to all `items`, begun in their order. Returns for each why that failed, None if it did not.

    What else it raises, or an interrupt, ends it all: what is begun is finished, and then that is raised.
    """
    todo = deque(range(len(items)))
    refusals: list[OSError | None] = [None] * len(items)
    ends: list[BaseException] = []

    def work() -> None:
        while todo:
            try:
                place = todo.popleft()
            except IndexError:  # another was quicker
                return
            try:
                action(items[place])
            except OSError as error:
                refusals[place] = error
            except BaseException as end:
                ends.append(end)
                todo.clear()

    crew: list[threading.Thread] = []
    try:
        for _ in range(min(threads, len(items)) - 1):
            helper = threading.Thread(target=work)
            try:
                helper.start()
            except RuntimeError:  # no more threads are allowed (pids.max, RLIMIT_NPROC): it takes longer
                break
            crew.append(helper)
        work()
    finally:
        todo.clear()
        for helper in crew:
            helper.join()
    if ends:
        raise ends[0]
    return refusals
