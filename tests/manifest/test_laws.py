"""Laws of reading: whatever the text, the outcome is a Document that the rest of the program takes, or problems with places."""

from __future__ import annotations

import itertools
import random
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from reconciler import expectations as expectations_module
from reconciler.core import planner
from reconciler.core.resource import State
from reconciler.errors import ManifestError
from reconciler.lower import lower
from reconciler.manifest import Document, json_schema, load, loads
from reconciler.manifest import yaml as own_yaml
from reconciler.trial import with_stand_ins

EXAMPLES = [path.read_text() for path in sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))]
BAD = [path.read_bytes() for path in sorted((Path(__file__).parent / "bad").rglob("*.yaml"))]

SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

# --- what files are made of ------------------------------------------------------------------------------------------

KEYS = [
    "version", "name", "bridges", "mode", "addresses", "mtu", "mac", "stp", "uplinks", "icc", "host_ip", "snat", "containers",
    "attach", "netns", "pid", "docker", "podman", "tap", "interface", "default_route", "routes", "to", "via", "metric",
    "sysctls", "ports", "published", "target", "protocol", "expect", "from", "reaches", "allowed", "as", "<<",
]  # fmt: skip
NAMES = [
    "br-web",
    "br0",
    "web",
    "db",
    "lo",
    "..",
    "eth0",
    "vnet0",
    "net.ipv4.ip_forward",
    "a b",
    "x" * 40,
    "\x1b[2J",
    "é",
]
ADDRESSES = [
    "10.88.0.1/24", "10.88.0.0/24", "10.88.0.10", "10.88.0.255", "10.89.0.1/16", "10.0.0.1/31", "10.0.0.1/32", "0.0.0.0/0",
    "127.0.0.1", "255.255.255.255", "224.0.0.1", "fd00::1/64", "fd00::1/127", "fd00::10", "::1", "::", "::ffff:10.0.0.1",
    "fe80::1%eth0", "fe80::1", "169.254.0.1/16", "1.2.3", "10.88.0.1/",
]  # fmt: skip
PORTS = [
    "80:80", "8080:80/udp", "80", "8000-8010:8000-8010", "8000-8010:9000-9010", "127.0.0.1:80:80", "[::1]:80:80", "[fd00::9]:80:80",
    "10.88.0.10:1:1", "0:0", "1-65535:1-65535/sctp", "a:b", "[::]:53:53", "0.0.0.0:53:53", ":", "::", "[", "1:2:3/x/y",
]  # fmt: skip
ENDS = [
    "vm",
    "vm:22",
    "host:22",
    "10.88.0.4:1",
    "printer",
    "printer:9",
    "172.20.0.9:80",
    "10.88.0.9:1",
    "outside",
    "host",
    "host:80",
    "web:80/udp",
    "10.88.0.2:80",
    "[fd00:88::3]:443/tcp",
    "db",
    "host:80-81",
    "[::1]:80",
]
OTHERS = [*ENDS, "nat", "routed", "isolated", "bridged", "tcp", "UDP", "02:00:00:00:00:01", "yes", "", " "]

scalars = st.one_of(
    st.sampled_from([*NAMES, *ADDRESSES, *PORTS, *OTHERS]),
    st.sampled_from([None, True, False, 0, 1, -1, 80, 1500, 65536, 2**70, 1.5, float("inf"), float("nan")]),
    st.text(max_size=12),
)
keys = st.one_of(st.sampled_from(KEYS), st.sampled_from(NAMES), st.text(max_size=6))
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=20
)


def mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`right`, and now and then anything at all."""
    return st.integers(0, 39).flatmap(lambda one: anything if one == 39 else right)


def mapping(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The required keys and some of the others."""
    given = {key: mostly(value) for key, value in required.items()}
    return mostly(st.fixed_dictionaries(given, optional={key: mostly(value) for key, value in optional.items()}))


def names_to(*names: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Some of the names, with what they stand for."""
    return mostly(st.dictionaries(st.sampled_from(names), values, max_size=len(names)))


hosts = st.sampled_from(["127.0.0.1", "0.0.0.0", "192.0.2.1", "2001:db8::1", "::"])
sources = st.sampled_from(["192.0.2.1", "2001:db8::1", ["192.0.2.1", "2001:db8::1"]])
four, six = st.integers(0, 15).map(lambda n: f"10.88.0.{n}"), st.integers(0, 15).map(lambda n: f"fd00:88::{n:x}")
numbers = st.tuples(st.integers(1, 30), st.integers(0, 3)).map(lambda one: (one[0], one[0] + one[1]))
short_ports = st.tuples(st.none() | hosts, numbers, st.integers(1, 9), st.sampled_from(["", "/udp"])).map(
    lambda one: (
        ("" if one[0] is None else f"[{one[0]}]:" if ":" in one[0] else f"{one[0]}:")
        + f"{one[1][0]}-{one[1][1]}:{one[2]}-{one[2] + one[1][1] - one[1][0]}{one[3]}"
    )
)
long_ports = mapping(
    {"published": st.integers(1, 30), "target": st.integers(1, 9)},
    protocol=st.sampled_from(["tcp", "udp"]),
    host_ip=hosts,
)
routes = mapping(
    {"to": st.sampled_from(["0.0.0.0/0", "10.9.0.0/16", "::/0"])}, via=four | six, metric=st.integers(0, 2)
)
machines = mapping({"attach": st.sampled_from([{"tap": "t0"}, {"tap": "t1"}, {"tap": "t2"}])}, mtu=st.just(1400))
containers = mapping(
    {},
    attach=st.sampled_from([{"netns": "web"}, {"pid": 7}, {"docker": "web"}, {"podman": "w"}]),
    addresses=st.lists(four | six, max_size=2),
    mac=st.integers(0, 9).map(lambda n: f"02:00:00:00:00:0{n}"),
    mtu=st.sampled_from([1280, 1400, 1500, 9000]),
    interface=st.sampled_from(["eth0", "eth1", "net0"]),
    default_route=st.booleans(),
    routes=st.lists(routes, max_size=2),
    sysctls=st.dictionaries(st.just("net.ipv4.ip_forward"), st.integers(0, 1), max_size=1),
    ports=st.lists(short_ports | long_ports, max_size=3),
)
quiet_containers = mapping({}, mac=st.just("02:00:00:00:00:0f"), interface=st.sampled_from(["net1", "net2"]))
subnets = st.sampled_from(
    [["10.88.0.1/28"], ["10.88.0.2/28", "fd00:88::1/124"], ["fd00:88::2/124"], ["10.89.0.1/24"], ["10.90.0.1/24"]]
)
links = {"mtu": st.sampled_from([1280, 1400, 1500]), "mac": st.just("02:aa:00:00:00:01"), "stp": st.booleans()}
natted = mapping(
    {"addresses": subnets},
    mode=st.just("nat"),
    icc=st.booleans(),
    host_ip=hosts | st.lists(hosts, max_size=2),
    snat=sources,
    containers=names_to("web", "db", "x.y", values=containers | st.none()),
    **links,
)
routed = mapping(
    {"addresses": subnets, "mode": st.just("routed")},
    icc=st.booleans(),
    containers=names_to("web", "db", "x.y", values=containers | st.none()),
    **links,
)
isolated = mapping(
    {"mode": st.just("isolated")},
    addresses=subnets,
    containers=names_to("web", "db", values=quiet_containers | st.none()),
    **links,
)
bridged = mapping(
    {"mode": st.just("bridged")},
    uplinks=st.lists(st.sampled_from(["eth1", "eth2"]), max_size=1),
    containers=names_to("web", "vm", values=quiet_containers | machines | st.none()),
    **links,
)
expectations = mapping(
    {"from": st.sampled_from(["outside", "host", "web", "db", "printer", "vm"]), "to": st.sampled_from(ENDS)},
    protocol=st.sampled_from(["tcp", "udp"]),
    reaches=st.sampled_from(["web", "db", "host", "outside"]),
    allowed=st.booleans(),
    version=st.sampled_from([4, 6]),
    **{"as": st.sampled_from(["client", "host", "10.88.0.1", "fd00:88::1"])},
)
files = mapping(
    {"version": st.just(1)},
    expect=st.lists(expectations, max_size=3),
    name=st.sampled_from(["edge", "default"]),
    bridges=names_to("br0", "br1", "br.2", values=natted | routed | isolated | bridged),
)


def rendered(value: Any, *, flow: bool = False) -> str:
    """`value` as YAML. What is the same object twice becomes an anchor and an alias."""
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=flow, allow_unicode=True)


# --- the law ---------------------------------------------------------------------------------------------------------


def lines_of(data: str | bytes) -> int:
    """How many lines there are, by any of YAML's line breaks."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else data
    return len(text.splitlines()) + 1


def outcome(data: str | bytes) -> Document | list[str]:
    """What comes of reading: checked to be one of the two things that may."""
    try:
        document = loads(data, "f.yaml")
    except ManifestError as error:
        problems = error.problems
    else:
        planner.plan(lower(document, "this host"), State(), document.name)
        check_document(document)
        return document
    assert problems
    for problem in problems:
        check_problem(problem, lines_of(data))
    return list(map(str, problems))


def check_problem(problem: Any, lines: int) -> None:
    """What holds of every problem."""
    assert problem.position.file == "f.yaml"
    assert 1 <= problem.position.line <= lines, problem
    assert problem.position.column >= 1, problem
    assert problem.message.endswith(")"), problem
    assert problem.message.isprintable(), problem


def check_document(document: Document) -> None:
    """What holds of every Document."""
    found = [container for bridge in document.bridges for container in bridge.containers]
    addresses = [address.ip for bridge in document.bridges for address in bridge.addresses]
    addresses += [address.ip for container in found for address in container.addresses]
    assert len(addresses) == len(set(addresses))
    for bridge in document.bridges:
        for container in bridge.containers:
            if container.allocated:
                assert all(
                    address.network in {own.network for own in bridge.addresses} for address in container.addresses
                )
    defaults = [container.attach for container in found if container.default_route]
    assert len(defaults) == len(set(defaults))
    inside = [(container.attach, container.interface) for container in found if not is_machine(container.attach)]
    assert len(inside) == len(set(inside))
    check_expectations(document)


def check_expectations(document: Document) -> None:
    """Every expectation that is taken can be asked, in each of its families, and somebody is there to answer."""
    host = ip_address("192.0.2.2"), ip_address("2001:db8:5a::2")
    outside = ip_address("192.0.2.3"), ip_address("2001:db8:5a::3")
    document = with_stand_ins(document)
    around = {name: tuple(one for one, _ in found) for name, found in expectations_module.neighbours(document).items()}
    places = expectations_module.Places(host, (), outside, "client", "gateway", around)
    for one in document.expectations:
        assert one.versions
        probes = expectations_module.probes(document, places, one)
        assert tuple(probe.address.version for probe in probes) == one.versions
        answerers = {server.name for server in expectations_module.servers(document, places, one)}
        if one.port is not None and one.target not in ("", "host"):
            assert one.target in answerers


def is_machine(attach: Any) -> bool:
    return hasattr(attach, "interface")


@given(st.text(max_size=300))
@SETTINGS
def test_any_text_is_read_or_refused(text: str) -> None:
    outcome(text)


@given(st.binary(max_size=300))
@SETTINGS
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    outcome(data)


@given(st.text(alphabet="[]{}:,-?&*!|>'\"%@`#\n\t <ab1~", max_size=200))
@SETTINGS
def test_any_marks_of_yaml_are_read_or_refused(text: str) -> None:
    outcome(text)


@given(anything, st.booleans())
@SETTINGS
def test_any_yaml_is_read_or_refused(value: Any, flow: bool) -> None:
    outcome(rendered(value, flow=flow))


@given(files, st.booleans())
@SETTINGS
def test_anything_like_our_files_is_read_or_refused(value: Any, flow: bool) -> None:
    outcome(rendered(value, flow=flow))


NETWORK: dict[str, Any] = {
    "br0": {"addresses": ["10.88.0.1/28", "fd00:88::1/124"], "containers": {
        "web": {"addresses": ["10.88.0.2", "fd00:88::2"], "ports": ["80:8080"]},
        "db": {"addresses": ["10.88.0.3"], "attach": {"pid": 7}},
        "vm": {"addresses": ["10.88.0.4"], "attach": {"tap": "t0"}, "ports": ["22:22"]},
    }},
    "br1": {"mode": "bridged", "uplinks": ["eth1"], "containers": {"printer": {"addresses": ["172.20.0.5/24"]}}},
}  # fmt: skip


@given(st.lists(expectations, max_size=4))
@SETTINGS
def test_any_expectations_are_such_as_can_be_asked_or_refused(value: Any) -> None:
    outcome(rendered({"version": 1, "bridges": NETWORK, "expect": value}))


@given(st.sampled_from(EXAMPLES), st.randoms(use_true_random=False), st.integers(1, 4))
@SETTINGS
def test_a_file_with_a_slip_is_read_or_refused(text: str, chance: random.Random, slips: int) -> None:
    for _ in range(slips):
        text = slipped(text, chance)
    outcome(text)


@given(st.sampled_from(BAD), st.sampled_from(BAD), st.randoms(use_true_random=False))
@SETTINGS
def test_bad_files_put_together_are_refused_in_order(one: bytes, other: bytes, chance: random.Random) -> None:
    lines = one.splitlines(keepends=True) + other.splitlines(keepends=True)
    outcome(b"".join(line for line in lines if chance.random() > 0.1))


def slipped(text: str, chance: random.Random) -> str:
    """`text` as a tired person leaves it: a line or a character gone, doubled, moved or mistaken."""
    lines = text.splitlines(keepends=True) or ["\n"]
    place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    spot = chance.randrange(len(text) + 1)
    match chance.randrange(8):
        case 0:
            del lines[place]
        case 1:
            lines.insert(other, lines[place])
        case 2:
            lines[place], lines[other] = lines[other], lines[place]
        case 3:
            lines[place] = "  " + lines[place]
        case 4:
            lines[place] = lines[place].removeprefix("  ")
        case 5:
            return text[:spot] + text[spot + 1 :]
        case 6:
            return text[:spot] + chance.choice("[]{}:,-#'\"&*!|<\t\n 0aé\x07") + text[spot:]
        case _:
            words = text.split(" ")
            words[chance.randrange(len(words))] = chance.choice([*KEYS, *NAMES, *ADDRESSES, *PORTS, *OTHERS])
            return " ".join(words)
    return "".join(lines)


# --- further laws ----------------------------------------------------------------------------------------------------


@given(files)
@SETTINGS
def test_reading_twice_is_reading_once(value: Any) -> None:
    assert outcome(rendered(value)) == outcome(rendered(value))


@given(files)
@SETTINGS
def test_the_style_of_the_yaml_does_not_count(value: Any) -> None:
    block, flow = outcome(rendered(value)), outcome(rendered(value, flow=True))
    if isinstance(block, Document):
        assert block.bridges == flow.bridges if isinstance(flow, Document) else flow
    else:
        assert isinstance(flow, list)


@given(files)
@SETTINGS
def test_what_is_read_the_schema_takes(value: Any) -> None:
    text = rendered(value)
    assume(isinstance(outcome(text), Document))
    node, _ = own_yaml.read(text, "f.yaml")
    assert node is not None
    jsonschema.Draft202012Validator(json_schema()).validate(node.plain())


@given(st.integers(1, 12), st.sets(st.integers(2, 14)), st.sampled_from(["10.88.0.{}/28", "fd00:88::{:x}/124"]))
@SETTINGS
def test_what_is_picked_is_free_unique_and_in_the_subnet(wanted: int, taken: set[int], subnet: str) -> None:
    gateway = subnet.format(1)
    inner: dict[str, Any] = {f"t{one}": {"addresses": [subnet.format(one).partition("/")[0]]} for one in taken}
    inner |= {f"p{one}": None for one in range(wanted)}
    result = outcome(rendered({"version": 1, "bridges": {"br": {"addresses": [gateway], "containers": inner}}}))
    fits = wanted + len(taken) <= (13 if "." in gateway else 14)
    assert isinstance(result, Document) == fits
    if isinstance(result, Document):
        (bridge,) = result.bridges
        picked = [one.addresses[0] for one in bridge.containers if one.allocated]
        assert picked == sorted(picked)
        assert len(set(picked)) == wanted
        assert all(one.network == bridge.addresses[0].network and one != bridge.addresses[0] for one in picked)


@given(st.lists(st.sampled_from(EXAMPLES), unique=True, min_size=2, max_size=3))
@settings(deadline=None, max_examples=20)
def test_the_order_of_files_does_not_change_what_they_say(tmp_path_factory: Any, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("files")
    names = []
    for number, text in enumerate(texts):
        names.append(folder / f"{number}.yaml")
        names[-1].write_text("\n".join(line for line in text.splitlines() if not line.startswith("name:")))
    results = [said_by(order) for order in itertools.permutations(names)]
    assert all(one == results[0] for one in results)


def said_by(names: Any) -> Any:
    """The bridges of the files and what is on them, or that they are refused.

    What a container's interfaces are called, and where its default route goes, may hang on the order, as addresses picked do.
    """
    try:
        return {(bridge.name, frozenset(one.name for one in bridge.containers)) for bridge in load(names).bridges}
    except ManifestError:
        return "refused"
