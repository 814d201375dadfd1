"""Processes, told from those that get their number later."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from reconciler.core.messages import Scope
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.processes import Process
from tests.support.standin import StandIns

WEB = "docker:web"


class Said:
    """Says always the same."""

    def __init__(self, found: dict[str, Process]) -> None:
        self._found = found

    def find(self, names: object) -> dict[str, Process]:
        return self._found


def test_a_process_lives_until_it_ends_and_a_zombie_does_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    process = Process.of(child.pid)
    assert process.lives()
    assert Process.of(child.pid) == process
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.lives()
    with pytest.raises(ProcessLookupError):
        Process.of(child.pid)
    child.wait()
    assert not process.lives()
    with pytest.raises(ProcessLookupError):
        Process.of(child.pid)


def test_one_that_was_started_at_another_time_is_another() -> None:
    own = Process.of(os.getpid())
    assert own.lives()
    assert not Process(own.pid, own.started - 1).lives()


def test_a_name_with_parentheses_and_spaces_is_no_matter() -> None:
    code = "open('/proc/self/comm', 'w').write(') Z 1 (x'); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert Process.of(child.pid).lives()
    child.communicate()


def test_the_namespace_of_a_number_that_is_anothers_by_now_is_not_opened() -> None:
    with StandIns(WEB) as containers:
        process = Process.of(containers.pid(WEB))
        scope = Scope(namespaces=frozenset({WEB}))
        with LiveKernel(containers=Said({WEB: process})) as kernel:
            assert WEB in kernel.observe(scope).namespaces
        with LiveKernel(containers=Said({WEB: Process(process.pid, process.started - 1)})) as kernel:
            assert WEB not in kernel.observe(scope).namespaces
