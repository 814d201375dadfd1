"""All that ever crosses to a kernel: Requests on the way in, a Snapshot on the way out.

Requests speak the kernel's vocabulary (the names of linux/rtnetlink.h and linux/if_link.h, nftables text), with one
difference: where the kernel wants a number that only it can know, an ifindex or a file descriptor, a request carries the
*name* (`Index`, `NamespaceFd`) and the transport fills in the number at the last moment. So a request can be
printed, compared, stored and sent on another day.

A Snapshot is the answer to "what is there": dumps with every ifindex replaced by a name, not interpreted further. Kinds
decode it (reconciler.kinds).

Nearly all are NamedTuples: there are many of them, and a dataclass takes ten times as long to define and twice as long to make. So two of
unlike type are equal if they hold the same; nothing here compares any two that could.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPInterface: TypeAlias = IPv4Interface | IPv6Interface
IPNetwork: TypeAlias = IPv4Network | IPv6Network

HOST = ""
"""The network namespace that the tool runs in. `web` is the one at /run/netns/web, `pid:71` that of process 71, `docker:web` and
`podman:web` that of the container web, whichever process that is at the moment."""

_BY_PROCESS = ("pid:", "docker:", "podman:")

PROTOCOL = 143
"""Our number in the protocol field of addresses (IFA_PROTO) and routes (rtm_protocol), which `ip` shows as `proto 143`.

Free in iproute2's rt_protos and in linux/rtnetlink.h, which both leave 128-255 to whoever comes. For `name:` there is no
room in a byte: whose it is, of several owners, is said by the alias of the link it hangs on.
"""


def by_process(namespace: str) -> bool:
    """Whether this namespace is told by a process that lives in it, and not by a name under /run/netns."""
    return namespace.startswith(_BY_PROCESS)


# --- requests --------------------------------------------------------------------------------------------------------


class Index(NamedTuple):
    """The ifindex of the link `name` in the namespace that the request goes to."""

    name: str


class NamespaceFd(NamedTuple):
    """An open file descriptor of the network namespace `namespace`."""

    namespace: str


class Attributes(NamedTuple):
    """Nested netlink attributes: (name as in the kernel's headers, value), in order."""

    items: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, **items: Value | None) -> Attributes:
        """Attributes of all `items` whose value is not None."""
        return cls(tuple((name, value) for name, value in items.items() if value is not None))


Value: TypeAlias = int | str | bytes | Index | NamespaceFd | Attributes


class Netlink(NamedTuple):
    """One rtnetlink message.

    `header` holds the fields of ifinfomsg, ifaddrmsg or rtmsg under pyroute2's names (`family`, `index`, `flags`,
    `change`, `prefixlen`, `dst_len`, `proto`…), what is left out is 0. `flags` holds any of create, excl, replace, append.
    """

    namespace: str
    type: str
    flags: tuple[str, ...] = ()
    header: tuple[tuple[str, Value], ...] = ()
    attributes: Attributes = Attributes(())
    late: bool = False
    """It is to be done when all that its stage builds is there."""


class CreateNamespace(NamedTuple):
    """Make the network namespace `name` under /run/netns, with its `lo` up and carrying `alias`."""

    name: str
    alias: str


class DeleteNamespace(NamedTuple):
    """Unmount and unlink /run/netns/`name`."""

    name: str


class CreateTap(NamedTuple):
    """Make a persistent TAP device (TUNSETIFF, TUNSETPERSIST: rtnetlink cannot create one) that carries `alias`."""

    namespace: str
    name: str
    alias: str
    mac: str | None = None


class WriteSysctl(NamedTuple):
    """Write `value` to the sysctl `name`, dotted as sysctl(8) has it; a dot inside an interface's name is a slash."""

    namespace: str
    name: str
    value: str


class Nft(NamedTuple):
    """nftables commands as text. Adjacent Nft and NftElement requests are submitted as one transaction."""

    text: str


class NftElement(NamedTuple):
    """Add or delete one element of a set or map of `table` (as `inet filter`); `text` is what stands between the braces.

    Kept apart from Nft so that a transport can put ten thousand of them into one command.
    """

    verb: Literal["add", "delete"]
    table: str
    set: str
    text: str


class FlushConntrack(NamedTuple):
    """Forget the flows of one published port.

    Concerned are flows of `protocol` whose original destination is `address` (None: any address of this host, of family
    `version`) at one of `ports`, and that either were sent to `target`, or (`target` None) were not translated at all.
    """

    version: Literal[4, 6]
    protocol: str
    address: IPAddress | None
    ports: tuple[int, int]
    target: IPAddress | None


Request: TypeAlias = (
    Netlink | CreateNamespace | DeleteNamespace | CreateTap | WriteSysctl | Nft | NftElement | FlushConntrack
)


class Failure(NamedTuple):
    """A request that the kernel refused. `errno` is 0 where there is none (nftables' own words are in `message`)."""

    position: int
    request: Request
    errno: int
    message: str


class Outcome(NamedTuple):
    """What became of submitted requests: the positions of those done, and the first (by position) that failed.

    `attempted` is the number of leading requests that were sent at all. One datagram is worked off by the kernel to its end, so
    requests after a failed one may well be done.
    """

    done: frozenset[int]
    attempted: int
    failures: tuple[Failure, ...] = ()
    unknown: frozenset[int] = frozenset()
    """Of those that failed, the positions of which only the answer is missing: they may well be done."""


# --- snapshots -------------------------------------------------------------------------------------------------------


class PortRecord(NamedTuple):
    """What a bridge knows of one of its ports (IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_*)."""

    hairpin: bool
    isolated: bool


class LinkRecord(NamedTuple):
    """One RTM_NEWLINK of a dump. `kind` is IFLA_INFO_KIND ("" for physical ones and lo)."""

    name: str
    kind: str
    mac: str | None
    mtu: int
    up: bool
    alias: str | None = None
    master: str | None = None
    peer: tuple[str, str] | None = None
    """(namespace, name) of the other end of a veth, None when it is in a namespace that was not looked at."""
    port: PortRecord | None = None
    stp: bool | None = None
    """IFLA_BR_STP_STATE, of bridges."""
    tap: bool = False
    """IFLA_TUN_TYPE is IFF_TAP, of kind "tun"."""


class AddressRecord(NamedTuple):
    """One RTM_NEWADDR of a dump. `protocol` is IFA_PROTO, None where the kernel does not say (before 5.18)."""

    link: str
    address: IPInterface
    scope: int
    protocol: int | None


class RouteRecord(NamedTuple):
    """One RTM_NEWROUTE of a dump, of the main table. `link` is None where there is no outgoing link (blackhole, multipath)."""

    destination: IPNetwork
    via: IPAddress | None
    link: str | None
    metric: int
    protocol: int
    type: int


class NamespaceRecord(NamedTuple):
    """One network namespace. `sysctls` holds those asked for that exist, values stripped."""

    links: tuple[LinkRecord, ...] = ()
    addresses: tuple[AddressRecord, ...] = ()
    routes: tuple[RouteRecord, ...] = ()
    sysctls: Mapping[str, str] = MappingProxyType({})


class ForwardChain(NamedTuple):
    """A base chain of the forward hook, of whatever table: it can drop what ours let through.

    `policy` is what becomes of a packet that none of its rules decides on: accept, drop, or reject (by a last rule that matches
    everything, which counts for more than the chain's own policy). `manager` is docker, ufw or firewalld if one of those made it.
    """

    family: str
    table: str
    name: str
    policy: str
    manager: str = ""


class Absence(NamedTuple):
    """Why a namespace that was asked for is not in a Snapshot, where there is more to say than that it is not there.

    `unknown`: it may be there, and that could not be found out (its engine does not answer).
    """

    why: str
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was there. A namespace that does not exist is not in `namespaces`, a table that does not exist not in `tables`.

    `absent` may say more of a namespace that is not there.

    `tables` maps a table (as `inet filter`) to the objects of its listing, as `nft -j list table` has them (each a
    mapping of one key); an element may stand in short, as (match, data, comment). `address_protocols` is False on kernels
    without IFA_PROTO.
    """

    namespaces: Mapping[str, NamespaceRecord]
    tables: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    address_protocols: bool = True
    forward_chains: tuple[ForwardChain, ...] = ()
    """All there are, ours too; only looked for when a table is asked for."""
    absent: Mapping[str, Absence] = field(default_factory=dict)
    leftovers: Mapping[str, str] = field(default_factory=dict)
    """Names of namespaces behind which there is none, with the mark that their file holds: a run that was killed left them."""


class Part(NamedTuple):
    """A part of what there is, to be looked at where something is known to have happened.

    Some links of the host with all that hangs on them, some namespaces, some elements of nftables sets as (table, set, key as nft
    writes it), and (`settings`) the host's sysctls.
    """

    links: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    elements: frozenset[tuple[str, str, str]] = frozenset()
    settings: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look at.

    All named namespaces are always looked at (what we made there is to be found even when no file names it any more), besides the
    host and the `namespaces` given, which need not exist. `sysctls` are (namespace, name). `tables` are as `inet filter`.
    With a `part` no more than that has to be looked at, and the Snapshot says nothing of what is not in it.
    """

    namespaces: frozenset[str] = frozenset()
    sysctls: frozenset[tuple[str, str]] = frozenset()
    tables: frozenset[str] = frozenset()
    part: Part | None = None


def to_json(value: object) -> Any:
    """A Request (or any part of it) as plain JSON values; the reader learns what it is from the key `request`."""
    if isinstance(value, Attributes):
        return [[name, to_json(item)] for name, item in value.items]
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # a NamedTuple
        return {"request": type(value).__name__} | {name: to_json(item) for name, item in value._asdict().items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [to_json(item) for item in value]
    return value if isinstance(value, str | int | bool | None) else str(value)
