"""What the faults come into: files, the foreign things beside them, and the runs that lead from one file to the other."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.tun import HAVE_TUN

FOREIGN = """
sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv4.ip_local_port_range='20000 30000'
ip -batch - <<END
link add eth1 address 02:00:00:00:ee:01 type veth peer name cable address 02:00:00:00:ee:02
link set cable up
link add br-theirs address 02:00:00:00:ee:03 type bridge
link set br-theirs up alias theirs
address add 192.0.2.1/24 dev br-theirs
route add 198.51.100.0/24 via 192.0.2.9
rule add from 192.0.2.7 lookup 77
netns add theirs
END
ip -n theirs -batch - <<END
link set lo up
address add 203.0.113.1/32 dev lo
END
nft -f - <<END
table inet theirs {
  set those { type ipv4_addr; elements = { 192.0.2.5 } }
  chain forward { type filter hook forward priority 10; ip saddr @those drop; }
}
END
"""
_VM = "  br0: {mode: bridged, uplinks: [eth1], containers: {vm: {attach: {tap: vnet0}}}}\n"
_NO_VM = "  br0: {mode: bridged, uplinks: [eth1]}\n"
ONE = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24, "fd00:88::1/64"]
    containers:
      web:
        addresses: [10.88.0.10, "fd00:88::10"]
        ports: ["8080:80", "9000-9009:9000-9009/udp"]
        routes: [{to: 10.9.0.0/16, via: 10.88.0.200}]
        sysctls: {net.ipv4.ip_default_ttl: 61}
      db: {}
      guest: {attach: {netns: theirs}, addresses: [10.88.0.13]}
""" + (_VM if HAVE_TUN else _NO_VM)
OTHER = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24]
    mtu: 1400
    icc: false
    containers:
      web:
        addresses: [10.88.0.20]
        ports: ["8080:81", "127.0.0.1:82:82"]
        sysctls: {net.ipv4.ip_default_ttl: 62}
      new: {addresses: [10.88.0.21], ports: ["81:81"]}
  br-quiet: {mode: isolated, containers: {quiet: {}}}
"""

MANY = f"""\
version: 1
bridges: {{br: {{mode: isolated, containers: {{{", ".join(f"c{number}: {{}}" for number in range(40))}}}}}}}
"""
"""More containers than requests go into a datagram, and than names are taken away at a time."""


@dataclass(frozen=True)
class Way:
    """A run from one state of a host to another: the file before ("" for none), and the file to be applied ("" for `down`)."""

    before: str
    after: str


WAYS = {
    "create all": Way("", ONE),
    "change much": Way(ONE, OTHER),
    "remove all": Way(ONE, ""),
}
