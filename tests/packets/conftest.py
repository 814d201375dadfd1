"""Fixtures for tests that send packets. The process is in a scratch namespace already (tests/conftest.py)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.packets.site")

from tests.packets.site import Site  # noqa: E402
from tests.packets.world import Namespace, Traces, World  # noqa: E402


@contextlib.contextmanager
def leaving_nothing() -> Iterator[None]:
    """Fails when a namespace, link, thread, child process or socket is left behind."""
    before = Traces.now()
    yield
    assert Traces.now().added_since(before) == []


@contextlib.contextmanager
def site_of(world: World) -> Iterator[Site]:
    """The reconciler on the host of `world`; in the end all that it made is removed, and nothing is left."""
    made = Site(world)
    try:
        yield made
        made.down()
    finally:
        made.close()


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fails when the test leaves a namespace, link, thread, child process or socket behind."""
    with leaving_nothing():
        yield


@pytest.fixture
def world(nothing_left: None) -> Iterator[World]:
    """A fresh world, gone after the test."""
    with World() as made:
        yield made


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    """The reconciler on the host of a fresh world."""
    with site_of(world) as made:
        yield made


def set_bridge_netfilter(host: Namespace, value: int) -> None:
    """Has bridged frames pass the firewall (1) or not. Skips the test where the kernel cannot."""
    for version in ("ip", "ip6"):
        name = f"net/bridge/bridge-nf-call-{version}tables"
        if host.has_sysctl(name):
            host.sysctl(name, value)
        elif value:
            pytest.skip(f"this kernel has no {name} (module br_netfilter)")


@pytest.fixture(params=[0, 1], ids=lambda value: f"br_netfilter={value}")
def bridge_netfilter(request: pytest.FixtureRequest, world: World) -> int:
    """The test is run with bridged frames passing the firewall, and with them not passing it."""
    value: int = request.param
    set_bridge_netfilter(world.host, value)
    return value
