"""The shape of the file: one definition, from which come the checks, the JSON Schema and the reference (docs/file.md).

What needs more than one value to be judged is judged in reconciler.manifest.resolve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

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

from reconciler.manifest import values
from reconciler.manifest.values import PortText


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

Interface = Annotated[Any, BeforeValidator(values.as_interface), _schema("string", "10.88.0.1/24", "fd00:88::1/64")]
OptionalPrefix = Annotated[
    Any, BeforeValidator(values.as_container_address), _schema("string", "10.88.0.10", "fd00:88::10")
]
Address = Annotated[Any, BeforeValidator(values.as_address), _schema("string", "10.88.0.254")]
Network = Annotated[Any, BeforeValidator(values.as_network), _schema("string", "10.99.0.0/16", "::/0")]
HostAddress = Annotated[Any, BeforeValidator(values.as_host_ip), _schema("string", "127.0.0.1", "2001:db8::1")]
Mac = Annotated[
    str | None,
    BeforeValidator(values.as_mac),
    _schema("string", "02:00:00:00:00:01", pattern="^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"),
]
Link = Annotated[str, BeforeValidator(values.as_link), _schema("string", "eth1", minLength=1, maxLength=15)]
TapName = Annotated[str | None, BeforeValidator(values.as_link), _schema("string", "vnet0", minLength=1, maxLength=15)]
Inside = Annotated[str | None, BeforeValidator(values.as_link), _schema("string", "eth0", minLength=1, maxLength=15)]
NetnsName = Annotated[
    str | None, BeforeValidator(values.as_netns), _schema("string", "web", minLength=1, maxLength=255)
]
ContainerName = Annotated[
    str | None, BeforeValidator(values.as_container), _schema("string", "web", pattern=f"^{values.CONTAINER.pattern}$")
]
Pid = Annotated[
    int | None, BeforeValidator(values.whole(1, 2**22, "a pid")), _schema("integer", 4711, minimum=1, maximum=2**22)
]
Mtu = Annotated[
    int | None,
    BeforeValidator(values.whole(68, 65535, "an MTU")),
    _schema("integer", 1500, 9000, minimum=68, maximum=65535),
]
Icc = Annotated[bool, BeforeValidator(values.truth("icc")), _schema("boolean")]
Stp = Annotated[bool | None, BeforeValidator(values.truth("stp")), _schema("boolean")]
DefaultRoute = Annotated[bool | None, BeforeValidator(values.truth("default_route")), _schema("boolean")]
Metric = Annotated[
    int | None,
    BeforeValidator(values.whole(0, 2**32 - 1, "a metric")),
    _schema("integer", 100, minimum=0, maximum=2**32 - 1),
]
SysctlName = Annotated[str, BeforeValidator(values.as_sysctl_name), _schema("string")]
SysctlValue = Annotated[str, BeforeValidator(values.as_sysctl_value), _schema(["string", "integer"])]
PortRange = Annotated[Any, BeforeValidator(values.as_range), _schema(["integer", "string"], 8080, "8000-8010")]
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
    protocol: Annotated[str, BeforeValidator(values.as_protocol), WithJsonSchema({"enum": list(values.PROTOCOLS)})] = (
        Field("tcp", description="the protocol")
    )
    host_ip: HostAddress = Field(
        None,
        description="the host's address to publish on. Left out: the bridge's `host_ip`, and without one all addresses",
    )


def _even(given: PortText | PortModel) -> PortText:
    port = (
        given if isinstance(given, PortText) else PortText(given.host_ip, given.published, given.target, given.protocol)
    )
    ours, theirs = port.published[1] - port.published[0] + 1, port.target[1] - port.target[0] + 1
    if ours != theirs:
        ports = "port" if ours == 1 else "ports"
        raise ValueError(
            f"{ours} host {ports} cannot lead to {theirs} of the container (give both ranges the same length)"
        )
    return port


if TYPE_CHECKING:
    Port: TypeAlias = PortText
else:
    Port = Annotated[
        Annotated[
            Annotated[
                Any,
                BeforeValidator(values.as_port),
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
    """How a container hangs on its bridge: exactly one of these keys.

    Containers of Docker and Podman are found by the engine's socket, and wait until they run: see docs/runtimes.md.
    """

    model_config = ConfigDict(title="Attach", json_schema_extra={"minProperties": 1, "maxProperties": 1})
    netns: NetnsName = Field(
        None,
        description="a named network namespace, as `ip netns` has them. One that is missing is made, and removed again "
        "only if we made it",
    )
    pid: Pid = Field(None, description="the network namespace of this process")
    docker: ContainerName = Field(
        None, description="a Docker container, by name; it has to have a network of its own (`--network none`)"
    )
    podman: ContainerName = Field(
        None, description="a Podman container, by name; it has to have a network of its own (`--network none`)"
    )
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
        BeforeValidator(values.not_null),
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
        list[Any], BeforeValidator(values.one_per_family("host_ip", values.check_host)), WithJsonSchema(_ONE_PER_FAMILY)
    ] = Field([], description="the host's address for ports that name none; at most one of each family")
    snat: Annotated[
        list[Any], BeforeValidator(values.one_per_family("snat", values.check_source)), WithJsonSchema(_ONE_PER_FAMILY)
    ] = Field(
        [],
        description="a fixed source address for what leaves, instead of masquerade (`nat` only); at most one of each family",
    )
    containers: Annotated[dict[str, Annotated[ContainerModel, _OR_MAPPING]], _OR_MAPPING] = Field(
        {}, description="what hangs on the bridge, by name"
    )


class ExpectModel(_Model):
    """What `reconcile test` tries with real packets, in a scratch namespace ([expect.md](expect.md)). It changes no plan."""

    model_config = ConfigDict(title="Expectation")
    source: Annotated[str, BeforeValidator(values.as_end), _schema("string", "outside", "host", "web")] = Field(
        alias="from", description="who asks: `outside` (a client on the host's network), `host`, or a container"
    )
    to: Annotated[
        Any,
        BeforeValidator(values.as_destination),
        _schema("string", "host:8080", "db:5432", "outside", "192.0.2.10:443", "[fd00:88::10]:53/udp"),
    ] = Field(
        description="what is asked: `host`, `outside`, a container or an address, with a port and, as in Compose, a protocol. "
        "Without a port it is a ping"
    )
    protocol: Annotated[
        str | None, BeforeValidator(values.as_tested_protocol), WithJsonSchema({"enum": list(values.TESTED)})
    ] = Field(None, description="the protocol, where `to` does not say it. Left out: tcp")
    reaches: Annotated[str | None, BeforeValidator(values.as_end), _schema("string", "web")] = Field(
        None, description="who must answer: a container, `host` or `outside`. Left out: whoever is there"
    )
    allowed: Annotated[bool, BeforeValidator(values.truth("allowed")), _schema("boolean")] = Field(
        True, description="`false`: nobody may answer (with `reaches`: not that one)"
    )
    seen_as: Annotated[Any, BeforeValidator(values.as_seen), _schema("string", "client", "host", "192.0.2.7")] = Field(
        None,
        alias="as",
        description="the address that the server must see: `client` (kept as it is), `host` (any of its own), or an address",
    )
    version: Annotated[int | None, BeforeValidator(values.as_version), WithJsonSchema({"enum": [4, 6]})] = Field(
        None, description="the version of IP. Left out: every one that both ends have"
    )


class FileModel(_Model):
    """The desired state of a host's container network.

    Keys that begin with `x-` are not read: a place for what aliases repeat.
    """

    model_config = ConfigDict(title="The file", json_schema_extra={"patternProperties": {"^x-": {}}})
    version: Annotated[Any, WithJsonSchema({"const": 1})] = Field(description="the version of this format")
    name: Annotated[
        str | None, BeforeValidator(values.as_owner), _schema("string", "edge-7", pattern=f"^{values.OWNER.pattern}$")
    ] = Field(
        None,
        description="the owner's mark on all that is made; files of two names keep out of each other's way. Left out: `default`",
    )
    bridges: Annotated[dict[str, Annotated[BridgeModel, _OR_MAPPING]], _OR_MAPPING] = Field(
        {}, description="the host's bridges, by name"
    )
    expect: Annotated[list[ExpectModel], _OR_LIST] = Field(
        [], description="what must and must not get through, for `reconcile test`; no plan depends on it"
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
