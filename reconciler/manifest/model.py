"""The shape of the file: one definition, from which come the checks, the JSON Schema and the reference (docs/file.md).

What needs more than one value to be judged is judged in reconciler.manifest.resolve.
"""

from __future__ import annotations

from typing import Any

from reconciler.manifest import values
from reconciler.manifest.shape import Key, ListOf, Model, NamesTo, OrNull, Schema, ShortOrLong, Value
from reconciler.manifest.values import PortText


def _is(kind: str | list[str], *examples: Any, **more: Any) -> Schema:
    return {"type": kind, **({"examples": list(examples)} if examples else {}), **more}


INTERFACE = Value(values.as_interface, _is("string", "10.88.0.1/24", "fd00:88::1/64"))
OPTIONAL_PREFIX = Value(values.as_container_address, _is("string"))
ADDRESS = Value(values.as_address, _is("string", "10.88.0.254"))
NETWORK = Value(values.as_network, _is("string", "10.99.0.0/16", "::/0"))
HOST_ADDRESS = Value(values.as_host_ip, _is("string", "127.0.0.1", "2001:db8::1"))
MAC = Value(values.as_mac, _is("string", "02:00:00:00:00:01", pattern="^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"))
LINK = Value(values.as_link, _is("string", "eth1", minLength=1, maxLength=15))
TAP_NAME = Value(values.as_link, _is("string", "vnet0", minLength=1, maxLength=15))
INSIDE = Value(values.as_link, _is("string", "eth0", minLength=1, maxLength=15))
NETNS_NAME = Value(values.as_netns, _is("string", "web", minLength=1, maxLength=255))
CONTAINER_NAME = Value(values.as_container, _is("string", "web", pattern=f"^{values.CONTAINER.pattern}$"))
OWNER_NAME = Value(values.as_owner, _is("string", "edge-7", pattern=f"^{values.OWNER}$"))
PID = Value(values.whole(1, 2**22, "a pid"), _is("integer", 4711, minimum=1, maximum=2**22))
MTU = Value(values.whole(68, 65535, "an MTU"), _is("integer", 1500, 9000, minimum=68, maximum=65535))
METRIC = Value(values.whole(0, 2**32 - 1, "a metric"), _is("integer", 100, minimum=0, maximum=2**32 - 1))
SYSCTL_VALUE = Value(values.as_sysctl_value, _is(["string", "integer"]))
PORT_RANGE = Value(values.as_range, _is(["integer", "string"], 8080, "8000-8010"))
PROTOCOL = Value(values.as_protocol, {"enum": list(values.PROTOCOLS)})
MODE = Value(values.as_mode, _is("string", enum=list(values.MODES)))
DESTINATION = Value(
    values.as_destination, _is("string", "host:8080", "db:5432", "outside", "192.0.2.10:443", "[fd00:88::10]:53/udp")
)
_ONE_PER_FAMILY = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 2}],
    "examples": ["192.0.2.7", ["192.0.2.7", "2001:db8::7"]],
}
HOST_IP = Value(values.one_per_family("host_ip", values.check_host), _ONE_PER_FAMILY)
SNAT = Value(values.one_per_family("snat", values.check_source), _ONE_PER_FAMILY)


def _truth(what: str) -> Value[bool]:
    return Value(values.truth(what), _is("boolean"))


def _end(*examples: str) -> Value[str]:
    return Value(values.as_end, _is("string", *examples))


class PortModel(Model, title="Port", whole=True, compose=("mode", "name", "app_protocol")):
    """A published port in the long syntax."""

    published = Key(
        PORT_RANGE,
        "the host's port, or a range of ports",
        remedy=', and a file cannot want "any" (add the host\'s port)',
    )
    target = Key(
        PORT_RANGE, "the container's port, or a range of the same length", remedy=" (add the container's port)"
    )
    protocol = Key(PROTOCOL, "the protocol", default="tcp")
    host_ip = Key(
        HOST_ADDRESS,
        "the host's address to publish on. Left out: the bridge's `host_ip`, and without one all addresses",
        default=None,
    )


def _joined(port: PortModel) -> PortText:
    return values.even(PortText(port.host_ip, port.published, port.target, port.protocol))


PORT = ShortOrLong(
    Value(
        values.as_port,
        _is("string", "8080:80", "127.0.0.1:8443:443/tcp", "[2001:db8::1]:53:53/udp", "8000-8010:9000-9010"),
    ),
    PortModel,
    _joined,
)


class RouteModel(Model, title="Route", whole=True):
    """A route inside of a container, by the interface that it stands below."""

    to = Key(NETWORK, "the destination: a network, or a single address", remedy=" (add the destination)")
    via = Key(ADDRESS, "the gateway, in a subnet of this interface. Left out: straight to the neighbour", default=None)
    metric = Key(METRIC, "of routes to the same destination, the one with the lowest metric is taken", default=None)


class AttachModel(Model, title="Attach", minProperties=1, maxProperties=1):
    """How a container hangs on its bridge: exactly one of these keys.

    Containers of Docker and Podman are found by the engine's socket, and wait until they run: see docs/runtimes.md.
    """

    netns = Key(
        NETNS_NAME,
        "a named network namespace, as `ip netns` has them. One that is missing is made, and removed again "
        "only if we made it",
        default=None,
    )
    pid = Key(PID, "the network namespace of this process", default=None)
    docker = Key(
        CONTAINER_NAME,
        "a Docker container, by name; it has to have a network of its own (`--network none`)",
        default=None,
    )
    podman = Key(
        CONTAINER_NAME,
        "a Podman container, by name; it has to have a network of its own (`--network none`)",
        default=None,
    )
    tap = Key(
        TAP_NAME,
        "a TAP device of this name on the host, for a virtual machine. What is inside of the machine is not ours",
        default=None,
    )


class ContainerModel(Model, title="Container", unit=True):
    """What hangs on a bridge. A container of one name under two bridges is one container with two interfaces.

    Nothing at all (`web:`) is a container too: in the network namespace of its own name, with the next free addresses.
    """

    attach = Key(AttachModel, "how it hangs there. Left out: by the network namespace of its own name", default=None)
    addresses = Key(
        ListOf(OPTIONAL_PREFIX, "addresses is empty (write [] for none, or remove the key to have one picked)"),
        "its addresses, with or without prefix length: the bridge's subnet has it. Left out: the lowest free address of "
        "the bridge's first subnet of each family, in the order of the file (the plan says so, since it hangs on the place there)",
        default=None,
        examples=[["10.88.0.10", "fd00:88::10"]],
    )
    mac = Key(
        MAC,
        "of its interface. Left out: derived from the names of owner, bridge and container, the same after every restart",
        default=None,
        alone=True,
    )
    mtu = Key(MTU, "of its interface. Left out: the bridge's", default=None, alone=True)
    interface = Key(
        INSIDE, "its interface's name inside. Left out: `eth0` on its first bridge, `eth1` on the second…", default=None
    )
    default_route = Key(
        _truth("default_route"),
        "`true`: its default route goes by this bridge; `false`: by another one, or none. Left out: by the first of its "
        "bridges in the file that has a gateway",
        default=None,
    )
    routes = Key(OrNull(ListOf(RouteModel), ()), "further routes inside, by this interface", default=(), alone=True)
    sysctls = Key(
        OrNull(NamesTo(values.as_sysctl_name, SYSCTL_VALUE), {}),
        "kernel settings below `net.` inside",
        default={},
        alone=True,
        examples=[{"net.ipv4.tcp_keepalive_time": 600}],
    )
    ports = Key(
        OrNull(ListOf(PORT), ()),
        "published ports: `[HOST_IP:]HOST[-END]:CONTAINER[-END][/tcp|udp|sctp]`, or the long syntax. Without a host "
        "address (here or at the bridge): every address of the host, in each family that the container has",
        default=(),
        alone=True,
    )


CONTAINER = OrNull(ContainerModel, ContainerModel())


class BridgeModel(Model, title="Bridge", unit=True):
    """A bridge of the host, and what hangs on it.

    The modes: `nat` masquerades what leaves, and lets published ports in. `routed` leaves sources as they are, and published
    ports can also be reached on the container's own address. `isolated` has no way in or out. `bridged` is layer 2 through
    the uplinks, as virtual machines on the host's own network have it.
    """

    mode = Key(MODE, "what the bridge is to the outside", default="nat")
    addresses = Key(
        OrNull(ListOf(INTERFACE), ()),
        "its own addresses, with prefix length; the first of each family is the containers' gateway. Needed for `nat` and "
        "`routed`; on `isolated`, the host reaches the containers only if there is one",
        default=(),
    )
    mtu = Key(
        MTU,
        "of the bridge, and of its containers unless they say otherwise. Left out: the kernel's",
        default=None,
        alone=True,
    )
    mac = Key(MAC, "of the bridge. Left out: fixed when the bridge is made, and kept", default=None, alone=True)
    stp = Key(_truth("stp"), "the spanning tree protocol. Left out: as it is", default=None, alone=True)
    uplinks = Key(
        OrNull(ListOf(LINK), ()),
        "the host's interfaces that are ports of the bridge (`bridged` only). They are given back, not deleted, when they "
        "leave the file",
        default=(),
    )
    icc = Key(
        _truth("icc"),
        "`false` keeps containers of this bridge from each other; their published ports can still be reached",
        default=True,
    )
    host_ip = Key(HOST_IP, "the host's address for ports that name none; at most one of each family", default=())
    snat = Key(
        SNAT,
        "a fixed source address for what leaves, instead of masquerade (`nat` only); at most one of each family",
        default=(),
    )
    containers = Key(
        OrNull(NamesTo(values.as_container, CONTAINER), {}), "what hangs on the bridge, by name", default={}
    )


class ExpectModel(Model, title="Expectation", whole=True):
    """What `reconcile test` tries with real packets, in a scratch namespace ([expect.md](expect.md)). It changes no plan."""

    source = Key(
        _end("outside", "host", "web"),
        "who asks: `outside` (a client on the host's network), `host`, or a container",
        name="from",
        remedy=" (add who asks: outside, host or a container)",
    )
    to = Key(
        DESTINATION,
        "what is asked: `host`, `outside`, a container or an address, with a port and, as in Compose, a protocol. "
        "Without a port it is a ping",
        remedy=" (add the destination)",
    )
    protocol = Key(
        Value(values.as_tested_protocol, {"enum": list(values.TESTED)}),
        "the protocol, where `to` does not say it. Left out: tcp",
        default=None,
    )
    reaches = Key(
        _end("web"), "who must answer: a container, `host` or `outside`. Left out: whoever is there", default=None
    )
    allowed = Key(_truth("allowed"), "`false`: nobody may answer (with `reaches`: not that one)", default=True)
    seen_as = Key(
        Value(values.as_seen, _is("string", "client", "host", "192.0.2.7")),
        "the address that the server must see: `client` (kept as it is), `host` (any of its own), or an address",
        default=None,
        name="as",
    )
    version = Key(
        Value(values.as_version, {"enum": [4, 6]}),
        "the version of IP. Left out: every one that both ends have",
        default=None,
    )


class FileModel(Model, title="The file", patternProperties={"^x-": {}}):
    """The desired state of a host's container network.

    Keys that begin with `x-` are not read: a place for what aliases repeat.
    """

    # What each file has there is looked at when files are merged.
    version = Key(Value(int, {"const": 1}), "the version of this format")
    name = Key(
        OWNER_NAME,
        "the owner's mark on all that is made; files of two names keep out of each other's way. Left out: `default`",
        default=None,
    )
    bridges = Key(
        OrNull(NamesTo(values.as_link, OrNull(BridgeModel, BridgeModel())), {}),
        "the host's bridges, by name",
        default={},
    )
    expect = Key(
        OrNull(ListOf(ExpectModel), ()),
        "what must and must not get through, for `reconcile test`; no plan depends on it",
        default=(),
    )
