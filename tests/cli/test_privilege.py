"""The least privilege that works: two capabilities for the live kernel, none for what looks at no kernel."""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli import main
from reconciler.kernel import privilege
from tests.cli.host import WEB, WITHOUT_WEB, Host, until
from tests.support import capabilities

CAP_SYS_PTRACE = 19
BOTH = (privilege.CAP_NET_ADMIN, privilege.CAP_SYS_ADMIN)


def effective(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("CapEff:")[2].split()[0], 16)


def in_a_child(action: Callable[[], int]) -> int:
    """What `action` returns, done by a child of this process."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = action()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def let_in(folder: Path) -> None:
    """Others may go to `folder`: of what pytest makes, only its owner may."""
    for path in (folder, *folder.parents):
        if path.stat().st_uid in (os.getuid(), capabilities.NOBODY) and path != Path("/"):
            os.chmod(path, path.stat().st_mode | 0o011)


@pytest.fixture
def root(host: Host) -> Host:
    """A host whose root may become another user."""
    if (
        len(Path("/proc/self/uid_map").read_text().splitlines()) == 1
        and Path("/proc/self/uid_map").read_text().split()[2] == "1"
    ):
        pytest.skip("in this user namespace there is no other user")
    return host


def test_a_user_with_just_two_capabilities_can_do_the_work(root: Host) -> None:
    # Once as root: what is imported on the way may be where that user cannot read.
    root.write(WEB)
    assert root.reconcile().code == 0
    assert root.reconcile("status").code == 0
    root.write(WITHOUT_WEB)
    assert root.reconcile("--max-deletes", "100").code == 0
    assert root.reconcile("down").code == 0
    # As docs/privilege.md has it: these directories belong to that user.
    shutil.rmtree("/run/reconciler")
    for path in ("/run/netns", "/run/reconciler", str(root.folder)):
        os.makedirs(path, exist_ok=True)
        os.chown(path, capabilities.NOBODY, capabilities.NOBODY)

    def work() -> int:
        capabilities.become(capabilities.NOBODY, BOTH)
        root.write(WEB, "mine.yaml")
        for arguments in (["-f", "mine.yaml"], ["status", "-f", "mine.yaml", "--detailed-exitcode"]):
            code = main(arguments)
            if code:
                return code
        root.write(WITHOUT_WEB, "mine.yaml")
        return main(["-f", "mine.yaml", "--max-deletes", "100"]) or main(["down", "-f", "mine.yaml"])

    let_in(root.folder)
    assert in_a_child(work) == 0
    assert root.namespaces() == set()


@pytest.mark.parametrize("had", [(), (privilege.CAP_NET_ADMIN,), (privilege.CAP_SYS_ADMIN,)])
def test_with_less_it_says_what_is_missing(root: Host, had: tuple[int, ...], capfd: pytest.CaptureFixture[str]) -> None:
    root.write(WEB)

    def work() -> int:
        capabilities.become(capabilities.NOBODY, had)
        return main(["-f", str(root.folder / "reconcile.yaml")])

    before = root.state()
    assert root.reconcile("validate").code == 0
    let_in(root.folder)
    assert in_a_child(work) == 1
    lacking = " and ".join(privilege.NAMES[one] for one in BOTH if one not in had)
    assert f"which takes root, or {lacking}: run it with sudo" in capfd.readouterr().err
    assert root.state() == before


def test_containers_that_are_processes_of_others_take_a_third(root: Host, capfd: pytest.CaptureFixture[str]) -> None:
    process = root.inhabited_namespace()
    attach = f"attach: {{pid: {process.pid}}}"
    root.write(f"version: 1\nbridges:\n  br: {{mode: isolated, containers: {{c: {{{attach}}}}}}}\n")
    assert root.reconcile().code == 0
    assert root.reconcile("down").code == 0
    shutil.rmtree("/run/reconciler")
    for path in ("/run/netns", "/run/reconciler", str(root.folder)):
        os.makedirs(path, exist_ok=True)
        os.chown(path, capabilities.NOBODY, capabilities.NOBODY)
    let_in(root.folder)

    def work(*had: int) -> int:
        capabilities.become(capabilities.NOBODY, had)
        return main([])

    assert in_a_child(lambda: work(*BOTH)) == 1
    assert "it needs CAP_SYS_PTRACE" in capfd.readouterr().err
    assert in_a_child(lambda: work(*BOTH, CAP_SYS_PTRACE)) == 0


def test_a_lock_of_another_user_is_an_error_that_says_so(root: Host, capfd: pytest.CaptureFixture[str]) -> None:
    root.write(WEB)
    assert root.reconcile().code == 0
    os.chown("/run/reconciler", capabilities.NOBODY, capabilities.NOBODY)
    let_in(root.folder)

    def work() -> int:
        capabilities.become(capabilities.NOBODY, BOTH)
        return main(["-f", str(root.folder / "reconcile.yaml")])

    assert in_a_child(work) == 1
    assert "another user made it" in capfd.readouterr().err


def test_both_capabilities_are_named_where_they_are_missing(root: Host, capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        capabilities.become(capabilities.NOBODY, ())
        return 0 if privilege.missing() == ("CAP_NET_ADMIN", "CAP_SYS_ADMIN") else 1

    assert in_a_child(work) == 0


@pytest.mark.parametrize(
    "command",
    [["validate"], ["plan", "--basis", "empty"], ["--dry-run", "--basis", "empty"]],
    ids=" ".join,
)
def test_what_looks_at_no_kernel_gives_up_all_that_could_change_one(host: Host, command: list[str]) -> None:
    process = host.tool(*command, "-f", "-")
    files = 1 << privilege.CAP_DAC_OVERRIDE | 1 << privilege.CAP_DAC_READ_SEARCH
    # It waits for its standard input by then.
    until(lambda: effective(process.pid) & ~files == 0)
    out, _ = process.communicate(WEB, timeout=30)
    assert process.returncode == 0
    assert "br-web" in out or "valid" in out


def test_what_looks_at_the_live_kernel_keeps_them(host: Host) -> None:
    process = host.tool("--dry-run", "-f", "-")
    assert effective(process.pid) >> privilege.CAP_NET_ADMIN & 1
    out, _ = process.communicate(WEB, timeout=30)
    assert (process.returncode, "br-web" in out) == (0, True)


def test_a_program_that_it_starts_has_no_more_than_itself() -> None:
    def work() -> int:
        privilege.give_up()
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        child = os.fork()
        if child == 0:
            os.dup2(writing, 1)
            os.execv("/bin/sh", ["sh", "-c", "grep CapEff /proc/self/status"])
        os.close(writing)
        os.waitpid(child, 0)
        with os.fdopen(reading) as pipe:
            left = int(pipe.read().split()[1], 16)
        return 0 if left & ~(1 << privilege.CAP_DAC_OVERRIDE | 1 << privilege.CAP_DAC_READ_SEARCH) == 0 else 1

    assert in_a_child(work) == 0
