"""The scratch namespace as it was in the beginning: nothing in it but `lo`."""

from __future__ import annotations

import time

from reconciler.core.messages import HOST, DeleteNamespace, Index, Netlink, Nft, Request, Scope, WriteSysctl
from reconciler.kernel.live import LiveKernel

DEFAULTS = {
    "net.ipv4.ip_forward": "0",
    "net.ipv6.conf.all.forwarding": "0",
    "net.ipv4.conf.all.promote_secondaries": "0",
    "net.ipv4.conf.default.promote_secondaries": "0",
    "net.ipv6.conf.all.disable_ipv6": "0",
}
"""What the model kernel begins with. A namespace inherits some of it from the machine (devconf_inherit_init_net)."""


def wipe() -> None:
    """Remove all links, namespaces and nftables from the scratch namespace, and wait until they are gone."""
    with LiveKernel() as kernel:
        snapshot = kernel.observe(Scope())
        for link in snapshot.namespaces[HOST].links:
            if link.name != "lo":  # the other end of a pair may have gone with it: no matter
                kernel.submit([Netlink(HOST, "RTM_DELLINK", (), (("index", Index(link.name)),))])
        requests: list[Request] = [DeleteNamespace(name) for name in snapshot.namespaces if name != HOST]
        lo_up = (("index", Index("lo")), ("flags", 1), ("change", 1))
        requests += [Netlink(HOST, "RTM_SETLINK", (), lo_up), Nft("flush ruleset")]
        requests += [WriteSysctl(HOST, name, value) for name, value in DEFAULTS.items()]
        assert kernel.submit(requests).failures == ()
        for _ in range(200):
            if len(kernel.observe(Scope()).namespaces[HOST].links) == 1:
                return
            time.sleep(0.01)
        raise AssertionError("the scratch namespace could not be emptied")
