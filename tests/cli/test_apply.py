"""`reconcile`, `reconcile plan` and their exit codes."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from reconciler import reconcile
from reconciler.cli import context
from reconciler.core.messages import (
    Attributes,
    CreateNamespace,
    CreateTap,
    DeleteNamespace,
    FlushConntrack,
    Netlink,
    Nft,
    NftElement,
    Request,
    WriteSysctl,
)
from reconciler.core.plan import schedule
from reconciler.core.resource import State
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.lock import Lock
from reconciler.kernel.meter import ReadOnlyError
from reconciler.kinds.marks import alias
from reconciler.lower import lower
from reconciler.manifest import load
from reconciler.render.requests import request_text
from tests.cli.host import WEB, WITHOUT_WEB, Host


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[LiveKernel]:
    """The kernels that commands open from here on, which count what crosses to them."""
    opened: list[LiveKernel] = []
    make = LiveKernel.__init__

    def remember(kernel: LiveKernel, **options: bool) -> None:
        make(kernel, **options)
        opened.append(kernel)

    monkeypatch.setattr(LiveKernel, "__init__", remember)
    return opened


# --- a run, and the next ---------------------------------------------------------------------------------------------


def test_a_file_becomes_the_network_and_a_second_run_writes_nothing(host: Host, kernels: list[LiveKernel]) -> None:
    host.write(WEB)
    first = host.reconcile()
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("+ bridge br-web: nat")
    assert first.out.endswith("Done and verified: a second look finds nothing to change.\n")
    assert host.namespaces() == {"web", "db"}
    before = host.state()
    second = host.reconcile()
    assert (second.code, second.out, second.err) == (0, "Nothing to do: this host is as the file says.\n", "")
    assert kernels[0].written > 0
    assert kernels[-1].written == 0
    assert kernels[-1].sent.total() > 0
    assert host.state() == before


def test_a_dry_run_and_plan_print_the_same_and_write_nothing(host: Host, kernels: list[LiveKernel]) -> None:
    host.write(WEB)
    before = host.state()
    kernels.clear()
    one, other = host.reconcile("--dry-run"), host.reconcile("plan")
    assert one == other
    assert one.code == 0
    assert [kernel.written for kernel in kernels] == [0, 0]
    assert host.state() == before


def test_the_plan_of_a_dry_run_is_what_the_run_prints(host: Host) -> None:
    host.write(WEB)
    shown = re.sub(r"\nExposure, .*?\n(?=\n)", "", host.reconcile("--dry-run").out, flags=re.DOTALL)
    # What that opens is for who reviews it: a run does not compute it.
    assert host.reconcile().out == shown + "Done and verified: a second look finds nothing to change.\n"


WRITING: tuple[Request, ...] = (
    Netlink("", "RTM_NEWLINK", ("create", "excl"), (), Attributes.of(IFLA_IFNAME="br-x")),
    CreateNamespace("x", alias("default")),
    DeleteNamespace("x"),
    CreateTap("", "tap-x", alias("default")),
    WriteSysctl("", "net.ipv4.ip_forward", "1"),
    Nft("add table inet reconciler"),
    NftElement("add", "inet reconciler", "bridges", '"br-x"'),
    FlushConntrack(4, "udp", None, (53, 53), None),
)


@pytest.mark.parametrize("request_", WRITING, ids=lambda item: type(item).__name__)
def test_a_read_only_kernel_refuses_what_writes(host: Host, request_: Request) -> None:
    before = host.state()
    with LiveKernel(read_only=True) as kernel:
        if isinstance(request_, FlushConntrack):  # it reads first, and would write only if there is such a flow
            kernel.submit([request_])
        else:
            with pytest.raises(ReadOnlyError):
                kernel.submit([request_])
        assert kernel.written == 0
    assert host.state() == before


def test_a_read_only_kernel_refuses_every_request_of_a_plan(host: Host) -> None:
    host.write(WEB)
    with LiveKernel(read_only=True) as kernel:
        requests = schedule(reconcile.plan(kernel, wish(host), "default")[0].steps).requests
    host.reconcile()
    before = host.state()
    with LiveKernel(read_only=True) as kernel:
        for request in requests:
            if not isinstance(request, FlushConntrack | CreateNamespace):
                with pytest.raises(ReadOnlyError):
                    kernel.submit([request])
        assert kernel.written == 0
    assert host.state() == before


# --- exit codes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["--dry-run"], ["plan"], ["status"]])
def test_detailed_exitcode_tells_whether_there_are_differences(host: Host, command: list[str]) -> None:
    host.write(WEB)
    assert host.reconcile(*command).code == 0
    assert host.reconcile(*command, "--detailed-exitcode").code == 2
    host.reconcile()
    assert host.reconcile(*command, "--detailed-exitcode").code == 0


def test_a_wrong_file_is_3_and_names_every_error_at_its_place(host: Host) -> None:
    host.write("version: 1\nbridges:\n  br-web:\n    addresses: [10.88.0.1/33]\n    mdoe: nat\n")
    for command in ([], ["--dry-run"], ["validate"], ["status"], ["show"], ["sandbox"]):
        answer = host.reconcile(*command)
        assert (answer.code, answer.out) == (3, ""), command
        assert re.search(r"^reconcile.yaml:4:17: error: .*10.88.0.1/33", answer.err, re.MULTILINE), command
        assert re.search(r"^reconcile.yaml:5:5: error: unknown key 'mdoe'.*mode", answer.err, re.MULTILINE), command
        assert answer.err.endswith(" errors; nothing was touched\n"), command


def test_a_file_that_is_not_there_is_3(host: Host) -> None:
    answer = host.reconcile("-f", "nowhere.yaml")
    assert answer.code == 3
    assert "nowhere.yaml" in answer.err
    assert "No such file or directory" in answer.err


def test_no_file_at_all_is_wrong_usage_and_says_where_it_was_looked_for(host: Host) -> None:
    answer = host.reconcile()
    assert answer.code == 64
    assert answer.err.startswith("reconcile: no file: neither ./reconcile.yaml nor /etc/reconciler/ is there")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--frobnicate"],
        ["frobnicate"],
        ["--max-deletes", "-1"],
        ["--max-deletes", "many"],
        ["--format", "xml"],
        ["--dry"],
        ["ports", "a", "b", "c"],
    ],
)
def test_wrong_usage_is_64_and_points_to_the_help(host: Host, arguments: list[str]) -> None:
    answer = host.reconcile(*arguments)
    assert (answer.code, answer.out) == (64, "")
    assert answer.err.startswith("usage: reconcile")
    assert "--help`)" in answer.err


@pytest.mark.parametrize("option", [["-f", "second.yaml"], ["--dry-run"], ["--max-deletes", "1"], ["--format", "json"]])
def test_an_option_before_a_command_is_refused_rather_than_lost(host: Host, option: list[str]) -> None:
    host.write(WEB)
    host.reconcile()
    before = host.state()
    answer = host.reconcile(*option, "down")
    assert (answer.code, answer.out) == (64, "")
    assert "stands before the command: options go behind it, as in `reconcile down --" in answer.err
    assert host.state() == before


def test_an_empty_file_is_refused_unless_it_is_allowed(host: Host) -> None:
    path = host.write(WEB)
    host.reconcile()
    before = host.state()
    path.write_text("version: 1\n")
    refused = host.reconcile()
    assert refused.code == 4
    assert "reconcile.yaml names no bridge" in refused.err
    assert "--allow-empty" in refused.err
    assert host.state() == before
    assert host.reconcile("--allow-empty", "--max-deletes", "1000").code == 0
    assert (host.links(), host.namespaces()) == ({"lo"}, set())


def test_too_many_deletions_are_refused_with_the_number_that_would_allow_them(host: Host) -> None:
    path = host.write(WEB)
    host.reconcile()
    before = host.state()
    path.write_text(WITHOUT_WEB)
    refused = host.reconcile("--max-deletes", "0")
    assert refused.code == 4
    number = re.search(r"the plan deletes (\d+) things, more than --max-deletes 0\. Nothing was touched\.", refused.err)
    assert number is not None
    assert host.state() == before
    assert host.reconcile("--max-deletes", number[1]).code == 0
    assert host.namespaces() == {"db"}


def test_more_than_half_of_what_is_there_does_not_go_by_default(host: Host) -> None:
    path = host.write(WEB)
    host.reconcile()
    path.write_text("version: 1\nname: default\nbridges:\n  br-other: {mode: isolated}\n")
    refused = host.reconcile("--dry-run")
    assert refused.code == 0, "a dry run shows it"
    path.write_text("version: 1\n")
    refused = host.reconcile("--allow-empty")
    assert refused.code == 4
    assert "more than half of the" in refused.err
    assert "web" in host.namespaces()


def test_a_conflict_is_refused_and_names_both_sides(host: Host) -> None:
    host.write(WEB)
    host.run("ip link add br-web type bridge")
    before = host.state()
    refused = host.reconcile()
    assert refused.code == 4
    assert "bridge br-web is in the way: it was not made by reconcile (wanted by reconcile.yaml:3:3)" in refused.err
    assert "--adopt" in refused.err
    assert host.state() == before


def test_a_conflict_names_the_other_owner(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    host.write(WEB.replace("version: 1", "version: 1\nname: second").replace("8080", "8081"), "second.yaml")
    refused = host.reconcile("-f", "second.yaml")
    assert refused.code == 4
    assert "bridge br-web is in the way: it belongs to the owner 'default' (wanted by second.yaml:4:3)" in refused.err


def test_adopt_takes_over_what_is_in_the_way_and_keeps_its_mac(host: Host) -> None:
    host.write(WEB)
    host.run("ip link add br-web address 02:00:00:00:00:77 type bridge; ip address add 10.88.0.1/24 dev br-web")
    answer = host.reconcile("--adopt")
    assert (answer.code, answer.err) == (0, "")
    assert "bridge br-web: taken over from others" in answer.out
    assert "02:00:00:00:00:77" in host.run("ip link show br-web")
    assert host.reconcile("--detailed-exitcode", "--dry-run").code == 0
    assert host.reconcile("down").code == 0
    assert host.links() == {"lo"}


def test_a_held_lock_is_6_and_names_the_process(host: Host) -> None:
    host.write(WEB)
    holder = host.start("python3", "-c", HOLDER, str(Lock("default").path))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    before = host.state()
    answer = host.reconcile()
    assert answer.code == 6
    assert f"process {holder.pid}" in answer.err
    assert host.state() == before
    assert host.reconcile("down").code == 6
    assert host.reconcile("--dry-run").code == 0
    assert (
        host.reconcile("-f", str(host.write(WEB.replace("version: 1", "version: 1\nname: other"), "o.yaml"))).code == 0
    )


HOLDER = """
import fcntl, os, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(f"{os.getpid()}\\n"); lock.flush()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_that_is_given_back_in_time_is_waited_for(host: Host) -> None:
    host.write(WEB)
    holder = host.start(
        "python3", "-c", HOLDER.replace("sys.stdin.read()", "import time; time.sleep(0.5)"), str(Lock("default").path)
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    assert host.reconcile("--lock-timeout", "20").code == 0


# --- where the file comes from ---------------------------------------------------------------------------------------

PART = "version: 1\nbridges:\n  br-web:\n    containers:\n      cache: {addresses: [10.88.0.12]}\n"


def test_a_directory_is_the_merge_of_its_files(host: Host) -> None:
    (host.folder / "net").mkdir()
    host.write(WEB, "net/a.yaml")
    host.write(PART, "net/b.yaml")
    host.write("not yaml: [", "net/notes.txt")
    assert host.reconcile("-f", "net").code == 0
    assert host.namespaces() == {"web", "db", "cache"}


def test_several_files_are_merged(host: Host) -> None:
    host.write(WEB, "a.yaml")
    host.write(PART, "b.yaml")
    assert host.reconcile("-f", "a.yaml", "-f", "b.yaml").code == 0
    assert host.namespaces() == {"web", "db", "cache"}
    assert host.reconcile("-f", "b.yaml", "-f", "a.yaml", "--dry-run", "--detailed-exitcode").code == 0


def test_standard_input_is_a_file(host: Host) -> None:
    answer = host.child("-f", "-", "--dry-run", stdin=WEB)
    assert (answer.code, answer.err) == (0, "")
    assert "<stdin>:3" in answer.out


def test_the_variable_names_files(host: Host) -> None:
    path = host.write(WEB, "elsewhere.yaml")
    answer = host.child("validate", RECONCILE_FILE=str(path))
    assert answer.out == "valid: elsewhere.yaml: 1 bridge, 2 containers, 1 published port\n"


# --- how it is printed -----------------------------------------------------------------------------------------------


def test_json_is_nothing_but_json_in_a_dry_run_and_in_a_run(host: Host) -> None:
    host.write(WEB)
    for command in (["--dry-run"], ["plan"], [], ["down"]):
        answer = host.child(*command, "--format", "json")
        assert answer.code == 0
        assert json.loads(answer.out)["format_version"]


def test_results_are_on_stdout_and_messages_on_stderr(host: Host) -> None:
    host.write(WEB)
    done = host.child("--format", "json")
    assert done.err == "Done and verified: a second look finds nothing to change.\n"
    host.run("ip link set br-web alias ''")
    refused = host.child()
    assert refused.code == 4
    assert "In the way" in refused.out
    assert refused.err.startswith("reconcile: bridge br-web is in the way")


def test_verbose_shows_every_request_that_is_sent(host: Host, kernels: list[LiveKernel]) -> None:
    host.write(WEB)
    shown = host.reconcile("--dry-run", "--verbose").out
    with LiveKernel(read_only=True) as kernel:
        plan, _ = reconcile.plan(kernel, wish(host), "default")
    for request in schedule(plan.steps).requests:
        assert request_text(request) in shown


def test_colour_is_for_terminals_and_can_be_refused(host: Host) -> None:
    host.write(WEB)
    command = "python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' python3 -m reconciler --dry-run"
    with_terminal = host.start("sh", "-c", f"{PYTHON}; unset NO_COLOR; TERM=xterm exec {command}").communicate()[0]
    refused = host.start("sh", "-c", f"{PYTHON}; TERM=xterm NO_COLOR=1 exec {command}").communicate()[0]
    assert "\x1b[32m+" in with_terminal
    assert "\x1b[" not in refused
    assert "\x1b[" not in host.child("--dry-run", NO_COLOR="").out


PYTHON = f"export PATH={os.path.dirname(sys.executable)}:$PATH"


def test_a_reader_who_has_seen_enough_is_no_failure(host: Host) -> None:
    host.write(WEB)
    process = host.start(sys.executable, "-m", "reconciler", "--dry-run", "--verbose")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    said = process.communicate()[1]
    assert (process.returncode, said) == (0, "")


# --- foreign things --------------------------------------------------------------------------------------------------


def test_foreign_addresses_are_named_left_alone_and_pruned_when_told_to(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    host.run("ip address add 10.99.0.1/24 dev br-web; ip route add 10.77.0.0/16 via 10.88.0.200 proto static")
    seen = host.reconcile()
    assert seen.code == 0
    assert "? address 10.99.0.1/24 on br-web" in seen.out
    assert "? route 10.77.0.0/16 via 10.88.0.200" in seen.out
    assert "10.99.0.1" in host.run("ip address")
    pruned = host.reconcile("--prune", "foreign")
    assert (pruned.code, pruned.err) == (0, "")
    assert "10.99.0.1" not in host.run("ip address")
    assert "10.77.0.0" not in host.run("ip route")


def wish(host: Host) -> State:
    """What the user's file asks for."""
    return lower(load([host.folder / "reconcile.yaml"]), context.host_id())
