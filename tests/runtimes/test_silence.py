"""Of a container nothing can be said, since its engine does not answer: what is there of it stays, whatever else happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler import reconcile
from reconciler.core.resource import State
from reconciler.errors import RolledBackError
from reconciler.kernel.live import LiveKernel
from reconciler.lower import lower
from reconciler.manifest import loads
from tests.cli.host import Host
from tests.support.standin import StandIns

FILE = """
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24]
    icc: false
    containers:
      web: {attach: {docker: web}, addresses: [10.88.0.10], ports: ["8080:80"]}
      db: {addresses: [10.88.0.11]}
"""
REFUSED = FILE.replace("db: {", 'db: {sysctls: {net.ipv4.ip_local_port_range: "9000 1000"}, ports: ["81:81"], ')


@pytest.fixture
def containers(host: Host) -> Iterator[StandIns]:
    """One container that runs."""
    with StandIns("docker:web") as made:
        yield made


@pytest.fixture
def kernel(containers: StandIns) -> Iterator[LiveKernel]:
    """A host on which the file was applied."""
    with LiveKernel(containers=containers) as made:
        apply(made, desired(FILE))
        yield made


def desired(text: str) -> State:
    return lower(loads(text, "net.yaml"), "this host")


def apply(kernel: LiveKernel, wish: State) -> None:
    plan, view = reconcile.plan(kernel, wish, "default")
    reconcile.apply(kernel, wish, plan, view.found)


def test_nothing_changes_and_the_note_says_why(host: Host, kernel: LiveKernel, containers: StandIns) -> None:
    before = host.state()
    containers.silent = "Docker is silent"
    plan, _ = reconcile.plan(kernel, desired(FILE), "default")
    assert plan.steps == ()
    assert {item.missing.name for item in plan.pending} == {"docker:web"}
    assert [note.text for note in plan.notes if "silent" in note.text] != []
    apply(kernel, desired(FILE))
    assert host.state() == before


def test_what_is_undone_meanwhile_is_something_else(host: Host, kernel: LiveKernel, containers: StandIns) -> None:
    before = host.state()
    containers.silent = "Docker is silent"
    with pytest.raises(RolledBackError):
        apply(kernel, desired(REFUSED))
    assert host.state() == before


def test_what_is_taken_out_of_the_file_goes(host: Host, kernel: LiveKernel, containers: StandIns) -> None:
    containers.silent = "Docker is silent"
    without = FILE.replace(next(line for line in FILE.splitlines(True) if "docker" in line), "")
    apply(kernel, desired(without))
    assert not [name for name in host.links() if name.startswith("web-")]
    assert "8080" not in host.state()


def test_a_process_that_has_ended_keeps_nothing(host: Host, kernel: LiveKernel, containers: StandIns) -> None:
    containers.stop("docker:web")
    apply(kernel, desired(FILE))
    assert not [name for name in host.links() if name.startswith("web-")]
    assert "8080" not in host.state()
