"""Each of these tests is at a host of its own: a fresh network namespace and an empty /run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import PlatformError
from reconciler.scratch import enter
from tests.cli.host import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Host]:
    """A host with nothing on it, and a user who stands in an empty folder."""
    try:
        enter()
    except PlatformError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECONCILE_FILE", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("RECONCILE_STATE_DIR", "/run/state")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    with Host(tmp_path, capfd) as made:
        yield made
