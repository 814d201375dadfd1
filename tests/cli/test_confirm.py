"""Commit-confirm: what nobody confirms is undone, whatever becomes of the terminal, the tool, its timer or the host."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler import confirm, timer
from reconciler.confirm import Journal
from reconciler.core.messages import Outcome, Request
from reconciler.kernel.live import LiveKernel
from tests.cli.host import WEB, WITHOUT_WEB, Host, environment, until
from tests.cli.test_undo import DUAL, PLANS, UPLINK, failing_at
from tests.support.timers import kill_timer, timers
from tests.support.tun import needs_tun

STATE = Path("/run/state")
AWAITING = "It awaits confirmation until "


@pytest.fixture(autouse=True)
def _no_timer_left() -> Iterator[None]:
    """Timers do not outlive the test."""
    yield
    for process in timers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def pending() -> Journal:
    """What awaits confirmation."""
    found = confirm.find("default")
    assert found is not None
    return found


def settled() -> bool:
    """Whether nothing awaits confirmation."""
    return confirm.find("default") is None


def expire() -> None:
    """Has the time of what awaits confirmation be over, for whoever looks at it next."""
    confirm.write(pending()._replace(deadline=0.0))


class Run:
    """`reconcile --confirm-timeout …` in another session, which has applied and waits."""

    def __init__(self, host: Host, *arguments: str, seconds: int = 600) -> None:
        command = [sys.executable, "-m", "reconciler", *arguments, "--confirm-timeout", str(seconds)]
        self.process = host.start(*command)
        self.said = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if line.startswith(AWAITING):
                return
        raise AssertionError(self.said + self.rest()[1])

    def rest(self) -> tuple[str, str]:
        """What it says until it ends."""
        return self.process.communicate(timeout=60)

    def kill(self) -> None:
        """Without a chance to say or do anything."""
        self.process.kill()
        self.process.wait()


# --- confirm, rollback, neither --------------------------------------------------------------------------------------


def test_what_is_confirmed_stays(host: Host) -> None:
    host.write(WEB)
    run = Run(host)
    applied = host.state()
    answer = host.reconcile("confirm")
    assert (answer.code, answer.err) == (0, "")
    assert "stays" in answer.out
    out, err = run.rest()
    assert (run.process.returncode, err) == (0, "")
    assert out.endswith("Confirmed: it stays.\n")
    assert host.state() == applied
    until(lambda: not timers())
    assert [path.name for path in STATE.iterdir()] == [timer.LOG]
    assert host.reconcile("--detailed-exitcode", "--dry-run").code == 0


@needs_tun
@pytest.mark.parametrize(("old", "new"), PLANS.values(), ids=PLANS)
def test_what_nobody_confirms_is_undone_to_the_last_bit(host: Host, old: str, new: str) -> None:
    host.run(UPLINK)
    if old:
        host.write(old)
        host.reconcile()
    before = everything(host)
    host.write(new)
    answer = host.reconcile("--max-deletes", "10000", "--confirm-timeout", "1")
    assert answer.code == 7, answer.err
    assert "nobody confirmed it in time" in answer.err
    assert everything(host) == before
    until(lambda: not timers())


def everything(host: Host) -> str:
    """The whole state, with the settings of bridges."""
    settings = "for s in /proc/sys/net/ipv4/conf/*/route_localnet; do echo $s $(cat $s); done"
    return host.state() + host.run(f"{settings}; cat /proc/sys/net/ipv6/conf/all/forwarding")


def test_rollback_undoes_it_now_and_the_run_that_waits_says_so(host: Host) -> None:
    before = host.state()
    host.write(WEB)
    run = Run(host)
    answer = host.reconcile("rollback")
    assert (answer.code, answer.err) == (0, "")
    assert host.state() == before
    _, err = run.rest()
    assert run.process.returncode == 7
    assert "by `reconcile rollback`" in err
    until(lambda: not timers())


@pytest.mark.parametrize("command", ["confirm", "rollback"])
def test_where_nothing_awaits_that_is_said(host: Host, command: str) -> None:
    answer = host.reconcile(command)
    assert (answer.code, answer.out) == (1, "")
    assert "nothing awaits confirmation" in answer.err
    assert not STATE.exists()


def test_a_dry_run_says_what_a_run_would_do_first(host: Host) -> None:
    host.write(WEB)
    run = Run(host)
    meanwhile = host.reconcile("--dry-run")
    assert (meanwhile.code, "awaits confirmation" in meanwhile.err) == (0, True)
    assert "until then a run is refused" in meanwhile.err
    run.kill()
    kill_timer()
    expire()
    overdue = host.reconcile("plan", "--out", str(host.folder / "saved"))
    assert (overdue.code, "is to be rolled back" in overdue.err) == (0, True)
    assert "a run does that first" in overdue.err
    assert host.reconcile("rollback").code == 0
    assert "rolled back" not in host.reconcile("--dry-run").err


@pytest.mark.parametrize("seconds", ["0", "-1", "604801", "9" * 30, "9" * 5000, "soon", "1.5"])
def test_a_time_that_is_none_is_refused_before_anything(host: Host, seconds: str) -> None:
    host.write(WEB)
    before = host.state()
    answer = host.reconcile("--confirm-timeout", seconds)
    assert (answer.code, "1 to 604800, a week" in answer.err) == (64, True)
    assert host.reconcile("--lock-timeout", "9" * 400).code == 64
    assert host.state() == before
    assert not STATE.exists()


def test_a_confirmation_that_comes_too_late_is_none(host: Host) -> None:
    host.write(WEB)
    before = host.state()
    run = Run(host)
    run.kill()
    kill_timer()
    expire()
    answer = host.reconcile("confirm")
    assert answer.code == 1
    assert "too late" in answer.err
    assert host.reconcile("rollback").code == 0
    assert host.state() == before
    assert "rolled back at" in host.reconcile("confirm").err


def test_nothing_to_do_is_nothing_to_confirm(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    answer = host.reconcile("--confirm-timeout", "600")
    assert answer.code == 0
    assert AWAITING not in answer.out
    assert not timers()


def test_down_and_saved_plans_can_await_confirmation(host: Host) -> None:
    empty = host.state()
    host.write(WEB)
    host.reconcile("plan", "--out", "plan.json")
    run = Run(host, "apply", "plan.json")
    assert host.reconcile("confirm").code == 0
    assert run.process.wait(timeout=60) == 0
    before = host.state()
    run = Run(host, "down")
    assert host.links() == {"lo"}
    assert host.reconcile("rollback").code == 0
    assert run.process.wait(timeout=60) == 7
    assert host.state() == before != empty


def test_json_stays_json_while_it_waits(host: Host) -> None:
    host.write(WEB)
    answer = host.reconcile("--format", "json", "--confirm-timeout", "1")
    assert json.loads(answer.out)["steps"]
    assert AWAITING in answer.err


# --- meanwhile -------------------------------------------------------------------------------------------------------


def test_meanwhile_another_run_is_refused_with_the_reason(host: Host) -> None:
    host.write(WEB)
    host.reconcile("plan", "--out", "plan.json")
    run = Run(host)
    before = host.state()
    host.write(WITHOUT_WEB)
    for command in ([], ["down"], ["apply", "plan.json"], ["--confirm-timeout", "5"]):
        answer = host.reconcile(*command)
        assert answer.code == 4, (command, answer.err)
        assert f"(process {run.process.pid}) applied at" in answer.err
        assert "awaits confirmation until" in answer.err
        assert "reconcile confirm" in answer.err
    assert host.state() == before
    assert host.reconcile("--dry-run").code == 0
    host.write(WEB.replace("version: 1", "version: 1\nname: other").replace("10.88", "10.99").replace("br-web", "br-o"))
    assert host.reconcile("plan").code == 0  # other owners do not wait
    assert host.reconcile("confirm").code == 0


def test_status_shows_what_awaits_confirmation(host: Host) -> None:
    host.write(WEB)
    assert json.loads(host.reconcile("status", "--format", "json").out)["awaits_confirmation"] is None
    run = Run(host)
    said = host.reconcile("status").out.splitlines()[-1]
    assert f"(process {run.process.pid}) applied at" in said
    assert "awaits confirmation until" in said
    told = json.loads(host.reconcile("status", "--format", "json").out)["awaits_confirmation"]
    assert (told["applied"], told["overdue"], told["timer_alive"]) == (True, False, True)
    run.kill()
    kill_timer()
    assert "its timer is gone" in host.reconcile("status").out
    expire()
    told = json.loads(host.reconcile("status", "--format", "json").out)["awaits_confirmation"]
    assert (told["overdue"], told["timer_alive"]) == (True, False)
    assert "is to be rolled back" in host.reconcile("status").out


def test_of_two_owners_the_name_says_which(host: Host) -> None:
    host.write(WEB)
    other = WEB.replace("version: 1", "version: 1\nname: other").replace("br-web", "br-o").replace("10.88", "10.87")
    other = other.replace("8080", "8081").replace("web:\n        add", "web2:\n        add").replace("db:", "db2:")
    one, two = Run(host), Run(host, "-f", str(host.write(other, "other.yaml")))
    answer = host.reconcile("confirm")
    assert (answer.code, "--name" in answer.err) == (64, True)
    assert host.reconcile("rollback", "--name", "other").code == 0
    assert (two.process.wait(timeout=60), one.process.poll()) == (7, None)
    assert host.reconcile("confirm").code == 0
    assert one.process.wait(timeout=60) == 0


# --- what it survives ------------------------------------------------------------------------------------------------


def test_the_journal_is_on_disk_and_the_timer_runs_before_the_first_write(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that is only in the page cache is gone after a power cut, and the change is not."""
    host.write(WEB)
    events: list[str] = []
    fsync, replace_, submit, start = os.fsync, os.replace, LiveKernel.submit, timer.start

    def note_fsync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        fsync(descriptor)
        events.append("sync directory" if name == str(STATE) else f"sync {Path(name).suffix}" * (name > str(STATE)))

    def note_replace(source: Any, target: Any) -> None:
        replace_(source, target)
        events.append("rename")

    def note_start(journal: Journal) -> None:
        start(journal)
        events.append("timer")

    def note_submit(kernel: LiveKernel, requests: Sequence[Request], on_progress: Any = None) -> Outcome:
        events.append("write")
        assert timer.alive(pending())
        assert not pending().applied
        return submit(kernel, requests, on_progress)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    monkeypatch.setattr(timer, "start", note_start)
    monkeypatch.setattr(LiveKernel, "submit", note_submit)
    assert host.reconcile("--confirm-timeout", "1").code == 7
    done = [event for event in events if event]
    assert done[: done.index("write") + 1][-5:] == [
        f"sync .{os.getpid()}",
        "rename",
        "sync directory",
        "timer",
        "write",
    ]


def test_without_a_timer_nothing_is_touched(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write(WEB)
    before = host.state()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    answer = host.reconcile("--confirm-timeout", "600")
    assert answer.code == 1
    assert "the timer did not start" in answer.err
    assert host.state() == before
    assert settled()


def test_without_a_place_for_the_journal_nothing_is_touched(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write(WEB)
    before = host.state()
    host.run("mkdir -m 777 /run/open; touch /run/file")
    for place in ("/run/open", "/run/file", "/proc/none"):
        monkeypatch.setenv("RECONCILE_STATE_DIR", place)
        answer = host.reconcile("--confirm-timeout", "600")
        assert answer.code == 1, place
        assert place in answer.err
        assert host.state() == before
    assert not timers()


def test_on_a_disk_that_is_full_before_nothing_is_touched(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write(WEB)
    before = host.state()
    host.run("mkdir -m 700 /run/full; mount -t tmpfs -o size=4k,mode=700 none /run/full; echo x > /run/full/x")
    monkeypatch.setenv("RECONCILE_STATE_DIR", "/run/full")
    answer = host.reconcile("--confirm-timeout", "600")
    assert (answer.code, "No space left on device" in answer.err) == (1, True)
    assert "Nothing was touched" in answer.err
    assert host.run("ls -A /run/full") == "x\n"
    assert host.state() == before


FULL_AFTERWARDS = """
import os, sys
from reconciler import timer
start = timer.start
def full(journal):
    start(journal)
    filler = os.open(timer.confirm.directory() / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(filler, bytes(4096))
    except OSError:
        pass
timer.start = full
from reconciler.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_on_a_disk_that_is_full_afterwards_all_is_undone(host: Host) -> None:
    before = host.state()
    host.run("mkdir -m 700 /run/small; mount -t tmpfs -o size=256k,mode=700 none /run/small")
    host.write(WEB)
    command = [sys.executable, "-c", FULL_AFTERWARDS, "--confirm-timeout", "1"]
    variables = environment({"RECONCILE_STATE_DIR": "/run/small"})
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "No space left on device" in done.stderr) == (1, True)
    assert "it cannot be confirmed, and is rolled back at" in done.stderr
    until(lambda: host.state() == before)


def test_the_tool_is_killed_while_it_waits(host: Host) -> None:
    before = host.state()
    host.write(WEB)
    Run(host, seconds=1).kill()
    until(settled)
    assert host.state() == before


DYING = """
import os, signal, sys
from reconciler.kernel.live import LiveKernel
from tests.cli.test_undo import failing_at
submit = failing_at(int(sys.argv[1]))
def dying(kernel, requests, on_progress=None):
    outcome = submit(kernel, requests, on_progress)
    if outcome.failures:
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome
LiveKernel.submit = dying
from reconciler.cli import main
sys.exit(main(sys.argv[2:]))
"""


@needs_tun
@pytest.mark.parametrize("request_", [1, 7, 19, 31])
def test_the_tool_is_killed_in_the_middle_of_its_work(host: Host, request_: int) -> None:
    host.run(UPLINK)
    host.write(WEB)
    host.reconcile()
    before = host.state()
    host.write(DUAL)
    arguments = ["--confirm-timeout", "600", "--max-deletes", "1000"]
    command = [sys.executable, "-c", DYING, str(request_), *arguments]
    done = subprocess.run(command, env=environment({}), capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    answer = host.reconcile("confirm")
    assert (answer.code, "cut short" in answer.err) == (1, True)
    assert "cut short" in host.reconcile("status").out
    assert host.reconcile().code == 4
    expire()
    assert timer.alive(pending())
    poke(pending())
    until(settled)
    assert host.state() == before


def poke(journal: Journal) -> None:
    """Has the timer look again."""
    confirm.fifo_of(journal).write_bytes(b"!")


def test_the_terminal_goes(host: Host) -> None:
    """The window is closed, or the connection breaks: the kernel sends SIGHUP to all in it."""
    before = host.state()
    host.write(WEB)
    ours, theirs = pty.openpty()
    command = ["setsid", "--ctty", sys.executable, "-m", "reconciler", "--confirm-timeout", "600"]
    run = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment({}))
    os.close(theirs)
    said = b""
    while AWAITING.encode() not in said:
        said += os.read(ours, 4096)
    os.close(ours)
    assert run.wait(timeout=60) == -signal.SIGHUP
    assert timer.alive(pending())
    expire()
    poke(pending())
    until(settled)
    assert host.state() == before


def test_an_interrupt_leaves_the_timer_in_charge(host: Host) -> None:
    host.write(WEB)
    run = Run(host)
    run.process.send_signal(signal.SIGINT)
    _, err = run.rest()
    assert run.process.returncode == 130
    assert "still awaits confirmation until" in err
    assert "the next run finishes it" not in err
    assert timer.alive(pending())
    assert host.reconcile("confirm").code == 0


INTERRUPTED = """
import os, signal, sys
from reconciler import confirm, timer
from reconciler.kernel.live import LiveKernel
def interrupted(before):
    def then(*arguments, **options):
        result = before(*arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return result
    return then
place, name = sys.argv[1].split(".")
place = {"confirm": confirm, "timer": timer, "LiveKernel": LiveKernel}[place]
setattr(place, name, interrupted(getattr(place, name)))
from reconciler.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("step", ["confirm.write", "confirm.sweep", "timer.start", "LiveKernel.submit"])
def test_an_interrupt_at_any_time_leaves_no_change_without_a_timer(host: Host, step: str) -> None:
    host.write(WEB)
    before = host.state()
    command = [sys.executable, "-c", INTERRUPTED, step, "--confirm-timeout", "600"]
    done = subprocess.run(command, env=environment({}), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130, done.stderr
    if step != "LiveKernel.submit":
        assert "it is rolled back" not in done.stderr
        assert settled()
    else:
        assert "all of it is rolled back at" in done.stderr
        assert host.state() != before
        expire()
        poke(pending())
        until(settled)
        assert "cut short" in host.reconcile("confirm").err
    until(lambda: not timers())
    assert host.state() == before


def test_the_timer_is_killed_and_the_run_that_waits_does_its_work(host: Host) -> None:
    before = host.state()
    host.write(WEB)
    run = Run(host, seconds=1)
    for process in timers():
        os.kill(process, signal.SIGKILL)
    run.rest()
    assert run.process.returncode == 7
    assert host.state() == before


def test_all_are_killed_and_the_next_run_rolls_back_first(host: Host) -> None:
    host.write(WITHOUT_WEB)
    host.reconcile()
    before = host.state()
    host.write(WEB)
    Run(host).kill()
    kill_timer()
    expire()
    again = host.reconcile()
    assert again.code == 4
    assert "it is rolled back first" in again.err
    assert "just this was applied before, and rolled back" in again.err
    assert host.state() == before
    assert settled()


def test_what_was_rolled_back_is_tried_again_only_with_a_timeout(host: Host) -> None:
    """Else a unit or a timer that runs `reconcile` would cut the host off again, for good."""
    host.write(WEB)
    assert host.reconcile("--confirm-timeout", "1").code == 7
    before = host.state()
    assert host.reconcile().code == 4
    assert host.state() == before
    run = Run(host)
    assert host.reconcile("confirm").code == 0
    assert run.process.wait(timeout=60) == 0
    assert host.reconcile().code == 0


def test_once_something_else_was_applied_it_is_as_new(host: Host) -> None:
    host.write(WEB)
    assert host.reconcile("--confirm-timeout", "1").code == 7
    host.write(WITHOUT_WEB)
    assert host.reconcile().code == 0
    host.write(WEB)
    assert host.reconcile().code == 0


def test_a_step_that_fails_leaves_nothing_to_confirm(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write(WEB)
    before = host.state()
    monkeypatch.setattr(LiveKernel, "submit", failing_at(9))
    assert host.reconcile("--confirm-timeout", "600").code == 7
    assert host.state() == before
    assert settled()
    until(lambda: not timers())


def test_a_rollback_that_fails_says_so_and_can_be_tried_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    before = host.state()
    host.write(WEB)
    run = Run(host)
    run.kill()
    kill_timer()
    submit = LiveKernel.submit
    monkeypatch.setattr(LiveKernel, "submit", lambda *_: Outcome(frozenset(), 0))
    answer = host.reconcile("rollback")
    assert answer.code == 1
    assert "left to undo:\n  delete" in answer.err
    assert "left to undo" in host.reconcile("status").out
    monkeypatch.setattr(LiveKernel, "submit", submit)
    assert host.reconcile("rollback").code == 0
    assert host.state() == before


def test_what_can_neither_be_rolled_back_can_be_let_be(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write(WEB)
    Run(host).kill()
    kill_timer()
    applied, submit = host.state(), LiveKernel.submit
    monkeypatch.setattr(LiveKernel, "submit", lambda *_: Outcome(frozenset(), 0))
    assert host.reconcile("rollback").code == 1
    monkeypatch.setattr(LiveKernel, "submit", submit)
    assert host.reconcile("confirm").code == 0
    assert host.state() == applied
    assert host.reconcile().code == 0


def test_what_cannot_be_brought_back_is_told_before_and_after(host: Host) -> None:
    """A container given by its process: once no file names it, nobody sees into it."""
    process = host.inhabited_namespace()
    with_pid = WITHOUT_WEB + f"      app: {{attach: {{pid: {process.pid}}}, addresses: [10.88.0.12]}}\n"
    host.write(with_pid)
    assert host.reconcile().code == 0
    host.write(WITHOUT_WEB)
    run = Run(host, seconds=1)
    _, err = run.rest()
    assert run.process.returncode == 1
    assert "cannot be brought back as it was" in err.splitlines()[0]
    assert "it cannot be rolled back whole: left to undo:\n  create veth app-" in err
    assert "rolling back failed" in host.reconcile("status").out
    assert host.reconcile().code in (1, 4)
    until(lambda: not timers())  # it has tried three times
    assert (STATE / timer.LOG).read_text().count("left to undo") == 3
    assert host.reconcile("confirm").code == 0
    host.write(with_pid)
    assert host.reconcile().code == 0


def test_journals_are_where_they_outlive_a_boot(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert confirm.directory() == STATE
    monkeypatch.delenv("RECONCILE_STATE_DIR")
    monkeypatch.setattr(confirm, "DIRECTORY", tmp_path / "lib" / "reconciler")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert confirm.directory() == Path("/home/somebody/.local/state/reconciler")  # no lib to write to
    monkeypatch.setenv("XDG_STATE_HOME", "/home/somebody/state")
    assert confirm.directory() == Path("/home/somebody/state/reconciler")
    (tmp_path / "lib").mkdir()
    assert confirm.directory() == tmp_path / "lib" / "reconciler"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert confirm.directory() == Path("/home/somebody/state/reconciler")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "reconcile journal", "version": 9}', "[" * 100_000])
def test_a_journal_that_cannot_be_read_stops_everything(host: Host, text: str) -> None:
    host.write(WEB)
    Run(host).kill()
    kill_timer()
    before, path = host.state(), confirm.path_of(pending())
    path.write_text(text)
    for command in ([], ["down"], ["confirm"], ["rollback"], ["status"]):
        answer = host.reconcile(*command)
        assert (answer.code, str(path) in answer.err) == (1, True), command
    path.chmod(0o666)
    assert "not trusted" in host.reconcile().err
    assert host.state() == before


# --- a reboot --------------------------------------------------------------------------------------------------------

BOOT = """
mount -t tmpfs none /run; mkdir /run/netns
ip link set lo up
reconcile() {{ {python} -m reconciler "$@"; }}
keep() {{ ip -j link; ip -j address; ip -j -n db address; cat /proc/sys/net/ipv4/ip_forward; nft -s list ruleset; }}
echo {id} > /run/boot; mount --bind /run/boot /proc/sys/kernel/random/boot_id
{commands}
"""


def boot(commands: str, id: str) -> subprocess.CompletedProcess[str]:
    """A host that boots: first process, network, /run and boot id of its own. It ends as by a power cut."""
    script = BOOT.format(id=id, commands=commands, python=sys.executable)
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-ec", script]
    return subprocess.run(command, env=environment({}), capture_output=True, text=True, timeout=60, check=False)


UNIT = Path(__file__).parents[2] / "contrib" / "systemd" / "reconcile-rollback.service"


def unit_command() -> str:
    """What the unit runs."""
    (line,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
    path, _, rest = line.removeprefix("ExecStart=").partition(" ")
    assert path == "/usr/local/sbin/reconcile"
    return f"reconcile {rest}"


def test_a_host_that_boots_comes_up_as_it_was_before_the_change(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILE_STATE_DIR", str(host.folder / "state"))
    host.write(WITHOUT_WEB, "old.yaml")
    host.write("version: 1\nbridges:\n  br-new: {mode: isolated}\n", "new.yaml")
    change = (
        "reconcile -f new.yaml --max-deletes 99 --confirm-timeout 600 > said & "
        f"until grep -q '{AWAITING}' said; do test -d /proc/$!; done; ip link show br-new"
    )
    first = boot(f"reconcile -f old.yaml; keep > before; {change}", "boot-1")
    assert first.returncode == 0, first.stdout + first.stderr
    second = boot(
        f"{unit_command()}; keep > after; if reconcile -f new.yaml --max-deletes 99; then exit 90; else exit $?; fi",
        "boot-2",
    )
    assert second.returncode == 4, second.stdout + second.stderr
    assert "the host has booted since" in second.stdout
    assert "just this was applied before" in second.stderr
    assert lasting(host.folder / "after") == lasting(host.folder / "before")
    assert boot(unit_command(), "boot-3").returncode == 0


def lasting(path: Path) -> list[Any]:
    """What of the host can be the same after a boot, of what `keep` wrote."""
    lines = path.read_text().splitlines()
    links, addresses, inside = (json.loads(line) for line in lines[:3])
    found: list[Any] = [(link["ifname"], link["address"], link["operstate"], link["mtu"]) for link in links]
    for link in (*addresses, *inside):
        found += [
            (link["ifname"], item["local"], item["prefixlen"])
            for item in link["addr_info"]
            if item["scope"] == "global"
        ]
    return found + lines[3:]


def test_without_the_unit_the_first_run_after_a_boot_does_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILE_STATE_DIR", str(host.folder / "state"))
    host.write(WEB)
    change = f"reconcile --confirm-timeout 600 > said & until grep -q '{AWAITING}' said; do test -d /proc/$!; done"
    first = boot(change, "boot-1")
    assert first.returncode == 0, first.stderr
    second = boot("if reconcile; then exit 90; else code=$?; ip -br link; exit $code; fi", "boot-2")
    assert second.returncode == 4, second.stdout + second.stderr
    assert "it is rolled back first" in second.stderr
    assert "br-web" not in second.stdout


@pytest.mark.parametrize(
    ("file", "until_said", "told"),
    [("old.yaml", "Synced", "the host has booted since"), ("new.yaml", "was refused", "just this was applied before")],
)
def test_without_the_unit_an_agent_does_it_at_boot(
    host: Host, monkeypatch: pytest.MonkeyPatch, file: str, until_said: str, told: str
) -> None:
    monkeypatch.setenv("RECONCILE_STATE_DIR", str(host.folder / "state"))
    host.write(WITHOUT_WEB, "old.yaml")
    host.write(WEB, "new.yaml")
    change = f"reconcile -f new.yaml --confirm-timeout 600 > said & until grep -q '{AWAITING}' said; do test -d /proc/$!; done"
    first = boot(f"reconcile -f old.yaml; {change}", "boot-1")
    assert first.returncode == 0, first.stdout + first.stderr
    watch = f"reconcile watch -f {file} 2> log & until grep -q '{until_said}' log; do test -d /proc/$!; done"
    second = boot(f"{watch}; cat log; echo; ip netns", "boot-2")
    assert second.returncode == 0, second.stdout + second.stderr
    log, _, names = second.stdout.partition("\n\n")
    assert told in log
    assert "AwaitingConfirm" not in log
    assert {line.split()[0] for line in names.splitlines()} == {"db"}


# --- systemd ---------------------------------------------------------------------------------------------------------

SYSTEMD_RUN = """#!/bin/sh
printf '%s\\n' "$@" > /run/asked
[ -z "$FAIL" ] || { echo no bus >&2; exit 1; }
while [ "$1" != -- ]; do
  case "$1" in --setenv=*) export "${1#--setenv=}";; esac; shift
done; shift
setsid "$@" > /dev/null 2>&1 < /dev/null &
"""


@pytest.fixture
def systemd(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that seems to run systemd, with a systemd-run that starts at once what it is to start later."""
    (host.folder / "bin").mkdir()
    for name, text in {"systemd-run": SYSTEMD_RUN, "systemctl": "#!/bin/sh\necho $* >> /run/asked\nexit 3\n"}.items():
        (host.folder / "bin" / name).write_text(text)
        (host.folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{host.folder}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(timer, "_SYSTEMD", host.folder)
    monkeypatch.setattr("reconciler.kernel.place.is_of_init", lambda: True)


@pytest.mark.usefixtures("systemd")
def test_with_systemd_it_is_a_timer_of_systemds(host: Host) -> None:
    before = host.state()
    host.write(WEB)
    assert host.reconcile("--confirm-timeout", "1").code == 7
    assert host.state() == before
    asked = Path("/run/asked").read_text().splitlines()
    assert "--on-active=1s" in asked
    assert "--setenv=RECONCILE_STATE_DIR=/run/state" in asked
    assert any(item.startswith("--unit=reconcile-rollback-") for item in asked)


@pytest.mark.usefixtures("systemd")
def test_where_systemd_will_not_a_process_waits(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "1")
    before = host.state()
    host.write(WEB)
    answer = host.reconcile("--confirm-timeout", "1")
    assert answer.code == 7
    assert "no bus; a process waits instead" in answer.err
    assert host.state() == before
