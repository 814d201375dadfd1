"""The expectations of the file: who is meant at each end, and in which families each is to hold.

What they mean for packets is said in reconciler.expectations. Nothing else of the Document depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.messages import IPAddress
from reconciler.manifest.document import OUTSIDE, PING, THE_HOST, Bridge, Container, Expectation, Port, Tap
from reconciler.manifest.model import ExpectModel
from reconciler.manifest.position import Position, quoted
from reconciler.manifest.values import nearest
from reconciler.manifest.work import Resolver
from reconciler.manifest.yaml import Path

_BOTH = frozenset({4, 6})
_Identity = tuple[str, str, IPAddress | None, int | None, str, int]


def resolve_expectations(work: Resolver, bridges: tuple[Bridge, ...]) -> Iterator[Expectation]:
    """Every expectation that makes sense; what does not is noted."""
    if not work.model.expect:
        return
    containers: dict[str, list[tuple[Bridge, Container]]] = {}
    for bridge in bridges:
        for container in bridge.containers:
            containers.setdefault(container.name, []).append((bridge, container))
    seen: dict[_Identity, Position] = {}
    for place, model in enumerate(work.model.expect):
        path: Path = ("expect", place)
        found = _Line(work, containers, path, model).resolve()
        if found is None:
            continue
        for version in found.versions:
            identity = (found.source, found.target, found.address, found.port, found.protocol, version)
            first = seen.setdefault(identity, found.position)
            if first is not found.position:
                where = first.seen_from(found.position)
                work.problem(path, f"{model.source} to the same destination is expected already, {where} (keep one)")
                break
        yield found


class _Line:
    """One expectation, held against the containers that there are."""

    def __init__(
        self,
        work: Resolver,
        containers: dict[str, list[tuple[Bridge, Container]]],
        path: Path,
        model: ExpectModel,
    ) -> None:
        self.work, self.containers, self.path, self.model = work, containers, path, model
        self.fine = True

    def resolve(self) -> Expectation | None:
        """The expectation; None if something is wrong, which is noted."""
        model = self.model
        self._check_name("from", model.source)
        if model.to.name:
            self._check_name("to", model.to.name)
        if model.reaches is not None:
            self._check_name("reaches", model.reaches)
        if not self.fine:
            return None
        self._check_protocol()
        self._check_ends()
        self._check_answer()
        versions = self._versions() if self.fine else ()
        if not self.fine:
            return None
        to = model.to
        return Expectation(
            source=model.source,
            target=to.name,
            address=to.address,
            port=to.port,
            protocol=PING if to.port is None else to.protocol or model.protocol or "tcp",
            reaches=model.reaches,
            allowed=model.allowed,
            seen_as=model.seen_as,
            versions=versions,
            position=self.work.at(self.path),
        )

    def _problem(self, key: str, message: str) -> None:
        self.fine = False
        self.work.problem((*self.path, key) if key else self.path, message)

    # --- names ---

    def _check_name(self, key: str, name: str) -> None:
        """Whether there is something of that name, just one, and something to send and answer with."""
        if name in (THE_HOST, OUTSIDE):
            if name in self.containers:
                meant = "this host" if name == THE_HOST else "a client outside"
                self._problem(key, f"{name} is {meant} here, and a container is called so too (rename the container)")
        elif name not in self.containers:
            close = nearest(name, (THE_HOST, OUTSIDE, *self.containers))
            remedy = f"did you mean `{close}`?" if close else "write outside, host, or a container of the file"
            self._problem(key, f"there is no container {quoted(name)} ({remedy})")
        elif any(isinstance(one.attach, Tap) for _, one in self.containers[name]):
            self._problem(key, f"{name} is a virtual machine, whose inside is not ours (name another end)")
        elif not self._own(name):
            self._problem(key, f"{name} has no address to be tested with (give it `addresses`)")

    def _own(self, name: str) -> frozenset[int]:
        """The families that an end has."""
        if name in (THE_HOST, OUTSIDE):
            return _BOTH
        return frozenset(address.version for _, one in self.containers.get(name, ()) for address in one.addresses)

    # --- what goes together ---

    def _check_protocol(self) -> None:
        to, given = self.model.to, self.model.protocol
        if given is not None and to.port is None:
            self._problem("protocol", "without a port this is a ping, which has no protocol (give `to` a port)")
        elif given is not None and to.protocol not in (None, given):
            self._problem("protocol", f"`to` says {to.protocol} already (keep one of the two)")

    def _check_ends(self) -> None:
        """Packets are to come by this host: neither from outside to outside, nor from elsewhere to its loopback."""
        source, to = self.model.source, self.model.to
        if source == OUTSIDE and to.name == OUTSIDE:
            self._problem("to", "from outside to outside, nothing comes by this host (name another end)")
        if to.address is not None and to.address.is_loopback and source != THE_HOST:
            self._problem("to", f"{to.address} is everyone's own (write `from: host`, or name another address)")
        machines = self._asked_machines()
        if machines:
            self._problem(
                "to", f"this leads to {machines[0]}, a virtual machine, whose inside is not ours (name another end)"
            )

    def _asked_machines(self) -> list[str]:
        """The virtual machines that packets to the destination go to, if they go to nobody else."""
        to = self.model.to
        if to.name not in ("", THE_HOST) or self.model.reaches is not None:
            return []
        found = [one for _, one, _ in self._publishers()]
        if to.address is not None:
            owners = (one for inners in self.containers.values() for _, one in inners)
            found = [one for one in owners if to.address in {own.ip for own in one.addresses}] or found
        return [one.name for one in found] if all(isinstance(one.attach, Tap) for one in found) else []

    def _publishers(self) -> Iterator[tuple[Bridge, Container, Port]]:
        """Who publishes the port that is asked for, on whichever address."""
        to = self.model.to
        protocol = to.protocol or self.model.protocol or "tcp"
        for inners in self.containers.values():
            for bridge, container in inners:
                for port in container.ports:
                    if to.port and port.protocol == protocol and port.published[0] <= to.port <= port.published[1]:
                        yield bridge, container, port

    def _check_answer(self) -> None:
        model = self.model
        reaches, target = model.reaches, model.to.name
        if model.to.port is None:
            for key, given in (("reaches", reaches), ("as", model.seen_as)):
                if given is not None:
                    self._problem(key, f"a ping does not tell {key!r} (give `to` a port, or remove this)")
        elif reaches is not None and target not in ("", THE_HOST, reaches):
            # What is asked at its own address is the one that answers.
            self._problem("reaches", f"at {target}, only {target} can answer (remove `reaches`)")
        if not model.allowed and model.seen_as is not None:
            self._problem("as", "who must not be reached sees nobody (remove `as`)")

    # --- families ---

    def _versions(self) -> tuple[int, ...]:
        """The families in which this is to hold. Notes if there is none."""
        model, to = self.model, self.model.to
        asked = _BOTH if to.address is None else frozenset({to.address.version})
        ends = [model.source, *([to.name] if to.name else []), *([model.reaches] if model.reaches else [])]
        common = asked.intersection(*(self._own(name) for name in ends))
        if not isinstance(model.seen_as, str | None):
            common &= {model.seen_as.version}
        if model.version is not None:
            common &= {model.version}
        if not common:
            said = f"in IPv{model.version}" if model.version else "in one family"
            self._problem(
                "version" if model.version else "", f"not all of it can be {said} (see what `addresses` there are)"
            )
        published = self._published_in(common) if to.name == THE_HOST and model.allowed else frozenset()
        return tuple(sorted(published or common))

    def _published_in(self, versions: frozenset[int]) -> frozenset[int]:
        """Those of `versions` in which somebody publishes what is asked of the host: nobody has to in a family that it has not."""
        if self.model.reaches is not None or self.model.version is not None:
            return frozenset()
        found: set[int] = set()
        for _, container, port in self._publishers():
            own = {address.version for address in container.addresses}
            found |= own if port.host_ip is None else {port.host_ip.version}
        return versions & found
