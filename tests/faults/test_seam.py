"""The steps between which the other tests kill are all there are: strace(1) sees the same ones, in the same order."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.faults.host import FaultyHost
from tests.faults.plans import WAYS
from tests.faults.scene import scene, set_up

CALLS = (
    "sendto,sendmsg,mount,umount2,unshare,unlink,unlinkat,mkdir,mkdirat,link,linkat,open,openat,rename,renameat,renameat2,ioctl,write,"
    "pwrite64,ftruncate,fallocate,setxattr,chmod,fchmod,fchmodat,chown,fchown,move_mount,open_tree,bpf,keyctl,init_module,finit_module"
)
CALL = re.compile(r"\d+ +(\w+)\((.*)")
TYPE = re.compile(r"nlmsg_type=([\w<|]+)")
LOOKING = re.compile(r"(\w+<<8\|)?(RTM|NFT_MSG|IPCTNL_MSG_CT)_GET\w*")
NAMES = {
    "umount2": "umount2",
    "mount": "mount",
    "unshare": "unshare",
    "unlink": "unlink",
    "unlinkat": "unlink",
    "mkdir": "mkdir",
    "mkdirat": "mkdir",
    "link": "link",
    "linkat": "link",
    "pwrite64": "pwrite",
    "ftruncate": "ftruncate",
}


def may_trace() -> bool:
    return shutil.which("strace") is not None and not subprocess.run(["strace", "-o", "/dev/null", "true"]).returncode


@pytest.mark.skipif(not may_trace(), reason="strace is not installed, or may not look at processes here")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_seam_sees_every_writing_system_call(host: FaultyHost, way: object) -> None:
    stage = scene(host, way)  # type: ignore[arg-type]
    set_up(host, stage.start)
    trace = host.folder / "trace"
    host.shell(
        f"strace -f -qq -s 1 -e trace={CALLS} -o {trace} {sys.executable} -B -m reconciler {' '.join(stage.command)}"
    )
    assert list(seen(trace.read_text())) == [kind(step) for step in stage.whole().written]


def looks(kind: str) -> bool:
    """Whether a message of this type only asks. By its number, where strace has lost sight of the socket's protocol."""
    if kind.startswith("0x"):
        number = int(kind, 16)
        return number in (0xA10, 0x101) if number > 0xFF else number & 3 == 2
    return LOOKING.fullmatch(kind) is not None


def kind(step: str) -> str:
    """What a step of the seam is called here."""
    if step.startswith("send "):
        return "netlink"
    return {"nftables transaction": "netlink", "ioctl TUN": "ioctl", "makedirs": "mkdir"}.get(step, step)


def seen(trace: str) -> Iterator[str]:
    """The calls in a trace that change something outside of the process."""
    for line in trace.splitlines():
        found = CALL.match(line)
        if found is None or "= ? ERESTART" in line or (" = -1 " in line and found[1] not in ("umount2", "mkdir")):
            continue
        match found[1]:
            case "sendto" | "sendmsg":
                message = TYPE.search(found[2])
                if message and not looks(message[1]):
                    yield "netlink"
            case "ioctl":
                if "TUNSET" in found[2]:
                    yield "ioctl"
            case "open" | "openat":
                if "O_CREAT" in found[2] or "O_TMPFILE" in found[2]:
                    yield "open (making)"
            case "write":
                if not found[2].startswith(("1,", "2,")):
                    yield "write"
            case call:
                yield NAMES.get(call, call)
