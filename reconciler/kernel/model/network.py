"""Namespaces, links, addresses and routes of the model kernel.

Every rule here has been seen on a real kernel; the function that it comes from is named beside it. Refusals are OSErrors with
the kernel's errno. What is not modelled: carriers, link-local addresses and routes, tables besides main, multipath.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from reconciler.core.messages import (
    HOST,
    AddressRecord,
    IPAddress,
    IPInterface,
    IPNetwork,
    LinkRecord,
    NamespaceRecord,
    PortRecord,
    RouteRecord,
)
from reconciler.kernel.model.sysctls import Sysctls, of_link

RTPROT_KERNEL = 2
_KERNEL_METRIC = {4: 0, 6: 256}  # net/ipv4/fib_frontend.c fib_add_ifaddr, IP6_RT_PRIO_ADDRCONF
_MTU_LIMITS = {"bridge": (68, 65535), "veth": (68, 65535), "tun": (68, 65521), "lo": (0, 1 << 31)}
_IPV6_LEAST_MTU = 1280


@dataclass(frozen=True, slots=True)
class HeldAddress:
    """An address of a link. `protocol` is IFA_PROTO."""

    address: IPInterface
    protocol: int | None = None
    scope: int = 0


@dataclass(frozen=True, slots=True)
class Path:
    """A unicast route out of the link that holds it."""

    destination: IPNetwork
    via: IPAddress | None
    metric: int
    protocol: int


@dataclass(slots=True, eq=False, repr=False)
class Link:
    """A link. `kind` is IFLA_INFO_KIND, "" of physical ones and `lo`."""

    name: str
    namespace: Namespace
    kind: str
    mac: str
    mtu: int = 1500
    up: bool = False
    alias: str = ""
    peer: Link | None = None
    """The other end of a veth."""
    master: Link | None = None
    hairpin: bool = False
    isolated: bool = False
    stp: bool = False
    mac_of_ports: bool = False
    """Of bridges: nobody gave it a MAC, so it takes the lowest of its ports'."""
    mtu_of_ports: bool = False
    """Of bridges: nobody changed its MTU since it was made, so it takes the least of its ports'."""
    addresses: list[HeldAddress] = field(default_factory=list)
    """In the kernel's order: the first of a subnet is the primary one."""
    routes: list[Path] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.kind or 'link'} {self.name}{' in ' + self.namespace.name if self.namespace.name else ''}>"

    @property
    def is_loopback(self) -> bool:
        """Whether this is its namespace's `lo`."""
        return self.name == "lo" and not self.kind

    def paths(self) -> Iterator[Path]:
        """The routes out of this link, with those that come with its addresses while it is up."""
        connected: dict[IPNetwork, None] = {}
        if self.up and not self.is_loopback:
            for held in self.addresses:
                if held.address.version == 6 or held.address.network.prefixlen < 32:
                    connected[held.address.network] = None
        for network in connected:
            yield Path(network, None, _KERNEL_METRIC[network.version], RTPROT_KERNEL)
        yield from self.routes

    def drop(self, version: int, *, addresses: bool = False) -> None:
        """Lose the routes of that family, and perhaps the addresses too."""
        self.routes = [path for path in self.routes if path.destination.version != version]
        if addresses:
            self.addresses = [held for held in self.addresses if held.address.version != version]


@dataclass(slots=True, eq=False)
class Namespace:
    """A network namespace. `lived_in`: a process is inside, so that it goes on when its name is taken away."""

    name: str
    links: dict[str, Link] = field(default_factory=dict)
    sysctls: Sysctls = field(default_factory=Sysctls)
    lived_in: bool = False

    def link(self, name: str) -> Link:
        """The link of that name. Raises OSError: ENODEV."""
        if name not in self.links:
            raise OSError(errno.ENODEV, "no such device", name)
        return self.links[name]

    def sysctl(self, area: str, link: str, name: str) -> bool:
        """Whether that sysctl of a link is on."""
        return self.read_sysctl(of_link(area, link, name)) not in (None, "0")

    def read_sysctl(self, name: str) -> str | None:
        """The value, or None if there is no such sysctl."""
        return self.sysctls.read(name, self._links_with(name))

    def _links_with(self, sysctl: str) -> set[str]:
        """The links that have such a sysctl: too small an MTU leaves them without IPv6 (addrconf_notify)."""
        six = sysctl.startswith("net.ipv6.")
        return {name for name, link in self.links.items() if not six or link.mtu >= _IPV6_LEAST_MTU}

    def write_sysctl(self, name: str, value: str) -> None:
        """Raises OSError: ENOENT, EINVAL."""
        self.sysctls.write(name, value, self._links_with(name))
        self.sysctls.spread(name, value, iter(self.links))
        for link in self.links.values():
            if self.sysctl("net.ipv6.conf", link.name, "disable_ipv6"):
                link.drop(6, addresses=True)


class Network:
    """All network namespaces of a host, the host's own being HOST."""

    def __init__(self, sysctls: Mapping[str, str] | None = None) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self._sysctls = dict(sysctls or {})
        self._macs = itertools.count(1)
        self.add_namespace(HOST).lived_in = True
        self.namespaces[HOST].links["lo"].up = True

    def namespace(self, name: str) -> Namespace:
        """The namespace of that name. Raises OSError: ENOENT."""
        if name not in self.namespaces:
            raise FileNotFoundError(errno.ENOENT, "no network namespace", name)
        return self.namespaces[name]

    def link(self, namespace: str, name: str) -> Link:
        """Raises OSError: ENOENT, ENODEV."""
        return self.namespace(namespace).link(name)

    def new_mac(self) -> str:
        """What eth_random_addr would give, but the same in every run."""
        return "02:00" + "".join(f":{byte:02x}" for byte in next(self._macs).to_bytes(4, "big"))

    # --- namespaces ---

    def add_namespace(self, name: str) -> Namespace:
        """Raises OSError: EEXIST."""
        if name in self.namespaces:
            raise FileExistsError(errno.EEXIST, "network namespace exists", name)
        namespace = self.namespaces[name] = Namespace(name, sysctls=Sysctls(others=self._sysctls))
        namespace.links["lo"] = Link("lo", namespace, "", "00:00:00:00:00:00", mtu=65536)
        return namespace

    def delete_namespace(self, name: str) -> None:
        """Take the name away, and all that is inside unless somebody lives there. Raises OSError: ENOENT."""
        namespace = self.namespace(name)
        del self.namespaces[name]
        if not namespace.lived_in:
            for link in list(namespace.links.values()):
                self._remove(link)

    # --- links ---

    def add_link(self, namespace: Namespace, name: str, kind: str, mac: str | None, mtu: int | None) -> Link:
        """Raises OSError: EEXIST, EINVAL, ERANGE, EOPNOTSUPP, EADDRNOTAVAIL."""
        check_name(name)
        if name in namespace.links:
            raise FileExistsError(errno.EEXIST, "link exists", name)
        if mac is not None:
            _check_mac(mac)
        link = Link(name, namespace, kind, mac or self.new_mac())
        if mtu is not None:
            _check_mtu(link, mtu)
            link.mtu = mtu
        if kind == "bridge":
            # An MTU given at birth is not remembered as chosen (BROPT_MTU_SET_BY_USER is br_change_mtu's).
            link.mac_of_ports, link.mtu_of_ports = mac is None, True
        namespace.links[name] = link
        namespace.sysctls.born(name)
        return link

    def delete_link(self, link: Link) -> None:
        """Raises OSError: EOPNOTSUPP for what RTM_DELLINK cannot delete."""
        if not link.kind:
            raise OSError(errno.EOPNOTSUPP, "not a virtual link", link.name)
        self._remove(link)

    def _remove(self, link: Link) -> None:
        """veth_dellink, br_dev_delete: ports are let go, the other end goes too."""
        if link.namespace.links.get(link.name) is not link:
            return
        self.enslave(link, None)
        for port in list(link.namespace.links.values()):
            if port.master is link:
                self.enslave(port, None)
        del link.namespace.links[link.name]
        link.namespace.sysctls.renamed(link.name, None)
        if link.peer is not None:
            self._remove(link.peer)

    def rename(self, link: Link, name: str) -> None:
        """Raises OSError: EEXIST, EINVAL, ERANGE."""
        check_name(name)
        if name in link.namespace.links:
            raise FileExistsError(errno.EEXIST, "link exists", name)
        del link.namespace.links[link.name]
        link.namespace.sysctls.renamed(link.name, name)
        link.name = name
        link.namespace.links[name] = link

    def set_up(self, link: Link, up: bool) -> None:
        """Going down costs IPv4 its routes (fib_disable_ip), and IPv6 its addresses too (addrconf_ifdown)."""
        if link.up and not up:
            kept = link.namespace.sysctl("net.ipv6.conf", link.name, "keep_addr_on_down")
            link.drop(4)
            link.drop(6, addresses=not kept)
        link.up = up

    def set_mac(self, link: Link, mac: str) -> None:
        """Raises OSError: EADDRNOTAVAIL."""
        _check_mac(mac)
        link.mac, link.mac_of_ports = mac, False
        _recalculate(link.master)

    def set_mtu(self, link: Link, mtu: int) -> None:
        """Raises OSError: EINVAL. Below 1280 a link has no IPv6 (addrconf_notify)."""
        _check_mtu(link, mtu)
        if mtu != link.mtu:  # dev_set_mtu_ext does nothing else
            link.mtu, link.mtu_of_ports = mtu, False
            self._mtu_changed(link)

    def _mtu_changed(self, link: Link) -> None:
        if link.mtu < _IPV6_LEAST_MTU:
            link.drop(6, addresses=True)
        _recalculate(link.master)

    def enslave(self, link: Link, bridge: Link | None) -> None:
        """Raises OSError: EOPNOTSUPP, EINVAL, ELOOP (br_add_if)."""
        before = link.master
        if bridge is before:
            return
        link.master, link.hairpin, link.isolated = None, False, False
        _recalculate(before)
        if bridge is None:
            return
        if bridge.kind != "bridge":
            raise OSError(errno.EOPNOTSUPP, "not a bridge", bridge.name)
        if link.is_loopback:
            raise OSError(errno.EINVAL, "cannot be a port", link.name)
        if link.kind == "bridge":
            raise OSError(errno.ELOOP, "cannot be a port of a bridge", link.name)
        link.master = bridge
        _recalculate(bridge)

    # --- addresses ---

    def add_address(self, link: Link, new: HeldAddress, *, exclusive: bool) -> None:
        """Raises OSError: EEXIST, EACCES where IPv6 is off, EINVAL where the MTU is too small for it."""
        if new.address.version == 6:
            _check_ipv6(link)
        for position, held in enumerate(link.addresses):
            # IPv6 has an address once per link, IPv4 once per prefix length (ipv6_add_addr, __inet_insert_ifa).
            same = held.address.ip == new.address.ip if new.address.version == 6 else held.address == new.address
            if same and exclusive:
                raise FileExistsError(errno.EEXIST, "address exists", str(new.address))
            if same:
                link.addresses[position] = HeldAddress(held.address, new.protocol, new.scope)
                return
        link.addresses.append(new)

    def delete_address(self, link: Link, address: IPInterface) -> None:
        """Raises OSError: EADDRNOTAVAIL, ENXIO where there is no IPv6 at all (inet6_addr_del)."""
        if address.version == 6 and link.mtu < _IPV6_LEAST_MTU:
            raise OSError(errno.ENXIO, "MTU too small for IPv6", link.name)
        held = next((held for held in link.addresses if held.address == address), None)
        if held is None:
            raise OSError(errno.EADDRNOTAVAIL, "no such address", str(address))
        subnet = [item for item in link.addresses if item.address.network == address.network]
        link.addresses.remove(held)
        if address.version == 6:
            return
        if subnet[0] is held and not self._promotes(link):
            link.addresses = [item for item in link.addresses if item not in subnet]
        if not any(item.address.version == 4 for item in link.addresses):
            link.drop(4)  # fib_inetaddr_event: the last one gone, IPv4 is off on this link

    @staticmethod
    def _promotes(link: Link) -> bool:
        return any(link.namespace.sysctl("net.ipv4.conf", name, "promote_secondaries") for name in ("all", link.name))

    # --- routes ---

    def add_route(self, link: Link, path: Path, *, exclusive: bool) -> None:
        """Adds, or (not exclusive) puts it in the place of the one of that destination and metric.

        Raises OSError: EEXIST, ENETDOWN, ENETUNREACH (IPv4) or EHOSTUNREACH (IPv6) for a gateway that is not on the link.
        """
        if path.destination.version == 6 and link.mtu < _IPV6_LEAST_MTU:
            raise OSError(errno.ENODEV, "MTU too small for IPv6", link.name)
        if path.via is not None and not _reaches(link, path.via):
            code = errno.ENETUNREACH if path.via.version == 4 else errno.EHOSTUNREACH
            raise OSError(code, "gateway is not on the link", str(path.via))
        if path.destination.version == 6:
            _check_ipv6(link)
        if not link.up:
            raise OSError(errno.ENETDOWN, "link is down", link.name)
        place = path.destination, path.metric
        rivals = [
            (other, item)
            for other in link.namespace.links.values()
            for item in other.paths()
            if (item.destination, item.metric) == place
        ]
        if rivals and exclusive:
            raise FileExistsError(errno.EEXIST, "route exists", str(path.destination))
        for other, item in rivals[:1]:
            if item.protocol == RTPROT_KERNEL:
                raise NotImplementedError("replacing a connected route is not modelled")
            other.routes.remove(item)
        link.routes.append(path)

    def delete_route(self, link: Link, path: Path) -> None:
        """Deletes the route that is like `path`; metric 0 is any, in IPv4. Raises OSError: ESRCH."""
        found = [
            item
            for item in link.routes
            if (item.destination, item.protocol) == (path.destination, path.protocol)
            and path.via in (None, item.via)
            and path.metric in (0, item.metric)
        ]
        if not found:
            raise OSError(errno.ESRCH, "no such route", str(path.destination))
        link.routes.remove(min(found, key=lambda item: item.metric))


def check_name(name: str) -> None:
    """Raises OSError for what cannot be the name of a link (dev_valid_name): ERANGE, EINVAL."""
    check_length(name)
    if name in ("", ".", "..") or any(letter in "/:" or letter.isspace() for letter in name):
        raise OSError(errno.EINVAL, "not a name", name)


def check_length(name: str) -> None:
    """Raises OSError: ERANGE for a name of more than 15 bytes, which the parser of attributes sees before anything else."""
    if len(name.encode()) > 15:
        raise OSError(errno.ERANGE, "name too long", name)


def check_before_birth(kind: str, mac: str | None, mtu: int | None) -> None:
    """Raises OSError for what a kind of link refuses before it is made: EADDRNOTAVAIL, EINVAL."""
    if mac is not None:
        _check_mac(mac)
    if kind == "veth" and mtu is not None and not _MTU_LIMITS["veth"][0] <= mtu <= _MTU_LIMITS["veth"][1]:
        raise OSError(errno.EINVAL, "not an MTU of a veth", str(mtu))


def _check_mac(mac: str) -> None:
    """is_valid_ether_addr: neither multicast nor zero."""
    octets = bytes.fromhex(mac.replace(":", ""))
    if len(octets) != 6 or octets[0] & 1 or not any(octets):
        raise OSError(errno.EADDRNOTAVAIL, "not a station's MAC", mac)


def _check_mtu(link: Link, mtu: int) -> None:
    least, most = _MTU_LIMITS.get("lo" if link.is_loopback else link.kind, (0, 1 << 31))
    if not least <= mtu <= most:
        raise OSError(errno.EINVAL, f"MTU not in {least}-{most}", str(mtu))


def _check_ipv6(link: Link) -> None:
    if link.namespace.sysctl("net.ipv6.conf", link.name, "disable_ipv6"):
        raise OSError(errno.EACCES, "IPv6 is disabled on this link", link.name)
    if link.mtu < _IPV6_LEAST_MTU:
        raise OSError(errno.EINVAL, "MTU too small for IPv6", link.name)


def _recalculate(bridge: Link | None) -> None:
    """br_stp_recalculate_bridge_id and br_mtu_auto_adjust."""
    if bridge is None:
        return
    ports = [link for link in bridge.namespace.links.values() if link.master is bridge]
    if bridge.mac_of_ports:
        bridge.mac = min((port.mac for port in ports), default="00:00:00:00:00:00")
    if bridge.mtu_of_ports:
        bridge.mtu = min((port.mtu for port in ports), default=1500)
        if bridge.mtu < _IPV6_LEAST_MTU:
            bridge.drop(6, addresses=True)


def _reaches(link: Link, gateway: IPAddress) -> bool:
    """fib_check_nh, ip6_route_check_nh: the gateway is a neighbour on that link."""
    if isinstance(gateway, IPv6Address) and gateway.is_link_local:
        return True
    if isinstance(gateway, IPv6Address) and any(held.address.ip == gateway for held in link.addresses):
        raise OSError(errno.EINVAL, "gateway is the host itself", str(gateway))
    return any(path.via is None and gateway in path.destination for path in link.paths())


# --- what is there ---------------------------------------------------------------------------------------------------


def record(namespace: Namespace, seen: set[str], sysctls: Iterator[str]) -> NamespaceRecord:
    """The namespace as a dump shows it to somebody who looks into the namespaces `seen`."""
    links = namespace.links.values()
    found = {name: namespace.read_sysctl(name) for name in sysctls}
    return NamespaceRecord(
        links=tuple(_link_record(link, seen) for link in links),
        addresses=tuple(
            AddressRecord(link.name, held.address, held.scope, held.protocol)
            for link in links
            for held in link.addresses
        ),
        routes=tuple(
            RouteRecord(path.destination, path.via, link.name, path.metric, path.protocol, 1)
            for link in links
            for path in link.paths()
        ),
        sysctls={name: value for name, value in found.items() if value is not None},
    )


def _link_record(link: Link, seen: set[str]) -> LinkRecord:
    peer = link.peer
    return LinkRecord(
        name=link.name,
        kind=link.kind,
        mac=link.mac,
        mtu=link.mtu,
        up=link.up,
        alias=link.alias or None,
        master=link.master.name if link.master else None,
        peer=(peer.namespace.name, peer.name) if peer and peer.namespace.name in seen else None,
        port=PortRecord(link.hairpin, link.isolated) if link.master else None,
        stp=link.stp if link.kind == "bridge" else None,
        tap=link.kind == "tun",
    )
