"""Containers given by a process that is not there yet, or not any more."""

from __future__ import annotations

from tests.cli.host import Host, absent_pid, until

FILE = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24]
    containers:
      web:
        attach: {pid: %d}
        addresses: [10.88.0.10]
        ports: ["8080:80"]
      db: {addresses: [10.88.0.11], ports: ["5432:5432"]}
"""


def test_a_container_that_is_not_there_waits_and_the_rest_goes_on(host: Host) -> None:
    pid = absent_pid()
    host.write(FILE % pid)
    answer = host.reconcile()
    assert (answer.code, answer.err) == (0, "")
    assert f"? container web on br-web waits for process {pid}" in answer.out
    assert "1 still awaited" in answer.out
    assert host.reconcile("ports").out.count("0.0.0.0") == 1
    assert "0.0.0.0:5432" in host.reconcile("ports").out
    again = host.reconcile("--dry-run", "--detailed-exitcode")
    assert again.code == 0
    assert f"waits for process {pid}" in again.out
    assert "waiting" in host.reconcile("status").out


def test_when_the_process_is_there_the_next_run_completes(host: Host) -> None:
    host.write(FILE % absent_pid())
    host.reconcile()
    process = host.inhabited_namespace()
    host.write(FILE % process.pid)
    answer = host.reconcile()
    assert answer.code == 0
    assert "wait" not in answer.out
    assert "10.88.0.10/24" in host.run(f"nsenter --target {process.pid} --net ip address show eth0")
    assert "0.0.0.0:8080" in host.reconcile("ports").out
    assert host.reconcile("--dry-run", "--detailed-exitcode").code == 0


def test_when_the_process_ends_the_next_run_closes_its_ports(host: Host) -> None:
    process = host.inhabited_namespace()
    host.write(FILE % process.pid)
    host.reconcile()
    process.kill()
    process.wait()
    until(lambda: not any(name.startswith("web-") for name in host.links()))
    answer = host.reconcile()
    assert (answer.code, answer.err) == (0, "")
    assert "-     port       8080/tcp → 10.88.0.10:80  what it needs is not there" in answer.out
    assert f"waits for process {process.pid}" in answer.out
    assert "8080" not in host.reconcile("ports").out
    assert host.reconcile("--dry-run", "--detailed-exitcode").code == 0


def test_down_leaves_the_process_its_namespace_and_takes_the_link(host: Host) -> None:
    process = host.inhabited_namespace()
    host.write(FILE % process.pid)
    host.reconcile()
    assert host.reconcile("down").code == 0
    assert host.links() == {"lo"}
    assert process.poll() is None
    assert "eth0" not in host.run(f"nsenter --target {process.pid} --net ip link")
