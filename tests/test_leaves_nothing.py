"""A sandbox and a run leave nothing behind: no namespace, link, process, mount, lock or temporary file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import PlatformError
from reconciler.scratch import enter

ROOT = Path(__file__).parents[1]
EXAMPLE = str(ROOT / "examples" / "web.yaml")


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    try:
        enter()
    except PlatformError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return


def reconcile(*arguments: str) -> int:
    """The command as a child. Returns its exit code."""
    return subprocess.run([sys.executable, "-m", "reconciler", *arguments], capture_output=True, timeout=60).returncode


def descendants() -> set[str]:
    """Processes whose line of parents ends here, and those that lost theirs but have our scratch /run."""
    mine, own = os.readlink("/proc/self/ns/mnt"), str(os.getpid())
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            same = os.readlink(folder / "ns" / "mnt") == mine and folder.name != own
        except OSError:
            continue
        if parent == own or same:
            found.add(folder.name)
    return found


def namespaces_in_use() -> set[str]:
    """Network namespaces that some process is in."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(os.readlink(link))
        except OSError:
            continue
    return found


def traces(folder: Path) -> dict[str, object]:
    """All that could be left behind."""
    return {
        "links": {line.split(":")[1] for line in output("ip", "-o", "link").splitlines()},
        "named namespaces": set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set(),
        "mounts": sorted(line.split(" ", 4)[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "tables": output("nft", "list", "tables"),
        "processes": descendants(),
        "files": {str(path) for path in folder.rglob("*")},
        "run": {str(path) for path in Path("/run").rglob("*")},
    }


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["sandbox", "-f", EXAMPLE, "--exec", "true"], 0),
        (["sandbox", "-f", EXAMPLE, "--exec", "sleep 300 & ip netns add more; ip link add br9 type bridge; exit 3"], 3),
        (["sandbox", "-f", EXAMPLE, "--bare", "--exec", "ip netns exec sandbox-client sleep 300 & exit 0"], 0),
        (["sandbox", "-f", "/nowhere.yaml"], 3),
        (["validate", "-f", EXAMPLE], 0),
        (["test", "-f", EXAMPLE], 0),
        (["plan", "--basis", "empty", "-f", EXAMPLE, "--rehearse"], 0),
        (["--dry-run", "-f", EXAMPLE], 0),
        (["plan", "-f", EXAMPLE, "--format", "json"], 0),
        (["status", "-f", EXAMPLE], 0),
        (["show"], 0),
        (["ports"], 0),
    ],
    ids=lambda value: " ".join(word.rpartition("/")[2] for word in value) if isinstance(value, list) else None,
)
def test_a_command_leaves_nothing(tmp_path: Path, arguments: list[str], code: int) -> None:
    inhabited = namespaces_in_use()
    before = traces(tmp_path)
    assert reconcile(*arguments) == code
    assert traces(tmp_path) == before
    if "sandbox" in arguments:
        settle(inhabited)


def settle(inhabited: set[str]) -> None:
    """Processes of a PID namespace end with its first one, but not within the same instant. Others on this machine open namespaces of
    their own, so only those count that our sleepers would be in."""
    deadline = time.monotonic() + 10
    while sleepers() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not sleepers(), namespaces_in_use() - inhabited


def sleepers() -> list[str]:
    """The processes that the commands above start and do not end."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            ours = path.read_bytes() == b"sleep\x00300\x00" and os.readlink(path.parent / "cwd") == os.getcwd()
        except OSError:
            continue
        if ours:
            found.append(str(path))
    return found


def test_a_run_and_its_down_leave_the_lock_file_and_the_mount_of_names_alone(tmp_path: Path) -> None:
    """The lock's file stays on purpose (reconciler.kernel.lock), /run/netns is made a mount as `ip netns add` does."""
    before = traces(tmp_path)
    assert reconcile("-f", EXAMPLE) == 0
    assert reconcile("down", "-f", EXAMPLE) == 0
    after = traces(tmp_path)
    new_mounts = [mount for mount in after["mounts"] if mount not in before["mounts"]]  # type: ignore[operator, attr-defined]
    new_files = after["run"] - before["run"]  # type: ignore[operator]
    assert all(mount.startswith("/run/netns ") for mount in new_mounts)
    assert {path.rpartition("-")[0] for path in new_files if path.endswith(".lock")} == {"/run/reconciler/default"}
    assert {path for path in new_files if not path.endswith(".lock")} <= {"/run/reconciler"}
    for kind in ("links", "named namespaces", "tables", "processes", "files"):
        assert after[kind] == before[kind], kind
