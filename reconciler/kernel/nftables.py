"""nftables through libnftables (libnftables(3), nft(8)): text in, JSON out. What there is, is read past it (reconciler.kernel.ruleset).

JSON *input* loses maps whose data is a concatenation, so commands are text. One call is one transaction.
The context is kept: it caches the ruleset, and the second change of a large set takes a hundredth of the
first.
"""

from __future__ import annotations

import bisect
import errno
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from reconciler.core.messages import Nft, NftElement
from reconciler.errors import PlatformError
from reconciler.kernel.meter import Meter

_ERRNOS = {
    os.strerror(code): code
    for code in (
        errno.ENOENT,
        errno.EEXIST,
        errno.EPERM,
        errno.EBUSY,
        errno.EINVAL,
        errno.EOPNOTSUPP,
        errno.ELOOP,
        errno.ENOBUFS,
        errno.ERESTART,
        errno.ENOMEM,
        errno.EMSGSIZE,
        errno.EINTR,
        errno.EAGAIN,
        errno.EBUSY,
        errno.ENODEV,
    )
}


class NftRefusal(NamedTuple):
    """Why a transaction was refused: errno (0 if the text was), nft's first line, and which request it
    points at."""

    errno: int
    message: str
    request: int


class Nftables:
    """A libnftables context of the network namespace that the thread is in when it is first used."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._context: Any = None

    def close(self) -> None:
        self._context = None

    def load(self) -> None:
        """Finds the library. Raises PlatformError."""
        if self._context is None:
            self._context = _context()

    def submit(self, requests: Sequence[Nft | NftElement]) -> tuple[int, NftRefusal | None]:
        """Do all of `requests` in one transaction, or none. Returns how many are done, and why not all.

        A user namespace's root may not raise the send buffer (SO_SNDBUFFORCE), which ends at some 4,000
        elements. There, and only there, what does not fit one transaction is done in several.
        """
        text, starts = _command(requests)
        status, _, error = self._run(text)
        if status == 0:
            return len(requests), None
        refusal = _refusal(error, starts)
        if refusal.errno != errno.EMSGSIZE or len(requests) == 1:
            return 0, refusal
        half = len(requests) // 2
        done, refused = self.submit(requests[:half])
        if refused is None:
            more, refused = self.submit(requests[half:])
            done += more
            refused = refused and refused._replace(request=refused.request + half)
        return done, refused

    def _run(self, command: str) -> tuple[int, str, str]:
        """Run it: the only place where libnftables is given something to do."""
        self._meter.write("NFT_WRITE")
        self.load()
        status, output, error = self._context.cmd(command.encode())
        return int(status), output.decode(errors="replace"), error.decode(errors="replace")


def version() -> str:
    """The version of libnftables, as `1.0.6`, which it says with each listing. Raises PlatformError if it is missing, or may not list."""
    import json

    status, output, error = _context().cmd(b"list chains inet")
    if status:
        raise _cannot_list(error.decode(errors="replace"))
    return next(str(item["metainfo"]["version"]) for item in json.loads(output)["nftables"] if "metainfo" in item)


def _context() -> Any:
    try:
        import nftables

        context = nftables.Nftables()
    except (ImportError, OSError) as error:
        raise PlatformError(
            f"libnftables is missing ({error}): install libnftables1 (Debian, Ubuntu) or nftables "
            "(Fedora, Arch), and for Python: pip install pip-nftables"
        ) from error
    context.set_json_output(True)
    return context


def _command(requests: Sequence[Nft | NftElement]) -> tuple[str, list[int]]:
    """The requests as one text, and where in it each begins, in bytes.

    On one line as far as it goes, since errors are shown by column; runs of elements for one set become one
    command.
    """
    pieces: list[str] = []
    starts: list[int] = []
    length = 0
    group: tuple[str, str, str] | None = None
    for request in requests:
        current = (request.verb, request.table, request.set) if isinstance(request, NftElement) else None
        if group is not None and current == group:
            lead = ", "
        else:
            lead = (" }" if group else "") + ("; " if starts else "")
            lead += f"{current[0]} element {current[1]} {current[2]} {{ " if current else ""
        group = current
        starts.append(length + len(lead.encode()))
        pieces.append(lead + request.text)
        length += len(pieces[-1].encode())
    return "".join(pieces) + (" }" if group else ""), starts


def _refusal(error: str, starts: Sequence[int]) -> NftRefusal:
    lines = error.splitlines() or ["nft failed and said nothing"]
    message = re.sub(r"^(\S+: )?Error: (Could not process rule: )?", "", lines[0])
    column = next((line.index("^") for line in lines if re.fullmatch(r" *\^[\^~ ]*", line)), 0)
    request = max(0, bisect.bisect_right(starts, column) - 1)
    return NftRefusal(_errno(error), message, request)


def _errno(error: str) -> int:
    first = error.partition("\n")[0]
    # The words for ERESTART begin with those for EINTR.
    return max(((len(words), code) for words, code in _ERRNOS.items() if words in first), default=(0, 0))[1]


def _cannot_list(error: str) -> PlatformError:
    first = error.partition("\n")[0]
    if _errno(error) == errno.EPERM:
        return PlatformError(
            f"nftables cannot be read ({first}): it needs CAP_NET_ADMIN; run with sudo, or try `reconcile sandbox`"
        )
    return PlatformError(f"nftables cannot be read ({first}): is the kernel's nf_tables module there?")
