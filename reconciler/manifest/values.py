"""The values of the file: each is parsed into its canonical form (ipaddress objects, lower-case MACs, port ranges), or refused
with a ValueError that says what is wrong and, in parentheses, what to do.

A key with nothing behind it is refused where an empty value could come of a template gone wrong (`host_ip:` would publish on
every address), and taken for an empty one where its lines may just have been commented out (`ports:`, `containers:`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_network
from typing import Any, NamedTuple

from reconciler.core.messages import IPAddress, IPInterface, IPNetwork
from reconciler.manifest.position import quoted


def _text(what: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if isinstance(value, str):
            return value
        remedy = "give it one, or remove the key" if value is None else "put it in quotes"
        if isinstance(value, list | dict):
            remedy = "write one value"
        raise ValueError(f"{what} must be text, not {called(value)} ({remedy})")

    return check


def called(value: Any) -> str:
    """What messages call a value of the wrong type."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        # Python refuses to print integers of thousands of digits, and nobody wants to read them.
        return f"the number {value}" if isinstance(value, float) or abs(value) < 10**20 else "a huge number"
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else quoted(str(value))


def whole(low: int, high: int, what: str) -> Callable[[Any], int]:
    """Makes the check of a whole number."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            given = called(value).removeprefix("the number ")
            raise ValueError(f"{what} must be a whole number, not {given} (write one from {low} to {high})")
        if not low <= value <= high:
            raise ValueError(f"{what} cannot be {called(value).removeprefix('the number ')} (write {low} to {high})")
        return value

    return check


def truth(what: str) -> Callable[[Any], bool]:
    """Makes the check of true or false. YAML 1.1's other words for them are refused: `no` is text."""

    def check(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        remedy = "YAML 1.2 knows no yes, no, on or off" if isinstance(value, str) else "write one of them"
        if value in ("true", "false"):
            remedy = "leave out the quotes"
        raise ValueError(f"{what} must be true or false, not {called(value)} ({remedy})")

    return check


# --- addresses -------------------------------------------------------------------------------------------------------


def as_address(value: Any) -> IPAddress:
    """An address without a prefix length."""
    text = _text("an address")(value)
    if "/" in text:
        raise ValueError(f"{quoted(text)} has a prefix length (leave it out here)")
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an IP address (write 192.0.2.1 or 2001:db8::1)") from None
    return _plain(address, text)


def _plain(address: IPAddress, text: str) -> IPAddress:
    """Refuses what only looks like IPv6 (::ffff:192.0.2.1), and zones, which name an interface of one host."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{quoted(text)} has a zone (leave out what is behind the %)")
        if address.ipv4_mapped is not None:
            raise ValueError(f"{quoted(text)} is an IPv4 address in IPv6 clothes (write {address.ipv4_mapped})")
    return address


def as_interface(value: Any) -> IPInterface:
    """The address of a bridge: with a prefix length."""
    text = _text("an address")(value)
    plain, slash, length = text.partition("/")
    if not slash:
        address = as_address(text)
        raise ValueError(f"{address} has no prefix length (write {address}/{_usual(address)}, or what the subnet has)")
    address = as_address(plain)
    if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= address.max_prefixlen):
        raise ValueError(
            f"{quoted(text)} has no prefix length from 0 to {address.max_prefixlen} (write {address}/{_usual(address)})"
        )
    return with_length(address, int(length))


def with_length(address: IPAddress, length: int) -> IPInterface:
    """`address` with a prefix length. By its number: from an address, ipaddress would print and parse it."""
    return IPv4Interface((int(address), length)) if address.version == 4 else IPv6Interface((int(address), length))


def _usual(address: IPAddress) -> int:
    return 24 if address.version == 4 else 64


class ContainerAddress(NamedTuple):
    """An address of a container; the prefix length may be missing."""

    ip: IPAddress
    prefix: int | None


def as_container_address(value: Any) -> ContainerAddress:
    """The address of a container: with or without a prefix length."""
    text = _text("an address")(value)
    if "/" in text:
        interface = as_interface(text)
        return ContainerAddress(interface.ip, interface.network.prefixlen)
    return ContainerAddress(as_address(text), None)


def as_network(value: Any) -> IPNetwork:
    """The destination of a route."""
    text = _text("a destination")(value)
    if text == "default":
        raise ValueError("`default` does not say which family (write 0.0.0.0/0 or ::/0)")
    plain, slash, _ = text.partition("/")
    if not slash:
        return ip_network(as_address(plain))
    interface = as_interface(text)
    if interface.ip != interface.network.network_address:
        raise ValueError(f"{quoted(text)} is not a network's own address (write {interface.network})")
    return interface.network


def check_host(address: IPAddress) -> IPAddress:
    """Whether a port can be published on `address`. Raises ValueError."""
    if address.is_loopback and address.version == 6:
        # There is no route_localnet for IPv6: the kernel drops ::1 from another interface's point of view (ip6_input.c).
        raise ValueError("the kernel cannot translate ::1, so nothing can be published on it (publish on 127.0.0.1)")
    if address.is_multicast or str(address) == "255.255.255.255":
        raise ValueError(f"{address} is not an address of a host (name one of its own, or none)")
    if address.is_link_local and address.version == 6:
        raise ValueError(
            f"{address} is link-local, and so on every interface at once (name another address of the host)"
        )
    return address


def check_source(address: IPAddress) -> IPAddress:
    """Whether packets can leave with `address` as their source. Raises ValueError."""
    if (
        address.is_loopback
        or address.is_multicast
        or address.is_unspecified
        or address.is_link_local
        or str(address) == "255.255.255.255"
    ):
        raise ValueError(f"{address} cannot be the source of what leaves (name one of the host's own addresses)")
    return address


def one_per_family(what: str, check_one: Callable[[IPAddress], IPAddress]) -> Callable[[Any], tuple[IPAddress, ...]]:
    """Makes the check of one address, or a list, with at most one of each family."""

    def check(value: Any) -> tuple[IPAddress, ...]:
        if value is None:
            raise ValueError(f"{what} is empty (give it an address, or remove the key)")
        addresses = tuple(check_one(as_address(item)) for item in (value if isinstance(value, list) else [value]))
        if len({address.version for address in addresses}) < len(addresses):
            raise ValueError(f"{what} has two addresses of one family (keep one of IPv4 and one of IPv6 at most)")
        return addresses

    return check


MODES = ("nat", "routed", "isolated", "bridged")


def as_mode(value: Any) -> str:
    """What a bridge is to the outside."""
    if value not in MODES:
        raise ValueError(f"{called(value)} is no mode (one of {', '.join(MODES)})")
    return str(value)


_MAC = r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"


def as_mac(value: Any) -> str:
    """A MAC address: lower case, with colons."""
    given = _text("a MAC address")(value)
    text = given.lower().replace("-", ":")
    if not re.fullmatch(_MAC, text):
        raise ValueError(f"{quoted(given)} is not a MAC address (write six bytes in hexadecimal, as 02:00:00:00:00:01)")
    if text == "00:00:00:00:00:00" or int(text[:2], 16) & 1:
        # is_valid_ether_addr() of linux/etherdevice.h
        raise ValueError(f"{text} is zero or multicast, which no interface can have (begin it with 02)")
    return text


# --- names -----------------------------------------------------------------------------------------------------------

# Patterns that few files have a use for are compiled when they do.
OWNER = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}"
CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SYSCTL = r"net(\.[A-Za-z0-9_/-]+)+"
_NOT_IN_LINKS = "/:%*,\"'\\"
_RESERVED_LINKS = {
    "lo": "is the loopback interface",
    # sysctl_dev_name_is_allowed() of net/core/sysctl_net_core.c
    "all": "is a folder of /proc/sys/net, so the kernel gives no interface that name",
    "default": "is a folder of /proc/sys/net, so the kernel gives no interface that name",
}


def as_owner(value: Any) -> str:
    """The owner's mark."""
    text = _text("a name")(value)
    if not re.fullmatch(OWNER, text):
        # It becomes part of an nftables table's name and of interface aliases.
        what = "(up to 32 letters, digits, `_`, `.` and `-`, beginning with a letter or digit)"
        raise ValueError(f"{quoted(text)} cannot be a name here {what}")
    return text


def as_link(value: Any) -> str:
    """What dev_valid_name() of net/core/dev.c takes, less what means something else elsewhere.

    `%` is a pattern to the kernel, `*` to nftables, and a comma ends the name in the alias that lists a bridge's uplinks.
    """
    text = _text("an interface's name")(value)
    size = len(text.encode(errors="replace"))
    if not 1 <= size <= 15:
        raise ValueError(f"{quoted(text)} is {size} bytes long (the kernel takes interface names of 1 to 15 bytes)")
    if text in (".", "..") or not text.isprintable() or any(one in _NOT_IN_LINKS or one.isspace() for one in text):
        raise ValueError(
            f"{quoted(text)} cannot be an interface's name (no `/`, `:`, `%`, `*`, commas, quotes or blanks, and not `.` or `..`)"
        )
    if text in _RESERVED_LINKS:
        raise ValueError(f"{text} {_RESERVED_LINKS[text]} (choose another name)")
    return text


def as_netns(value: Any) -> str:
    """The name of a network namespace, as `ip netns` has them."""
    text = _text("a namespace's name")(value)
    size = len(text.encode(errors="replace"))
    if text in ("", ".", "..") or not text.isprintable() or any(one in "/:" for one in text) or size > 255:
        raise ValueError(
            f"{quoted(text)} cannot be a namespace's name (no `/` or `:`, not `.` or `..`, at most 255 bytes)"
        )
    return text


def as_container(value: Any) -> str:
    """Checks the name of a container, as Docker and Podman have them. Raises ValueError."""
    text = _text("a container's name")(value)
    if not CONTAINER.fullmatch(text):
        what = "(up to 128 letters, digits, `_`, `.` and `-`, beginning with a letter or digit)"
        raise ValueError(f"{quoted(text)} cannot be a container's name {what}")
    return text


def as_sysctl_name(name: str) -> str:
    """The name of a setting below `net.`, as sysctl(8) writes it."""
    # A slash stands for a dot in an interface's name, as in sysctl(8); two dots would lead out of /proc/sys/net.
    if not re.fullmatch(_SYSCTL, name) or "" in re.split("[./]", name):
        what = "is no setting of a network namespace"
        raise ValueError(f"{quoted(name)} {what} (only those below `net.`, as net.ipv4.tcp_keepalive_time)")
    return name


def as_sysctl_value(value: Any) -> str:
    """The value of a setting, as the kernel shows it."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        remedy = "write 1 or 0" if isinstance(value, bool) else "put it in quotes"
        raise ValueError(f"a setting must be text or a whole number, not {called(value)} ({remedy})")
    if isinstance(value, int) and abs(value) >= 10**20:
        raise ValueError("a setting cannot be a huge number (no setting of the kernel takes it)")
    text = " ".join(str(value).split())
    if not text or not text.isprintable():
        raise ValueError("the setting is empty or not printable (give it a value, or remove it)")
    return text


# --- ports -----------------------------------------------------------------------------------------------------------


class PortText(NamedTuple):
    """A published port as it was written; ranges are (first, last)."""

    host_ip: IPAddress | None
    published: tuple[int, int]
    target: tuple[int, int]
    protocol: str


PROTOCOLS = ("tcp", "udp", "sctp")
_SHORT = re.compile(
    # (IPv6 address, IPv4 address, published, target, protocol)
    r"(?:(?:\[([^]]*+)\]|([^:\[\]]*+)):)?([^:\[\]]*+):([^:\[\]]*?)(?:/([^/]*+))?"
)


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (_is_number(first) and (not dash or _is_number(last))):
        raise ValueError(f"{quoted(text)} is not a port or a range of ports (write 8080 or 8000-8010)")
    low = int(first)
    high = int(last) if dash else low
    if not (1 <= low <= 65535 and 1 <= high <= 65535):
        raise ValueError(f"{quoted(text)} is outside of what ports can be (1 to 65535)")
    if low > high:
        raise ValueError(f"the range {text} runs backwards (write {high}-{low})")
    return low, high


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def as_range(value: Any) -> tuple[int, int]:
    """A port or a range of ports, in the long syntax: (first, last)."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"a port cannot be {called(value)} (write 8080 or 8000-8010)")
    return _range(value if isinstance(value, str) else called(value).removeprefix("the number "))


def as_protocol(value: Any) -> str:
    """A protocol that has ports."""
    text = _text("the protocol")(value)
    if text.lower() not in PROTOCOLS:
        raise ValueError(f"the protocol {quoted(text)} is not known (tcp, udp or sctp)")
    return text.lower()


_port_text = _text("a port")


def as_port(value: Any) -> PortText:
    """A published port in the short syntax."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = called(value).removeprefix("the number ")
        raise ValueError(
            f'port {number} names no host port, and a file cannot want "any" (write "HOST:{number}", as "8080:80")'
        )
    text = _port_text(value)
    if ":" not in text:
        raise ValueError(
            f'{quoted(text)} names no host port, and a file cannot want "any" (write "HOST:CONTAINER", as "8080:80")'
        )
    found = _SHORT.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{quoted(text)} is not a port (write [HOST_IP:]HOST:CONTAINER[/PROTOCOL], an IPv6 address in brackets)"
        )
    six, four, published, target, protocol = found.groups()
    if not published:
        raise ValueError(f'{quoted(text)} has an empty host port, and a file cannot want "any" (write "8080:80")')
    host = four if six is None else six
    if host == "":
        raise ValueError(f"{quoted(text)} has an empty host address (name one, or leave out the colon behind it)")
    address = None if host is None else check_host(as_address(host))
    return even(
        PortText(address, _range(published), _range(target), "tcp" if protocol is None else as_protocol(protocol))
    )


def even(port: PortText) -> PortText:
    """Whether both ranges have the same length. Raises ValueError."""
    ours, theirs = port.published[1] - port.published[0] + 1, port.target[1] - port.target[0] + 1
    if ours != theirs:
        ports = "port" if ours == 1 else "ports"
        raise ValueError(
            f"{ours} host {ports} cannot lead to {theirs} of the container (give both ranges the same length)"
        )
    return port


# --- expectations ----------------------------------------------------------------------------------------------------

TESTED = ("tcp", "udp")
"""What `reconcile test` can ask with."""


class Destination(NamedTuple):
    """Where an expectation's packets go: to `name` or, if that is empty, to `address`."""

    name: str
    address: IPAddress | None
    port: int | None
    protocol: str | None


_DESTINATION = r"(?:\[(?P<six>[^]]*)\]|(?P<name>[^:\[\]/]*))(?::(?P<port>[^:/]*))?(?:/(?P<protocol>[^/]*))?"
_A_DESTINATION = 'write "host:8080", "web:80/udp", "[fd00:88::10]:443", or "web" alone for a ping'


def as_end(value: Any) -> str:
    """One end of an expectation, by name."""
    text = _text("an end of an expectation")(value)
    if not CONTAINER.fullmatch(text):
        raise ValueError(f"{quoted(text)} is no name (write outside, host, or a container's name)")
    return text


def as_destination(value: Any) -> Destination:
    """The destination of an expectation."""
    text = _text("a destination")(value)
    found = re.fullmatch(_DESTINATION, text)
    if found is None or not (found["six"] or found["name"]):
        raise ValueError(f"{quoted(text)} is no destination ({_A_DESTINATION})")
    protocol = None if found["protocol"] is None else as_tested_protocol(found["protocol"])
    port = None
    if found["port"] is not None:
        port, last = _range(found["port"])
        if last != port:
            raise ValueError(f"{quoted(text)} is a range of ports (name one of them)")
    elif protocol is not None:
        raise ValueError(f"{quoted(text)} names a protocol and no port ({_A_DESTINATION})")
    name = found["name"] or ""
    address = as_address(found["six"]) if found["six"] else _address_or_none(name)
    if address is not None and (address.is_multicast or address.is_unspecified):
        raise ValueError(f"{address} is no address to ask at (name one of a host or container)")
    if found["six"] and address is not None and address.version == 4:
        raise ValueError(f"{quoted(text)} has an IPv4 address in brackets (leave them out)")
    return Destination("" if address else as_end(name), address, port, protocol)


def _address_or_none(text: str) -> IPAddress | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def as_tested_protocol(value: Any) -> str:
    """A protocol that an expectation can be about."""
    text = _text("the protocol")(value).lower()
    if text not in TESTED:
        raise ValueError(
            f"the protocol {quoted(text)} cannot be tested (write tcp or udp; without a port it is a ping)"
        )
    return text


def as_seen(value: Any) -> IPAddress | str:
    """What a server sees its client as."""
    text = _text("`as`")(value)
    if text in ("client", "host"):
        return text
    address = _address_or_none(text)
    if address is None:
        raise ValueError(f"{quoted(text)} is not what a server sees (write client, host, or an address)")
    return _plain(address, text)


def as_version(value: Any) -> int:
    """A version of IP."""
    if isinstance(value, bool) or value not in (4, 6):
        raise ValueError(f"the version of IP cannot be {called(value).removeprefix('the number ')} (write 4 or 6)")
    return int(value)


def as_host_ip(value: Any) -> IPAddress:
    """The host's address of a published port."""
    return check_host(as_address(value))


@lru_cache(maxsize=1024)
def nearest(word: str, known: tuple[str, ...]) -> str:
    """The known word that `word` looks like; empty if none does."""
    # Not at the top: a right file needs none.
    from difflib import get_close_matches

    return next(iter(get_close_matches(word[:64], known, 1, 0.6)), "")


def did_you_mean(word: str, known: tuple[str, ...]) -> str:
    """A parenthesis with the nearest known word, or if none is near, all."""
    close = nearest(word, known)
    return f" (did you mean `{close}`?)" if close else f" (known are {', '.join(known)})"
