"""`reconcile sandbox`: the main job with no root and no risk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.cli.host import ROOT, WEB, Host, absent_pid, environment, until
from tests.support.tun import needs_tun


def test_the_command_runs_in_the_applied_sandbox_and_stdout_is_its_own(host: Host) -> None:
    host.write(WEB)
    before = host.state()
    answer = host.child(
        "sandbox", "--exec", "ip -brief link show br-web >/dev/null && ls /run/netns && reconcile --dry-run"
    )
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "db\nsandbox-client\nsandbox-gateway\nweb\nNothing to do: this host is as the file says.\n"
    assert host.state() == before


@pytest.mark.parametrize(
    ("command", "code"), [("true", 0), ("exit 42", 42), ("kill -9 $$", 137), ("no-such-command", 127)]
)
def test_the_exit_code_of_the_command_passes_through(host: Host, command: str, code: int) -> None:
    host.write(WEB)
    assert host.child("sandbox", "--bare", "--exec", command).code == code


def test_bare_leaves_applying_to_the_command(host: Host) -> None:
    host.write(WEB)
    answer = host.child(
        "sandbox", "--bare", "--exec", "ls /run/netns; reconcile --dry-run --detailed-exitcode >/dev/null"
    )
    assert (answer.code, answer.out) == (2, "sandbox-client\nsandbox-gateway\n")


def test_the_client_reaches_what_is_published(host: Host) -> None:
    host.write(WEB)
    ask = (
        'ip netns exec web python3 -c \'import socket; s = socket.create_server(("10.88.0.10", 80)); print(flush=True);'
        ' s.accept()[0].sendall(b"hello")\' | (read _; ip netns exec sandbox-client python3 -c'
        " 'import socket; print(socket.create_connection((\"192.0.2.2\", 8080), 5).recv(9).decode())')"
    )
    answer = host.child("sandbox", "--exec", ask)
    assert (answer.code, answer.out) == (0, "hello\n")


def test_a_wrong_file_is_3_and_opens_nothing(host: Host) -> None:
    host.write("version: 2\n")
    answer = host.child("sandbox", "--exec", "echo never")
    assert (answer.code, answer.out) == (3, "")
    assert "reconcile.yaml:1:10: error:" in answer.err


def test_a_file_that_the_kernel_refuses_is_7_and_runs_no_command(host: Host) -> None:
    host.write(WEB + '        sysctls: {net.ipv4.ip_local_port_range: "9000 1000"}\n')
    answer = host.child("sandbox", "--exec", "echo never")
    assert (answer.code, answer.out) == (7, "")
    assert "reconcile.yaml:9:7: cannot" in answer.err


def test_standard_input_is_refused(host: Host) -> None:
    answer = host.child("sandbox", "-f", "-", "--exec", "true", stdin=WEB)
    assert answer.code == 64
    assert "the sandbox needs a file" in answer.err


def test_no_way_leads_from_the_sandbox_to_an_engine(host: Host) -> None:
    host.write(PENDING.replace("pid: %d", "docker: web"))
    command = "printenv DOCKER_HOST CONTAINER_HOST; true"
    variables = {"DOCKER_HOST": "unix:///tmp/there", "CONTAINER_HOST": "unix:///tmp/there"}
    answer = host.child("sandbox", "--bare", "--exec", command, **variables)
    assert (answer.code, answer.out) == (0, "")


@needs_tun
def test_uplinks_and_host_addresses_of_the_file_are_there(host: Host) -> None:
    for name in ("kvm", "ranges"):
        answer = host.child(
            "sandbox",
            "-f",
            str(ROOT / "examples" / f"{name}.yaml"),
            "--exec",
            "ip -brief address show; ip link show eth1 || true",
        )
        assert answer.code == 0, answer.err
    assert "192.0.2.10/32" in answer.out


PENDING = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24]
    containers:
      web: {attach: {pid: %d}, addresses: [10.88.0.10], ports: ["8080:80"]}
"""


def test_a_container_whose_process_is_not_there_waits_in_the_sandbox_too(host: Host) -> None:
    host.write(PENDING % absent_pid())
    answer = host.child("sandbox", "--exec", "reconcile status")
    assert answer.code == 0
    assert "waiting" in answer.out


def test_a_process_that_comes_later_gets_its_link(host: Host) -> None:
    host.write(PENDING % 4711)
    script = (
        "reconcile status | grep -c waiting; echo 4710 > /proc/sys/kernel/ns_last_pid || exit 77;"
        " unshare --net sleep 60 & until [ -e /proc/4711/ns/net ] && [ $(readlink /proc/4711/ns/net) != $(readlink /proc/self/ns/net) ];"
        " do sleep 0.05; done; reconcile >/dev/null; nsenter --target 4711 --net ip -brief address show eth0; reconcile ports web"
    )
    answer = host.child("sandbox", "--exec", script)
    if answer.code == 77:
        pytest.skip("pids cannot be chosen here")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("1\n")
    assert "10.88.0.10/24" in answer.out
    assert answer.out.endswith("80/tcp -> 0.0.0.0:8080\n")


def test_when_the_sandbox_is_killed_all_in_it_ends(host: Host) -> None:
    host.write(WEB)
    process = host.start(sys.executable, "-m", "reconciler", "sandbox", "--exec", "echo in; exec sleep 987654")
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    until(_sleepers)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not _sleepers())


def _sleepers() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == b"sleep\x00987654\x00":
                found.append(str(path))
        except OSError:
            continue
    return found


# --- without root ----------------------------------------------------------------------------------------------------

NOBODY = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
    "--",
    "sh",
    "-c",
    'exec "$@"',
    "sh",
]


def as_nobody(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, as an ordinary user. Skips where this user may not become one, or that one may not read our Python."""
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    variables = environment({"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "XDG_RUNTIME_DIR": ""}) | {
        "PYTHONPATH": path
    }
    for python in (sys.executable, "/usr/bin/python3"):
        command = [*NOBODY, python, "-m", "reconciler"]
        # By way of a shell, since setpriv itself may still reach a Python that the user may not.
        if subprocess.run([*command, "schema"], env=variables, capture_output=True, cwd=folder).returncode == 0:
            return subprocess.run(
                [*command, *arguments], env=variables, capture_output=True, text=True, cwd=folder, timeout=60
            )
    pytest.skip("there is no ordinary user here who may run a Python that has what it takes")


def test_without_root_the_host_is_not_touched_and_the_ways_out_are_named(host: Host) -> None:
    host.write(WEB)
    for command in ([], ["--dry-run"], ["status"], ["ports"], ["show"], ["down"]):
        answer = as_nobody(host.folder, *command)
        assert (answer.returncode, answer.stdout) == (1, ""), command
        assert "run it with sudo" in answer.stderr
        assert "reconcile sandbox" in answer.stderr


def test_without_root_a_file_can_be_checked_and_tried(host: Host) -> None:
    host.write(WEB)
    assert as_nobody(host.folder, "validate").returncode == 0
    tried = as_nobody(
        host.folder, "sandbox", "--exec", "id -u; reconcile; reconcile ports web; reconcile down >/dev/null"
    )
    if "gives no scratch namespaces" in tried.stderr:
        pytest.skip(tried.stderr)
    assert (tried.returncode, tried.stderr) == (0, "")
    assert tried.stdout == "0\nNothing to do: this host is as the file says.\n80/tcp -> 0.0.0.0:8080\n"


def test_the_command_in_the_sandbox_is_the_one_that_opened_it(host: Host) -> None:
    host.write(WEB)
    answer = host.child(
        "sandbox", "--bare", "--exec", "cd /; unset PYTHONPATH; command -v reconcile; reconcile --version"
    )
    assert answer.out == "/run/sandbox/reconcile\n" + host.reconcile("--version").out


def test_the_shell_of_the_sandbox_is_told_what_is_around_it(host: Host) -> None:
    host.write(WEB)
    answer = host.child(
        "sandbox", stdin="echo here $RECONCILE_SANDBOX; exit 5\n", SHELL=os.environ.get("SHELL", "/bin/sh")
    )
    assert answer.code == 5
    assert "here 1" in answer.out
    assert "ip netns exec sandbox-client" in answer.err
    assert "curl http://192.0.2.2:8080/" in answer.err
