"""What the kernel tells by itself, as the agent hears it."""

from __future__ import annotations

import subprocess

from reconciler.kernel.live import LiveKernel
from reconciler.kinds import places


def test_what_changes_between_a_look_and_getting_to_know_the_links_is_heard(kernel: LiveKernel) -> None:
    def ip(arguments: str) -> None:
        subprocess.run(["ip", *arguments.split()], check=True)

    monitor = kernel.monitor(frozenset())
    try:
        kernel.acquaint(monitor, frozenset())
        ip("link add br-one type bridge")
        ip("link set br-one up")
        assert places.link("br-one") in monitor.read()
        ip("link set br-one down")
        ip("link add br-two type bridge")
        kernel.acquaint(monitor, frozenset())
        assert {places.link("br-one"), places.link("br-two")} <= monitor.read()
        kernel.acquaint(monitor, frozenset())
        assert monitor.read() == frozenset()
    finally:
        monitor.close()
