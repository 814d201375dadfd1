"""Random files, all of them valid, and random hosts that they may meet.

Names, subnets and ports come from small pools, so that two files drawn one after the other overlap: that is where changes,
replacements and conflicts of order are.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.tun import HAVE_TUN

BRIDGES = ("br-web", "br.1", "tcp")
"""Names with a dot, and one that is a keyword of nft, are names like any other."""
CONTAINERS = ("web", "db", "x.y")
MACHINES = ("vm1", "vm2")
UPLINKS = ("eth1", "eth2")

HOST_LINES = (
    "link eth1 physical up",
    "link eth2 physical down",
    "link docker0 bridge up\naddress 172.17.0.1/16 on docker0\nlink dum0 dummy up\nport dum0 of docker0",
    "netns db",
    "netns pid:71 lived in",
    "add table inet filter\n"
    "add chain inet filter forward { type filter hook forward priority 0; policy drop; }\n"
    'add rule inet filter forward counter comment "theirs"',
    "link tap0 tun up",
    "netns theirs\nlink lo in theirs up\nlink va veth up peer vb@theirs\nlink vb in theirs veth up peer va\n"
    "address 10.200.0.1/24 on va\naddress 10.200.0.2/24 on vb in theirs\n"
    "route default via 10.200.0.1 on vb in theirs",
)


@st.composite
def hosts(draw: st.DrawFn) -> str:
    """What was there before us, in the words of ModelKernel."""
    return "\n".join(draw(st.lists(st.sampled_from(HOST_LINES), unique=True)))


@st.composite
def documents(draw: st.DrawFn, owner: str = "default", *, processes: bool = True) -> dict[str, Any]:
    """A file, as YAML has it. `processes`: containers may be given by a pid (71), which is safe on a model only."""
    ports = iter(draw(st.permutations(range(8000, 12000, 100))))
    names = draw(st.lists(st.sampled_from(BRIDGES), unique=True, max_size=3))
    uplinks = iter(draw(st.permutations(UPLINKS)))
    machines = iter(MACHINES)
    attach = {name: draw(_attachments(name, processes)) for name in CONTAINERS}
    bridges = {}
    for name in names:
        bridge = draw(_bridges(BRIDGES.index(name), uplinks))
        inside = draw(st.lists(st.sampled_from(CONTAINERS), unique=True, max_size=3))
        hosts = iter(draw(st.permutations(range(10, 16))))
        containers = {
            inner: draw(_containers(BRIDGES.index(name), bridge, next(hosts), ports)) | attach[inner]
            for inner in inside
        }
        if HAVE_TUN and draw(st.booleans()) and (machine := next(machines, None)):
            container = draw(_containers(BRIDGES.index(name), bridge, next(hosts), ports, machine=True))
            containers[machine] = container | {"attach": {"tap": f"tap-{machine}"}}
        if containers:
            bridge["containers"] = containers
        bridges[name] = bridge
    return {"version": 1, "name": owner, "bridges": bridges}


def _attachments(name: str, processes: bool) -> st.SearchStrategy[dict[str, Any]]:
    others: list[dict[str, Any]] = [{}, {"attach": {"netns": f"ns-{name}"}}]
    if name == "x.y" and processes:
        others.append({"attach": {"pid": 71}})
    return st.sampled_from(others)


@st.composite
def _bridges(draw: st.DrawFn, number: int, uplinks: Any) -> dict[str, Any]:
    mode = draw(st.sampled_from(["nat", "routed", "isolated", "bridged"]))
    four, six = f"10.{80 + number}.0.1/24", f"fd00:{80 + number}::1/64"
    choices = [[four], [four, six], [six]]
    if mode in ("isolated", "bridged"):
        choices.append([])
    bridge: dict[str, Any] = {"mode": mode, "addresses": draw(st.sampled_from(choices))}
    bridge |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "mtu": st.sampled_from([1400, 1500, 9000]),
                "mac": st.sampled_from([f"02:aa:00:00:00:0{number}", f"02:bb:00:00:00:0{number}"]),
                "stp": st.booleans(),
            },
        )
    )
    if mode != "bridged" and draw(st.booleans()):
        bridge["icc"] = draw(st.booleans())
    if mode == "nat" and four in bridge["addresses"] and draw(st.booleans()):
        bridge["snat"] = ["192.0.2.7"]
    if mode == "bridged" and draw(st.booleans()) and (uplink := next(uplinks, None)):
        bridge["uplinks"] = [uplink]
    return bridge


@st.composite
def _containers(
    draw: st.DrawFn, number: int, bridge: dict[str, Any], host: int, ports: Any, machine: bool = False
) -> dict[str, Any]:
    container: dict[str, Any] = {"addresses": []}
    for address in bridge["addresses"]:
        plain = f"fd00:{80 + number}::{host}" if ":" in address else f"10.{80 + number}.0.{host}"
        if draw(st.integers(0, 3)):
            container["addresses"].append(plain)
    if not container["addresses"] and bridge["addresses"]:
        first = bridge["addresses"][0]
        container["addresses"] = [first.replace("::1/64", f"::{host}").replace(".1/24", f".{host}")]
    optional: dict[str, Any] = {"mtu": st.sampled_from([1300, 1500])}
    if not machine:
        optional |= {
            "mac": st.just(f"02:cc:00:00:0{number}:{host}"),
            "sysctls": st.just({"net.ipv4.ip_unprivileged_port_start": 80}),
        }
    container |= draw(st.fixed_dictionaries({}, optional=optional))
    four = any("." in address for address in container["addresses"])
    if four and not machine and draw(st.booleans()):
        container["routes"] = [{"to": "10.99.0.0/16", "via": f"10.{80 + number}.0.1", "metric": number}]
    if bridge["mode"] in ("nat", "routed") and container["addresses"]:
        container["ports"] = draw(_published(ports, four))
    return container


@st.composite
def _published(draw: st.DrawFn, numbers: Any, four: bool) -> list[str]:
    result = []
    for _ in range(draw(st.integers(0, 2))):
        first = next(numbers)
        shapes = [f"{first}:80", f"{first}:80/udp", f"{first}-{first + 4}:{first}-{first + 4}"]
        shapes += [f"{first}-{first + 1}:20-21"]
        if four:
            shapes += [
                f"127.0.0.1:{first}:443/tcp",
                f"192.0.2.7:{first}-{first + 4}:{first}-{first + 4}/sctp",
            ]
        result.append(draw(st.sampled_from(shapes)))
    return result
