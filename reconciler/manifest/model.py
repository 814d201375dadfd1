"""The shape of the file: one definition, from which come the checks, the JSON Schema and the reference (docs/file.md).

Values are parsed into their canonical form here (ipaddress objects, lower-case MACs, port ranges); what needs more than one value
to be judged is judged in reconciler.manifest.resolve.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from reconciler.core.messages import IPAddress, IPInterface, IPNetwork
from reconciler.manifest.position import printable


def _text(what: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if isinstance(value, str):
            return value
        raise ValueError(f"{what} must be text, not {_called(value)} (put it in quotes)")

    return check


def _called(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else "text"


def _whole(low: int, high: int, what: str) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{what} must be a whole number, not {_called(value)} (write one from {low} to {high})")
        if not low <= value <= high:
            raise ValueError(f"{what} is {value} (write a number from {low} to {high})")
        return value

    return check


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"this must be true or false, not {_called(value)} (YAML 1.2 knows no yes, no, on or off)")


# --- addresses -------------------------------------------------------------------------------------------------------


def _address(value: Any) -> IPAddress:
    text = _text("an address")(value).strip("[]")
    if "/" in text:
        raise ValueError(f"{printable(text)!r} has a prefix length (leave it out here)")
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(f"{printable(text)!r} is not an IP address (write 192.0.2.1 or 2001:db8::1)") from None


def _interface(value: Any) -> IPInterface:
    text = _text("an address")(value)
    if "/" not in text:
        _address(text)
        raise ValueError(f"{printable(text)!r} has no prefix length (write {printable(text)}/24, or what the subnet has)")
    try:
        return ip_interface(text)
    except ValueError:
        raise ValueError(f"{printable(text)!r} is not an address with a prefix length (write 192.0.2.1/24)") from None


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


def _network(value: Any) -> IPNetwork:
    text = _text("a destination")(value)
    try:
        return ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            inside = ip_network(text, strict=False)
            raise ValueError(f"{printable(text)!r} is not a network's own address (write {inside})") from None
        raise ValueError(f"{printable(text)!r} is not a network (write 192.0.2.0/24)") from None


def _one_per_family(what: str) -> Callable[[Any], list[IPAddress]]:
    def check(value: Any) -> list[IPAddress]:
        addresses = [_address(item) for item in (value if isinstance(value, list) else [value])]
        if len({address.version for address in addresses}) < len(addresses):
            raise ValueError(f"{what} has two addresses of one family (keep one of IPv4 and one of IPv6 at most)")
        return addresses

    return check


_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def _mac(value: Any) -> str:
    text = _text("a MAC address")(value).lower().replace("-", ":")
    if not _MAC.fullmatch(text):
        raise ValueError(f"{printable(value)!r} is not a MAC address (write six bytes in hexadecimal, as 02:00:00:00:00:01)")
    if text == "00:00:00:00:00:00" or int(text[:2], 16) & 1:
        raise ValueError(f"{text} cannot be an interface's MAC (zero and multicast ones cannot: make the first byte even, as 02)")
    return text


# --- names -----------------------------------------------------------------------------------------------------------

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SYSCTL = re.compile(r"net\.[a-z0-9_]+(\.[A-Za-z0-9_/-]+)+")


def _owner(value: Any) -> str:
    text = _text("name")(value)
    if not _OWNER.fullmatch(text):
        # It becomes part of an nftables table's name and of interface aliases.
        raise ValueError(f"{printable(text)!r} cannot be a name here (up to 32 letters, digits, `_`, `.` and `-`)")
    return text


def _link(value: Any) -> str:
    """What dev_valid_name() of net/core/dev.c takes, less `%`, which it takes for a pattern."""
    text = _text("an interface's name")(value)
    size = len(text.encode(errors="replace"))
    if not text or size > 15:
        raise ValueError(f"{printable(text)!r} is {size} bytes long (the kernel takes interface names of 1 to 15 bytes)")
    if text in (".", "..") or not text.isprintable() or any(one in "/:%\"\\" or one.isspace() for one in text):
        raise ValueError(f"{printable(text)!r} cannot be an interface's name (no `/`, `:`, `%`, quotes or blanks, and not `.` or `..`)")
    return text


def _netns(value: Any) -> str:
    text = _text("a namespace's name")(value)
    if text in ("", ".", "..") or "/" in text or not text.isprintable() or ":" in text or len(text.encode(errors="replace")) > 255:
        raise ValueError(f"{printable(text)!r} cannot be a namespace's name (no `/` or `:`, not `.` or `..`, at most 255 bytes)")
    return text


def container_name(text: str) -> str:
    """Checks the key of a container. Raises ValueError."""
    if not _CONTAINER.fullmatch(text):
        raise ValueError(f"{printable(text)!r} cannot be a container's name (letters, digits, `_`, `.` and `-`, beginning with a letter or digit)")
    return text


def link_name(text: str) -> str:
    """Checks the name of a bridge. Raises ValueError."""
    return _link(text)


def _sysctls(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"sysctls must be a mapping of names to values, not {_called(value)} (write NAME: VALUE)")
    result = {}
    for name, setting in value.items():
        if not _SYSCTL.fullmatch(name) or ".." in name:
            raise ValueError(f"{printable(name)!r} is no setting of a network namespace (only names below `net.`, as net.ipv4.tcp_keepalive_time)")
        if isinstance(setting, bool) or not isinstance(setting, str | int):
            raise ValueError(f"{name} must be text or a whole number, not {_called(setting)} (put it in quotes)")
        text = " ".join(str(setting).split())
        if not text.isprintable() or not text:
            raise ValueError(f"{name} has an empty or unprintable value (give it one)")
        result[name] = text
    return result


# --- ports -----------------------------------------------------------------------------------------------------------


class PortText(NamedTuple):
    """A published port as it was written; ranges are (first, last)."""

    host_ip: IPAddress | None
    published: tuple[int, int]
    target: tuple[int, int]
    protocol: str


_PROTOCOLS = ("tcp", "udp", "sctp")


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (first.isascii() and first.isdigit()) or (dash and not (last.isascii() and last.isdigit())) or len(text) > 11:
        raise ValueError(f"{printable(text)!r} is not a port or a range of ports (write 8080 or 8000-8010)")
    low, high = int(first), int(last or first)
    if not (1 <= low <= 65535 and 1 <= high <= 65535):
        raise ValueError(f"{printable(text)!r} is outside of what ports can be (1 to 65535)")
    if low > high:
        raise ValueError(f"the range {printable(text)} runs backwards (write {high}-{low})")
    return low, high


def _port(value: Any) -> PortText:
    if isinstance(value, dict):
        return _long_port(value)
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f'port {value} names no host port, and a file cannot want "any" (write "{value}:{value}")')
    return _short_port(_text("a port")(value))


def _short_port(text: str) -> PortText:
    rest, slash, protocol = text.partition("/")
    host: str | None = None
    if rest.startswith("["):
        host, bracket, rest = rest[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise ValueError(f"{printable(text)!r} has no `]:` behind its address (write [2001:db8::1]:8080:80)")
        rest = rest[1:]
    parts = rest.split(":")
    if host is None and len(parts) == 3:
        host, *parts = parts
    if len(parts) > 2:
        raise ValueError(f"{printable(text)!r} has too many colons (write HOST_IP:HOST:CONTAINER, an IPv6 address in brackets)")
    if len(parts) == 1:
        raise ValueError(f'{printable(text)!r} names no host port, and a file cannot want "any" (write "HOST:{printable(parts[0])}")')
    if slash and not protocol:
        raise ValueError(f"{printable(text)!r} ends in a slash (write the protocol behind it: tcp, udp or sctp)")
    return _made(None if host in (None, "") else _address(host), parts[0], parts[1], protocol or "tcp")


def _long_port(value: dict[str, Any]) -> PortText:
    known = ("published", "target", "protocol", "host_ip")
    for key in value:
        if key not in known:
            extra = " (Compose has it, but nothing on a single host depends on it: remove it)" if key in ("mode", "name", "app_protocol") else nearest(key, known)
            raise ValueError(f"unknown key {printable(key)!r} in a port{extra}")
    if "target" not in value:
        raise ValueError("the port has no `target` (add the container's port)")
    if "published" not in value:
        raise ValueError('the port has no `published`, and a file cannot want "any" (add the host\'s port)')
    texts = []
    for key in ("published", "target"):
        if isinstance(value[key], bool) or not isinstance(value[key], int | str):
            raise ValueError(f"{key} must be a port, not {_called(value[key])} (write 8080 or 8000-8010)")
        texts.append(str(value[key]))
    host = value.get("host_ip")
    return _made(None if host is None else _address(host), texts[0], texts[1], _text("protocol")(value.get("protocol", "tcp")))


def _made(host: IPAddress | None, published: str, target: str, protocol: str) -> PortText:
    if protocol.lower() not in _PROTOCOLS:
        raise ValueError(f"the protocol {printable(protocol)!r} is not known (tcp, udp or sctp)")
    if not published:
        raise ValueError(f'the host port is empty, and a file cannot want "any" (write "HOST:{printable(target)}")')
    ours, theirs = _range(published), _range(target)
    if ours[1] - ours[0] != theirs[1] - theirs[0]:
        size, other = ours[1] - ours[0] + 1, theirs[1] - theirs[0] + 1
        raise ValueError(f"{size} host port{'s' * (size > 1)} cannot lead to {other} of the container (give both ranges the same length)")
    if host is not None and host.is_loopback and host.version == 6:
        raise ValueError("the kernel cannot translate ::1, so nothing can be published on it (publish on 127.0.0.1)")
    if host is not None and (host.is_multicast or str(host) == "255.255.255.255"):
        raise ValueError(f"{host} is not an address of a host (name one of its own, or none)")
    return PortText(host, ours, theirs, protocol.lower())


def nearest(word: str, known: tuple[str, ...]) -> str:
    """A parenthesis with the known words, the nearest first if one is near."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, 1, 0.6)
    return f" (did you mean `{close[0]}`?)" if close else f" (known are {', '.join(known)})"


# --- the model -------------------------------------------------------------------------------------------------------


def _schema(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema(schema)


_PORT_SCHEMA = {
    "anyOf": [
        {"type": "string", "description": "[HOST_IP:]HOST[-END]:CONTAINER[-END][/PROTOCOL]"},
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["published", "target"],
            "properties": {
                "published": {"type": ["integer", "string"], "description": "port or range of the host"},
                "target": {"type": ["integer", "string"], "description": "port or range of the container"},
                "protocol": {"enum": list(_PROTOCOLS), "default": "tcp"},
                "host_ip": {"type": "string", "description": "the host's address; default: all"},
            },
        },
    ]
}

Interface = Annotated[Any, BeforeValidator(_interface), _schema(type="string", examples=["10.88.0.1/24"])]
OptionalPrefix = Annotated[Any, BeforeValidator(_container_address), _schema(type="string", examples=["10.88.0.10"])]
Address = Annotated[Any, BeforeValidator(_address), _schema(type="string", examples=["10.88.0.1"])]
Network = Annotated[Any, BeforeValidator(_network), _schema(type="string", examples=["10.0.0.0/8"])]
Mac = Annotated[str, BeforeValidator(_mac), _schema(type="string", examples=["02:00:00:00:00:01"])]
Link = Annotated[str, BeforeValidator(_link), _schema(type="string", minLength=1, maxLength=15)]
NetnsName = Annotated[str, BeforeValidator(_netns), _schema(type="string", minLength=1)]
Word = Annotated[str, BeforeValidator(_text("a name")), _schema(type="string", minLength=1)]
Mtu = Annotated[int, BeforeValidator(_whole(68, 65535, "an MTU")), _schema(type="integer", minimum=68, maximum=65535)]
Truth = Annotated[bool, BeforeValidator(_truth), _schema(type="boolean")]
Metric = Annotated[int, BeforeValidator(_whole(0, 2**32 - 1, "a metric")), _schema(type="integer", minimum=0)]
PortField = Annotated[Any, BeforeValidator(_port), WithJsonSchema(_PORT_SCHEMA)]
_ADDRESSES = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 2}]}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RouteModel(_Model):
    """A route inside of a container."""

    model_config = ConfigDict(title="Route")
    to: Network = Field(description="the destination")
    via: Address | None = Field(None, description="the gateway; left out: straight to the neighbour")
    metric: Metric | None = Field(None, description="the kernel's preference: the lower wins")


class AttachModel(_Model):
    """How a container hangs on its bridge: exactly one of these keys."""

    model_config = ConfigDict(title="Attach")
    netns: NetnsName | None = Field(None, description="a named network namespace; made if it is missing, and removed only if we made it")
    pid: Annotated[int, BeforeValidator(_whole(1, 2**22, "a pid")), _schema(type="integer", minimum=1)] | None = Field(
        None, description="the network namespace of this process"
    )
    docker: Word | None = Field(None, description="a Docker container, by name")
    podman: Word | None = Field(None, description="a Podman container, by name")
    tap: Link | None = Field(None, description="a TAP device of this name, for a virtual machine; its inside is not ours")


class ContainerModel(_Model):
    """What hangs on a bridge. A container under two bridges with the same name is one, with two interfaces."""

    model_config = ConfigDict(title="Container")
    attach: AttachModel | None = Field(None, description="how it hangs there; default: the network namespace of its own name")
    addresses: list[OptionalPrefix] | None = Field(
        None,
        description="with or without prefix length (the bridge's is taken). Left out: the lowest free address of each of the bridge's "
        "subnets, in the order of the file",
    )
    mac: Mac | None = Field(None, description="default: derived from the names of owner, bridge and container, the same after every restart")
    mtu: Mtu | None = Field(None, description="default: the bridge's")
    interface: Link | None = Field(None, description="the name inside; default eth0 on the first bridge, eth1 on the second…")
    default_route: Truth | None = Field(None, description="which of several bridges has it; default: the first in the file that has a gateway")
    routes: list[RouteModel] = Field([], description="further routes inside of the container")
    sysctls: Annotated[dict[str, str], BeforeValidator(_sysctls), _schema(type="object", additionalProperties={"type": ["string", "integer"]})] = Field(
        {}, description="kernel settings below net. inside of the container"
    )
    ports: list[PortField] = Field(
        [],
        description="published ports, in Compose's short or long syntax. Without a host address: every address of each family that the container has",
    )


class BridgeModel(_Model):
    """A bridge of the host."""

    model_config = ConfigDict(title="Bridge")
    mode: Annotated[Literal["nat", "routed", "isolated", "bridged"], _schema(enum=["nat", "routed", "isolated", "bridged"])] = Field(
        "nat",
        description="nat: masquerade out, published ports in. routed: no masquerade. isolated: no way in or out. bridged: layer 2 through uplinks",
    )
    addresses: list[Interface] = Field(
        [], description="the bridge's own addresses, with prefix length; the first of each family is the containers' gateway. Required for nat and routed"
    )
    mtu: Mtu | None = Field(None, description="of the bridge, and of its containers unless they say otherwise")
    mac: Mac | None = Field(None, description="default: fixed when the bridge is made, and kept")
    stp: Truth | None = Field(None, description="the spanning tree protocol")
    uplinks: list[Link] = Field([], description="host interfaces made ports of the bridge (bridged only); given back, not deleted, when they leave the file")
    icc: Truth = Field(True, description="false keeps containers of this bridge from each other (published ports still work)")
    host_ip: Annotated[list[Any], BeforeValidator(_one_per_family("host_ip")), WithJsonSchema(_ADDRESSES)] = Field(
        [], description="host address for ports that name none"
    )
    snat: Annotated[list[Any], BeforeValidator(_one_per_family("snat")), WithJsonSchema(_ADDRESSES)] = Field(
        [], description="fixed source address for what leaves, instead of masquerade; one a family"
    )
    containers: dict[str, Annotated[ContainerModel, BeforeValidator(lambda value: {} if value is None else value)]] = Field(
        {}, description="what hangs on the bridge, by name"
    )


class FileModel(_Model):
    """The desired state of a host's container network."""

    model_config = ConfigDict(title="reconcile")
    version: Annotated[Any, _schema(const=1)] = Field(description="of this format: 1")
    name: Annotated[str, BeforeValidator(_owner), _schema(type="string", pattern=f"^{_OWNER.pattern}$")] | None = Field(
        None, description="owner mark on all that is made; two files with different names keep out of each other's way. Default: default"
    )
    bridges: dict[str, Annotated[BridgeModel, BeforeValidator(lambda value: {} if value is None else value)]] = Field(
        {}, description="the host's bridges, by name"
    )
