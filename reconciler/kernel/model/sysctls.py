"""The sysctls below net that the model knows, with the kernel's defaults (Documentation/networking/ip-sysctl.rst)."""

from __future__ import annotations

import errno
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

IPV4_FORWARD = "net.ipv4.ip_forward"
ALL_FORWARDING = "net.ipv4.conf.all.forwarding"
"""The same setting by another name, and the one that is kept."""
_PLAIN = {
    "net.core.somaxconn": "4096",
    "net.ipv4.ip_default_ttl": "64",
    "net.ipv4.ip_local_port_range": "32768\t60999",
    "net.ipv4.ip_nonlocal_bind": "0",
    "net.ipv4.ip_unprivileged_port_start": "1024",
    "net.ipv4.ping_group_range": "1\t0",
    "net.ipv4.tcp_keepalive_time": "7200",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv6.bindv6only": "0",
    "net.ipv6.ip_nonlocal_bind": "0",
}
_PER_LINK = {
    "net.ipv4.conf": {
        "accept_local": "0",
        "accept_redirects": "1",
        "arp_announce": "0",
        "arp_ignore": "0",
        "forwarding": "0",
        "promote_secondaries": "0",
        "proxy_arp": "0",
        "route_localnet": "0",
        "rp_filter": "0",
        "send_redirects": "1",
    },
    "net.ipv6.conf": {
        "accept_dad": "1",
        "accept_ra": "1",
        "accept_redirects": "1",
        "autoconf": "1",
        "disable_ipv6": "0",
        "forwarding": "0",
        "keep_addr_on_down": "0",
        "proxy_ndp": "0",
        "use_tempaddr": "0",
    },
    "net.ipv4.neigh": {"base_reachable_time_ms": "30000", "gc_stale_time": "60"},
    "net.ipv6.neigh": {"base_reachable_time_ms": "30000", "gc_stale_time": "60"},
}
_SPREADING = {
    "net.ipv4.conf.all.forwarding",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.all.forwarding",
}
"""Those whose writing writes the same to `default` and to every link (devinet_sysctl_forward, addrconf_fixup_forwarding)."""


def of_link(area: str, link: str, name: str) -> str:
    """The dotted name of a link's sysctl, such as net.ipv4.conf.eth0/5.rp_filter of the link `eth0.5`."""
    return f"{area}.{link.replace('.', '/')}.{name}"


def link_of(name: str) -> str | None:
    """The link that the sysctl `name` is about; `all` and `default` count as links here, None is for those of none."""
    parts = name.split(".")
    per_link = len(parts) == 5 and ".".join(parts[:3]) in _PER_LINK
    return parts[3].replace("/", ".") if per_link else None


def default(name: str) -> str | None:
    """The kernel's default, for whichever link it is; None if there is no such sysctl."""
    area, _, last = name.rpartition(".")
    if link_of(name) is None:
        return _PLAIN.get(name, "0" if name == IPV4_FORWARD else None)
    return _PER_LINK[area.rpartition(".")[0]].get(last)


@dataclass(slots=True)
class Sysctls:
    """The sysctls of one network namespace."""

    written: dict[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    """What this kernel has besides those that the model knows, and their values."""

    def read(self, name: str, links: Container[str]) -> str | None:
        """The value, or None if there is no such sysctl, because the kernel has none or the link is not there."""
        name = ALL_FORWARDING if name == IPV4_FORWARD else name
        if not self._exists(name, links):
            return None
        return self.written.get(name, self._default(name))

    def write(self, name: str, value: str, links: Container[str]) -> None:
        """Raises OSError: ENOENT for an unknown one, EINVAL for a word where a number belongs."""
        if self.read(name, links) is None:
            raise FileNotFoundError(errno.ENOENT, "no such sysctl", name)
        if name not in self.others and not all(word.lstrip("-").isdigit() for word in value.split() or [""]):
            raise OSError(errno.EINVAL, "not a number", name)
        name = ALL_FORWARDING if name == IPV4_FORWARD else name
        self.written[name] = "\t".join(value.split())

    def spread(self, name: str, value: str, links: Iterator[str]) -> None:
        """What the kernel writes elsewhere when `name` is written."""
        name = ALL_FORWARDING if name == IPV4_FORWARD else name
        if name not in _SPREADING:
            return
        _, family, _, _, last = name.split(".")
        for link in ("default", *links):
            self.written[of_link(f"net.{family}.conf", link, last)] = value
        if name == ALL_FORWARDING:  # RFC 1812: routers do not listen to redirects
            self.written["net.ipv4.conf.all.accept_redirects"] = "0" if value == "1" else "1"

    def born(self, link: str) -> None:
        """A new link starts with the namespace's defaults."""
        for name, value in list(self.written.items()):
            if link_of(name) == "default":
                area, _, last = name.rpartition(".")
                self.written[of_link(area.rpartition(".")[0], link, last)] = value

    def renamed(self, link: str, to: str | None) -> None:
        """The link is called `to` from now on; None: it is gone."""
        for name in [name for name in self.written if link_of(name) == link]:
            value = self.written.pop(name)
            if to is not None:
                area, _, last = name.rpartition(".")
                self.written[of_link(area.rpartition(".")[0], to, last)] = value

    def changed(self) -> Iterator[tuple[str, str]]:
        """Those that are not as the kernel made them, by name."""
        for name, value in sorted(self.written.items()):
            link = link_of(name)
            inherited = self._default(name)
            if link is not None and link not in ("all", "default"):
                area, _, last = name.rpartition(".")
                inherited = self.written.get(of_link(area.rpartition(".")[0], "default", last), inherited)
            if value != inherited:
                yield name, value

    def _default(self, name: str) -> str | None:
        known = default(name)
        return self.others.get(name) if known is None else known

    def _exists(self, name: str, links: Container[str]) -> bool:
        link = link_of(name)
        return self._default(name) is not None and (link in ("all", "default", None) or link in links)
