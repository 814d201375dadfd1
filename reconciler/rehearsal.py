"""A plan rehearsed: the state that it rests on brought up in scratch namespaces, and the plan done there by the executor itself.

That finds what no look at the text can find, `nft -c` included, and what the marks of a plan only guess: through every TCP port that both
states publish a flow is kept open, and the flows that the change cuts are held against the steps that are marked disruptive.

What is ours is there as it was found. What is not ours to make, uplinks and the namespaces of others, has stand-ins, and around the host
is the world of the sandbox. Weak spot: other tables of the host, which may drop packets, and the load of a real host are not there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, TypeVar

from reconciler import basis, reconcile, sandbox, scratch
from reconciler.core.messages import HOST, CreateNamespace, IPAddress, IPNetwork, Request
from reconciler.core.plan import Plan, Step
from reconciler.core.planner import Policy
from reconciler.core.planner import plan as make_plan
from reconciler.core.resource import UNKNOWN, Key, Resource, State
from reconciler.errors import PlatformError, ReconcileError, RefusedError
from reconciler.expectations import Outcome, Probe, Server
from reconciler.kernel.live import LiveKernel
from reconciler.kinds import Address, Bridge, BridgePort, Element, Netns, Peer, Route, Sysctl, Veth, decode
from reconciler.kinds.layout import PUBLISHING
from reconciler.kinds.links import link_key, netns_key
from reconciler.manifest.document import Document
from reconciler.probe import Bench, Flow
from reconciler.reconcile import View

_SHOWN = 10
"""Of a list, so many are told; the rest is counted."""
_MADE_BY_OTHERS = "others"
_R = TypeVar("_R", bound=Resource)


@dataclass(frozen=True, slots=True)
class Cut:
    """A flow that the change cut. `marked` are the steps on its way that the plan marks as disruptive."""

    published: str
    to: str
    marked: tuple[str, ...]

    def __str__(self) -> str:
        by = f" ({_counted(self.marked, 3)})" if self.marked else ""
        return f"{self.published} → {self.to}{by}"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How it went. `lines` say it to people, one sentence each; `flows` is how many were open when the change began."""

    ok: bool
    lines: tuple[str, ...]
    flows: int = 0
    cut: tuple[Cut, ...] = ()

    def json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        cut = [{"published": one.published, "to": one.to, "marked": list(one.marked)} for one in self.cut]
        return {"ok": self.ok, "lines": list(self.lines), "flows": self.flows, "cut": cut}


def rehearse(plan: Plan, view: View, policy: Policy = Policy()) -> Rehearsal:
    """Does `plan`, which was made of `view`, in scratch namespaces. The calling process stays where it is, and needs no root.

    Raises nothing on purpose: what forbids a rehearsal, and what went wrong in it, is in its lines.
    """
    if plan.conflicts:
        return Rehearsal(False, ("nothing was rehearsed: what is in the way has to be settled first",))
    if not plan.steps:
        return Rehearsal(True, ("nothing was rehearsed: there is nothing to do",))
    try:
        return scratch.run(lambda: _Stage(plan, view, policy).perform())
    except PlatformError as error:
        return Rehearsal(False, (f"nothing was rehearsed: {error}",))
    except ReconcileError as error:
        return Rehearsal(False, (f"the rehearsal failed: {_plain(str(error))}",))


def _plain(text: str) -> str:
    """`text` with things called as on the host."""
    return text.replace(sandbox.stand_in(""), "")


def _counted(items: Sequence[str], shown: int = _SHOWN) -> str:
    rest = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {rest} more" if rest > 0 else "")


# --- what is brought up ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the plan is rehearsed on: `before` and `desired`, with stand-ins' names, and what is there before them."""

    before: State
    desired: State
    namespaces: tuple[str, ...]
    """Made by others."""
    links: tuple[str, ...]
    """Made by others, on the host."""
    lost: tuple[str, ...]
    """What cannot be brought up as it was found."""


def _scene(plan: Plan, view: View) -> _Scene:
    """Of all that was found: what is ours, what the plan touches, and what these rest on."""
    found, owner = view.found.resources, plan.owner
    touched = {step.key for step in plan.steps if step.before is not None}
    kept: dict[Key, Resource] = {}
    lost = []
    links: dict[str, None] = {}
    for key, item in found.items():
        if isinstance(item, Sysctl):
            if item.value != basis.UNKNOWN_SETTING:
                kept[key] = item
        elif item.owner == owner or (item.owner == UNKNOWN and _on_ours(item, found, owner)):
            if reconcile.cannot_be_made_again(item):
                lost.append(item.label)
            else:
                kept[key] = item
        elif key in touched:
            if isinstance(item, Bridge | BridgePort | Address | Route):
                kept[key] = item
            elif key.space == "link" and key.namespace == HOST:
                links[key.name] = None
    rests_on = {
        need for item in (*kept.values(), *view.desired.resources.values()) for need in (*item.inside(), *item.needs())
    }
    strange = [key for key in found if key in {*rests_on, *view.desired.resources} and key not in kept]
    for key in strange:
        if key.space == "link" and key.namespace == HOST and key not in view.desired.resources:
            links[key.name] = None
    namespaces = [key.name for key in strange if key.space == "netns"]
    kept |= {item.key: item for item in _unseen_settings(kept, found)}
    there = {*kept, *(link_key(HOST, name) for name in links), *map(netns_key, namespaces)}
    kept = _standing(kept, there)
    names = {name: sandbox.stand_in(name) for name in namespaces if ":" in name}
    return _Scene(
        before=_renamed(State(kept), names),
        desired=_renamed(view.desired, names),
        namespaces=tuple(names.get(name, name) for name in namespaces),
        links=tuple(links),
        lost=tuple(lost),
    )


def _unseen_settings(kept: Mapping[Key, Resource], found: Mapping[Key, Resource]) -> Iterator[Sysctl]:
    """What our bridges were given and was not looked at, since the wish does not speak of it (reconciler.lower.guard_bridge)."""
    for item in kept.values():
        if isinstance(item, Element) and item.set == "arrive":
            name = f"net.ipv4.conf.{item.match[0].replace('.', '/')}.route_localnet"
            setting = Sysctl(namespace=HOST, name=name, value="1")
            if setting.key not in found:
                yield setting


def _on_ours(item: Resource, found: Mapping[Key, Resource], owner: str) -> bool:
    return any(key in found and found[key].owner == owner for key in item.inside())


def _standing(kept: Mapping[Key, Resource], there: Set[Key]) -> dict[Key, Resource]:
    """Those of `kept` that have something to stand on: without those inside of what is not `there`, and what these carry."""
    while True:
        left = {key: item for key, item in kept.items() if all(need in there for need in item.inside())}
        if len(left) == len(kept):
            return left
        there = there - (kept.keys() - left.keys())
        kept = left


def _renamed(state: State, names: Mapping[str, str]) -> State:
    """`state` with each of the namespaces `names` called as it says."""
    if not names:
        return state
    moved = {key: _moved(item, names) for key, item in state.resources.items()}
    origins = {moved[key].key: origin for key, origin in state.origins.items() if key in moved}
    return State({item.key: item for item in moved.values()}, origins, state.notes)


def _moved(item: Resource, names: Mapping[str, str]) -> Resource:
    def key(one: Key) -> Key:
        if one.space == "netns":
            return netns_key(names.get(one.name, one.name))
        return one._replace(namespace=names.get(one.namespace, one.namespace))

    match item:
        case Netns():
            return replace(item, name=names.get(item.name, item.name))
        case Veth(peer=(namespace, name)):
            return replace(item, peer=(names.get(namespace, namespace), name))
        case Element():
            return replace(item, waits_for=tuple(map(key, item.waits_for)))
        case Peer() | Address() | Route() | Sysctl():
            return _in(item, names.get(item.namespace, item.namespace))
    return item


def _in(item: Any, namespace: str) -> Resource:
    moved: Resource = replace(item, namespace=namespace)
    return moved


# --- what is published -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Way:
    """A published port or range of TCP ports. `address` None is every address of the host."""

    element: Element
    version: int
    address: IPAddress | None
    ports: tuple[int, int]

    def covers(self, version: int, address: IPAddress | None, port: int) -> bool:
        """Whether what is addressed like that goes this way, if no other is more specific."""
        return self.version == version and self.address in (None, address) and self.ports[0] <= port <= self.ports[1]

    def target(self, port: int) -> tuple[IPAddress, int]:
        """Where it leads."""
        address, *number = self.element.data
        return ip_address(address), int(number[0]) if number else port


def ways(state: State) -> list[_Way]:
    """All that is published over TCP, the more specific first, as a packet is looked up (reconciler.kinds.layout)."""
    found = []
    for item in _of(state, Element):
        publishing = PUBLISHING.get(item.set)
        if publishing is None:
            continue
        *address, protocol, ports = item.match
        first, _, last = ports.partition("-")
        if protocol == "tcp":
            host = ip_address(address[0]) if address else None
            found.append(_Way(item, publishing.version, host, (int(first), int(last or first))))
    return sorted(found, key=lambda way: (way.address is None, way.ports[0] != way.ports[1]))


def _of(state: State, kind: type[_R]) -> Iterator[_R]:
    return (item for item in state.resources.values() if isinstance(item, kind))


def shared(before: Sequence[_Way], after: Sequence[_Way]) -> Iterator[tuple[_Way, int]]:
    """(way, port) for all that both publish. Of a range those ports are enough at which something begins or ends in either."""
    ends = {version: set[int]() for version in (4, 6)}
    for way in (*before, *after):
        ends[way.version] |= {way.ports[0] - 1, *way.ports, way.ports[1] + 1}
    for way in before:
        first, last = way.ports
        for port in sorted(one for one in ends[way.version] if first <= one <= last) if first != last else [first]:
            asked = way.version, way.address, port
            own = next(one for one in before if one.covers(*asked))
            if own is way and any(one.covers(*asked) for one in after):
                yield way, port


# --- the way of a flow -----------------------------------------------------------------------------------------------


_Sign = tuple[str, object]
"""What tells that a thing is on the way of a flow: a namespace, a link of the host, a word of the firewall."""


@dataclass(frozen=True, slots=True)
class _Passage:
    """A flow's question, who is to answer it, and the signs of what is on its way."""

    way: _Way
    port: int
    probe: Probe
    server: Server
    signs: frozenset[_Sign]

    @property
    def label(self) -> str:
        """What it is published as."""
        address = self.way.address or ip_address("0.0.0.0" if self.way.version == 4 else "::")
        return f"{_bracketed(address)}:{self.port}"

    @property
    def to(self) -> str:
        """Where it leads."""
        return f"{_plain(self.server.name)} {_bracketed(self.server.address)}:{self.server.port}"


def _bracketed(address: IPAddress) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _signs(step: Step) -> set[_Sign]:
    """The signs of what `step` changes: it is on the way of flows that have one of them."""
    item = step.before or step.subject
    key = item.key
    if key.namespace != HOST or key.space == "netns":
        return {("namespace", key.namespace or key.name)}
    match item:
        case Element():
            return {("port", key)} if item.set in PUBLISHING else {("word", word) for word in item.match}
        case Address() | BridgePort():
            return {("link", item.link)}
        case Sysctl():
            return {("link", outer.name) for outer in item.inside()}
    return {("link", key.name)} if key.space == "link" else {("firewall", "")}


def _passages(
    before: State, found: Iterable[tuple[_Way, int]], host: tuple[IPAddress, IPAddress]
) -> Iterator[_Passage]:
    """Those of `found` that lead to a container, and not to a machine whose inside is not ours."""
    inner = {item.address.ip: item for item in _of(before, Address) if item.namespace != HOST}
    peers = {item.key: item for item in _of(before, Peer)}
    bridges = {item.link: item.bridge for item in _of(before, BridgePort)}
    subnets = defaultdict[str, set[str]](set)
    for item in _of(before, Address):
        if item.namespace == HOST:
            subnets[item.link].add(str(item.address.network))
    for way, port in found:
        target, number = way.target(port)
        address = inner.get(target)
        if address is None:
            continue
        peer = peers.get(link_key(address.namespace, address.link))
        link = peer.host if peer and peer.host else ""
        bridge = bridges.get(link, "")
        links = {link, bridge} - {""}
        words = {*links, *subnets[bridge], str(target)}
        asked = way.address or host[0 if way.version == 4 else 1]
        yield _Passage(
            way,
            port,
            Probe(HOST if asked.is_loopback else sandbox.CLIENT, "tcp", asked, port),
            Server(address.namespace, address.namespace, "tcp", target, number),
            frozenset(
                {
                    ("namespace", address.namespace),
                    ("port", way.element.key),
                    ("firewall", ""),
                    *(("link", one) for one in links),
                    *(("word", one) for one in words),
                }
            ),
        )


# --- the rehearsal ---------------------------------------------------------------------------------------------------


class _Stage:
    """One rehearsal, in the process that is in scratch namespaces."""

    def __init__(self, plan: Plan, view: View, policy: Policy) -> None:
        self.shown, self.policy, self.owner = plan, policy, plan.owner
        self.scene = _scene(plan, view)
        self.lines: list[str] = []
        self.notes: list[str] = []
        """What comes behind the lines."""
        self.ok = True
        self.published = 0
        """How many TCP ports there are before and after."""

    def perform(self) -> Rehearsal:
        """Everything. Raises ReconcileError if something cannot be done."""
        with LiveKernel() as kernel, Bench() as bench:
            host = self._build(kernel)
            passages = self._ask(host, bench.room)
            bench.serve(passage.server for passage in passages)
            opened = self._opened(passages, bench.connect([passage.probe for passage in passages]))
            plan = self._apply(kernel)
            alive = bench.alive([flow for _, flow in opened])
        self._tell_scene()
        lost = [passage for (passage, _), lives in zip(opened, alive, strict=True) if not lives]
        cut = tuple(_cuts(plan, lost))
        self._tell_flows(len(opened), cut)
        self._tell_marks(plan, [passage for passage, _ in opened], lost)
        return Rehearsal(self.ok, tuple(map(_plain, [*self.lines, *self.notes])), len(opened), cut)

    # --- the state before ---

    def _build(self, kernel: LiveKernel) -> tuple[IPAddress, IPAddress]:
        """The world, and in it the host as it was. Returns its addresses."""
        scene = self.scene
        bare = Document(self.owner, (), ())
        around = sandbox.world(bare, _published_on(scene), _networks(scene), {*_link_names(scene), *scene.links})
        requests: list[Request] = [*sandbox.prompt(HOST)]
        requests += [CreateNamespace(name, _MADE_BY_OTHERS) for name in scene.namespaces]
        requests += sandbox.requests(bare, around)
        for number, name in enumerate(scene.links):
            # Not in the same LAN, where the host would be heard by two links once one is given back.
            requests += sandbox.loose_link(name, number)
        sandbox.build(kernel, requests)
        scope = reconcile.scope_of(scene.before, self.owner)
        first = make_plan(scene.before, decode(kernel.observe(scope)), self.owner, Policy(adopt=True))
        outcome = reconcile.perform(kernel, first.steps)
        if outcome.failures:
            why = reconcile.explain(outcome.failures[0], first.steps)
            raise RefusedError(f"the state before the change cannot be brought about: {why}")
        return around.host[0].ip, around.host[1].ip

    # --- the flows ---

    def _ask(self, host: tuple[IPAddress, IPAddress], room: int) -> list[_Passage]:
        found = list(shared(ways(self.scene.before), ways(self.scene.desired)))
        passages = list(_passages(self.scene.before, found, host))
        self.published = len(found)
        if len(passages) < len(found):
            count = _counted_ports(len(found) - len(passages))
            self.notes.append(
                f"{count} to no container that is there (but to a machine, say): no flow was opened there"
            )
        if len(passages) > room:
            self.notes.append(f"flows were opened through {room} ports only: there are file descriptors for no more")
        return passages[:room]

    def _opened(self, passages: Sequence[_Passage], flows: Sequence[Flow]) -> list[tuple[_Passage, Flow]]:
        pairs = list(zip(passages, flows, strict=True))
        mute = [
            f"{passage.label} ({flow.answer.outcome})"
            for passage, flow in pairs
            if flow.answer.outcome is not Outcome.REACHED
        ]
        if mute:
            self.notes.append(f"not reached even before the change, so not watched: {_counted(mute)}")
        return [(passage, flow) for passage, flow in pairs if flow.answer.outcome is Outcome.REACHED]

    # --- the change ---

    def _apply(self, kernel: LiveKernel) -> Plan:
        """Performs the plan, made anew here, and looks again."""
        desired = self.scene.desired
        plan, view = reconcile.plan(kernel, desired, self.owner, self.policy)
        try:
            reconcile.apply(kernel, desired, plan, view.found, self.policy)
        except ReconcileError as error:
            raise RefusedError(str(error).partition("\n")[0]) from error
        again, _ = reconcile.plan(kernel, desired, self.owner, self.policy)
        if again.steps:
            self.ok = False
            labels = [f"{step.action} {step.subject.label}" for step in again.steps]
            self.lines.append(f"it does not come to rest: a second look would {_counted(labels)}")
        else:
            count = len(plan.steps)
            self.lines.append(
                f"{count} {'step' if count == 1 else 'steps'} done in a scratch namespace; a second look finds nothing to change"
            )
        self._compare(plan)
        return plan

    def _compare(self, plan: Plan) -> None:
        """Says what of the plan that is shown was not done here, or the other way round."""

        def names(steps: Iterable[Step]) -> dict[str, None]:
            return dict.fromkeys(f"{step.action} {_plain(step.subject.label)}" for step in steps)

        here, there = names(plan.steps), names(self.shown.steps)
        for what, missing in (
            ("not rehearsed", [name for name in there if name not in here]),
            ("rehearsed besides", [name for name in here if name not in there]),
        ):
            if missing:
                self.notes.append(f"{what}: {_counted(missing)}")

    # --- what is told ---

    def _tell_scene(self) -> None:
        scene = self.scene
        others = [f"the link {name}" for name in scene.links]
        others += [f"the network namespace {name}" for name in scene.namespaces]
        if others:
            self.notes.append(f"stand-ins for what others made: {_counted(others)}")
        if scene.lost:
            self.notes.append(f"not brought up as found, since it cannot be made again: {_counted(scene.lost)}")
        waiting = list(dict.fromkeys(str(item.missing) for item in self.shown.pending))
        if waiting:
            self.notes.append(
                f"not rehearsed, since it waits for what is not there: all that needs {_counted(waiting)}"
            )

    def _tell_flows(self, opened: int, cut: Sequence[Cut]) -> None:
        if not opened:
            why = "could be reached before" if self.published else "is published before and after"
            self.lines.append(f"no TCP port {why}, so no flow was watched")
            return
        flows = "1 TCP flow" if opened == 1 else f"{opened} TCP flows"
        fate = f"cut {len(cut)}" if cut else "cut none"
        self.lines.append(f"{flows} through what is published before and after: the change {fate}")
        expected, strange = [one for one in cut if one.marked], [one for one in cut if not one.marked]
        self.lines += [f"cut, as the plan says: {one}" for one in expected[:_SHOWN]]
        if len(expected) > _SHOWN:
            self.lines.append(f"cut, as the plan says: {len(expected) - _SHOWN} more")
        for one in strange:
            self.ok = False
            self.lines.append(f"warning: cut, and the plan does not say so: {one}")

    def _tell_marks(self, plan: Plan, watched: Sequence[_Passage], lost: Sequence[_Passage]) -> None:
        """Says which marks cut nothing of what was watched on their way. What only goes is no mark: nothing is meant to live on there."""
        coming = {step.key for step in plan.steps if step.after is not None}
        passed = set[_Sign]().union(*(passage.signs for passage in watched))
        cut_off = set[_Sign]().union(*(passage.signs for passage in lost))
        idle = {}
        for step in plan.steps:
            if step.disruptive and step.key in coming:
                signs = _signs(step)
                if not signs.isdisjoint(passed) and signs.isdisjoint(cut_off):
                    idle[step.key] = step
        named = [
            f"{'replace' if step.after is None else step.action} {step.subject.label}"
            for step in idle.values()
            if not any(outer in idle for outer in step.subject.inside())
        ]
        if named:
            self.lines.append(f"marked as disruptive, though every flow on the way lived on: {_counted(named)}")


def _cuts(plan: Plan, lost: Iterable[_Passage]) -> Iterator[Cut]:
    """What was cut, each with the marks on its way."""
    by_sign = defaultdict[_Sign, list[Step]](list)
    for step in plan.steps:
        if step.disruptive and not step.implied:
            for sign in _signs(step):
                by_sign[sign].append(step)
    for passage in lost:
        steps = [step for sign in passage.signs for step in by_sign[sign]]
        # The nearer to this one flow, the more it tells: a port before an address, that before a link.
        steps.sort(key=lambda step: (-step.subject.rank, step.key))
        labels = dict.fromkeys(f"{step.action} {_plain(step.subject.label)}" for step in steps)
        yield Cut(passage.label, passage.to, tuple(labels))


def _counted_ports(count: int) -> str:
    return "1 published port leads" if count == 1 else f"{count} published ports lead"


def _published_on(scene: _Scene) -> list[IPAddress]:
    """The addresses that something is published on, and that neither state gives the host."""
    given = {item.address.ip for state in (scene.before, scene.desired) for item in _of(state, Address)}
    asked = (way.address for state in (scene.before, scene.desired) for way in ways(state))
    return [one for one in dict.fromkeys(asked) if one is not None and one not in given and not one.is_loopback]


def _networks(scene: _Scene) -> list[IPNetwork]:
    return [item.address.network for state in (scene.before, scene.desired) for item in _of(state, Address)]


def _link_names(scene: _Scene) -> set[str]:
    return {
        key.name
        for state in (scene.before, scene.desired)
        for key in state.resources
        if key.space == "link" and key.namespace == HOST
    }
