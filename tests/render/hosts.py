"""Small hosts to render, made by hand: what a file of two bridges comes to, and what may be found instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from reconciler.core.messages import HOST
from reconciler.core.resource import Key, Level, Note, Origin, Resource, State
from reconciler.kinds.address import Address
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.hostlink import HostLink
from reconciler.kinds.links import link_key
from reconciler.kinds.netns import Netns
from reconciler.kinds.nftables import Chain, Element, Set, Table
from reconciler.kinds.peer import Peer
from reconciler.kinds.route import Route
from reconciler.kinds.sysctl import Sysctl
from reconciler.kinds.tap import Tap
from reconciler.kinds.veth import Veth

OWNER = "edge-7"
TABLE = "reconciler-edge-7"
FILE = "net.yaml"

Placed = tuple[Resource, Origin]


def at(line: int, bridge: str = "", container: str = "") -> Origin:
    """The origin of something in line `line` of the file."""
    return Origin(f"{FILE}:{line}:5", bridge, container)


def bridge(name: str, line: int, *addresses: str, mode: str = "nat", **fields: object) -> Iterator[Placed]:
    """A bridge, its addresses, and the element that says its mode."""
    origin = at(line, name)
    yield Bridge(owner=OWNER, name=name, birth_mac="02:00:00:00:00:01", **fields), origin  # type: ignore[arg-type]
    for address in addresses:
        yield Address(owner=OWNER, namespace=HOST, link=name, address=ip_interface(address)), origin
    if mode in ("nat", "routed"):
        verdict = "goto only_open" if mode == "routed" else "goto only_published"
        yield (
            Element(owner=OWNER, table=TABLE, set="arrive", match=(name,), data=(verdict,), comment=name),
            origin,
        )


def container(
    on: str,
    name: str,
    line: int,
    *addresses: str,
    mtu: int | None = None,
    namespace: str = "",
    made: bool = True,
) -> Iterator[Placed]:
    """A container on the bridge `on`, with a default route to the first address of the subnet."""
    origin, namespace, link = at(line, on, name), namespace or name, f"{name[:8]}-0a1b2c"
    if made:
        yield Netns(owner=OWNER, name=namespace, loopback=True), origin
    yield Veth(owner=OWNER, name=link, peer=(namespace, "eth0"), mtu=mtu), origin
    yield (
        Peer(owner=OWNER, namespace=namespace, name="eth0", host=link, mac="02:00:00:00:00:0a", mtu=mtu),
        origin,
    )
    yield BridgePort(owner=OWNER, link=link, bridge=on, hairpin=True), origin
    for text in addresses:
        address = ip_interface(text)
        yield Address(owner=OWNER, namespace=namespace, link="eth0", address=address), origin
        everywhere = ip_network("0.0.0.0/0" if address.version == 4 else "::/0")
        gateway = address.network.network_address + 1
        metric = 0 if address.version == 4 else 1024
        yield (
            Route(
                owner=OWNER,
                namespace=namespace,
                destination=everywhere,
                metric=metric,
                link="eth0",
                via=gateway,
            ),
            origin,
        )


def port(on: str, name: str, line: int, outside: str, target: str, inside: str = "80", namespace: str = "") -> Placed:
    """A published port. `outside` is `[ADDRESS ]PORT[-LAST]/PROTOCOL`, with a last one `inside` is not
    used."""
    *address, number = outside.split()
    ports, protocol = number.split("/")
    ranges = "-" in ports
    version = ip_address(target).version
    return (
        Element(
            owner=OWNER,
            table=TABLE,
            set=f"by_{'address' if address else 'any'}{'_range' if ranges else ''}{version}",
            match=(*address, protocol, ports),
            data=(target,) if ranges else (target, inside),
            comment=f"{on}/{name}",
            waits_for=(link_key(namespace or name, "eth0"),),
        ),
        at(line, on, name),
    )


def firewall() -> Iterator[Placed]:
    """A table with the sets that the elements here need, and two chains."""
    yield Table(owner=OWNER, name=TABLE), Origin()
    for name in (
        "arrive",
        "by_any4",
        "by_any6",
        "by_address4",
        "by_address6",
        "by_any_range4",
        "by_any_range6",
    ):
        yield Set(owner=OWNER, table=TABLE, name=name, type=("ifname",), data=("verdict",)), Origin()
    for name in ("publish", "forward"):
        yield (
            Chain(owner=OWNER, table=TABLE, name=name, rules=("what was translated was published [0123456789]",)),
            Origin(),
        )


def web(line: int = 9) -> Iterator[Placed]:
    """The container `web` of the examples, with its ports."""
    yield from container("br-web", "web", line, "10.88.0.10/24", "fd00:88::10/64")
    yield port("br-web", "web", line + 2, "8080/tcp", "10.88.0.10")
    yield port("br-web", "web", line + 2, "8080/tcp", "fd00:88::10")
    yield port("br-web", "web", line + 3, "127.0.0.1 8443/tcp", "10.88.0.10", "443")


def database() -> Iterator[Placed]:
    """The container `db`."""
    yield from container("br-web", "db", 13, "10.88.0.11/24", mtu=1400)
    yield port("br-web", "db", 15, "9000-9010/udp", "10.88.0.11")


def guests() -> Iterator[Placed]:
    """A bridge with an uplink and a virtual machine."""
    origin = at(18, "br0", "vm1")
    yield from bridge("br0", 16, mode="bridged", uplinks=("eth1",))
    yield BridgePort(owner=OWNER, link="eth1", bridge="br0", up=True), at(17, "br0")
    yield Tap(owner=OWNER, name="vnet0"), origin
    yield BridgePort(owner=OWNER, link="vnet0", bridge="br0"), origin


def example() -> State:
    """All of it: what the file wants."""
    forwarding = Sysctl(namespace=HOST, name="net.ipv4.ip_forward", value="1"), at(4, "br-web")
    parts = [
        forwarding,
        *firewall(),
        *bridge("br-web", 4, "10.88.0.1/24", "fd00:88::1/64"),
        *web(),
        *database(),
        *guests(),
    ]
    return state(parts)


def state(parts: Iterable[Placed], *notes: Note) -> State:
    """The parts as a State."""
    listed = list(parts)
    origins = {item.key: origin for item, origin in listed}
    return State({item.key: item for item, _ in listed}, origins, notes)


def host(*more: Resource) -> State:
    """A host that we have not been to: an uplink, Docker's bridge, forwarding off."""
    return State.of(
        [
            HostLink(name="eth1"),
            Bridge(name="docker0", mtu=1500, mac="02:42:00:00:00:01", stp=False),
            Address(namespace=HOST, link="docker0", address=ip_interface("172.17.0.1/16")),
            Sysctl(namespace=HOST, name="net.ipv4.ip_forward", value="0"),
            *more,
        ]
    )


def found(wanted: State, *more: Resource, without: Iterable[Key] = ()) -> State:
    """The host as `wanted` has it, but for what is in `without`, plus `more`; what has a key already takes
    its place."""
    gone = set(without)
    items = {key: as_found(item) for key, item in wanted.resources.items() if key not in gone}
    items |= {item.key: item for item in host().resources.values() if item.key not in items}
    items |= {item.key: item for item in more}
    return State(items)


def as_found(item: Resource) -> Resource:
    """`item` as a kernel shows it, with values where the wish has none."""
    match item:
        case Bridge():
            return replace(item, mtu=item.mtu or 1500, mac=item.mac or "02:00:00:00:00:01", stp=bool(item.stp))
        case Veth() | Peer() | Tap():
            return replace(item, mtu=item.mtu or 1500)
        case BridgePort():
            return replace(item, up=True)
    return item


def note(text: str, line: int = 3) -> Note:
    """A warning at a line of the file."""
    return Note(Level.WARNING, text, f"{FILE}:{line}:1")
