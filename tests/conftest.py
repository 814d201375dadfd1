"""The whole test process moves into namespaces of its own before anything else happens: no test can reach this machine's network.

Workers of pytest-xdist load this too, and each gets a scratch of its own inside.
"""

from __future__ import annotations

import pytest

from reconciler import scratch
from reconciler.errors import PlatformError

try:
    scratch.enter()
    _reason = ""
except PlatformError as error:
    _reason = str(error)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without scratch namespaces, tests that touch a kernel are skipped, and say why."""
    if _reason:
        for item in items:
            if any(
                part in item.nodeid
                for part in ("/packets/", "/kernel/", "/cli/", "/runtimes/", "real_kernel", "examples", "leaves")
            ):
                item.add_marker(pytest.mark.skip(reason=_reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what tests counted: how many boundaries, refusals and losses were tried, also by workers of pytest-xdist."""
    for report in terminalreporter.getreports(""):
        if report.when == "teardown":
            for name, line in report.user_properties:
                if name == "counted":
                    terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {line}")
