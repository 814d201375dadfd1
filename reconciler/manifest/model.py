"""The shape of the file: one definition, from which come the checks, the JSON Schema and the reference (docs/file.md).

Values are parsed into their canonical form here (ipaddress objects, lower-case MACs, port ranges); what needs more than one value
to be judged is judged in reconciler.manifest.resolve.

A key with nothing behind it is refused where an empty value could come of a template gone wrong (`host_ip:` would publish on
every address), and taken for an empty one where its lines may just have been commented out (`ports:`, `containers:`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_network
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from reconciler.core.messages import IPAddress, IPInterface, IPNetwork
from reconciler.manifest.position import quoted


def _text(what: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if isinstance(value, str):
            return value
        remedy = "give it one, or remove the key" if value is None else "put it in quotes"
        if isinstance(value, list | dict):
            remedy = "write one value"
        raise ValueError(f"{what} must be text, not {called(value)} ({remedy})")

    return check


def called(value: Any) -> str:
    """What messages call a value of the wrong type."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        # Python refuses to print integers of thousands of digits, and nobody wants to read them.
        return f"the number {value}" if isinstance(value, float) or abs(value) < 10**20 else "a huge number"
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else quoted(str(value))


def _whole(low: int, high: int, what: str) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            given = called(value).removeprefix("the number ")
            raise ValueError(f"{what} must be a whole number, not {given} (write one from {low} to {high})")
        if not low <= value <= high:
            raise ValueError(f"{what} cannot be {called(value).removeprefix('the number ')} (write {low} to {high})")
        return value

    return check


def _truth(what: str) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        remedy = "YAML 1.2 knows no yes, no, on or off" if isinstance(value, str) else "write one of them"
        if value in ("true", "false"):
            remedy = "leave out the quotes"
        raise ValueError(f"{what} must be true or false, not {called(value)} ({remedy})")

    return check


# --- addresses -------------------------------------------------------------------------------------------------------


def _address(value: Any) -> IPAddress:
    text = _text("an address")(value)
    if "/" in text:
        raise ValueError(f"{quoted(text)} has a prefix length (leave it out here)")
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an IP address (write 192.0.2.1 or 2001:db8::1)") from None
    return _plain(address, text)


def _plain(address: IPAddress, text: str) -> IPAddress:
    """Refuses what only looks like IPv6 (::ffff:192.0.2.1), and zones, which name an interface of one host."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{quoted(text)} has a zone (leave out what is behind the %)")
        if address.ipv4_mapped is not None:
            raise ValueError(f"{quoted(text)} is an IPv4 address in IPv6 clothes (write {address.ipv4_mapped})")
    return address


def _interface(value: Any) -> IPInterface:
    text = _text("an address")(value)
    plain, slash, length = text.partition("/")
    if not slash:
        address = _address(text)
        raise ValueError(f"{address} has no prefix length (write {address}/{_usual(address)}, or what the subnet has)")
    address = _address(plain)
    if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= address.max_prefixlen):
        raise ValueError(
            f"{quoted(text)} has no prefix length from 0 to {address.max_prefixlen} (write {address}/{_usual(address)})"
        )
    return with_length(address, int(length))


def with_length(address: IPAddress, length: int) -> IPInterface:
    """`address` with a prefix length. By its number: from an address, ipaddress would print and parse it."""
    return IPv4Interface((int(address), length)) if address.version == 4 else IPv6Interface((int(address), length))


def _usual(address: IPAddress) -> int:
    return 24 if address.version == 4 else 64


class ContainerAddress(NamedTuple):
    """An address of a container; the prefix length may be missing."""

    ip: IPAddress
    prefix: int | None


def _container_address(value: Any) -> ContainerAddress:
    text = _text("an address")(value)
    if "/" in text:
        interface = _interface(text)
        return ContainerAddress(interface.ip, interface.network.prefixlen)
    return ContainerAddress(_address(text), None)


def _container_addresses(value: Any) -> Any:
    if value is None:
        raise ValueError("addresses is empty (write [] for none, or remove the key to have one picked)")
    return value


def _network(value: Any) -> IPNetwork:
    text = _text("a destination")(value)
    if text == "default":
        raise ValueError("`default` does not say which family (write 0.0.0.0/0 or ::/0)")
    plain, slash, _ = text.partition("/")
    if not slash:
        return ip_network(_address(plain))
    interface = _interface(text)
    if interface.ip != interface.network.network_address:
        raise ValueError(f"{quoted(text)} is not a network's own address (write {interface.network})")
    return interface.network


def check_host(address: IPAddress) -> IPAddress:
    """Whether a port can be published on `address`. Raises ValueError."""
    if address.is_loopback and address.version == 6:
        # There is no route_localnet for IPv6: the kernel drops ::1 from another interface's point of view (ip6_input.c).
        raise ValueError("the kernel cannot translate ::1, so nothing can be published on it (publish on 127.0.0.1)")
    if address.is_multicast or str(address) == "255.255.255.255":
        raise ValueError(f"{address} is not an address of a host (name one of its own, or none)")
    if address.is_link_local and address.version == 6:
        raise ValueError(
            f"{address} is link-local, and so on every interface at once (name another address of the host)"
        )
    return address


def _check_source(address: IPAddress) -> IPAddress:
    """Whether packets can leave with `address` as their source. Raises ValueError."""
    if (
        address.is_loopback
        or address.is_multicast
        or address.is_unspecified
        or address.is_link_local
        or str(address) == "255.255.255.255"
    ):
        raise ValueError(f"{address} cannot be the source of what leaves (name one of the host's own addresses)")
    return address


def _one_per_family(what: str, check_one: Callable[[IPAddress], IPAddress]) -> Callable[[Any], list[IPAddress]]:
    def check(value: Any) -> list[IPAddress]:
        if value is None:
            raise ValueError(f"{what} is empty (give it an address, or remove the key)")
        addresses = [check_one(_address(item)) for item in (value if isinstance(value, list) else [value])]
        if len({address.version for address in addresses}) < len(addresses):
            raise ValueError(f"{what} has two addresses of one family (keep one of IPv4 and one of IPv6 at most)")
        return addresses

    return check


_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def _mac(value: Any) -> str:
    given = _text("a MAC address")(value)
    text = given.lower().replace("-", ":")
    if not _MAC.fullmatch(text):
        raise ValueError(f"{quoted(given)} is not a MAC address (write six bytes in hexadecimal, as 02:00:00:00:00:01)")
    if text == "00:00:00:00:00:00" or int(text[:2], 16) & 1:
        # is_valid_ether_addr() of linux/etherdevice.h
        raise ValueError(f"{text} is zero or multicast, which no interface can have (begin it with 02)")
    return text


# --- names -----------------------------------------------------------------------------------------------------------

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SYSCTL = re.compile(r"net(\.[A-Za-z0-9_/-]+)+")
_RESERVED_LINKS = {
    "lo": "is the loopback interface",
    # sysctl_dev_name_is_allowed() of net/core/sysctl_net_core.c
    "all": "is a folder of /proc/sys/net, so the kernel gives no interface that name",
    "default": "is a folder of /proc/sys/net, so the kernel gives no interface that name",
}


def _owner(value: Any) -> str:
    text = _text("a name")(value)
    if not _OWNER.fullmatch(text):
        # It becomes part of an nftables table's name and of interface aliases.
        what = "(up to 32 letters, digits, `_`, `.` and `-`, beginning with a letter or digit)"
        raise ValueError(f"{quoted(text)} cannot be a name here {what}")
    return text


def link_name(value: Any) -> str:
    """What dev_valid_name() of net/core/dev.c takes, less `%`, which it takes for a pattern. Raises ValueError."""
    text = _text("an interface's name")(value)
    size = len(text.encode(errors="replace"))
    if not 1 <= size <= 15:
        raise ValueError(f"{quoted(text)} is {size} bytes long (the kernel takes interface names of 1 to 15 bytes)")
    if text in (".", "..") or not text.isprintable() or any(one in "/:%\"'\\" or one.isspace() for one in text):
        raise ValueError(
            f"{quoted(text)} cannot be an interface's name (no `/`, `:`, `%`, quotes or blanks, and not `.` or `..`)"
        )
    if text in _RESERVED_LINKS:
        raise ValueError(f"{text} {_RESERVED_LINKS[text]} (choose another name)")
    return text


def _netns(value: Any) -> str:
    text = _text("a namespace's name")(value)
    size = len(text.encode(errors="replace"))
    if text in ("", ".", "..") or not text.isprintable() or any(one in "/:" for one in text) or size > 255:
        raise ValueError(
            f"{quoted(text)} cannot be a namespace's name (no `/` or `:`, not `.` or `..`, at most 255 bytes)"
        )
    return text


def container_name(value: Any) -> str:
    """Checks the name of a container, as Docker and Podman have them. Raises ValueError."""
    text = _text("a container's name")(value)
    if not _CONTAINER.fullmatch(text):
        what = "(up to 128 letters, digits, `_`, `.` and `-`, beginning with a letter or digit)"
        raise ValueError(f"{quoted(text)} cannot be a container's name {what}")
    return text


def _sysctl_name(name: str) -> str:
    # A slash stands for a dot in an interface's name, as in sysctl(8); two dots would lead out of /proc/sys/net.
    if not _SYSCTL.fullmatch(name) or "" in re.split("[./]", name):
        what = "is no setting of a network namespace"
        raise ValueError(f"{quoted(name)} {what} (only those below `net.`, as net.ipv4.tcp_keepalive_time)")
    return name


def _sysctl_value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        remedy = "write 1 or 0" if isinstance(value, bool) else "put it in quotes"
        raise ValueError(f"a setting must be text or a whole number, not {called(value)} ({remedy})")
    if isinstance(value, int) and abs(value) >= 10**20:
        raise ValueError("a setting cannot be a huge number (no setting of the kernel takes it)")
    text = " ".join(str(value).split())
    if not text or not text.isprintable():
        raise ValueError("the setting is empty or not printable (give it a value, or remove it)")
    return text


# --- ports -----------------------------------------------------------------------------------------------------------


class PortText(NamedTuple):
    """A published port as it was written; ranges are (first, last)."""

    host_ip: IPAddress | None
    published: tuple[int, int]
    target: tuple[int, int]
    protocol: str


_PROTOCOLS = ("tcp", "udp", "sctp")
_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")
_SHORT = re.compile(
    r"(?:(?:\[(?P<six>[^]]*)\]|(?P<four>[^:\[\]]*)):)?(?P<published>[^:\[\]]*):(?P<target>[^:\[\]]*?)(?:/(?P<protocol>[^/]*))?"
)


def _range(text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError(f"{quoted(text)} is not a port or a range of ports (write 8080 or 8000-8010)")
    low = int(found[1])
    high = int(found[2] or low)
    if not (1 <= low <= 65535 and 1 <= high <= 65535):
        raise ValueError(f"{quoted(text)} is outside of what ports can be (1 to 65535)")
    if low > high:
        raise ValueError(f"the range {text} runs backwards (write {high}-{low})")
    return low, high


def _long_range(value: Any) -> tuple[int, int]:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"a port cannot be {called(value)} (write 8080 or 8000-8010)")
    return _range(value if isinstance(value, str) else called(value).removeprefix("the number "))


def _protocol(value: Any) -> str:
    text = _text("the protocol")(value)
    if text.lower() not in _PROTOCOLS:
        raise ValueError(f"the protocol {quoted(text)} is not known (tcp, udp or sctp)")
    return text.lower()


def _short_port(value: Any) -> PortText:
    if isinstance(value, int) and not isinstance(value, bool):
        number = called(value).removeprefix("the number ")
        raise ValueError(
            f'port {number} names no host port, and a file cannot want "any" (write "HOST:{number}", as "8080:80")'
        )
    text = _text("a port")(value)
    if ":" not in text:
        raise ValueError(
            f'{quoted(text)} names no host port, and a file cannot want "any" (write "HOST:CONTAINER", as "8080:80")'
        )
    found = _SHORT.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{quoted(text)} is not a port (write [HOST_IP:]HOST:CONTAINER[/PROTOCOL], an IPv6 address in brackets)"
        )
    if not found["published"]:
        raise ValueError(f'{quoted(text)} has an empty host port, and a file cannot want "any" (write "8080:80")')
    host = found["six"] if found["six"] is not None else found["four"]
    if host == "":
        raise ValueError(f"{quoted(text)} has an empty host address (name one, or leave out the colon behind it)")
    address = None if host is None else check_host(_address(host))
    protocol = "tcp" if found["protocol"] is None else _protocol(found["protocol"])
    return PortText(address, _range(found["published"]), _range(found["target"]), protocol)


def _host_ip(value: Any) -> IPAddress:
    return check_host(_address(value))


def _even(given: PortText | PortModel) -> PortText:
    port = (
        given if isinstance(given, PortText) else PortText(given.host_ip, given.published, given.target, given.protocol)
    )
    ours, theirs = (last - first + 1 for first, last in (port.published, port.target))
    if ours != theirs:
        ports = "port" if ours == 1 else "ports"
        raise ValueError(
            f"{ours} host {ports} cannot lead to {theirs} of the container (give both ranges the same length)"
        )
    return port


@lru_cache(maxsize=1024)
def nearest(word: str, known: tuple[str, ...]) -> str:
    """The known word that `word` looks like; empty if none does."""
    return next(iter(get_close_matches(word[:64], known, 1, 0.6)), "")


def did_you_mean(word: str, known: tuple[str, ...]) -> str:
    """A parenthesis with the nearest known word, or if none is near, all."""
    close = nearest(word, known)
    return f" (did you mean `{close}`?)" if close else f" (known are {', '.join(known)})"


# --- the model -------------------------------------------------------------------------------------------------------


def _schema(kind: str | list[str], *examples: Any, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **({"examples": list(examples)} if examples else {}), **more})


@dataclass(frozen=True)
class _IfNull:
    """Takes nothing for something empty, and says so in the schema."""

    empty: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(lambda value: self.empty if value is None else value, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "null"}]}


_OR_LIST, _OR_MAPPING = _IfNull([]), _IfNull({})

Interface = Annotated[Any, BeforeValidator(_interface), _schema("string", "10.88.0.1/24", "fd00:88::1/64")]
OptionalPrefix = Annotated[Any, BeforeValidator(_container_address), _schema("string", "10.88.0.10", "fd00:88::10")]
Address = Annotated[Any, BeforeValidator(_address), _schema("string", "10.88.0.254")]
Network = Annotated[Any, BeforeValidator(_network), _schema("string", "10.99.0.0/16", "::/0")]
HostAddress = Annotated[Any, BeforeValidator(_host_ip), _schema("string", "127.0.0.1", "2001:db8::1")]
Mac = Annotated[
    str | None,
    BeforeValidator(_mac),
    _schema("string", "02:00:00:00:00:01", pattern="^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"),
]
Link = Annotated[str, BeforeValidator(link_name), _schema("string", "eth1", minLength=1, maxLength=15)]
TapName = Annotated[str | None, BeforeValidator(link_name), _schema("string", "vnet0", minLength=1, maxLength=15)]
Inside = Annotated[str | None, BeforeValidator(link_name), _schema("string", "eth0", minLength=1, maxLength=15)]
NetnsName = Annotated[str | None, BeforeValidator(_netns), _schema("string", "web", minLength=1, maxLength=255)]
ContainerName = Annotated[
    str | None, BeforeValidator(container_name), _schema("string", "web", pattern=f"^{_CONTAINER.pattern}$")
]
Pid = Annotated[
    int | None, BeforeValidator(_whole(1, 2**22, "a pid")), _schema("integer", 4711, minimum=1, maximum=2**22)
]
Mtu = Annotated[
    int | None, BeforeValidator(_whole(68, 65535, "an MTU")), _schema("integer", 1500, 9000, minimum=68, maximum=65535)
]
Icc = Annotated[bool, BeforeValidator(_truth("icc")), _schema("boolean")]
Stp = Annotated[bool | None, BeforeValidator(_truth("stp")), _schema("boolean")]
DefaultRoute = Annotated[bool | None, BeforeValidator(_truth("default_route")), _schema("boolean")]
Metric = Annotated[
    int | None, BeforeValidator(_whole(0, 2**32 - 1, "a metric")), _schema("integer", 100, minimum=0, maximum=2**32 - 1)
]
SysctlName = Annotated[str, BeforeValidator(_sysctl_name), _schema("string")]
SysctlValue = Annotated[str, BeforeValidator(_sysctl_value), _schema(["string", "integer"])]
PortRange = Annotated[Any, BeforeValidator(_long_range), _schema(["integer", "string"], 8080, "8000-8010")]
Mode: TypeAlias = Literal["nat", "routed", "isolated", "bridged"]
_ONE_PER_FAMILY = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 2}],
    "examples": ["192.0.2.7", ["192.0.2.7", "2001:db8::7"]],
}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class PortModel(_Model):
    """A published port in the long syntax."""

    model_config = ConfigDict(title="Port")
    published: PortRange = Field(description="the host's port, or a range of ports")
    target: PortRange = Field(description="the container's port, or a range of the same length")
    protocol: Annotated[str, BeforeValidator(_protocol), WithJsonSchema({"enum": list(_PROTOCOLS)})] = Field(
        "tcp", description="the protocol"
    )
    host_ip: HostAddress = Field(
        None,
        description="the host's address to publish on. Left out: the bridge's `host_ip`, and without one all addresses",
    )


if TYPE_CHECKING:
    Port: TypeAlias = PortText
else:
    Port = Annotated[
        Annotated[
            Annotated[
                Any,
                BeforeValidator(_short_port),
                _schema(
                    "string", "8080:80", "127.0.0.1:8443:443/tcp", "[2001:db8::1]:53:53/udp", "8000-8010:9000-9010"
                ),
            ],
            Tag("short"),
        ]
        | Annotated[PortModel, Tag("long")],
        Discriminator(lambda value: "long" if isinstance(value, dict) else "short"),
        AfterValidator(_even),
    ]


class RouteModel(_Model):
    """A route inside of a container, by the interface that it stands below."""

    model_config = ConfigDict(title="Route")
    to: Network = Field(description="the destination: a network, or a single address")
    via: Address = Field(
        None, description="the gateway, in a subnet of this interface. Left out: straight to the neighbour"
    )
    metric: Metric = Field(
        None, description="of routes to the same destination, the one with the lowest metric is taken"
    )


class AttachModel(_Model):
    """How a container hangs on its bridge: exactly one of these keys."""

    model_config = ConfigDict(title="Attach", json_schema_extra={"minProperties": 1, "maxProperties": 1})
    netns: NetnsName = Field(
        None,
        description="a named network namespace, as `ip netns` has them. One that is missing is made, and removed again "
        "only if we made it",
    )
    pid: Pid = Field(None, description="the network namespace of this process")
    docker: ContainerName = Field(None, description="a Docker container, by name")
    podman: ContainerName = Field(None, description="a Podman container, by name")
    tap: TapName = Field(
        None,
        description="a TAP device of this name on the host, for a virtual machine. What is inside of the machine is not ours",
    )


if TYPE_CHECKING:
    GivenAttach: TypeAlias = AttachModel | None
else:
    # None is what it is when it is left out; it cannot be given.
    GivenAttach = AttachModel


class ContainerModel(_Model):
    """What hangs on a bridge. A container of one name under two bridges is one container with two interfaces.

    Nothing at all (`web:`) is a container too: in the network namespace of its own name, with the next free addresses.
    """

    model_config = ConfigDict(title="Container")
    attach: GivenAttach = Field(
        None, description="how it hangs there. Left out: by the network namespace of its own name"
    )
    addresses: Annotated[
        list[OptionalPrefix] | None,
        BeforeValidator(_container_addresses),
        _schema("array", ["10.88.0.10", "fd00:88::10"], items={"type": "string"}),
    ] = Field(
        None,
        description="its addresses, with or without prefix length: the bridge's subnet has it. Left out: the lowest free address of "
        "the bridge's first subnet of each family, in the order of the file (the plan says so, since it hangs on the place there)",
    )
    mac: Mac = Field(
        None,
        description="of its interface. Left out: derived from the names of owner, bridge and container, the same after every restart",
    )
    mtu: Mtu = Field(None, description="of its interface. Left out: the bridge's")
    interface: Inside = Field(
        None, description="its interface's name inside. Left out: `eth0` on its first bridge, `eth1` on the second…"
    )
    default_route: DefaultRoute = Field(
        None,
        description="`true`: its default route goes by this bridge; `false`: by another one, or none. Left out: by the first of its "
        "bridges in the file that has a gateway",
    )
    routes: Annotated[list[RouteModel], _OR_LIST] = Field([], description="further routes inside, by this interface")
    sysctls: Annotated[dict[SysctlName, SysctlValue], _OR_MAPPING] = Field(
        {},
        description="kernel settings below `net.` inside",
        examples=[{"net.ipv4.tcp_keepalive_time": 600}],
    )
    ports: Annotated[list[Port], _OR_LIST] = Field(
        [],
        description="published ports: `[HOST_IP:]HOST[-END]:CONTAINER[-END][/tcp|udp|sctp]`, or the long syntax. Without a host "
        "address (here or at the bridge): every address of the host, in each family that the container has",
    )


class BridgeModel(_Model):
    """A bridge of the host, and what hangs on it.

    The modes: `nat` masquerades what leaves, and lets published ports in. `routed` leaves sources as they are, and published
    ports can also be reached on the container's own address. `isolated` has no way in or out. `bridged` is layer 2 through
    the uplinks, as virtual machines on the host's own network have it.
    """

    model_config = ConfigDict(title="Bridge")
    mode: Mode = Field("nat", description="what the bridge is to the outside")
    addresses: Annotated[list[Interface], _OR_LIST] = Field(
        [],
        description="its own addresses, with prefix length; the first of each family is the containers' gateway. Needed for `nat` and "
        "`routed`; on `isolated`, the host reaches the containers only if there is one",
    )
    mtu: Mtu = Field(
        None, description="of the bridge, and of its containers unless they say otherwise. Left out: the kernel's"
    )
    mac: Mac = Field(None, description="of the bridge. Left out: fixed when the bridge is made, and kept")
    stp: Stp = Field(None, description="the spanning tree protocol. Left out: as it is")
    uplinks: Annotated[list[Link], _OR_LIST] = Field(
        [],
        description="the host's interfaces that are ports of the bridge (`bridged` only). They are given back, not deleted, when they "
        "leave the file",
    )
    icc: Icc = Field(
        True,
        description="`false` keeps containers of this bridge from each other; their published ports can still be reached",
    )
    host_ip: Annotated[
        list[Any], BeforeValidator(_one_per_family("host_ip", check_host)), WithJsonSchema(_ONE_PER_FAMILY)
    ] = Field([], description="the host's address for ports that name none; at most one of each family")
    snat: Annotated[
        list[Any], BeforeValidator(_one_per_family("snat", _check_source)), WithJsonSchema(_ONE_PER_FAMILY)
    ] = Field(
        [],
        description="a fixed source address for what leaves, instead of masquerade (`nat` only); at most one of each family",
    )
    containers: Annotated[dict[str, Annotated[ContainerModel, _OR_MAPPING]], _OR_MAPPING] = Field(
        {}, description="what hangs on the bridge, by name"
    )


class FileModel(_Model):
    """The desired state of a host's container network."""

    model_config = ConfigDict(title="The file")
    version: Annotated[Any, WithJsonSchema({"const": 1})] = Field(description="the version of this format")
    name: Annotated[str | None, BeforeValidator(_owner), _schema("string", "edge-7", pattern=f"^{_OWNER.pattern}$")] = (
        Field(
            None,
            description="the owner's mark on all that is made; files of two names keep out of each other's way. Left out: `default`",
        )
    )
    bridges: Annotated[dict[str, Annotated[BridgeModel, _OR_MAPPING]], _OR_MAPPING] = Field(
        {}, description="the host's bridges, by name"
    )


# --- the schema ------------------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file."""
    made = _tidied(FileModel.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _tidied(node: Any, *, is_names: bool = False) -> Any:
    """pydantic's schema without what says nothing: titles made from keys, and null as the default of what has none."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _tidied(item, is_names=key in ("properties", "$defs"))
        for key, item in node.items()
        if is_names
        or not ((key == "title" and "properties" not in node) or (key == "default" and item in (None, [], {})))
    }
