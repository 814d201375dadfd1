"""Files that are right, and the Documents that they make."""

from __future__ import annotations

import io
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import jsonschema
import pytest

from reconciler import manifest
from reconciler.errors import ManifestError
from reconciler.manifest import (
    Bridge,
    Container,
    Docker,
    Document,
    Mode,
    Netns,
    Pid,
    Podman,
    Port,
    Position,
    Route,
    Tap,
    load,
    loads,
)
from reconciler.manifest import yaml as own_yaml

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
ANYWHERE = Position("", 0, 0)


def bridge_of(body: str, name: str = "br-web") -> Bridge:
    """The one bridge of a file, of which `body` is what stands below its name."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    (bridge,) = loads(f"version: 1\nbridges:\n  {name}:\n{lines}", "f.yaml").bridges
    return bridge


def container_of(body: str, bridge: str = "addresses: [10.88.0.1/24, 'fd00:88::1/64']") -> Container:
    """The one container of a bridge, of which `body` is what stands below its name."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    (container,) = bridge_of(f"{bridge}\ncontainers:\n  web:\n{lines}").containers
    return container


def containers(document: Document) -> dict[tuple[str, str], Container]:
    """The containers by bridge and name."""
    return {(one.bridge, one.name): one for bridge in document.bridges for one in bridge.containers}


# --- the whole -------------------------------------------------------------------------------------------------------


def test_a_file_becomes_a_document() -> None:
    text = """\
version: 1
name: edge-7
bridges:
  br-web:
    addresses: [10.88.0.1/24]
    containers:
      web:
        addresses: [10.88.0.10]
        ports: ["8080:80"]
"""
    port = Port(None, (8080, 8080), (80, 80), "tcp", ANYWHERE)
    web = Container(
        name="web",
        bridge="br-web",
        attach=Netns("web"),
        addresses=(ip_interface("10.88.0.10/24"),),
        allocated=False,
        mac=None,
        mtu=None,
        interface="eth0",
        default_route=True,
        routes=(),
        sysctls=(),
        ports=(port,),
        position=ANYWHERE,
    )
    bridge = Bridge(
        name="br-web",
        mode=Mode.NAT,
        addresses=(ip_interface("10.88.0.1/24"),),
        mtu=None,
        mac=None,
        stp=None,
        uplinks=(),
        icc=True,
        host_ips=(),
        snat=(),
        containers=(web,),
        position=ANYWHERE,
    )
    actual = loads(text, "f.yaml")
    assert actual == Document("edge-7", (bridge,), ("f.yaml",))
    assert actual.bridges[0].position == Position("f.yaml", 4, 3)
    assert actual.bridges[0].containers[0].position == Position("f.yaml", 7, 7)
    assert actual.bridges[0].containers[0].ports[0].position == Position("f.yaml", 9, 17)


@pytest.mark.parametrize(
    "text", ["", "# nothing yet\n", "version: 1\n", "version: 1\nbridges:\n", "version: 1\nbridges: {}"]
)
def test_a_file_without_bridges_is_an_empty_document(text: str) -> None:
    assert loads(text, "f.yaml") == Document("default", (), ("f.yaml",), empty=True)


def test_what_has_only_a_name_has_the_defaults() -> None:
    document = loads(
        "version: 1\nbridges:\n  br-a: {mode: isolated, containers: }\n  br-b:\n    mode: bridged\n    containers: {web: }"
    )
    a, b = document.bridges
    assert (a.containers, a.addresses, a.icc) == ((), (), True)
    (web,) = b.containers
    assert (web.attach, web.addresses, web.interface, web.default_route) == (Netns("web"), (), "eth0", False)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_right(path: Path) -> None:
    document = load([path])
    assert document.bridges
    assert document.notes == ()


def test_keys_for_what_aliases_repeat_are_passed_over() -> None:
    text = "version: 1\nx-base: &base {addresses: [10.88.0.1/24]}\nbridges:\n  br-web: {<<: *base}\n"
    (bridge,) = loads(text).bridges
    assert bridge.addresses == (ip_interface("10.88.0.1/24"),)
    node, _ = own_yaml.read(text, "f.yaml")
    assert node is not None
    jsonschema.Draft202012Validator(manifest.json_schema()).validate(node.plain())


def test_a_key_in_a_merged_mapping_may_be_merged_itself() -> None:
    text = "version: 1\nx-a: &a {mtu: 1400}\nx-b: &b {<<: *a, mode: bridged}\nbridges:\n  br: {<<: *b}\n"
    (bridge,) = loads(text).bridges
    assert (bridge.mtu, bridge.mode) == (1400, Mode.BRIDGED)


# --- bridges ---------------------------------------------------------------------------------------------------------


def test_all_keys_of_a_bridge() -> None:
    bridge = bridge_of("""
mode: nat
addresses: [10.88.0.1/24, "FD00:88:0::1/64"]
mtu: 1400
mac: 02-AA-bb-00-00-01
stp: true
icc: false
host_ip: [192.0.2.1, "2001:db8::1"]
snat: 192.0.2.7
""")
    assert bridge.addresses == (ip_interface("10.88.0.1/24"), ip_interface("fd00:88::1/64"))
    assert (bridge.mtu, bridge.mac, bridge.stp, bridge.icc) == (1400, "02:aa:bb:00:00:01", True, False)
    assert bridge.host_ips == (ip_address("192.0.2.1"), ip_address("2001:db8::1"))
    assert bridge.snat == (ip_address("192.0.2.7"),)
    assert (bridge.gateway(4), bridge.gateway(6)) == bridge.addresses


@pytest.mark.parametrize("mode", ["nat", "routed", "isolated", "bridged"])
def test_every_mode_can_have_addresses(mode: str) -> None:
    assert bridge_of(f"mode: {mode}\naddresses: [10.88.0.1/24]").mode == Mode(mode)


def test_uplinks_of_a_bridged_bridge() -> None:
    assert bridge_of("mode: bridged\nuplinks: [eth1, eth2.100]").uplinks == ("eth1", "eth2.100")


@pytest.mark.parametrize("name", ["br.1", "tcp", "fifteen-bytes-x", "-", "brücke"])
def test_names_that_the_kernel_takes(name: str) -> None:
    assert bridge_of("addresses: [10.88.0.1/24]", name).name == name


def test_two_addresses_of_one_subnet_are_one_bridges_affair() -> None:
    assert len(bridge_of("addresses: [10.88.0.1/24, 10.88.0.2/24]").addresses) == 2


# --- addresses -------------------------------------------------------------------------------------------------------


def test_addresses_take_the_prefix_length_of_the_subnet() -> None:
    container = container_of("addresses: [10.88.0.10, 'fd00:88::10/64']")
    assert container.addresses == (ip_interface("10.88.0.10/24"), ip_interface("fd00:88::10/64"))
    assert not container.allocated


def test_addresses_left_out_are_the_lowest_free_in_the_order_of_the_file() -> None:
    document = loads("""\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.2/24, "fd00:88::1/64"]
    containers:
      a:
      b: {addresses: [10.88.0.3, "fd00:88::2"]}
      c:
""")
    inner = containers(document)
    assert [str(one) for one in inner["br-web", "a"].addresses] == ["10.88.0.1/24", "fd00:88::3/64"]
    assert [str(one) for one in inner["br-web", "c"].addresses] == ["10.88.0.4/24", "fd00:88::4/64"]
    assert [one.allocated for one in inner.values()] == [True, False, True]
    assert [(note.position.line, note.message) for note in document.notes] == [
        (
            line,
            f"{name} gets {address}, picked by its place in the file (write it down to keep it when the file changes)",
        )
        for line, name, address in [
            (6, "a", "10.88.0.1"),
            (6, "a", "fd00:88::3"),
            (8, "c", "10.88.0.4"),
            (8, "c", "fd00:88::4"),
        ]
    ]


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        ("10.88.0.0/31", "10.88.0.1/31"),
        ("10.88.0.1/31", "10.88.0.0/31"),
        ("10.88.0.1/30", "10.88.0.2/30"),
        ("fd00::/127", "fd00::1/127"),
        ("fd00::1/127", "fd00::/127"),
        ("fd00::1/126", "fd00::2/126"),
    ],
)
def test_of_the_smallest_subnets_the_last_address_is_picked(gateway: str, expected: str) -> None:
    assert container_of("attach: {pid: 7}", f"addresses: ['{gateway}']").addresses == (ip_interface(expected),)


def test_no_address_can_be_wanted() -> None:
    assert container_of("addresses: []").addresses == ()


def test_a_virtual_machine_gets_no_address_picked() -> None:
    assert container_of("attach: {tap: vnet0}").addresses == ()


# --- inside ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attach", "expected"),
    [
        ("{netns: blue}", Netns("blue")),
        ("{pid: 4711}", Pid(4711)),
        ("{docker: web_1}", Docker("web_1")),
        ("{podman: web.1}", Podman("web.1")),
        ("{tap: vnet0}", Tap("vnet0")),
    ],
)
def test_ways_to_attach(attach: str, expected: manifest.Attach) -> None:
    assert container_of(f"attach: {attach}").attach == expected


def test_all_keys_of_a_container() -> None:
    container = container_of("""
addresses: [10.88.0.10, "fd00:88::10"]
mac: 02:00:00:00:00:0A
mtu: 1400
interface: net0
default_route: false
routes:
  - {to: 10.99.0.0/16, via: 10.88.0.254, metric: 7}
  - {to: 192.0.2.1}
  - {to: "::/0", via: "fe80::1"}
sysctls: {net.ipv4.tcp_keepalive_time: 600, net.ipv4.ip_local_port_range: "1024  65535"}
""")
    assert (container.mac, container.mtu, container.interface) == ("02:00:00:00:00:0a", 1400, "net0")
    assert not container.default_route
    assert container.routes == (
        Route(ip_network("10.99.0.0/16"), ip_address("10.88.0.254"), 7, ANYWHERE),
        Route(ip_network("192.0.2.1/32"), None, None, ANYWHERE),
        Route(ip_network("::/0"), ip_address("fe80::1"), None, ANYWHERE),
    )
    assert container.sysctls == (
        ("net.ipv4.tcp_keepalive_time", "600"),
        ("net.ipv4.ip_local_port_range", "1024 65535"),
    )


SEVERAL = """\
version: 1
bridges:
  br-isolated:
    mode: isolated
    addresses: [10.87.0.1/24]
    containers: {{web: }}
  br-a:
    addresses: [10.88.0.1/24]
    containers: {{web: {a}}}
  br-b:
    addresses: [10.89.0.1/24]
    containers: {{web: {b}}}
"""


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("{}", "{}", ["br-a"]),
        ("{}", "{default_route: true}", ["br-b"]),
        ("{default_route: false}", "{}", ["br-b"]),
        ("{default_route: false}", "{default_route: false}", []),
        ("{addresses: []}", "{}", ["br-b"]),
    ],
)
def test_one_bridge_has_the_default_route(a: str, b: str, expected: list[str]) -> None:
    document = loads(SEVERAL.format(a=a, b=b))
    assert [one.bridge for one in containers(document).values() if one.default_route] == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("{}", "{}", ["eth0", "eth1", "eth2"]),
        ("{interface: net0}", "{}", ["eth0", "net0", "eth2"]),
    ],
)
def test_interfaces_are_named_by_the_order_of_the_bridges(a: str, b: str, expected: list[str]) -> None:
    assert [one.interface for one in containers(loads(SEVERAL.format(a=a, b=b))).values()] == expected


def test_containers_of_one_namespace_have_one_default_route() -> None:
    document = loads("""\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24]
    containers:
      web:
      sidecar: {attach: {netns: web}, interface: eth1}
""")
    assert [one.default_route for one in containers(document).values()] == [True, False]


def test_a_machine_has_a_tap_device_on_each_of_its_bridges() -> None:
    document = loads("""\
version: 1
bridges:
  br-a: {mode: bridged, containers: {vm: {attach: {tap: vnet0}}}}
  br-b: {mode: bridged, containers: {vm: {attach: {tap: vnet1}}}}
""")
    assert [one.attach for one in containers(document).values()] == [Tap("vnet0"), Tap("vnet1")]


def test_what_is_said_of_the_attachment_once_holds_on_every_bridge() -> None:
    document = loads(SEVERAL.format(a="{attach: {pid: 7}}", b="{}"))
    assert {one.attach for one in containers(document).values()} == {Pid(7)}


def test_an_mtu_above_the_bridges_is_noted() -> None:
    document = loads("version: 1\nbridges:\n  br: {mode: bridged, mtu: 1400, containers: {web: {mtu: 1500}}}\n")
    assert [note.message for note in document.notes] == [
        "web has an MTU of 1500, above the 1400 of br: what is larger is lost (lower it)"
    ]


# --- ports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ('"8080:80"', "* 8080-8080 80-80 tcp"),
        ("8080:80", "* 8080-8080 80-80 tcp"),
        ('"8080:80/UDP"', "* 8080-8080 80-80 udp"),
        ('"127.0.0.1:8443:443/tcp"', "127.0.0.1 8443-8443 443-443 tcp"),
        ('"0.0.0.0:53:53/sctp"', "0.0.0.0 53-53 53-53 sctp"),
        ('"[2001:db8::1]:53:53/udp"', "2001:db8::1 53-53 53-53 udp"),
        ('"[::]:53:53"', ":: 53-53 53-53 tcp"),
        ('"8000-8010:9000-9010"', "* 8000-8010 9000-9010 tcp"),
        ('"127.0.0.1:1-65535:1-65535"', "127.0.0.1 1-65535 1-65535 tcp"),
        ("{published: 8080, target: 80}", "* 8080-8080 80-80 tcp"),
        ('{published: "8080", target: "80", protocol: UDP}', "* 8080-8080 80-80 udp"),
        ("{published: 8000-8001, target: 80-81, host_ip: '2001:db8::1'}", "2001:db8::1 8000-8001 80-81 tcp"),
    ],
)
def test_ports_as_compose_has_them(port: str, expected: str) -> None:
    (actual,) = container_of(f"ports: [{port}]").ports
    (first, last), (low, high) = actual.published, actual.target
    assert f"{actual.host_ip or '*'} {first}-{last} {low}-{high} {actual.protocol}" == expected


@pytest.mark.parametrize(
    ("host_ip", "addresses", "expected"),
    [
        ("192.0.2.1", "[10.88.0.10]", ["192.0.2.1", "127.0.0.1"]),
        ("[192.0.2.1, '2001:db8::1']", "[10.88.0.10, 'fd00:88::10']", ["192.0.2.1", "2001:db8::1", "127.0.0.1"]),
        ("[192.0.2.1, '2001:db8::1']", "[10.88.0.10]", ["192.0.2.1", "127.0.0.1"]),
        ("10.88.0.1", "[10.88.0.10]", ["10.88.0.1", "127.0.0.1"]),
    ],
)
def test_ports_that_name_no_host_address_have_the_bridges(host_ip: str, addresses: str, expected: list[str]) -> None:
    bridge = f"addresses: [10.88.0.1/24, 'fd00:88::1/64']\nhost_ip: {host_ip}"
    container = container_of(f"addresses: {addresses}\nports: ['80:80', '127.0.0.1:80:81']", bridge)
    assert [str(port.host_ip) for port in container.ports] == expected


def test_one_port_on_two_addresses_and_two_protocols_is_no_conflict() -> None:
    ports = "ports: ['192.0.2.1:53:53', '192.0.2.2:53:53', '0.0.0.0:53:53/udp', '[::]:53:53/udp']"
    assert len(container_of(ports).ports) == 4


# --- several files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files that share a bridge, and others that are not meant."""
    (tmp_path / "10-base.yaml").write_text("version: 1\nname: edge\nbridges:\n  br-web: {addresses: [10.88.0.1/24]}\n")
    (tmp_path / "20-web.yml").write_text(
        "version: 1\nname: edge\nbridges:\n  br-web: {containers: {web: {}}}\n  br-b: {mode: bridged}\n"
    )
    (tmp_path / ".20-web.yaml.swp").write_text("{")
    (tmp_path / ".hidden.yaml").write_text("{")
    (tmp_path / "README").write_text("{")
    (tmp_path / "old.yaml").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_directory_is_the_merge_of_its_files(folder: Path) -> None:
    document = load(["."])
    assert document.name == "edge"
    assert document.sources == ("10-base.yaml", "20-web.yml")
    assert [bridge.name for bridge in document.bridges] == ["br-web", "br-b"]
    assert [one.position.file for one in containers(document).values()] == ["20-web.yml"]


def test_a_file_named_twice_is_read_once(folder: Path) -> None:
    assert load([".", folder, "20-web.yml"]) == load(["."])


def test_standard_input_is_a_file_like_others(folder: Path) -> None:
    stdin = io.StringIO("version: 1\nbridges:\n  br-web: {containers: {db: {}}}\n")
    document = load(["-", "10-base.yaml"], stdin=stdin)
    assert document.sources == ("<stdin>", "10-base.yaml")
    assert [str(one.position) for one in containers(document).values()] == ["<stdin>:3:25"]


def test_bytes_that_are_not_text_on_standard_input_are_told(folder: Path) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"version: \xff"), encoding="utf-8")
    with pytest.raises(ManifestError, match=r"<stdin>:1:10: error: byte 0xff is not UTF-8"):
        load(["-"], stdin=stdin)


def test_an_alias_does_not_tie_files_together(folder: Path) -> None:
    Path("a.yaml").write_text("version: 1\nbridges:\n  br-a: &a {mode: bridged}\n  br-b: *a\n")
    Path("b.yaml").write_text("version: 1\nbridges:\n  br-a: {containers: {web: }}\n")
    a, b = load(["a.yaml", "b.yaml"]).bridges
    assert (len(a.containers), len(b.containers)) == (1, 0)


# --- the schema ------------------------------------------------------------------------------------------------------


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(manifest.json_schema())


def test_every_mapping_of_the_schema_is_closed_and_every_key_described() -> None:
    schema = manifest.json_schema()
    for node in (schema, *schema["$defs"].values()):
        assert node["additionalProperties"] is False
        assert node["description"]
        assert all(item["description"] for item in node["properties"].values())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_schema_takes_the_examples(path: Path) -> None:
    node, _ = own_yaml.read(path.read_bytes(), path.name)
    assert node is not None
    jsonschema.Draft202012Validator(manifest.json_schema()).validate(node.plain())


BAD = Path(__file__).parent / "bad"


@pytest.mark.parametrize(
    "name",
    [
        "bridge-unknown-key",
        "container-unknown-key",
        "unknown-key",
        "port-long-unknown-key",
        "container-attach-unknown-way",
        "container-attach-two-ways",
        "container-attach-no-way",
        "bridge-mode-unknown",
        "bridge-mtu-too-small",
        "bridge-host-ip-empty",
        "container-addresses-empty",
        "version-unknown",
        "port-is-a-number",
    ],
)
def test_the_schema_refuses_what_it_can(name: str) -> None:
    node, _ = own_yaml.read((BAD / f"{name}.yaml").read_bytes(), name)
    assert node is not None
    assert not jsonschema.Draft202012Validator(manifest.json_schema()).is_valid(node.plain())
