"""Requests as kinds make them, in the fewest words."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

from reconciler.core.messages import (
    HOST,
    PROTOCOL,
    Attributes,
    Index,
    NamespaceFd,
    Netlink,
    Outcome,
    Request,
    Scope,
    Snapshot,
    Value,
)
from reconciler.kernel.live import LiveKernel

of = Attributes.of
MARK = "reconcile:test"


def bridge(name: str, *, namespace: str = HOST, stp: int | None = None, mac: str | None = None) -> Netlink:
    data = of(IFLA_BR_STP_STATE=stp)
    info = of(IFLA_INFO_KIND="bridge", IFLA_INFO_DATA=data if data.items else None)
    body = of(IFLA_IFNAME=name, IFLA_ADDRESS=mac, IFLA_LINKINFO=info)
    return Netlink(namespace, "RTM_NEWLINK", ("create", "excl"), (), body)


def veth(
    name: str,
    peer: str,
    peer_namespace: str | None = None,
    *,
    namespace: str = HOST,
    master: str | None = None,
    mtu: int | None = None,
    mac: str | None = None,
) -> Netlink:
    where = None if peer_namespace is None else NamespaceFd(peer_namespace)
    far = of(IFLA_IFNAME=peer, IFLA_ADDRESS=mac, IFLA_MTU=mtu, IFLA_NET_NS_FD=where)
    info = of(IFLA_INFO_KIND="veth", IFLA_INFO_DATA=of(VETH_INFO_PEER=far))
    body = of(IFLA_IFNAME=name, IFLA_MTU=mtu, IFLA_MASTER=Index(master) if master else None, IFLA_LINKINFO=info)
    return Netlink(namespace, "RTM_NEWLINK", ("create", "excl"), (), body)


def change(name: str, *, namespace: str = HOST, up: bool | None = None, **attributes: Value) -> Netlink:
    flags: tuple[tuple[str, Value], ...] = () if up is None else (("flags", int(up)), ("change", 1))
    return Netlink(namespace, "RTM_SETLINK", (), (("index", Index(name)), *flags), of(**attributes))


def delete(name: str, *, namespace: str = HOST) -> Netlink:
    return Netlink(namespace, "RTM_DELLINK", (), (("index", Index(name)),))


def port(name: str, *, hairpin: bool, isolated: bool) -> Netlink:
    data = of(IFLA_BRPORT_MODE=int(hairpin), IFLA_BRPORT_ISOLATED=int(isolated))
    info = of(IFLA_INFO_SLAVE_KIND="bridge", IFLA_INFO_SLAVE_DATA=data)
    return Netlink(HOST, "RTM_NEWLINK", (), (("index", Index(name)),), of(IFLA_LINKINFO=info))


def address(link: str, text: str, *, namespace: str = HOST, type: str = "RTM_NEWADDR") -> Netlink:
    value = ip_interface(text)
    new = type == "RTM_NEWADDR"
    header: tuple[tuple[str, Value], ...] = (
        ("family", 2 if value.version == 4 else 10),
        ("prefixlen", value.network.prefixlen),
        ("index", Index(link)),
    )
    body = of(
        IFA_LOCAL=str(value.ip),
        IFA_ADDRESS=str(value.ip),
        IFA_FLAGS=2 if new and value.version == 6 else None,
        IFA_PROTO=PROTOCOL if new else None,
    )
    return Netlink(namespace, type, ("create", "excl") if new else (), header, body)


def route(
    destination: str,
    link: str,
    via: str | None = None,
    *,
    namespace: str = HOST,
    metric: int | None = None,
    type: str = "RTM_NEWROUTE",
) -> Netlink:
    value = ip_network(destination)
    header: tuple[tuple[str, Value], ...] = (
        ("family", 2 if value.version == 4 else 10),
        ("dst_len", value.prefixlen),
        ("table", 254),
        ("proto", PROTOCOL),
        ("scope", 253 if via is None and value.version == 4 else 0),
        ("type", 1),
    )
    body = of(
        RTA_DST=str(value.network_address) if value.prefixlen else None,
        RTA_GATEWAY=via,
        RTA_OIF=Index(link),
        RTA_PRIORITY=metric,
        RTA_TABLE=254,
    )
    return Netlink(namespace, type, ("create", "excl") if type == "RTM_NEWROUTE" else (), header, body)


def do(kernel: LiveKernel, *requests: Request) -> Outcome:
    """Submit, and insist that all of it was done."""
    outcome = kernel.submit(requests)
    assert outcome.failures == ()
    assert outcome.done == frozenset(range(len(requests)))
    assert outcome.attempted == len(requests)
    return outcome


def look(kernel: LiveKernel, *tables: str, namespaces: tuple[str, ...] = ()) -> Snapshot:
    return kernel.observe(Scope(frozenset(namespaces), tables=frozenset(tables)))
