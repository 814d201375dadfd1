"""ModelKernel: the requests of reconciler.core.messages done to a state in memory."""

from __future__ import annotations

import copy
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_interface, ip_network
from itertools import groupby, islice
from typing import Any, TypeVar

from reconciler.core.messages import (
    HOST,
    Attributes,
    CreateNamespace,
    CreateTap,
    DeleteNamespace,
    Failure,
    FlushConntrack,
    Index,
    IPAddress,
    NamespaceFd,
    Netlink,
    Nft,
    NftElement,
    Outcome,
    Request,
    Scope,
    Snapshot,
    Value,
    WriteSysctl,
    by_process,
)
from reconciler.kernel import fusing
from reconciler.kernel.model import text
from reconciler.kernel.model.network import (
    HeldAddress,
    Link,
    Namespace,
    Network,
    Path,
    check_before_birth,
    check_length,
    record,
)
from reconciler.kernel.model.nft import Ruleset

_T = TypeVar("_T")
_IFF_UP = 1
_AF_INET, _AF_INET6 = 2, 10
_MAKES = frozenset({"bridge", "dummy", "veth"})
"""The kinds of link that RTM_NEWLINK makes here."""


class ModelKernel:
    """A Linux kernel in memory: it takes what LiveKernel takes, shows what it shows, and refuses what it refuses.

    A request that the kernel would refuse becomes a Failure with its errno; one that makes no sense at all (an attribute or
    a header field that nothing here knows) raises TypeError or ValueError, since it is a mistake of ours. `str()` is the
    whole state as lines that a person could type, and `ModelKernel.parse` reads them (reconciler.kernel.model.text).

    `datagram` is how many adjacent rtnetlink requests are sent at a time: one that fails does not stop those behind it.
    `sysctls` are settings, with their values, that every namespace has besides those that the model knows.
    """

    def __init__(self, datagram: int = 32, sysctls: Mapping[str, str] | None = None) -> None:
        self.network = Network(sysctls)
        self.ruleset = Ruleset()
        self.datagram = datagram
        self.sent: list[Request] = []
        """All requests that were ever attempted, the failed ones too."""
        self.flushed: list[FlushConntrack] = []
        self._faults: dict[int, int | BaseException] = {}

    @classmethod
    def parse(cls, lines: str, datagram: int = 32) -> ModelKernel:
        """The kernel whose str() this is. Raises ValueError for a line that is none."""
        kernel = cls(datagram)
        kernel.meddle(lines)
        return kernel

    def __str__(self) -> str:
        return text.spell(self.network, self.ruleset)

    def copy(self) -> ModelKernel:
        """Another kernel in the same state."""
        return copy.deepcopy(self)

    # --- the world at play ---

    def meddle(self, lines: str) -> None:
        """Somebody else adds these things (in the words of str())."""
        text.read(lines, self.network, self.ruleset)

    def link(self, name: str, namespace: str = HOST) -> Link:
        """For a look, and for `kernel.network`'s methods, which do what other tools would do. Raises OSError."""
        return self.network.link(namespace, name)

    def fail_at(self, number: int, fault: int | BaseException = errno.EIO) -> None:
        """The `number`th request from now (1: the next) fails with that errno.

        An exception is the death of our process: it is raised before the datagram or transaction with that request is sent.
        """
        self._faults[len(self.sent) + number - 1] = fault

    # --- reconciler.reconcile.Kernel ---

    def observe(self, scope: Scope) -> Snapshot:
        """What is there."""
        there = self.network.namespaces
        seen = {name for name in there if not by_process(name) or name in scope.namespaces}
        listings = {name: self.ruleset.listing(name) for name in sorted(scope.tables)}
        return Snapshot(
            namespaces={name: record(there[name], seen, _of(scope, name)) for name in sorted(seen)},
            tables={name: listing for name, listing in listings.items() if listing is not None},
            forward_chains=tuple(self.ruleset.forward_chains()) if scope.tables else (),
        )

    def submit(self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None) -> Outcome:
        """Do `requests` in order, and stop after the first datagram, transaction or run of names that go in which one fails."""
        done: set[int] = set()
        attempted = 0
        for batch in self._batches(requests):
            self._die(1 if _door(batch[0][1])[0] == "names" else len(batch))
            failures = self._transaction(batch, done) if _is_nft(batch[0][1]) else self._datagram(batch, done)
            attempted += len(batch)
            if failures:
                return Outcome(frozenset(done), attempted, tuple(failures))
            if on_progress is not None:
                on_progress(attempted)
        return Outcome(frozenset(done), attempted)

    def _die(self, count: int) -> None:
        """Raises the exception that one of the next `count` requests is to be met with, if there is one."""
        for number in range(len(self.sent), len(self.sent) + count):
            fault = self._faults.get(number)
            if isinstance(fault, BaseException):
                del self._faults[number]
                raise fault

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Request]]]:
        """Runs of requests that go to the kernel at once."""
        for (kind, _), run in groupby(enumerate(requests), key=lambda item: _door(item[1])):
            batch: list[tuple[int, Request]] = []
            size = {"nft": len(requests), "names": len(requests), "netlink": self.datagram}.get(kind, 1)
            for items in _together(list(run)):
                if len(batch) >= size:
                    yield batch
                    batch = []
                batch += items
            yield batch

    def _datagram(self, batch: list[tuple[int, Request]], done: set[int]) -> list[Failure]:
        """The kernel works a datagram off to its end, also when a message in it fails. So are names of namespaces that go, but there
        is a moment between any two of them, for our process to die in."""
        failures = []
        for position, request in batch:
            self._die(1)
            failure = self._attempt(position, request)
            if failure is None:
                done.add(position)
            else:
                failures.append(failure)
        return failures

    def _transaction(self, batch: list[tuple[int, Request]], done: set[int]) -> list[Failure]:
        before = self.ruleset
        self.ruleset = before.copy()
        for position, request in batch:
            failure = self._attempt(position, request)
            if failure is not None:
                self.ruleset = before
                return [failure]
        done.update(position for position, _ in batch)
        return []

    def _attempt(self, position: int, request: Request) -> Failure | None:
        fault = self._faults.pop(len(self.sent), None)
        self.sent.append(request)
        try:
            if fault is not None and not isinstance(fault, BaseException):
                raise OSError(fault, os.strerror(fault))
            self._do(request)
        except OSError as error:
            return Failure(position, request, error.errno or 0, f"{error.strerror}: {error.filename}")
        return None

    # --- requests ---

    def _do(self, request: Request) -> None:
        match request:
            case Netlink():
                self._netlink(request)
            case CreateNamespace(name, alias):
                lo = self.network.add_namespace(name).links["lo"]
                lo.up, lo.alias = True, alias
            case DeleteNamespace(name):
                self.network.delete_namespace(name)
            case CreateTap(namespace, name, alias, mac):
                tap = self.network.add_link(self.network.namespace(namespace), name, "tun", mac, None)
                tap.alias = alias
            case WriteSysctl(namespace, name, value):
                self.network.namespace(namespace).write_sysctl(name, value)
            case Nft(commands):
                self.ruleset.execute(commands)
            case NftElement(verb, table, set, element):
                self.ruleset.element(verb, table, set, element)
            case FlushConntrack():
                self.flushed.append(request)

    def _netlink(self, request: Netlink) -> None:
        message = _Message(request)
        namespace = self.network.namespace(request.namespace)
        for value in _named((*request.header, *request.attributes.items)):
            # A transport needs all numbers before it sends anything.
            if isinstance(value, NamespaceFd):
                self.network.namespace(value.namespace)
            else:
                namespace.link(value.name)
        doing = {
            "RTM_NEWLINK": self._new_link,
            "RTM_SETLINK": self._set_link,
            "RTM_DELLINK": self._delete_link,
            "RTM_NEWADDR": self._new_address,
            "RTM_DELADDR": self._delete_address,
            "RTM_NEWROUTE": self._new_route,
            "RTM_DELROUTE": self._delete_route,
        }.get(request.type)
        if doing is None:
            raise TypeError(f"the model kernel does not know {request.type}")
        doing(namespace, message)
        message.finish()

    def _new_link(self, namespace: Namespace, message: _Message) -> None:
        message.validate()
        if message.header.get("index") is not None or message.body.get("IFLA_IFNAME") in namespace.links:
            if "excl" in message.flags:
                raise FileExistsError(errno.EEXIST, "link exists", str(message.body["IFLA_IFNAME"]))
            self._set_link(namespace, message)
            return
        if "create" not in message.flags:
            raise OSError(errno.ENODEV, "no such device", str(message.body.get("IFLA_IFNAME")))
        self._create(namespace, message)

    def _create(self, namespace: Namespace, message: _Message) -> Link:
        """rtnl_newlink_create. An alias given here would be ignored, so it is not taken."""
        info = message.nested("IFLA_LINKINFO")
        kind = info.take("IFLA_INFO_KIND", str)
        data = info.nested("IFLA_INFO_DATA")
        if kind not in _MAKES:
            raise OSError(errno.EOPNOTSUPP, "unknown kind of link", kind)
        name = message.take("IFLA_IFNAME", str)
        mac, mtu = message.maybe("IFLA_ADDRESS", str), message.maybe("IFLA_MTU", int)
        if kind == "veth":
            link = self._create_pair(namespace, name, mac, mtu, data.nested("VETH_INFO_PEER"))
        else:
            link = self.network.add_link(namespace, name, str(kind), mac, mtu)
            if kind == "bridge":
                link.stp = bool(data.maybe("IFLA_BR_STP_STATE", int))
        data.finish()
        info.finish()
        return link

    def _create_pair(self, namespace: Namespace, name: str, mac: str | None, mtu: int | None, far: _Message) -> Link:
        """veth_newlink: the far end is made first, where IFLA_NET_NS_FD says, so a name that is taken there stops both."""
        there = namespace
        target = far.maybe("IFLA_NET_NS_FD", NamespaceFd)
        if target is not None:
            there = self.network.namespace(target.namespace)
        far_name = far.take("IFLA_IFNAME", str)
        far_mac, far_mtu = far.maybe("IFLA_ADDRESS", str), far.maybe("IFLA_MTU", int)
        far.finish()
        peer = self.network.add_link(there, far_name, "veth", far_mac, far_mtu)
        try:
            link = self.network.add_link(namespace, name, "veth", mac, mtu)
        except OSError:
            self.network.delete_link(peer)
            raise
        link.peer, peer.peer = peer, link
        return link

    def _set_link(self, namespace: Namespace, message: _Message) -> None:
        """do_setlink, in its order: what comes before the part that fails stays done."""
        link = (
            message.link(namespace) if "index" in message.header else namespace.link(message.take("IFLA_IFNAME", str))
        )
        info = message.nested("IFLA_LINKINFO")
        self._change_data(link, info)
        if (mac := message.maybe("IFLA_ADDRESS", str)) is not None:
            self.network.set_mac(link, mac)
        if (mtu := message.maybe("IFLA_MTU", int)) is not None:
            self.network.set_mtu(link, mtu)
        if (alias := message.maybe("IFLA_IFALIAS", str)) is not None:
            link.alias = alias
        master = message.maybe("IFLA_MASTER", Index | int)
        if master is not None:
            self.network.enslave(link, namespace.link(master.name) if isinstance(master, Index) else None)
        flags, change = message.field("flags"), message.field("change")
        if change & _IFF_UP:
            self.network.set_up(link, bool(flags & _IFF_UP))

    def _change_data(self, link: Link, info: _Message) -> None:
        """rtnl_changelink: IFLA_INFO_DATA of the link's own kind, IFLA_INFO_SLAVE_DATA of its bridge's."""
        kind = info.maybe("IFLA_INFO_KIND", str)
        data = info.nested("IFLA_INFO_DATA")
        if kind is not None and kind != link.kind:
            raise OSError(errno.EOPNOTSUPP, "the link is of another kind", link.name)
        if (stp := data.maybe("IFLA_BR_STP_STATE", int)) is not None:
            link.stp = bool(stp)
        data.finish()
        info.maybe("IFLA_INFO_SLAVE_KIND", str)
        port = info.nested("IFLA_INFO_SLAVE_DATA")
        if port.body and link.master is None:
            raise OSError(errno.EOPNOTSUPP, "not a port", link.name)
        if (hairpin := port.maybe("IFLA_BRPORT_MODE", int)) is not None:
            link.hairpin = bool(hairpin)
        if (isolated := port.maybe("IFLA_BRPORT_ISOLATED", int)) is not None:
            link.isolated = bool(isolated)
        port.finish()
        info.finish()

    def _delete_link(self, namespace: Namespace, message: _Message) -> None:
        self.network.delete_link(message.link(namespace))

    def _new_address(self, namespace: Namespace, message: _Message) -> None:
        link, held = message.link(namespace), message.address()
        self.network.add_address(link, held, exclusive="excl" in message.flags or "replace" not in message.flags)

    def _delete_address(self, namespace: Namespace, message: _Message) -> None:
        link, held = message.link(namespace), message.address()
        self.network.delete_address(link, held.address)

    def _new_route(self, namespace: Namespace, message: _Message) -> None:
        name, path = message.path()
        exclusive = "excl" in message.flags or "replace" not in message.flags
        self.network.add_route(namespace.link(name), path, exclusive=exclusive)

    def _delete_route(self, namespace: Namespace, message: _Message) -> None:
        name, path = message.path()
        self.network.delete_route(namespace.link(name), path)


class _Message:
    """A message that is taken apart: what nobody took is something that nobody knows (`finish`)."""

    def __init__(self, message: Netlink | Value | None) -> None:
        self.flags: Sequence[str] = ()
        self.header: dict[str, Value] = {}
        if isinstance(message, Netlink):
            self.flags, self.header = message.flags, dict(message.header)
            message = message.attributes
        self.body: dict[str, Value] = dict(message.items) if isinstance(message, Attributes) else {}

    def finish(self) -> None:
        """Raises TypeError if there is something left."""
        left = [*self.header, *self.body]
        if left or not set(self.flags) <= {"create", "excl", "replace", "append"}:
            raise TypeError(f"the model kernel does not know {', '.join(left or self.flags)} here")

    def maybe(self, name: str, kind: type[_T] | Any) -> _T | None:
        """The attribute, None if it is not there. Raises TypeError if it is something else than a `kind`."""
        value = self.body.pop(name, None)
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name} cannot be {value!r}")
        found: _T | None = value
        return found

    def take(self, name: str, kind: type[_T]) -> _T:
        """The attribute, without which the message is refused: EINVAL."""
        value: _T | None = self.maybe(name, kind)
        if value is None:
            raise OSError(errno.EINVAL, "missing attribute", name)
        return value

    def nested(self, name: str) -> _Message:
        """The attributes inside of that one; empty if it is not there."""
        found: Attributes | None = self.maybe(name, Attributes)
        return _Message(found)

    def validate(self) -> None:
        """veth_validate, br_validate: what is refused before anybody looks whether the name is taken."""
        info = _Message(self.body.get("IFLA_LINKINFO"))
        data = _Message(info.body.get("IFLA_INFO_DATA"))
        for side in (self, _Message(data.body.get("VETH_INFO_PEER"))):
            check_length(str(side.body.get("IFLA_IFNAME", "")))
            mac, mtu = side.body.get("IFLA_ADDRESS"), side.body.get("IFLA_MTU")
            kind = str(info.body.get("IFLA_INFO_KIND"))
            check_before_birth(kind, mac if isinstance(mac, str) else None, mtu if isinstance(mtu, int) else None)

    def field(self, name: str) -> int:
        """That field of the header."""
        value = self.header.pop(name, 0)
        if not isinstance(value, int):
            raise TypeError(f"{name} cannot be {value!r}")
        return value

    def link(self, namespace: Namespace) -> Link:
        """The link that the header names. Raises OSError: ENODEV."""
        index = self.header.pop("index", None)
        if not isinstance(index, Index):
            raise TypeError("a link goes by its name here, not by a number")
        return namespace.link(index.name)

    def address(self) -> HeldAddress:
        """What ifaddrmsg and its attributes say, but the link."""
        self.field("family")
        local: str | None = self.maybe("IFA_LOCAL", str)
        far = self.take("IFA_ADDRESS", str)
        self.maybe("IFA_FLAGS", int)
        protocol: int | None = self.maybe("IFA_PROTO", int)
        return HeldAddress(ip_interface(f"{local or far}/{self.field('prefixlen')}"), protocol, self.field("scope"))

    def path(self) -> tuple[str, Path]:
        """(link, route) that rtmsg and its attributes say."""
        version = {_AF_INET: 4, _AF_INET6: 6}[self.field("family")]
        everywhere = "0.0.0.0" if version == 4 else "::"
        destination = ip_network(f"{self.maybe('RTA_DST', str) or everywhere}/{self.field('dst_len')}")
        gateway: str | None = self.maybe("RTA_GATEWAY", str)
        via: IPAddress | None = None if gateway is None else ip_interface(gateway).ip
        metric: int = self.maybe("RTA_PRIORITY", int) or 0
        if version == 6 and "create" in self.flags:
            metric = metric or 1024  # IP6_RT_PRIO_USER
        table, _, kind = self.field("table"), self.field("scope"), self.field("type")
        if (table, kind) != (254, 1):
            raise TypeError("only unicast routes of the main table are modelled")
        return self.take("RTA_OIF", Index).name, Path(destination, via, metric, self.field("proto"))


def _is_nft(request: Request) -> bool:
    return isinstance(request, Nft | NftElement)


def _door(request: Request) -> tuple[str, str]:
    """What requests of one batch have in common: the way in, and the namespace."""
    if _is_nft(request):
        return "nft", ""
    if isinstance(request, DeleteNamespace):
        return "names", ""
    return ("netlink", request.namespace) if isinstance(request, Netlink) else ("", "")


def _together(run: Sequence[tuple[int, Request]]) -> Iterator[Sequence[tuple[int, Request]]]:
    """`run`, requests through one door with their positions, in groups that are never divided among datagrams."""
    if not isinstance(run[0][1], Netlink):
        yield from ([item] for item in run)
        return
    items = iter(run)
    for group, _ in fusing.groups(request for _, request in run if isinstance(request, Netlink)):
        yield list(islice(items, len(group)))


def _named(items: Iterable[tuple[str, Value]]) -> Iterator[Index | NamespaceFd]:
    """What stands for a number that only the kernel knows, at any depth."""
    for _, value in items:
        if isinstance(value, Attributes):
            yield from _named(value.items)
        elif isinstance(value, Index | NamespaceFd):
            yield value


def _of(scope: Scope, namespace: str) -> Iterator[str]:
    return (name for where, name in sorted(scope.sysctls) if where == namespace)
