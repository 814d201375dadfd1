"""`reconcile test`: the file brought about by the executor itself in scratch namespaces, and its expectations asked with real packets.

The calling process is to be in scratch namespaces (reconciler.scratch). Around the host is the world of the sandbox. Namespaces that only
others can make, those of processes and of Docker and Podman containers, have stand-ins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_interface

from reconciler import expectations, reconcile, sandbox
from reconciler.core.messages import HOST, Request
from reconciler.errors import ReconcileError, RefusedError
from reconciler.expectations import Places, Result
from reconciler.kernel.live import LiveKernel
from reconciler.lower import lower, namespace_of
from reconciler.manifest.document import Container, Docker, Document, Expectation, Netns, Pid, Podman
from reconciler.probe import Bench


def run(document: Document, asked: Sequence[Expectation], host_id: str) -> tuple[Result, ...]:
    """What comes of the expectations `asked`, in their order. Raises RefusedError if the file cannot be applied."""
    document = with_stand_ins(document)
    around = sandbox.world(document)
    places = _places(document, around)
    with LiveKernel() as kernel, Bench() as bench:
        sandbox.build(kernel, [*sandbox.prompt(HOST), *sandbox.requests(document, around), *_ends(document, places)])
        try:
            wish = lower(document, host_id)
            plan, view = reconcile.plan(kernel, wish, document.name)
            reconcile.apply(kernel, wish, plan, view.found)
        except ReconcileError as error:
            why = str(error).partition("\n")[0]
            raise RefusedError(
                f"nothing was tested, since the file cannot be applied in a scratch namespace: {why}"
            ) from error
        for one in asked:
            bench.serve(expectations.servers(document, places, one))
        probes = [(one, probe) for one in asked for probe in expectations.probes(document, places, one)]
        expected = {place for place, (one, _) in enumerate(probes) if one.allowed}
        answers = iter(bench.ask([probe for _, probe in probes], expected))
    return tuple(expectations.judge(document, places, one, [next(answers) for _ in one.versions]) for one in asked)


def with_stand_ins(document: Document) -> Document:
    """`document` with every container in a named namespace that can be made here, but machines behind TAP devices."""

    def stood_in(container: Container) -> Container:
        if not isinstance(container.attach, Pid | Docker | Podman):
            return container
        return replace(container, attach=Netns(sandbox.stand_in(namespace_of(container.attach))))

    bridges = (replace(one, containers=tuple(map(stood_in, one.containers))) for one in document.bridges)
    return replace(document, bridges=tuple(bridges))


def _places(document: Document, around: sandbox.World) -> Places:
    return Places(
        host=(around.host[0].ip, around.host[1].ip),
        others=around.others,
        outside=(around.client[0].ip, around.client[1].ip),
        client=sandbox.CLIENT,
        elsewhere=sandbox.GATEWAY,
        neighbours={
            bridge: tuple(address for address, _ in found)
            for bridge, found in expectations.neighbours(document).items()
        },
    )


def _ends(document: Document, places: Places) -> Iterator[Request]:
    """What puts the addresses there that the expectations speak of."""
    for namespace in (sandbox.GATEWAY, sandbox.CLIENT):
        yield from sandbox.prompt(namespace)
    for found in expectations.neighbours(document).values():
        for address, length in found:
            yield sandbox.neighbour(ip_interface(f"{address}/{length}"))
    known = {*places.host, *places.others, *places.outside}
    for address in expectations.strangers(document, known):
        yield sandbox.stranger(address)
