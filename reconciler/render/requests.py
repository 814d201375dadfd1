"""Requests spelled out on one line each, for people who want to see what crosses to the kernel."""

from __future__ import annotations

from reconciler.core.messages import (
    Attributes,
    CreateNamespace,
    CreateTap,
    DeleteNamespace,
    FlushConntrack,
    Index,
    NamespaceFd,
    Netlink,
    Nft,
    NftElement,
    Request,
    Value,
    WriteSysctl,
)


def request_text(request: Request) -> str:
    """`request` on one line (not escaped): netlink by the kernel's names, everything else as one would type
    it."""
    match request:
        case Netlink():
            return _within(request.namespace, _netlink(request))
        case Nft():
            return f"nft {request.text}"
        case NftElement():
            return f"nft {request.verb} element {request.table} {request.set} {{ {request.text} }}"
        case WriteSysctl():
            return _within(request.namespace, f"sysctl -w {request.name}={request.value}")
        case CreateNamespace():
            return f"ip netns add {request.name} (alias of lo: {request.alias})"
        case DeleteNamespace():
            return f"ip netns del {request.name}"
        case CreateTap():
            return _within(request.namespace, _tap(request))
        case FlushConntrack():
            return _conntrack(request)


def _within(namespace: str, text: str) -> str:
    return f"[{namespace}] {text}" if namespace else text


def _netlink(request: Netlink) -> str:
    header = [f"{name}={_value(value)}" for name, value in request.header]
    return " ".join([request.type, *request.flags, *header, *_attributes(request.attributes)])


def _attributes(attributes: Attributes) -> list[str]:
    return [f"{name}={_value(value)}" for name, value in attributes.items]


def _value(value: Value) -> str:
    match value:
        case Attributes():
            return "{" + " ".join(_attributes(value)) + "}"
        case Index():
            return f"<index of {value.name}>"
        case NamespaceFd():
            return f"<fd of {value.namespace}>"
        case bytes():
            return f"0x{value.hex()}"
        case _:
            return str(value)


def _tap(request: CreateTap) -> str:
    mac = f", mac: {request.mac}" if request.mac else ""
    return f"ip tuntap add {request.name} mode tap (alias: {request.alias}{mac})"


def _conntrack(request: FlushConntrack) -> str:
    first, last = request.ports
    ports = str(first) if first == last else f"{first}-{last}"
    to = f" -d {request.address}" if request.address else ""
    target = f"sent to {request.target}" if request.target else "not translated"
    return f"conntrack -D -f ipv{request.version} -p {request.protocol}{to} --dport {ports} (flows {target})"
