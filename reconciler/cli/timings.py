"""--timings: what each phase of a command took.

Every moment belongs to one phase: `lap` gives the time since the last one to the phase that has just ended, so that the lines add up
to the whole. Waiting for the kernel is told apart from our own work by `Timed`, which stands between a command and its kernel.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.core.messages import Outcome, Request, Scope, Snapshot
    from reconciler.kernel.live import LiveKernel

PHASES = {
    "start": "Python, imports",
    "file": "read, check, lower",
    "look": "what is there",
    "plan": "decode, compare, order",
    "print": "",
    "write": "requests to the kernel",
    "end": "",
}
"""The phases, in the order of the report, and what is in them."""


class _Clock:
    def __init__(self) -> None:
        self.spans: dict[str, float] = {}
        self.times: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.last = time.perf_counter()


_clock = _Clock()


def begin() -> None:
    """A command begins. What the process did before, it did to start: its processor time stands for that."""
    global _clock
    _clock = _Clock()
    _clock.spans["start"] = time.process_time()


def lap(phase: str) -> None:
    """The time since the last lap was that of `phase`, one of PHASES."""
    now = time.perf_counter()
    _clock.spans[phase] = _clock.spans.get(phase, 0.0) + now - _clock.last
    _clock.last = now


class Timed:
    """The live kernel, with the time that it takes told apart."""

    def __init__(self, kernel: LiveKernel) -> None:
        self._kernel = kernel

    def observe(self, scope: Scope) -> Snapshot:
        """LiveKernel.observe"""
        lap("plan")
        before = self._kernel.sent.total()
        try:
            return self._kernel.observe(scope)
        finally:
            self._ended("look", before)

    def submit(self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None) -> Outcome:
        """LiveKernel.submit"""
        lap("plan")
        before = self._kernel.sent.total()
        try:
            return self._kernel.submit(requests, on_progress)
        finally:
            self._ended("write", before)

    def generation(self) -> int:
        """LiveKernel.generation"""
        return self._kernel.generation()

    def _ended(self, phase: str, messages: int) -> None:
        lap(phase)
        _clock.times[phase] += 1
        _clock.messages[phase] += self._kernel.sent.total() - messages


def report() -> str:
    """The lines of the report, ending in a newline."""
    lap("end")
    lines = [_line(phase, _clock.spans[phase], _about(phase)) for phase in PHASES if phase in _clock.spans]
    return "".join([*lines, _line("total", sum(_clock.spans.values()), "")])


def _line(phase: str, seconds: float, about: str) -> str:
    return f"reconcile: {phase:<6}{seconds * 1000:9.1f} ms  {about}".rstrip() + "\n"


def _about(phase: str) -> str:
    count = _clock.times[phase]
    if not count:
        return PHASES[phase]
    times = f"{count} times, " if count > 1 else ""
    return f"{PHASES[phase]}: {times}{_clock.messages[phase]} messages"
