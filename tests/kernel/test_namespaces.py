"""Named network namespaces, and what is left lying about of them."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.messages import CreateNamespace, DeleteNamespace, Scope
from reconciler.errors import PlatformError
from reconciler.kernel.live import LiveKernel
from tests.kernel.requests import MARK, change, do, look, veth
from tests.support.standin import StandIns

NETNS = Path("/run/netns")


def here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_a_new_namespace_has_lo_up_with_the_mark(kernel: LiveKernel) -> None:
    before = here()
    do(kernel, CreateNamespace("web", MARK))
    assert here() == before
    (lo,) = look(kernel).namespaces["web"].links
    assert (lo.name, lo.up, lo.alias) == ("lo", True, MARK)


def test_iproute2_sees_enters_and_deletes_ours(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("web", MARK))
    assert subprocess.check_output(["ip", "netns", "list"], text=True).split()[0] == "web"
    shown = subprocess.check_output(["ip", "-n", "web", "link", "show", "lo"], text=True)
    assert MARK in shown
    subprocess.run(["ip", "netns", "delete", "web"], check=True)
    assert list(look(kernel).namespaces) == [""]


def test_we_see_and_delete_those_of_iproute2(kernel: LiveKernel) -> None:
    subprocess.run(["ip", "netns", "add", "web"], check=True)
    assert list(look(kernel).namespaces) == ["", "web"]
    do(kernel, DeleteNamespace("web"), CreateNamespace("web", MARK))
    do(kernel, DeleteNamespace("web"))
    assert list(NETNS.iterdir()) == []


def test_the_directory_is_made_when_it_is_missing(kernel: LiveKernel) -> None:
    NETNS.rmdir()
    assert list(look(kernel).namespaces) == [""]
    do(kernel, CreateNamespace("web", MARK))
    assert list(look(kernel).namespaces) == ["", "web"]


def test_a_name_that_is_taken_is_left_alone(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("web", "first"))
    outcome = kernel.submit([CreateNamespace("web", "second")])
    assert outcome.failures[0].errno == errno.EEXIST
    assert look(kernel).namespaces["web"].links[0].alias == "first"


def test_an_empty_leftover_is_not_seen_and_is_reused(kernel: LiveKernel) -> None:
    (NETNS / "web").touch()
    assert list(look(kernel).namespaces) == [""]
    do(kernel, CreateNamespace("web", MARK))
    assert list(look(kernel).namespaces) == ["", "web"]


def test_a_leftover_can_be_deleted(kernel: LiveKernel) -> None:
    (NETNS / "web").touch()
    do(kernel, DeleteNamespace("web"))
    assert not (NETNS / "web").exists()


def test_a_name_without_its_mount_is_known_for_ours_and_can_be_given_again(kernel: LiveKernel) -> None:
    """What a run that is killed leaves."""
    mark = "reconciler:default"
    do(kernel, CreateNamespace("web", mark))
    subprocess.run(["umount", NETNS / "web"], check=True)
    assert (NETNS / "web").read_text() == mark
    snapshot = look(kernel)
    assert (list(snapshot.namespaces), snapshot.leftovers) == ([""], {"web": mark})
    do(kernel, CreateNamespace("web", mark))
    snapshot = look(kernel)
    assert (list(snapshot.namespaces), snapshot.leftovers) == (["", "web"], {})
    do(kernel, DeleteNamespace("web"))
    assert list(NETNS.iterdir()) == []


def test_where_no_file_can_be_made_unseen_it_gets_its_mark_a_moment_later(
    kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def without_tmpfile(path: str, flags: int, *arguments: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return opened(path, flags, *arguments)

    monkeypatch.setattr(os, "open", without_tmpfile)
    do(kernel, CreateNamespace("web", "reconciler:default"))
    subprocess.run(["umount", NETNS / "web"], check=True)
    assert look(kernel).leftovers == {"web": "reconciler:default"}


def test_somebodys_file_is_no_leftover(kernel: LiveKernel) -> None:
    (NETNS / "web").write_text("precious")
    outcome = kernel.submit([CreateNamespace("web", MARK)])
    assert outcome.failures[0].errno == errno.EEXIST
    assert (NETNS / "web").read_text() == "precious"


def test_deleting_what_is_not_there_is_a_failure(kernel: LiveKernel) -> None:
    outcome = kernel.submit([DeleteNamespace("web")])
    assert outcome.failures[0].errno == errno.ENOENT


@pytest.mark.parametrize("count", [2, 40])
def test_of_many_names_that_go_one_that_cannot_is_told_and_the_others_go(kernel: LiveKernel, count: int) -> None:
    names = [f"c{number}" for number in range(count)]
    do(kernel, *(CreateNamespace(name, MARK) for name in names))
    doomed = [*names[:1], "away", *names[1:-1], "pid:7", names[-1]]
    threads = threading.active_count()
    outcome = kernel.submit([*map(DeleteNamespace, doomed), CreateNamespace("next", MARK)])
    assert list(NETNS.iterdir()) == []
    assert [(item.position, item.errno) for item in outcome.failures] == [(1, errno.ENOENT)]
    assert outcome.done == frozenset(range(len(doomed))) - {1, len(doomed) - 2}
    assert outcome.attempted == len(doomed)
    assert threading.active_count() == threads


def test_a_name_goes_however_often_it_is_mounted(kernel: LiveKernel) -> None:
    names = [f"c{number}" for number in range(20)]
    do(kernel, *(CreateNamespace(name, MARK) for name in names))
    for name in names[::5]:
        subprocess.run(["mount", "--bind", "/proc/self/ns/net", NETNS / name], check=True)
    do(kernel, *map(DeleteNamespace, names))
    assert list(NETNS.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "pid:7", "docker:web"])
def test_what_is_no_file_name_is_refused(kernel: LiveKernel, name: str) -> None:
    for request in (CreateNamespace(name, MARK), DeleteNamespace(name)):
        assert kernel.submit([request]).failures[0].errno == errno.EINVAL


def test_a_name_taken_away_goes_in_mount_namespaces_that_copied_it(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("copied", MARK))
    count = "grep -c netns/copied /proc/self/mounts"
    child = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", f"{count}; read x; {count}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "1\n"
    do(kernel, DeleteNamespace("copied"))
    assert child.communicate("\n")[0] == "0\n"


def test_two_names_of_one_namespace_show_the_same(kernel: LiveKernel) -> None:
    do(kernel, CreateNamespace("web", MARK), veth("v0", "eth0", "web"), change("v0", up=True))
    (NETNS / "alias").touch()
    subprocess.run(["mount", "--bind", NETNS / "web", NETNS / "alias"], check=True)
    (NETNS / "self").touch()
    subprocess.run(["mount", "--bind", "/proc/self/ns/net", NETNS / "self"], check=True)
    snapshot = kernel.observe(Scope(frozenset({"web"})))
    assert snapshot.namespaces["alias"] == snapshot.namespaces["web"]
    assert snapshot.namespaces["self"] == snapshot.namespaces[""]
    (near,) = (item for item in snapshot.namespaces[""].links if item.name == "v0")
    assert near.peer == ("web", "eth0")


def test_a_container_is_shown_by_no_other_name(kernel: LiveKernel) -> None:
    """Podman gives the namespaces of its networks' containers a name under /run/netns."""
    with StandIns("podman:web") as containers, LiveKernel(containers=containers) as asking:
        (NETNS / "netns-7").touch()
        subprocess.run(
            ["mount", "--bind", f"/proc/{containers.pid('podman:web')}/ns/net", NETNS / "netns-7"], check=True
        )
        do(asking, CreateNamespace("other", MARK))
        asked = asking.observe(Scope(namespaces=frozenset({"podman:web"})))
        assert set(asked.namespaces) == {"", "other", "podman:web"}
        assert set(look(asking).namespaces) == {"", "other", "netns-7"}


def test_a_process_namespace_is_looked_at_and_a_missing_one_is_not_there(kernel: LiveKernel) -> None:
    own = f"pid:{os.getpid()}"
    snapshot = look(kernel, namespaces=(own, "pid:4194305", "web"))
    assert list(snapshot.namespaces) == ["", own]


def test_the_thread_is_home_again_after_an_error_inside() -> None:
    before = here()
    with LiveKernel() as kernel:
        do(kernel, CreateNamespace("web", MARK))
        seen = []
        with pytest.raises(ZeroDivisionError), kernel._namespaces.inside("web"):
            seen.append(1 / int(here() == before))
        assert seen == []
    assert here() == before


def test_a_namespace_that_may_not_be_opened_is_the_systems_fault(
    kernel: LiveKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: str, *_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(PlatformError, match="sudo"):
        look(kernel, namespaces=("pid:1",))


@pytest.fixture
def few_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 60, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("few_files")
def test_two_hundred_namespaces_take_few_file_descriptors(kernel: LiveKernel) -> None:
    names = [f"c{n}" for n in range(200)]
    do(
        kernel,
        *(CreateNamespace(name, MARK) for name in names),
        *(veth(f"v-{name}", "eth0", name) for name in names),
        *(change("eth0", namespace=name, up=True) for name in names),
    )
    before = len(os.listdir("/proc/self/fd"))
    snapshot = look(kernel)
    assert len(snapshot.namespaces) == 201
    assert all(item.peer for item in snapshot.namespaces[""].links if item.kind == "veth")
    do(kernel, *(DeleteNamespace(name) for name in names))
    assert len(os.listdir("/proc/self/fd")) == before
