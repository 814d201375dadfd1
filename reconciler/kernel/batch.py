"""Requests to one namespace, gathered into one datagram."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from reconciler.core.messages import Index, NamespaceFd, Netlink
from reconciler.kernel import wire
from reconciler.kernel.encode import encode, link_names
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netlink import BATCH, BATCH_BYTES, Answer, Message, Socket


class _NotYet(Exception):
    """An index that is known only when what is gathered so far has been sent."""


class Batch:
    """Gathers as many requests as fit, then sends them at once.

    Indexes are looked up when a request is added. A link whose name comes up in a request that is gathered
    but not sent may be a new one with a new index: then the batch ends there.
    """

    def __init__(self, socket: Socket, namespaces: Namespaces) -> None:
        self._socket = socket
        self._namespaces = namespaces
        self._messages: list[Message] = []
        self._size = 0
        self._touched: set[str] = set()
        self._opened: list[int] = []

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for opened in self._opened:
            os.close(opened)
        self._opened.clear()

    def fill(self, requests: Iterable[Netlink], *, quiet: bool = False) -> OSError | None:
        """Add requests until one does not fit any more.

        Those that are `quiet` are answered only if they fail, so that there is room for hundreds: one that is not is to come behind.
        Returns why one cannot be sent at all, if that is why it ended.
        """
        for request in requests:
            full = (not quiet and len(self._messages) >= BATCH) or self._size >= BATCH_BYTES
            if full and not request.goes_on:
                return None
            try:
                self.add(request, quiet=quiet)
            except _NotYet:
                return None
            except OSError as error:
                return error
        return None

    def add(self, request: Netlink, *, quiet: bool = False) -> None:
        """Add one, full or not. Raises OSError if it cannot be sent at all."""
        message = encode(request, self._resolve)
        if quiet:
            message = message._replace(flags=message.flags & ~wire.NLM_F_ACK)
        self._messages.append(message)
        self._size += len(message.body) + 16
        self._touched.update(_renamed(request))

    def __len__(self) -> int:
        return len(self._messages)

    def send(self) -> list[Answer]:
        """Send what was gathered. Returns the kernel's answer to each."""
        return self._socket.submit(self._messages) if self._messages else []

    def _resolve(self, value: Index | NamespaceFd) -> int:
        if isinstance(value, NamespaceFd):
            self._opened.append(self._namespaces.open(value.namespace))
            return self._opened[-1]
        if value.name in self._touched:
            raise _NotYet
        index = self._socket.index(value.name)
        if not index:
            raise OSError(errno.ENODEV, f"there is no link {value.name}")
        return index


def _renamed(request: Netlink) -> Iterable[str]:
    """Names that may stand for another link, or none, once the request is done."""
    if request.type.endswith("LINK"):
        names = tuple(link_names(request.attributes))
        yield from names
        if names or request.type == "RTM_DELLINK":
            yield from (value.name for _, value in request.header if isinstance(value, Index))
