"""The running kernel: what is there, and how requests are put to it.

Consecutive requests of one sort travel together: rtnetlink messages to one namespace in datagrams,
nftables in one transaction, conntrack deletions after one look at the table, names of namespaces that go
several at a time. After the first failure nothing more is sent.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType, UnionType
from typing import TYPE_CHECKING, Any, cast

from reconciler.core.messages import (
    HOST,
    CreateNamespace,
    CreateTap,
    DeleteNamespace,
    Failure,
    FlushConntrack,
    IPAddress,
    Netlink,
    Nft,
    NftElement,
    Outcome,
    Part,
    Request,
    Scope,
    Snapshot,
    WriteSysctl,
)
from reconciler.errors import PlatformError, RefusedError
from reconciler.kernel import conntrack, decode, elements, observation, removal, ruleset, sysctl, tap, wire
from reconciler.kernel.meter import Meter
from reconciler.kernel.namespaces import Containers, Namespaces
from reconciler.kernel.netlink import Answer, InterruptedDumpError, Socket
from reconciler.kernel.nftables import Nftables

if TYPE_CHECKING:
    from reconciler.kernel.monitor import Monitor

_SOCKETS = 16
"""Sockets kept open at a time. A plan deals with a namespace in one go, so few are enough."""
_IFLA_IFALIAS = 20
_LOOPBACK = 1  # the index of lo in every namespace (LOOPBACK_IFINDEX)
_IFA_PROTO_SINCE = (5, 18)


class LiveKernel:
    """The kernel that this runs on, seen from the network namespace that the calling thread is in.

    For one thread at a time. With `read_only` every writing message raises ReadOnlyError before it is sent.
    `containers` is asked, at every look, for those that the look is to go into.
    `sent` counts messages by type; `written` those among them that write.
    """

    def __init__(
        self, *, read_only: bool = False, release: str | None = None, containers: Containers | None = None
    ) -> None:
        self._meter = Meter(read_only=read_only)
        self._namespaces = Namespaces(self._meter, containers)
        self._nftables = Nftables(self._meter)
        self._address_protocols = _release(release or os.uname().release) >= _IFA_PROTO_SINCE

    def __enter__(self) -> LiveKernel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what is open."""
        self._namespaces.close()
        self._nftables.close()

    @property
    def sent(self) -> Counter[str]:
        """How many messages of which type crossed to the kernel."""
        return self._meter.sent

    @property
    def written(self) -> int:
        """How many of those were of a type that changes something."""
        return self._meter.written

    def observe(self, scope: Scope) -> Snapshot:
        """What is there now.

        Raises PlatformError when it may not look, RefusedError rather than answer in part.
        """
        absent = self._namespaces.find(scope.namespaces if scope.part is None else scope.part.namespaces)
        if scope.part is not None:
            namespaces = observation.observe(scope, (), self._namespaces, self._meter)
            return Snapshot(namespaces, self._elements(scope.part), self._address_protocols, absent=absent)
        try:
            listing = self._namespaces.listed()
        except OSError as error:
            raise RefusedError(f"the network namespaces cannot be listed: {error.strerror or error}") from error
        namespaces = observation.observe(scope, listing.names, self._namespaces, self._meter)
        return Snapshot(
            namespaces,
            ruleset.tables(self._meter, sorted(scope.tables)) if scope.tables else {},
            self._address_protocols,
            ruleset.forward_chains(self._meter) if scope.tables else (),
            absent,
            listing.leftovers,
        )

    def _elements(self, part: Part) -> dict[str, tuple[Mapping[str, Any], ...]]:
        """Listings with just the elements of `part` that are there."""
        asked: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for table, name, match in sorted(part.elements):
            asked.setdefault(table, []).append((name, tuple(match.split(" . "))))
        try:
            return {table: tuple(elements.listing(self._meter, table, items)) for table, items in asked.items()}
        except OSError as error:
            raise RefusedError(f"elements of nftables sets cannot be looked at: {error.strerror}") from error

    def monitor(self, tables: frozenset[str]) -> Monitor:
        """What listens to the kernel's notifications from now on, as far as they concern `tables` and links. Raises PlatformError."""
        from reconciler.kernel.monitor import Monitor

        return Monitor(tables)

    def acquaint(self, monitor: Monitor, namespaces: frozenset[str], *, links: bool = True) -> None:
        """Tells `monitor` the numbers of `namespaces`, and (`links`) what links the host has. Raises RefusedError."""
        from reconciler.kernel.monitor import numbers

        try:
            if links:
                with Socket(self._meter) as socket:
                    monitor.know(map(decode.link, socket.dump(wire.RTM_GETLINK, decode.ALL_LINKS)))
            monitor.learn(numbers(self._meter, self._namespaces, namespaces))
        except OSError as error:
            raise RefusedError(f"namespaces cannot be told by number: {error.strerror}") from error

    def forget(self) -> None:
        """Lets go of what dumps were decoded to, which makes a second look quicker: for who will not look again for minutes."""
        decode.forget()
        ruleset.forget()

    def generation(self) -> int:
        """The number of nftables' state. While it is the same, nobody has changed any table. Raises PlatformError."""
        return ruleset.generation(self._meter)

    def submit(self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None) -> Outcome:
        """Do `requests` in order and stop after the first that fails; the kernel's refusal is in the Outcome.

        `on_progress` is called with the number of requests attempted so far. Raises PlatformError before anything is done if
        libnftables is needed and missing.
        """
        if any(isinstance(request, Nft | NftElement) for request in requests):
            self._nftables.load()
        submission = _Submission(self._meter, self._namespaces, self._nftables, requests)
        try:
            while submission.step():
                if on_progress is not None:
                    on_progress(submission.attempted)
        finally:
            submission.close()
        return submission.outcome()


class _Submission:
    """One run through a list of requests."""

    def __init__(self, meter: Meter, namespaces: Namespaces, nftables: Nftables, requests: Sequence[Request]) -> None:
        self._meter = meter
        self._namespaces = namespaces
        self._nftables = nftables
        self._requests = requests
        self._sockets: OrderedDict[str, Socket] = OrderedDict()
        self._done: set[int] = set()
        self._unknown: set[int] = set()
        self._failure: Failure | None = None
        self.attempted = 0

    def close(self) -> None:
        while self._sockets:
            self._sockets.popitem()[1].close()

    def outcome(self) -> Outcome:
        failures = () if self._failure is None else (self._failure,)
        return Outcome(frozenset(self._done), self.attempted, failures, frozenset(self._unknown))

    def step(self) -> bool:
        """Do the next run of requests that travel together. Returns False when there is no more to do."""
        if self._failure is not None or self.attempted >= len(self._requests):
            return False
        first = self.attempted
        try:
            self._dispatch(first, self._requests[first])
        except OSError as error:
            self._fail(first, error.errno or errno.EIO, _words(error))
        except (PlatformError, InterruptedDumpError) as error:
            self._fail(first, 0, str(error))
        return True

    def _dispatch(self, first: int, request: Request) -> None:
        match request:
            case Netlink():
                self._send_netlink(first, request.namespace)
            case Nft() | NftElement():
                self._send_nftables(first)
            case FlushConntrack():
                self._flush_conntrack(first)
            case DeleteNamespace():
                self._delete_namespaces(first)
            case _:
                self._do(request)
                self._succeed(first, first + 1)

    def _do(self, request: CreateNamespace | CreateTap | WriteSysctl) -> None:
        match request:
            case CreateNamespace():
                self._create_namespace(request)
            case CreateTap():
                with self._namespaces.inside(request.namespace):
                    tap.create(self._meter, request.name, request.alias, request.mac)
            case WriteSysctl():
                with self._namespaces.inside(request.namespace):
                    sysctl.write(self._meter, request.name, request.value)

    def _create_namespace(self, request: CreateNamespace) -> None:
        """The mark is there before the name is: a namespace of ours without it would be nobody's."""
        if self._namespaces.exists(request.name):
            raise FileExistsError(errno.EEXIST, f"/run/netns/{request.name} exists")
        self._forget(request.name)
        with self._namespaces.fresh():
            with Socket(self._meter) as socket:
                alias = wire.attribute(_IFLA_IFALIAS, request.alias.encode())
                tap.set_link(socket, _LOOPBACK, alias, up=True)
            self._namespaces.name_current(request.name, request.alias)

    def _delete_namespaces(self, first: int) -> None:
        """Take away all names of a run. One that cannot be is told, and the others go all the same."""
        names = [request.name for request in cast("list[DeleteNamespace]", self._run(first, DeleteNamespace))]
        for name in names:
            self._forget(name)
        refusals = self._namespaces.delete(names)
        self.attempted = first + len(names)
        for position, error in enumerate(refusals, first):
            if error is None:
                self._done.add(position)
            elif self._failure is None:
                self._fail(position, error.errno or errno.EIO, _words(error))

    # --- rtnetlink ---

    def _send_netlink(self, first: int, namespace: str) -> None:
        """Send the next datagram of a run of messages to one namespace."""
        from reconciler.kernel import fusing
        from reconciler.kernel.batch import Batch

        doomed = removal.leading(self._rest(first), namespace)
        if len(doomed) >= removal.WORTH_A_GROUP:
            self._remove_links(first, doomed)
            return
        run = itertools.takewhile(
            lambda item: isinstance(item, Netlink) and item.namespace == namespace, self._rest(first)
        )
        with Batch(self._socket(namespace), self._namespaces) as batch:
            error = batch.fill(fusing.groups(cast("Iterator[Netlink]", run)))
            answers = batch.send()
        self._take(first, answers, error)

    def _remove_links(self, first: int, doomed: Sequence[Netlink]) -> None:
        """Delete as many links as one datagram takes, by one message behind those that mark them. One that is not there
        any more is told, and the others go all the same."""
        from reconciler.kernel import fusing
        from reconciler.kernel.batch import Batch

        namespace, group = doomed[0].namespace, removal.fresh_group()
        bridges = self._running_bridges(namespace, doomed)
        with Batch(self._socket(namespace), self._namespaces, removal.MOST) as batch:
            for request in removal.switches(namespace, bridges, up=False):
                batch.add(request)
            error = batch.fill(map(fusing.alone, removal.marks(doomed, group)))
            if error is not None:
                self._fail(first + len(batch) - len(bridges), error.errno or errno.EIO, _words(error))
                return
            batch.add(removal.sentence(namespace, group))
            *marked, executed = batch.send()[len(bridges) :]
        if executed.errno:
            spared = removal.marks(doomed[: len(marked)], removal.NO_GROUP)
            self._set_right(namespace, [*spared, *removal.switches(namespace, bridges, up=True)])
        self._take(first, [answer if answer.errno else executed for answer in marked], None)

    def _running_bridges(self, namespace: str, doomed: Sequence[Netlink]) -> Sequence[str]:
        """Bridges that are up among the links `doomed`; none if that cannot be seen, since without it takes only longer."""
        try:
            return removal.running_bridges(self._socket(namespace), doomed)
        except OSError:
            self._forget(namespace)  # what is left of the answer is not to be taken for that to the next question
            return ()

    def _set_right(self, namespace: str, requests: Sequence[Netlink]) -> None:
        """Take links that were not deleted out of the group that was to be, and put bridges among them up again."""
        from reconciler.kernel.batch import Batch

        with Batch(self._socket(namespace), self._namespaces) as batch:
            for request in requests:
                # Added, not filled in: as many as were marked in one datagram fit into one, and each is to be freed.
                with contextlib.suppress(OSError):  # it is not there any more
                    batch.add(request)
            batch.send()

    def _take(self, first: int, answers: Sequence[Answer], error: OSError | None) -> None:
        """Notes what was answered from the request `first` on, and why (`error`) the one behind could not be sent."""
        for offset, answer in enumerate(answers):
            if answer.errno == 0:
                self._done.add(first + offset)
                continue
            if answer.lost:
                self._unknown.add(first + offset)
            if self._failure is None:
                self._fail(first + offset, answer.errno, answer.message)
        self.attempted = first + len(answers)
        if error is not None and self._failure is None:
            self._fail(self.attempted, error.errno or errno.EIO, _words(error))

    def _socket(self, namespace: str) -> Socket:
        found = self._sockets.pop(namespace, None)
        if found is None:
            while len(self._sockets) >= _SOCKETS:
                self._sockets.popitem(last=False)[1].close()
            with self._namespaces.inside(namespace):
                found = Socket(self._meter)
        self._sockets[namespace] = found
        return found

    def _forget(self, namespace: str) -> None:
        found = self._sockets.pop(namespace, None)
        if found is not None:
            found.close()

    # --- the rest ---

    def _send_nftables(self, first: int) -> None:
        run = self._run(first, Nft | NftElement)
        done, refusal = self._nftables.submit(cast("list[Nft | NftElement]", run))
        self._succeed(first, first + done)
        if refusal is not None:
            self._fail(first + refusal.request, refusal.errno, refusal.message)
            self.attempted = first + len(run)

    def _flush_conntrack(self, first: int) -> None:
        run = cast("list[FlushConntrack]", self._run(first, FlushConntrack))
        conntrack.flush(self._meter, run, self._local_addresses())
        self._succeed(first, first + len(run))

    def _local_addresses(self) -> Callable[[IPAddress], bool]:
        """What tells whether an address is the host's own; all of 127.0.0.0/8 is (RFC 1122, 3.2.1.3)."""
        socket = self._socket(HOST)
        chunks = socket.dump(wire.RTM_GETADDR, decode.ALL_ADDRESSES)
        records = (decode.address(chunk, str) for chunk in chunks)
        own = {record.address.ip for record in records if record is not None}
        return lambda address: address in own or address.is_loopback

    def _run(self, first: int, sort: type | UnionType) -> list[Request]:
        return list(itertools.takewhile(lambda item: isinstance(item, sort), self._rest(first)))

    def _rest(self, first: int) -> Iterator[Request]:
        return map(self._requests.__getitem__, range(first, len(self._requests)))

    def _succeed(self, first: int, end: int) -> None:
        self._done.update(range(first, end))
        self.attempted = end

    def _fail(self, position: int, code: int, message: str) -> None:
        message = message or os.strerror(code)
        if code == errno.EPERM and "CAP_" not in message:
            message += " (it needs CAP_NET_ADMIN: run with sudo, or try `reconcile sandbox`)"
        self._failure = Failure(position, self._requests[position], code, message)
        self.attempted = max(self.attempted, position + 1)


def _words(error: OSError) -> str:
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)


def _release(text: str) -> tuple[int, int]:
    """The first two numbers of a kernel release such as 6.18.44-generic."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
