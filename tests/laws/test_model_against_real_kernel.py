"""The model kernel held against the real one: the same requests to both, good and bad, and the same to be seen after each.

A difference is a bug of the model.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reconciler.core.messages import (
    HOST,
    Attributes,
    CreateNamespace,
    CreateTap,
    DeleteNamespace,
    Index,
    LinkRecord,
    NamespaceFd,
    Netlink,
    Nft,
    NftElement,
    Request,
    Scope,
    WriteSysctl,
)
from reconciler.kernel.live import LiveKernel
from reconciler.kernel.model import ModelKernel
from reconciler.kinds import decode
from tests.laws.wiping import DEFAULTS, wipe
from tests.support.tun import HAVE_TUN

SCOPE = Scope(
    sysctls=frozenset(
        {
            (HOST, "net.ipv4.ip_forward"),
            (HOST, "net.ipv4.conf.a.forwarding"),
            (HOST, "net.ipv4.conf.a.route_localnet"),
            (HOST, "net.ipv6.conf.b/1.disable_ipv6"),
            (HOST, "net.ipv4.no_such_thing"),
        }
    ),
    tables=frozenset({"reconciler"}),
)
namespaces = st.sampled_from([HOST, HOST, HOST, "n1", "n2"])
links = st.sampled_from(["a", "b.1", "c", "lo"])
new_links = st.sampled_from(["a", "b.1", "c", "a", "b.1", "c", "x/y", "sixteen-bytes-ab"])
macs = st.integers(1, 9).map(lambda number: f"02:dd:00:00:00:0{number}")
mtus = st.sampled_from([1000, 1280, 1400, 1500, 9000, 60])
addresses = st.sampled_from(
    [
        "10.1.0.1/24",
        "10.1.0.2/24",
        "10.1.0.2/25",
        "10.2.0.1/24",
        "10.3.0.1/32",
        "fd01::1/64",
        "fd01::1/80",
        "fd02::1/64",
    ]
)
destinations = st.sampled_from(["0.0.0.0/0", "10.9.0.0/16", "10.1.0.0/24", "::/0", "fd09::/64"])
gateways = {4: ["10.1.0.9", "10.2.0.9", "10.77.0.1", None], 6: ["fd01::9", "fd77::1", None]}
metrics = st.sampled_from([0, 0, 7])
elements = st.sampled_from(
    [
        ("ports", "tcp . 80 : 10.0.0.1 . 80"),
        ("ports", 'tcp . 80 comment "x" : 10.0.0.2 . 80'),
        ("ports", "tcp . 81-82 : 10.0.0.2 . 80"),
        ("ranges", "tcp . 80-90 : 10.0.0.1"),
        ("ranges", "tcp . 85-95 : 10.0.0.1"),
        ("ranges", "tcp . 91-95 : 10.0.0.1"),
        ("ranges", "tcp . 7 : 10.0.0.1"),
        ("subnets", "10.0.0.0/24"),
        ("subnets", "10.0.0.128/25"),
        ("subnets", "10.0.1.0-10.0.1.9"),
        ("verdicts", '"b.1" comment "to one" : goto one'),
        ("verdicts", '"tcp" : accept'),
        ("verdicts", '"b.1" : jump none'),
        ("nowhere", "10.0.0.1"),
    ]
)
commands = st.sampled_from(
    [
        "add map inet reconciler ports { type inet_proto . inet_service : ipv4_addr . inet_service; }",
        "add map inet reconciler ranges { type inet_proto . inet_service : ipv4_addr; flags interval; }",
        "add set inet reconciler subnets { type ipv4_addr; flags interval; }",
        "add map inet reconciler verdicts { type ifname : verdict; }",
        "add chain inet reconciler one",
        "add chain inet reconciler base { type filter hook forward priority 0; policy accept; }",
        'add rule inet reconciler one ip saddr @subnets accept comment "by subnet"',
        'add rule inet reconciler base jump one comment "to one"',
        'add rule inet reconciler base oifname vmap @verdicts comment "by verdict"',
        "flush chain inet reconciler base",
        "flush chain inet reconciler one",
        "delete chain inet reconciler one",
        "delete set inet reconciler subnets",
        "delete map inet reconciler verdicts",
        "delete table inet reconciler",
    ]
)


def family(version: int) -> tuple[str, int]:
    return "family", {4: 2, 6: 10}[version]


class BothKernels(RuleBasedStateMachine):
    """One request at a time, some of them wrong."""

    def __init__(self) -> None:
        super().__init__()
        wipe()
        self.real = LiveKernel()
        self.model = ModelKernel()

    def teardown(self) -> None:
        self.real.close()

    @initialize()
    def start(self) -> None:
        """A table, and a namespace."""
        skeleton = [
            "add table inet reconciler",
            "add map inet reconciler ports { type inet_proto . inet_service : ipv4_addr . inet_service; }",
            "add map inet reconciler ranges { type inet_proto . inet_service : ipv4_addr; flags interval; }",
            "add set inet reconciler subnets { type ipv4_addr; flags interval; }",
            "add map inet reconciler verdicts { type ifname : verdict; }",
            "add chain inet reconciler one",
        ]
        self.do(*map(Nft, skeleton))
        self.make_namespace("n1")
        self.do(*(WriteSysctl(HOST, name, value) for name, value in DEFAULTS.items()))

    def do(self, *requests: Request) -> None:
        expected = self.real.submit(requests)
        actual = self.model.submit(requests)
        wanted = [(item.position, item.errno) for item in expected.failures]
        got = [(item.position, item.errno) for item in actual.failures[: len(wanted)]]
        if isinstance(requests[0], Nft | NftElement):  # whose errors are words, of which each version has its own
            wanted, got = [(0, bool(wanted))], [(0, bool(actual.failures))]
        assert got == wanted, (requests, expected.failures, actual.failures)
        assert actual.done == expected.done

    def netlink(
        self, namespace: str, type: str, flags: tuple[str, ...], header: dict[str, Any], **attributes: Any
    ) -> None:
        self.do(Netlink(namespace, type, flags, tuple(header.items()), Attributes.of(**attributes)))

    @rule(name=st.sampled_from(["n1", "n2"]))
    def make_namespace(self, name: str) -> None:
        self.do(CreateNamespace(name, "reconciler:default"))
        if name in self.model.network.namespaces:
            self.do(*(WriteSysctl(name, sysctl, value) for sysctl, value in DEFAULTS.items()))

    @rule(names=st.lists(st.sampled_from(["n1", "n2"]), min_size=1, unique=True))
    def delete_namespaces(self, names: list[str]) -> None:
        self.do(*map(DeleteNamespace, names))

    @rule(namespace=namespaces, name=new_links, mac=macs, mtu=st.none() | mtus, stp=st.booleans())
    def make_bridge(self, namespace: str, name: str, mac: str, mtu: int | None, stp: bool) -> None:
        data = Attributes.of(IFLA_BR_STP_STATE=int(stp))
        info = Attributes.of(IFLA_INFO_KIND="bridge", IFLA_INFO_DATA=data)
        flags = ("create", "excl")
        self.netlink(
            namespace,
            "RTM_NEWLINK",
            flags,
            {},
            IFLA_IFNAME=name,
            IFLA_MTU=mtu,
            IFLA_ADDRESS=mac,
            IFLA_LINKINFO=info,
        )

    @rule(there=namespaces, name=new_links, far=new_links, macs=st.tuples(macs, macs), mtu=st.none() | mtus)
    def make_pair(self, there: str, name: str, far: str, macs: tuple[str, str], mtu: int | None) -> None:
        target = NamespaceFd(there) if there != HOST else None
        peer = Attributes.of(IFLA_IFNAME=far, IFLA_ADDRESS=macs[1], IFLA_MTU=mtu, IFLA_NET_NS_FD=target)
        info = Attributes.of(IFLA_INFO_KIND="veth", IFLA_INFO_DATA=Attributes.of(VETH_INFO_PEER=peer))
        flags = ("create", "excl")
        self.netlink(
            HOST,
            "RTM_NEWLINK",
            flags,
            {},
            IFLA_IFNAME=name,
            IFLA_MTU=mtu,
            IFLA_ADDRESS=macs[0],
            IFLA_LINKINFO=info,
        )

    @precondition(lambda _: HAVE_TUN)
    @rule(name=links, mac=macs)
    def make_tap(self, name: str, mac: str) -> None:
        self.do(CreateTap(HOST, name, "reconciler:default", mac))

    @rule(namespace=namespaces, name=links)
    def delete_link(self, namespace: str, name: str) -> None:
        self.netlink(namespace, "RTM_DELLINK", (), {"index": Index(name)})

    @rule(namespace=namespaces, name=links, up=st.booleans())
    def set_up(self, namespace: str, name: str, up: bool) -> None:
        self.netlink(namespace, "RTM_SETLINK", (), {"index": Index(name), "flags": int(up), "change": 1})

    @rule(
        namespace=namespaces,
        name=links,
        mtu=st.none() | mtus,
        mac=st.none() | macs,
        alias=st.sampled_from([None, "x"]),
    )
    def change(self, namespace: str, name: str, mtu: int | None, mac: str | None, alias: str | None) -> None:
        if name != "lo":
            header = {"index": Index(name)}
            self.netlink(namespace, "RTM_SETLINK", (), header, IFLA_MTU=mtu, IFLA_ADDRESS=mac, IFLA_IFALIAS=alias)

    @rule(namespace=namespaces, name=links, bridge=st.none() | links)
    def enslave(self, namespace: str, name: str, bridge: str | None) -> None:
        master = 0 if bridge is None else Index(bridge)
        self.netlink(namespace, "RTM_SETLINK", (), {"index": Index(name)}, IFLA_MASTER=master)

    @rule(namespace=namespaces, name=links, hairpin=st.booleans(), isolated=st.booleans())
    def port(self, namespace: str, name: str, hairpin: bool, isolated: bool) -> None:
        data = Attributes.of(IFLA_BRPORT_MODE=int(hairpin), IFLA_BRPORT_ISOLATED=int(isolated))
        info = Attributes.of(IFLA_INFO_SLAVE_KIND="bridge", IFLA_INFO_SLAVE_DATA=data)
        self.netlink(namespace, "RTM_NEWLINK", (), {"index": Index(name)}, IFLA_LINKINFO=info)

    @rule(namespace=namespaces, name=links, address=addresses, replace=st.booleans(), ours=st.booleans())
    def add_address(self, namespace: str, name: str, address: str, replace: bool, ours: bool) -> None:
        if name != "lo":
            flags = ("create", "replace" if replace else "excl")
            self._address(namespace, "RTM_NEWADDR", flags, name, address, IFA_PROTO=143 if ours else None)

    @rule(namespace=namespaces, name=links, address=addresses)
    def delete_address(self, namespace: str, name: str, address: str) -> None:
        if name != "lo":
            self._address(namespace, "RTM_DELADDR", (), name, address)

    def _address(self, namespace: str, type: str, flags: tuple[str, ...], name: str, address: str, **more: Any) -> None:
        ip, _, length = address.partition("/")
        version = 6 if ":" in ip else 4
        header = dict([family(version), ("prefixlen", int(length)), ("index", Index(name))])
        nodad = 2 if version == 6 and flags else None
        self.netlink(namespace, type, flags, header, IFA_LOCAL=ip, IFA_ADDRESS=ip, IFA_FLAGS=nodad, **more)

    @rule(
        namespace=namespaces,
        name=links,
        to=destinations,
        metric=metrics,
        replace=st.booleans(),
        data=st.data(),
    )
    def add_route(self, namespace: str, name: str, to: str, metric: int, replace: bool, data: st.DataObject) -> None:
        if replace and to == "10.1.0.0/24":
            return  # would replace the connected route
        if name != "lo":
            flags = ("create", "replace" if replace else "excl")
            self._route(namespace, "RTM_NEWROUTE", flags, name, to, metric, data)

    @rule(namespace=namespaces, name=links, to=destinations, metric=metrics, data=st.data())
    def delete_route(self, namespace: str, name: str, to: str, metric: int, data: st.DataObject) -> None:
        if name != "lo":
            self._route(namespace, "RTM_DELROUTE", (), name, to, metric, data)

    def _route(
        self,
        namespace: str,
        type: str,
        flags: tuple[str, ...],
        name: str,
        to: str,
        metric: int,
        data: st.DataObject,
    ) -> None:
        ip, _, length = to.partition("/")
        version = 6 if ":" in ip else 4
        via = data.draw(st.sampled_from(gateways[version]))
        on_link = via is None and version == 4
        header = dict([family(version), ("dst_len", int(length)), ("table", 254), ("proto", 143)])
        header |= {"scope": 253 if on_link else 0, "type": 1}
        dst = ip if int(length) else None
        self.netlink(
            namespace,
            type,
            flags,
            header,
            RTA_DST=dst,
            RTA_GATEWAY=via,
            RTA_OIF=Index(name),
            RTA_PRIORITY=metric or None,
        )

    @rule(
        sysctl=st.sampled_from(
            [
                (HOST, "net.ipv4.ip_forward", "1"),
                (HOST, "net.ipv4.ip_forward", "0"),
                (HOST, "net.ipv4.conf.a.route_localnet", "1"),
                (HOST, "net.ipv4.conf.a.promote_secondaries", "1"),
                (HOST, "net.ipv4.conf.all.promote_secondaries", "0"),
                (HOST, "net.ipv6.conf.b/1.disable_ipv6", "1"),
                (HOST, "net.ipv6.conf.b/1.disable_ipv6", "0"),
                (HOST, "net.ipv4.no_such_thing", "1"),
                ("n1", "net.ipv4.ip_unprivileged_port_start", "80"),
                (HOST, "net.ipv4.ip_forward", "yes"),
            ]
        )
    )
    def write_sysctl(self, sysctl: tuple[str, str, str]) -> None:
        self.do(WriteSysctl(*sysctl))

    @rule(texts=st.lists(commands, min_size=1, max_size=3))
    def nft(self, texts: list[str]) -> None:
        self.do(*map(Nft, texts))

    @rule(verb=st.sampled_from(["add", "add", "delete"]), element=elements)
    def element(self, verb: Any, element: tuple[str, str]) -> None:
        name, text = element
        if verb == "delete":
            text = text.partition(" : ")[0].partition(" comment")[0]
        self.do(NftElement(verb, "reconciler", name, text))

    @invariant()
    def both_show_the_same(self) -> None:
        for _ in range(200):  # a namespace's links go some time after its name
            expected, actual = shown(self.real), shown(self.model)
            if expected == actual:
                return
            time.sleep(0.01)
        assert actual == expected


def shown(kernel: LiveKernel | ModelKernel) -> dict[str, Any]:
    """What is seen and decoded, without what comes by itself: link-local addresses and routes, those of `lo`."""
    snapshot = kernel.observe(SCOPE)
    result: dict[str, Any] = {str(key): item for key, item in decode(snapshot).resources.items()}
    for name, record in snapshot.namespaces.items():
        result[f"links of {name}"] = {link.name: _comparable(link) for link in record.links}
        routes = [route for route in record.routes if route.link != "lo" and not route.destination.is_link_local]
        result[f"routes of {name}"] = set(_unicast(routes))
    result["forward chains"] = set(snapshot.forward_chains)
    return result


def _comparable(link: LinkRecord) -> LinkRecord:
    return link._replace(mac=None, mtu=0) if link.name == "lo" else link


def _unicast(routes: Iterable[Any]) -> Iterable[Any]:
    return (route for route in routes if not route.destination.is_multicast and route.type == 1)


TestBothKernels = BothKernels.TestCase
TestBothKernels.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, phases=(Phase.explicit, Phase.generate)
)
