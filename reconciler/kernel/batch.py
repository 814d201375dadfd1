"""Requests to one namespace, gathered into one datagram."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence

from reconciler.core.messages import Index, NamespaceFd, Netlink
from reconciler.kernel.encode import encode, link_names
from reconciler.kernel.fusing import Fused, Group
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netlink import BATCH, BATCH_BYTES, Answer, Message, Socket

_DONE = Answer(0)


class _NotYet(Exception):
    """An index that is known only when what is gathered so far has been sent."""


class Batch:
    """Gathers as many requests as fit, `most` messages or so, then sends them at once.

    Indexes are looked up when a request is added. A link whose name comes up in a request that is gathered
    but not sent may be a new one with a new index: then the batch ends there.
    """

    def __init__(self, socket: Socket, namespaces: Namespaces, most: int = BATCH) -> None:
        self._socket = socket
        self._namespaces = namespaces
        self._most = most
        self._requests: list[Netlink] = []
        self._messages: list[Message] = []
        self._parts: list[Sequence[int]] = []
        """The requests, by their positions, that each message says."""
        self._size = 0
        self._touched: set[str] = set()
        self._opened: list[int] = []

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for opened in self._opened:
            os.close(opened)
        self._opened.clear()

    def fill(self, groups: Iterable[Group]) -> OSError | None:
        """Add groups of requests until one does not fit any more. Returns why one cannot be sent at all, if that is why it ended."""
        for requests, messages in groups:
            if len(self._messages) >= self._most or self._size >= BATCH_BYTES:
                return None
            try:
                if len(messages) < len(requests) and self._add_fused(requests, messages):
                    continue
                for request in requests:
                    self.add(request)
            except _NotYet:
                return None
            except OSError as error:
                return error
        return None

    def _add_fused(self, requests: Sequence[Netlink], messages: Sequence[Fused]) -> bool:
        """Add requests by fewer messages, all or none. Returns False if one cannot be sent at all, which one by one will tell."""
        first, before = len(self._requests), len(self._messages)
        try:
            for request, parts in messages:
                self._say(request, [first + part for part in parts])
        except (_NotYet, OSError) as error:
            del self._messages[before:], self._parts[before:]
            if isinstance(error, _NotYet):
                raise
            return False
        self._requests += requests
        return True

    def add(self, request: Netlink) -> None:
        """Add one, full or not. Raises OSError if it cannot be sent at all."""
        self._say(request, [len(self._requests)])
        self._requests.append(request)

    def _say(self, request: Netlink, parts: Sequence[int]) -> None:
        message = encode(request, self._resolve)
        self._messages.append(message)
        self._parts.append(parts)
        self._size += len(message.body) + 16
        self._touched.update(_renamed(request))

    def __len__(self) -> int:
        return len(self._requests)

    def send(self) -> list[Answer]:
        """Send what was gathered. Returns the kernel's answer to each request."""
        if not self._messages:
            return []
        answers: list[Answer] = [_DONE] * len(self._requests)
        refused: list[int] = []
        for parts, answer in zip(self._parts, self._socket.submit(self._messages), strict=True):
            if answer.errno and len(parts) > 1 and not answer.lost:
                refused += parts
            for part in parts:
                answers[part] = answer
        for part in sorted(refused):
            answers[part] = self._alone(self._requests[part])
            if answers[part].errno:
                break
        return answers

    def _alone(self, request: Netlink) -> Answer:
        """What the kernel says to one request that it refused together with another."""
        with Batch(self._socket, self._namespaces) as batch:
            try:
                batch.add(request)
            except OSError as error:
                return Answer(error.errno or errno.EIO, str(error.strerror or error))
            return batch.send()[0]

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
