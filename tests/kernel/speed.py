"""What LiveKernel takes for N containers on one bridge: `python -m tests.kernel.speed N`.

Per container a network namespace, a veth born inside of it, marks, links up, an address and a default
route; then everything is read back. Times are in milliseconds.
Runs in namespaces of its own; needs root, or `unshare -Urnm` around it. A bridge takes 1,023 ports.
"""

from __future__ import annotations

import json
import sys
import time

from reconciler.core.messages import CreateNamespace, DeleteNamespace, Request, Scope
from reconciler.kernel.live import LiveKernel
from tests.kernel.requests import MARK, address, bridge, change, do, route, veth
from tests.support.scratch import enter_scratch

PORTS = 1000


def runs(count: int) -> dict[str, list[Request]]:
    names = [f"c{n}" for n in range(count)]
    bridges = [f"br{n}" for n in range(-(-count // PORTS))]
    links: list[Request] = [item for name in bridges for item in (bridge(name), change(name, up=True))]
    inside: list[Request] = []
    for number, name in enumerate(names):
        links.append(veth(f"v{number}", "eth0", name, master=f"br{number // PORTS}"))
        links.append(change(f"v{number}", up=True, IFLA_IFALIAS=MARK))
        inside.append(change("eth0", namespace=name, up=True, IFLA_IFALIAS=MARK))
        inside.append(
            address("eth0", f"10.{100 + number // PORTS}.{number // 250 % 4}.{number % 250 + 2}/8", namespace=name)
        )
        inside.append(route("0.0.0.0/0", "eth0", "10.99.255.254", namespace=name))
    return {
        "namespaces": [CreateNamespace(name, MARK) for name in names],
        "links": links,
        "inside": inside,
        "observe": [],
        "delete": [DeleteNamespace(name) for name in names],
    }


def main(count: int) -> None:
    enter_scratch()
    result: dict[str, float] = {"containers": count}
    with LiveKernel() as kernel:
        tasks: dict[str, list[Request]] = {"import": [bridge("warm")]}
        for name, requests in (tasks | runs(count)).items():
            start = time.perf_counter()
            if requests:
                do(kernel, *requests)
            else:
                kernel.observe(Scope())
            result[name] = round((time.perf_counter() - start) * 1e3, 1)
    apply = sum(result[name] for name in ("namespaces", "links", "inside"))
    result["apply_per_container"] = round(apply / count, 3)
    result["observe_per_container"] = round(result["observe"] / count, 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main(int(sys.argv[1]))
