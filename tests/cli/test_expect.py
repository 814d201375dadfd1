"""`reconcile test`: expectations asked with real packets, with no root and no trace on the host."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.host import ROOT, WEB, Host, absent_pid, environment, until
from tests.cli.test_sandbox import as_nobody
from tests.support.tun import needs_tun

NETWORK = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web:
        addresses: [10.88.0.10, "fd00:88::10"]
        ports: ["8080:80", "127.0.0.1:8443:443", "5353:53/udp", "203.0.113.7:25:25", "7000-7009:7000-7009"]
      db: {addresses: [10.88.0.11, "fd00:88::11"]}
      other: {attach: {docker: some-container}, addresses: [10.88.0.12]}
  br-own:
    mode: routed
    addresses: [10.89.0.1/24]
    containers:
      mail: {addresses: [10.89.0.25], ports: ["2525:25"]}
  br-jobs:
    mode: isolated
    addresses: [10.90.0.1/24]
    containers:
      job1: {addresses: [10.90.0.11]}
      job2: {addresses: [10.90.0.12]}
  br-apart:
    addresses: [10.91.0.1/24]
    icc: false
    containers:
      shop1: {addresses: [10.91.0.11]}
      shop2: {addresses: [10.91.0.12], ports: ["9042:80"]}
  br-lan:
    mode: bridged
    uplinks: [eth1]
    containers:
      printer: {addresses: [172.20.0.50/24]}
"""
HOLDS = """\
{from: outside, to: "host:8080", reaches: web, as: client}
{from: outside, to: "host:8443", allowed: false}
{from: outside, to: "host:5353/udp", reaches: web, version: 6}
{from: outside, to: "host:5354", protocol: udp, allowed: false}
{from: outside, to: "203.0.113.7:25", reaches: web}
{from: outside, to: "host:25", allowed: false}
{from: outside, to: "host:7009", reaches: web}
{from: outside, to: "host:8088", reaches: db, allowed: false}
{from: outside, to: "web:80", allowed: false}
{from: outside, to: db, allowed: false}
{from: host, to: "127.0.0.1:8443", reaches: web, as: host}
{from: host, to: "db:5432"}
{from: host, to: "outside:443", as: client}
{from: web, to: "db:5432", as: client}
{from: web, to: "host:8080", reaches: web}
{from: web, to: "host:22", reaches: host}
{from: web, to: db}
{from: web, to: "[fd00:88::11]:53/udp", as: "fd00:88::10"}
{from: db, to: "outside:443", as: host}
{from: db, to: "9.9.9.9:53/udp"}
{from: db, to: outside, version: 6}
{from: db, to: "mail:80", allowed: false}
{from: other, to: "db:5432"}
{from: outside, to: mail}
{from: outside, to: "mail:25", as: client}
{from: outside, to: "mail:80", allowed: false}
{from: mail, to: "outside:25", as: client}
{from: job1, to: "job2:80/udp"}
{from: job1, to: outside, allowed: false}
{from: job1, to: "host:8080", reaches: web, allowed: false}
{from: host, to: job1}
{from: shop1, to: "shop2:80", allowed: false}
{from: shop1, to: "host:9042", reaches: shop2}
{from: outside, to: "printer:631", as: client}
{from: printer, to: outside}
{from: printer, to: web, allowed: false}
"""


def expecting(*lines: str) -> str:
    """The section of a file."""
    return "expect:\n" + "".join(f"  - {line}\n" for line in lines)


def opposite(line: str) -> str:
    """An expectation that holds just where that of `line` does not."""
    if "allowed: false" in line:
        return line.replace(", allowed: false", "")
    return re.sub(r", as: [^,}]+", "", line).replace("}", ", allowed: false}")


def outcomes(host: Host, *arguments: str) -> list[Any]:
    """The results."""
    answer = host.reconcile("test", "--format", "json", *arguments)
    assert answer.err == ""
    body = json.loads(answer.out)
    assert answer.code == (1 if body["failed"] else 0)
    assert (body["passed"], body["failed"]) == (
        sum(one["ok"] for one in body["expectations"]),
        sum(not one["ok"] for one in body["expectations"]),
    )
    return list(body["expectations"])


def test_what_holds_passes_and_the_host_is_as_before(host: Host) -> None:
    host.write(NETWORK + expecting(*HOLDS.splitlines()))
    before = host.state()
    results = outcomes(host)
    assert len(results) == len(HOLDS.splitlines())
    assert [one for one in results if not one["ok"]] == []
    assert host.state() == before


def test_the_opposite_of_what_holds_fails(host: Host) -> None:
    lines = list(map(opposite, HOLDS.splitlines()))
    host.write(NETWORK + expecting(*lines))
    assert [one["expectation"] for one in outcomes(host) if one["ok"]] == []


@pytest.mark.parametrize(
    ("line", "happened"),
    [
        ('{from: outside, to: "host:8080", reaches: db, version: 4}', "reached web instead, which saw 192.0.2.3"),
        ('{from: outside, to: "host:8081", version: 4}', "refused (nobody publishes it)"),
        (
            '{from: outside, to: "host:25", version: 4}',
            'refused (it is published on 203.0.113.7 alone: write "203.0.113.7:25")',
        ),
        ('{from: db, to: "outside:443", version: 4, as: client}', "reached outside, which saw 192.0.2.2"),
        ('{from: db, to: "outside:443", version: 6, as: "2001:db8::1"}', "reached outside, which saw 2001:db8:5a::2"),
        ("{from: web, to: db, version: 4, allowed: false}", "answered"),
        ('{from: outside, to: "db:80", version: 4}', "timed out"),
        ("{from: job1, to: mail}", "unreachable"),
    ],
)
def test_a_failure_says_what_happened(host: Host, line: str, happened: str) -> None:
    host.write(NETWORK + expecting(line))
    (result,) = outcomes(host)
    assert result["happened"] == [happened]


def test_of_two_families_the_one_that_failed_is_named(host: Host) -> None:
    host.write(
        NETWORK.replace('"8080:80"', '"0.0.0.0:8080:80"') + expecting('{from: outside, to: "host:8080", reaches: web}')
    )
    (result,) = outcomes(host)
    assert result["happened"] == ["IPv6: refused"]
    assert [(one["ip_version"], one["outcome"]) for one in result["answers"]] == [(4, "reached"), (6, "refused")]


def test_it_reports_like_a_test_runner(host: Host) -> None:
    host.write(WEB + expecting('{from: outside, to: "host:8080", reaches: web}', "{from: web, to: db, allowed: false}"))
    answer = host.reconcile("test")
    assert (answer.code, answer.err) == (1, "")
    assert answer.out == (
        "ok      outside → host:8080 reaches web\n"
        "FAILED  web → db is not allowed                                           reconcile.yaml:13\n"
        "        expected: no answer\n"
        "        happened: answered\n"
        "\n"
        "1 passed, 1 failed\n"
    )
    answer = host.reconcile("test", "-v", "-k", "host:8080")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == (
        "ok      outside → host:8080 reaches web\n        IPv4: reached web, which saw 192.0.2.3\n\n1 passed\n"
    )


def test_an_arrow_can_be_typed(host: Host) -> None:
    host.write(WEB + expecting("{from: web, to: db}", "{from: db, to: web}"))
    assert [one["expectation"] for one in outcomes(host, "-k", "DB -> w")] == ["db → web"]


def test_expectations_may_stand_in_a_file_of_their_own(host: Host) -> None:
    host.write(WEB + expecting("{from: web, to: db}"), "10-network.yaml")
    host.write("version: 1\n" + expecting("{from: db, to: web}"), "20-expect.yaml")
    for arguments in (["-f", "."], ["-f", "10-network.yaml", "-f", "20-expect.yaml"]):
        results = outcomes(host, *arguments)
        assert [(Path(one["file"]).name, one["line"]) for one in results] == [
            ("10-network.yaml", 12),
            ("20-expect.yaml", 3),
        ]


def test_standard_input_will_do(host: Host) -> None:
    answer = host.child("test", "-f", "-", stdin=WEB + expecting("{from: web, to: db}"))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "ok      web → db\n\n1 passed\n"


def test_no_plan_depends_on_expectations(host: Host) -> None:
    host.write(WEB)
    assert host.reconcile().code == 0
    host.write(WEB + expecting("{from: web, to: db, allowed: false}"))
    assert host.reconcile("--dry-run", "--detailed-exitcode").code == 0


# --- JUnit ------------------------------------------------------------------------------------------------------------


def test_the_report_for_ci_has_every_expectation(host: Host) -> None:
    host.write(WEB + expecting("{from: web, to: db}", '{from: db, to: "outside:443", as: client}'))
    answer = host.reconcile("test", "--junit", "report.xml")
    assert answer.code == 1
    root = ElementTree.parse(host.folder / "report.xml").getroot()
    (suite,) = root
    for node in (root, suite):
        assert [node.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["2", "1", "0", "0"]
    passed, failed = suite
    assert (passed.get("classname"), passed.get("name"), list(passed)) == ("reconcile.yaml", "web → db", [])
    assert (failed.get("file"), failed.get("line")) == ("reconcile.yaml", "13")
    (failure,) = failed
    assert failure.get("message") == "reached outside, which saw 192.0.2.2"
    assert failure.text is not None
    assert failure.text.splitlines()[0] == "reconcile.yaml:13"


def test_the_report_is_well_formed_whatever_the_file_is_called(host: Host) -> None:
    name = 'a&b <c> "d"\x01\uffff.yaml'
    host.write(WEB + expecting("{from: web, to: db, allowed: false}"), name)
    assert host.reconcile("test", "-f", name, "--junit", "report.xml").code == 1
    case = ElementTree.parse(host.folder / "report.xml").getroot()[0][0]
    assert case.get("file") == 'a&b <c> "d"\\x01\\uffff.yaml'


def test_a_report_that_cannot_be_written_is_no_success(host: Host) -> None:
    host.write(WEB + expecting("{from: web, to: db}"))
    answer = host.reconcile("test", "--junit", "no/such/folder.xml")
    assert answer.code == 64
    assert "cannot be written" in answer.err


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_test_that_tests_nothing_is_not_passed(host: Host) -> None:
    host.write(WEB)
    answer = host.reconcile("test")
    assert (answer.code, answer.out) == (64, "")
    assert "there is nothing to test: reconcile.yaml has no `expect:`" in answer.err
    host.write(WEB + expecting("{from: web, to: db}"))
    answer = host.reconcile("test", "-k", "nowhere")
    assert (answer.code, answer.out) == (64, "")
    assert "no expectation has 'nowhere' in it" in answer.err


def test_a_wrong_expectation_is_3(host: Host) -> None:
    host.write(WEB + expecting("{from: web, to: dbb}"))
    answer = host.reconcile("test")
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.startswith("reconcile.yaml:12:21: error: there is no container 'dbb' (did you mean `db`?)\n")


@needs_tun
def test_a_virtual_machine_is_refused_and_what_is_beside_it_is_tested(host: Host) -> None:
    machine = '      vm: {attach: {tap: vnet0}, addresses: [10.88.0.9], ports: ["2222:22"]}\n'
    host.write(WEB + machine + expecting('{from: outside, to: "host:2222"}', "{from: web, to: vm}"))
    answer = host.reconcile("test")
    assert answer.code == 3
    assert [line.split(" ", 1)[0] for line in answer.err.splitlines()] == [
        "reconcile.yaml:13:25:",
        "reconcile.yaml:14:21:",
        "reconcile:",
    ]
    assert answer.err.count("virtual machine, whose inside is not ours") == 2
    host.write(WEB + machine + expecting("{from: web, to: db}"))
    assert host.reconcile("test").code == 0


def test_a_file_that_cannot_be_applied_is_1_and_says_why(host: Host) -> None:
    host.write(
        WEB + '        sysctls: {net.ipv4.ip_local_port_range: "9000 1000"}\n' + expecting("{from: web, to: db}")
    )
    answer = host.reconcile("test")
    assert (answer.code, answer.out) == (1, "")
    assert (
        "nothing was tested, since the file cannot be applied in a scratch namespace: reconcile.yaml:9:7: cannot"
        in answer.err
    )


def test_the_namespaces_of_others_are_not_touched(host: Host) -> None:
    process = host.inhabited_namespace()
    attached = WEB.replace("      db:\n", f"      db:\n        attach: {{pid: {process.pid}}}\n")
    host.write(attached + expecting('{from: web, to: "db:5432"}', '{from: outside, to: "host:8080", reaches: web}'))
    before = host.run(f"nsenter --net=/proc/{process.pid}/ns/net ip -o address")
    assert [one["ok"] for one in outcomes(host)] == [True, True]
    assert host.run(f"nsenter --net=/proc/{process.pid}/ns/net ip -o address") == before


def test_a_process_that_is_not_there_is_stood_in_for(host: Host) -> None:
    attached = WEB.replace("      db:\n", f"      db:\n        attach: {{pid: {absent_pid()}}}\n")
    host.write(attached + expecting('{from: web, to: "db:5432"}'))
    assert [one["ok"] for one in outcomes(host)] == [True]


# --- without root, and without a trace --------------------------------------------------------------------------------


def test_without_root_it_works_as_with(host: Host) -> None:
    host.write(WEB + expecting('{from: outside, to: "host:8080", reaches: web}', "{from: web, to: db}"))
    done = as_nobody(host.folder, "test")
    if "gives no scratch namespaces" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ok      outside → host:8080 reaches web\nok      web → db\n\n2 passed\n"


FORBIDDEN = (
    "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs"
)


def where_user_namespaces_are_forbidden(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a user namespace that may have no more of them, and without the capabilities to do without."""
    command = [sys.executable, "-m", "reconciler", *arguments]
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", f'{FORBIDDEN} -- "$@"', "sh", *command],
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_where_user_namespaces_are_forbidden_the_setting_is_named(host: Host) -> None:
    host.write(WEB + expecting("{from: web, to: db}"))
    done = where_user_namespaces_are_forbidden(host, "test")
    if "unshare:" in done.stderr.split("reconcile:")[0]:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stdout) == (1, "")
    assert "this system gives no scratch namespaces" in done.stderr
    assert "user.max_user_namespaces=10000" in done.stderr


def children(pid: int) -> list[str]:
    """The processes that `pid` started."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def lives(pid: str) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def has_own_network(pid: str) -> bool:
    """Whether that process is in another network namespace than we are."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    except OSError:
        return False


def test_killed_it_leaves_no_process(host: Host) -> None:
    # Its failure takes a while: nobody answers.
    host.write(NETWORK + expecting('{from: outside, to: "db:80"}'))
    process = host.start(sys.executable, "-m", "reconciler", "test")
    until(lambda: any(map(has_own_network, children(process.pid))))
    (child,) = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not lives(child))


# --- the page -----------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_is_printed(host: Host) -> None:
    page = (ROOT / "docs" / "expect.md").read_text()
    (file,) = re.findall(r"```yaml\n(version: 1\n.*?)```", page, re.DOTALL)
    shown = re.findall(r"```console\n\$ reconcile (test.*?)\n(.*?)```", page, re.DOTALL)
    assert shown
    host.write(file)
    for arguments, output in shown:
        assert host.reconcile(*arguments.split()).out == output


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_do_as_they_say(host: Host, path: Path) -> None:
    if "{tap:" in path.read_text() and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("/dev/net/tun cannot be opened by this user")
    shutil.copy(path, host.folder / "reconcile.yaml")
    results = outcomes(host)
    assert len(results) > 1
    assert [one for one in results if not one["ok"]] == []
