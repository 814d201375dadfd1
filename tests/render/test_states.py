"""The live tree, published ports and status."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, ip_interface

import pytest

from reconciler.core.messages import HOST
from reconciler.core.planner import plan
from reconciler.core.resource import State
from reconciler.errors import UsageError
from reconciler.kinds.address import Address
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.links import link_key
from reconciler.kinds.nftables import Element
from reconciler.kinds.veth import Veth
from reconciler.render.comparison import mode
from reconciler.render.ports import Published, Range, ports_text, published
from reconciler.render.status import status_json, status_text
from reconciler.render.tree import tree
from tests.render import hosts
from tests.render.hosts import OWNER
from tests.render.test_plan_text import element, expected


def drifted(wanted: State) -> State:
    """What `wanted` asks for, with a strange port and address, a lost container and one too many."""
    strange = Address(namespace=HOST, link="br-web", address=ip_interface("10.77.0.1/24"))
    port = BridgePort(link="veth99", bridge="br-web")
    peer = replace(hosts.as_found(wanted.resources[link_key("db", "eth0")]), mtu=1500)  # type: ignore[call-arg]
    old = [item for item, _ in hosts.container("br-web", "old", 1, "10.88.0.12/24")]
    lost = [item.key for item, _ in hosts.web()]
    return hosts.found(wanted, strange, Veth(name="veth99", peer=None), port, peer, *old, without=lost)


def test_the_tree_of_a_host_alone() -> None:
    found = hosts.found(hosts.example())
    assert tree(found, None, OWNER, color=False) == expected(
        """
        br-web  nat  10.88.0.1/24, fd00:88::1/64
        ├─ db   eth0 (veth db-0a1b2c)   10.88.0.11/24
        │  └─ 9000-9010/udp → 9000-9010
        └─ web  eth0 (veth web-0a1b2c)  10.88.0.10/24, fd00:88::10/64
           ├─ 8080/tcp → 80
           └─ 127.0.0.1:8443/tcp → 443

        br0  bridged
        ├─ eth1   uplink
        └─ vnet0  tap

        docker0  172.17.0.1/16  (foreign)
        """
    )


def test_the_address_of_a_port_is_the_ports() -> None:
    """As of an uplink that had one before it became a port, where it does not work any more."""
    left = Address(namespace=HOST, link="eth1", address=ip_interface("192.0.2.7/24"))
    found = tree(hosts.found(hosts.example(), left), None, OWNER, color=False)
    assert "br0  bridged\n├─ eth1   uplink  192.0.2.7/24 (foreign)\n└─ vnet0  tap\n" in found


def test_the_tree_marks_what_is_not_as_the_file_says() -> None:
    wanted = hosts.example()
    assert tree(drifted(wanted), wanted, OWNER, color=False) == expected(
        """
        br-web  nat  10.77.0.1/24 (foreign), 10.88.0.1/24, fd00:88::1/64
        ├─ web     eth0 (veth web-0a1b2c)  10.88.0.10/24, fd00:88::10/64  (missing)
        │  ├─ 8080/tcp → 80
        │  └─ 127.0.0.1:8443/tcp → 443
        ├─ db      eth0 (veth db-0a1b2c)   10.88.0.11/24                  (differs: mtu 1500, should be 1400)
        │  └─ 9000-9010/udp → 9000-9010
        ├─ old     eth0 (veth old-0a1b2c)  10.88.0.12/24                  (not in the file)
        └─ veth99  veth                    (foreign)

        br0  bridged
        ├─ vm1   tap vnet0
        └─ eth1  uplink

        docker0  172.17.0.1/16  (foreign)
        """
    )


def test_a_host_without_bridges_has_no_tree() -> None:
    assert tree(State(), None, OWNER, color=False) == "There are no bridges on this host.\n"


def test_a_port_that_leads_elsewhere_says_where() -> None:
    wanted = hosts.example()
    moved = replace(element(wanted, "by_any4"), data=("10.88.0.99", "80"))
    shown = tree(hosts.found(wanted, moved), wanted, OWNER, color=False)
    assert "8080/tcp → 80  (differs: leads to 10.88.0.99:80, should lead to 10.88.0.10:80)" in shown


@pytest.mark.parametrize("name", ["nat", "routed"])
def test_the_mode_is_read_from_the_firewall(name: str) -> None:
    assert mode(hosts.state(hosts.bridge("br-web", 1, mode=name)), "br-web") == name


def test_published_ports_are_read_from_the_elements() -> None:
    item, _ = hosts.port("br-web", "web", 1, "127.0.0.1 8443/tcp", "10.88.0.10", "443")
    assert published(State.of([item])) == (
        Published(
            bridge="br-web",
            container="web",
            protocol="tcp",
            address=IPv4Address("127.0.0.1"),
            ports=Range(8443, 8443),
            target=IPv4Address("10.88.0.10"),
            target_ports=Range(443, 443),
        ),
    )


@pytest.mark.parametrize("match", [(), ("tcp",), ("tcp", "http"), ("x", "tcp", "80"), ("a", "b", "c", "d")])
def test_an_element_of_another_shape_publishes_nothing(match: tuple[str, ...]) -> None:
    item = Element(owner=OWNER, table="t", set="by_address4", match=match, data=("10.0.0.1", "80"))
    assert Published.of(item) is None


def test_ports_answers_as_docker_port_does() -> None:
    found = hosts.found(hosts.example())
    assert ports_text(found, "web") == expected(
        """
        80/tcp -> 0.0.0.0:8080
        80/tcp -> [::]:8080
        443/tcp -> 127.0.0.1:8443
        """
    )
    assert ports_text(found, "web", "80") == "0.0.0.0:8080\n[::]:8080\n"
    assert ports_text(found, "db", "9003/udp") == "0.0.0.0:9003\n"
    assert ports_text(found) == expected(
        """
        CONTAINER  BRIDGE  TARGET                    HOST ADDRESS
        db         br-web  10.88.0.11:9000-9010/udp  0.0.0.0:9000-9010
        web        br-web  10.88.0.10:80/tcp         0.0.0.0:8080
        web        br-web  [fd00:88::10]:80/tcp      [::]:8080
        web        br-web  10.88.0.10:443/tcp        127.0.0.1:8443
        """
    )


def test_a_container_that_publishes_nothing_has_no_lines() -> None:
    item = hosts.as_found(hosts.example().resources[link_key("web", "eth0")])
    assert ports_text(State.of([item]), "web") == ""
    assert ports_text(State.of([item])) == "Nothing is published.\n"


@pytest.mark.parametrize(
    ("container", "port", "message"),
    [
        ("wbe", None, "there is no container 'wbe' (did you mean web?)"),
        ("elsewhere", None, "there is no container 'elsewhere' (there are: db, web)"),
        ("web", "81", "port 81/tcp of web is not published (published are: 80/tcp, 443/tcp)"),
        ("web", "80/udp", "port 80/udp of web is not published (published are: 80/tcp, 443/tcp)"),
        ("web", "http", "'http' is not a port (write 80 or 80/tcp)"),
    ],
)
def test_what_is_not_there_is_wrong_usage(container: str, port: str | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ports_text(hosts.found(hosts.example()), container, port)
    assert str(caught.value) == message


def test_status_in_sync() -> None:
    wanted = hosts.example()
    found = hosts.found(wanted)
    made = plan(wanted, found, OWNER)
    assert status_text(made, found, wanted, color=False) == expected(
        """
        edge-7: in sync with the file
          2 bridges, 3 containers, 3 published ports
        """
    )


def test_status_names_what_differs_in_short() -> None:
    wanted = hosts.example()
    found = drifted(wanted)
    made = plan(wanted, found, OWNER)
    assert status_text(made, found, wanted, color=False) == expected(
        """
        edge-7: differs from the file in 3 places
          2 bridges, 3 containers, 1 published port
        + br-web: container web                                              net.yaml:9
        ~ br-web/db: interface eth0: mtu 1500 → 1400  (interrupts traffic)   net.yaml:13
        - br-web: container old  (namespace, interface, 1 address, 1 route)  not in the file
        foreign:
        ? address 10.77.0.1/24 on br-web
        ? bridge port veth99 of br-web
        """
    )
    data = status_json(made, found, wanted)
    assert data["in_sync"] is False
    assert data["found"] == {"bridges": 2, "containers": 3, "ports": 1}
    assert data["differs"][0]["text"] == "br-web: container web"
    assert json.loads(json.dumps(data)) == data
