"""What the kernel can do, found out by doing it: a small host is made in scratch namespaces, by the very executor.

A list of modules or of config options would not say it: a feature may be built in, loaded on demand, or forbidden here. What is tried
is what an apply does, so what works here works there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.core.resource import State
from reconciler.errors import PlatformError, ReconcileError
from reconciler.kinds import Element, Netns, Peer, Tap, Veth

_ADDRESS = "192.0.2.1/24"  # TEST-NET-1 (RFC 5737)
_ADDRESS_6 = "2001:db8::1/64"  # RFC 3849


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that the kernel may lack. `modules` are those that it takes, `steps` files that are applied one after the other, and
    `needed` tells whether a desired State makes use of it."""

    name: str
    modules: str
    steps: tuple[str, ...]
    needed: Callable[[State], bool]


def _has(kinds: type | tuple[type, ...]) -> Callable[[State], bool]:
    return lambda state: any(isinstance(item, kinds) for item in state.resources.values())


def _publishes(state: State) -> bool:
    return any(isinstance(item, Element) and item.set.startswith("by_") for item in state.resources.values())


def _keeps_apart(state: State) -> bool:
    return any(isinstance(item, Element) and item.table.startswith("bridge ") for item in state.resources.values())


def _file(bridge: str, **containers: str) -> str:
    inside = ", ".join(f"{name}: {{{text}}}" for name, text in containers.items())
    return f"version: 1\nbridges: {{trial: {{{bridge}, containers: {{{inside}}}}}}}"


_NAT = f'addresses: [{_ADDRESS}, "{_ADDRESS_6}"]'
_BOTH = 'addresses: [192.0.2.2, "2001:db8::2"]'

FEATURES = (
    Feature("bridges and nftables", "bridge, nf_tables", (_file("mode: isolated"),), lambda state: True),
    Feature(
        "network namespaces and veth pairs",
        "veth",
        (_file(f"mode: isolated, addresses: [{_ADDRESS}]", inside="addresses: [192.0.2.2]"),),
        _has((Netns, Veth, Peer)),
    ),
    Feature("TAP devices", "tun", (_file("mode: bridged", machine="attach: {tap: trial0}"),), _has(Tap)),
    Feature(
        "NAT for IPv4 and IPv6, and published ports",
        "nft_chain_nat, nft_nat, nft_masq, nft_fib_inet, nft_ct",
        (_file(_NAT, inside=f'{_BOTH}, ports: ["8080:80", "9000-9009:9000-9009/udp"]'),),
        _publishes,
    ),
    Feature(
        "forgetting the flows of a port that moved",
        "nf_conntrack_netlink",
        (_file(_NAT, inside=f'{_BOTH}, ports: ["8080:80/udp"]'), _file(_NAT, inside=_BOTH)),
        _publishes,
    ),
    Feature(
        "containers kept from each other (icc: false)",
        "nft_meta_bridge",
        (_file(f"icc: false, {_NAT}", inside=_BOTH),),
        _keeps_apart,
    ),
)
"""All that an apply may make use of."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it: for each feature by name "" or what went wrong, and the version of libnftables, "" if there is none."""

    features: Mapping[str, str]
    nftables: str


def tried() -> Tried:
    """Tries every feature. Raises PlatformError where there are no scratch namespaces."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as pipe:
                json.dump(_all(), pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    try:
        answer = json.loads(said)
    except ValueError:
        raise PlatformError(f"the trials ended by themselves ({os.waitstatus_to_exitcode(status)})") from None
    if isinstance(answer, str):
        raise PlatformError(answer)
    return Tried(**answer)


def _all() -> dict[str, object] | str:
    """The answers, or why there are none. Moves the process into scratch namespaces."""
    from reconciler import scratch
    from reconciler.kernel import nftables

    try:
        scratch.enter()
    except PlatformError as error:
        return str(error)
    try:
        version = nftables.version()
    except PlatformError:
        version = ""
    return {"features": {feature.name: _one(feature) for feature in FEATURES}, "nftables": version}


def _one(feature: Feature) -> str:
    """Nothing, or what went wrong. What is made is removed again, for the next one to begin with nothing."""
    try:
        for text in feature.steps:
            _apply(text)
    except (ReconcileError, OSError) as error:
        return _first_line(error)
    try:
        _apply("version: 1\nbridges: {}")
    except (ReconcileError, OSError) as error:
        return f"it cannot be removed again: {_first_line(error)}"
    return ""


def _apply(text: str) -> None:
    from reconciler import reconcile
    from reconciler.kernel.live import LiveKernel
    from reconciler.lower import lower
    from reconciler.manifest import loads

    document = loads(text)
    with LiveKernel() as kernel:
        desired = lower(document, "trial")
        plan, view = reconcile.plan(kernel, desired, document.name)
        reconcile.apply(kernel, desired, plan, view.found)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].removeprefix("<string>:").strip()
