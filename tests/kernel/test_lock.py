"""One run at a time per owner and network namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.errors import LockedError
from reconciler.kernel import lock
from reconciler.kernel.lock import Lock
from tests.support.scratch import CLONE_NEWNET, unshare


def test_a_second_one_is_told_who_has_it() -> None:
    with Lock("web"), pytest.raises(LockedError, match=rf"process {os.getpid()}, for 0 s") as caught:
        Lock("web").acquire()
    assert caught.value.exit_code == 6


def test_it_is_free_again_afterwards() -> None:
    with Lock("web"):
        pass
    with Lock("web"):
        pass


def test_owners_do_not_wait_for_each_other() -> None:
    with Lock("web"), Lock("db"):
        pass


def test_network_namespaces_do_not_wait_for_each_other() -> None:
    with Lock("web"):
        unshare(CLONE_NEWNET)
        with Lock("web"):
            pass


def test_it_waits_as_long_as_it_is_told() -> None:
    imports = "import time; from reconciler.kernel.lock import Lock"
    body = "lock = Lock('web'); lock.acquire(); print(); time.sleep(0.4)"
    command = [sys.executable, "-uc", f"{imports}; {body}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(LockedError):
            Lock("web").acquire(timeout=0.1)
        late = Lock("web")
        late.acquire(timeout=10)
        late.release()


def test_a_directory_that_others_can_write_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    Path("/run/reconciler").mkdir()
    Path("/run/reconciler").chmod(0o777)
    assert lock.directory() == tmp_path / "reconciler"
