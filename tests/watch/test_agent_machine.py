"""The agent through random days: files good, refused and broken, suspensions, damage, runs by hand that await confirmation, restarts.

What is so after each step is told by a small model of what the agent promises (docs/watch.md), and held against the kernel and the agent's
own word. AGENT_DAYS=200 lives so many days (some seconds each), others than the same ones, of AGENT_STEPS=20 steps.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from reconciler import confirm, reconcile
from reconciler.cli import context
from reconciler.core import guards
from reconciler.core.plan import Plan
from reconciler.core.resource import State
from reconciler.kernel.live import LiveKernel
from reconciler.lower import lower
from reconciler.manifest import from_texts
from reconciler.watch import control
from reconciler.watch.mirror import described
from reconciler.watch.source import Files
from tests.cli.host import Host, rules, until
from tests.watch.test_agent import Agent, replace

DAYS = int(os.environ.get("AGENT_DAYS", "6"))
STEPS = int(os.environ.get("AGENT_STEPS", "10"))

KEPT = """\
version: 1
bridges:
  br-kept:
    addresses: [10.88.7.1/24]
    containers:
      one: {addresses: [10.88.7.10], ports: ["7001:80"]}
      two: {addresses: [10.88.7.11]}
      three: {addresses: [10.88.7.12]}
"""
LIMIT = 20
"""Deletions: fewer than it takes to do away with br-kept, more than any good file asks of another."""


@st.composite
def good(draw: st.DrawFn) -> str:
    """A file that is taken up, whatever was before."""
    text = KEPT + "  br-web:\n    addresses: [10.88.0.1/24]\n"
    text += draw(st.sampled_from(["", "    mtu: 1400\n"]))
    inner = draw(st.sampled_from([web(8080), web(8081), web(8081, 1300), ""])) + draw(st.sampled_from([DB, ""]))
    return text + (f"    containers:\n{inner}" if inner else "")


def web(port: int, mtu: int = 0) -> str:
    inside = f"        mtu: {mtu}\n" if mtu else ""
    return f'      web:\n        addresses: [10.88.0.10]\n{inside}        ports:\n          - "{port}:80"\n'


DB = "      db:\n        addresses: [10.88.0.11]\n"
REFUSED = [
    "version: 1\nbridges:\n  br-other:\n    addresses: [10.88.9.1/24]\n    containers:\n      new:\n        addresses: [10.88.9.9]\n"
    f'        ports:\n          - "{port}:80"\n'
    for port in (9001, 9002)
]
"""Files that delete more than LIMIT; between the two, no more than a port differs."""
FAILS = "[10.88.7.11], sysctls: {net.ipv4.no_such_thing: 1}"
"""What a file fails with; with --atomic it leaves nothing behind."""
BROKEN = {
    "version: 1\nbridges: {br-web: [\n": 3,
    "version: 1\n": 4,
}
"""Files that are invalid, or empty, each with how an agent ends that is to begin with it."""
DAMAGE = (
    "ip link del br-web",
    "ip netns del web",
    "ip link set br-web down",
    "ip address flush dev br-web",
    "ip netns exec web ip address flush dev eth0",
    "ip netns exec web ip link del eth0",
    "nft delete element inet reconciler by_any4 '{ tcp . 8080 }'",
    "nft delete element inet reconciler by_any4 '{ tcp . 8081 }'",
    "nft add element inet reconciler by_any4 '{ tcp . 9999 : 10.88.0.11 . 80 }'",
    "nft flush ruleset",
)
PATIENCE = 4
"""So often a thing may be damaged before the agent says that it is fought over (Rates.quarrel)."""
OPTIONS = ((), (), (), (), ("--atomic",), ("--protect", "198.51.100.1"), ("--drift", "report"))


def differing(text: str) -> Plan:
    """What is to be done so that the host is as `text` says."""
    with LiveKernel(read_only=True) as kernel:
        return reconcile.plan(kernel, wanted(text), "default")[0]


def wanted(text: str) -> State:
    """What `text` asks of this host."""
    return lower(from_texts([("-", text)]), context.host_id())


class Days(RuleBasedStateMachine):
    """`accepted` is what the host is kept at, `coming` a file that waits until it may be done, `refused` one that is not tried again."""

    host: Host

    def __init__(self) -> None:
        super().__init__()
        self.file = self.host.folder / "reconcile.yaml"
        self.agent: Agent | None = None
        self.waiting: subprocess.Popen[str] | None = None
        self.text, self.earlier = "", list[str]()
        self.accepted: str | None = None
        self.coming: str | None = None
        self.refused: str | None = None
        self.says_refused = self.says_invalid = False
        self.suspended = False
        self.damaged = 0
        self.seen: tuple[Any, ...] = ()

    # --- the model ---

    @property
    def frozen(self) -> bool:
        return self.suspended or self.waiting is not None or self.reports

    @property
    def reports(self) -> bool:
        return "report" in self.options

    def refuses(self, text: str) -> bool:
        """Whether a guard, or what was before, forbids it."""
        undone = confirm.last_rolled_back("default")
        return (
            FAILS in text
            or text in REFUSED
            or (undone is not None and undone.revision == confirm.revision(wanted(text)))
        )

    def reads(self) -> None:
        """The agent reads what is there now."""
        self.says_invalid = self.text in BROKEN
        self.says_refused = self.text == self.refused if not self.says_invalid else self.says_refused
        if not (self.says_invalid or self.says_refused or self.text == self.accepted):
            self.coming = self.text
        elif self.accepted is not None:
            self.coming = None
        self.decides()

    def decides(self) -> None:
        """What waits is done, or refused, as soon as it can be."""
        if self.reports:
            self.accepted, self.coming = self.coming or self.accepted, None
        if self.coming is None or self.frozen:
            return
        if self.refuses(self.coming):
            self.refused, self.says_refused = self.coming, True
        else:
            self.accepted = self.coming
        self.coming = None

    # --- what is so ---

    def settles(self) -> None:
        """Waits until what the agent says, and the host, are as they are to be."""
        agent = self.agent
        assert agent is not None
        try:
            until(lambda: self.is_settled(agent) or agent.process.poll() is not None)
        except AssertionError:
            raise AssertionError(self.tale()) from None
        assert agent.process.poll() is None, self.tale()
        assert not [item for item in agent.said if item["event"] == "?"], self.tale()

    def tale(self) -> str:
        """What was to be so, what is, and what the agent said last."""
        known = ("options", "text", "accepted", "coming", "refused", "suspended", "says_invalid", "says_refused")
        told = [item for item in vars(self).items() if item[0] in known]
        said = [f"{item['event']}: {item['text'][:300]}" for item in self.agent.said[-30:]] if self.agent else []
        return "\n".join([*(f"{name} = {value!r}" for name, value in told), f"is: {self.seen}", *said])

    def is_settled(self, agent: Agent) -> bool:
        wish = self.coming or self.accepted
        plan = differing(wish) if wish is not None else Plan("default")
        if control.ask("default") is None:
            return False  # it begins, or has ended
        status = agent.status()
        told = set(status["drift"]) if wish is not None else set()
        left = set(described(plan).values())
        self.seen = (status["health"], status["reason"], status["revision"], sorted(told)[:9], sorted(left)[:9])
        if status["revision"] != (self.revisions[self.accepted] if self.accepted else ""):
            return False
        if self.frozen and told != left:
            return False
        if not self.frozen and plan.steps:
            return False
        return (status["health"], True) == self.word(status["reason"], plan)

    def word(self, reason: str, plan: Plan) -> tuple[str, bool]:
        """The health, and whether the reason says why."""
        if self.says_invalid:
            return "Degraded", "the files are invalid" in reason
        if self.says_refused:
            assert self.refused is not None
            return "Degraded", f"revision {self.revisions[self.refused]} was" in reason
        if self.waiting is not None:
            return "AwaitingConfirm", "awaits confirmation" in reason
        if self.suspended:
            return "Suspended", "suspended" in reason
        return ("OutOfSync" if self.reports and plan.steps else "Synced"), True

    @contextlib.contextmanager
    def nothing_anew(self) -> Iterator[None]:
        """What is there before and afterwards is the very thing that it was; and nothing at all is done where nothing is to be."""
        before, accepted, stood = self.all_there(), self.accepted, self.frozen
        was_so = accepted is not None and not differing(accepted).steps
        yield
        after = self.all_there()
        if FAILS in (self.refused or ""):
            # What was undone is as it was, and some of it other things of the same name.
            before, after = ((dict.fromkeys(things, 0), lines) for things, lines in (before, after))
        anew = [name for name, thing in after[0].items() if before[0].get(name, thing) != thing]
        assert not anew, f"{anew} were made anew\n{self.tale()}"
        if (stood and self.frozen) or self.accepted is None or (was_so and self.accepted == accepted):
            changed = (set(before[0]) ^ set(after[0]), set(before[1]) ^ set(after[1]))
            assert changed == (set(), set()), f"{changed}\n{self.tale()}"

    def all_there(self) -> tuple[dict[str, int], list[str]]:
        """All links of the host and namespaces by name, with what tells one from another of its name; and all rules."""
        things = {path.name: path.stat().st_ino for path in Path("/run/netns").glob("*")}
        things |= {item["ifname"]: item["ifindex"] for item in json.loads(self.host.run("ip -j link"))}
        return things, rules()

    # --- a day ---

    @initialize(options=st.sampled_from(OPTIONS), text=good())
    def begins(self, options: tuple[str, ...], text: str) -> None:
        self.options = options
        self.revisions = dict[str, str]()
        self.writes(text)
        self.starts()

    def writes(self, text: str, in_place: bool = False) -> None:
        self.text = text
        self.earlier.append(text)
        if in_place:
            self.file.write_text(text)
        else:
            replace(self.file, text)
        self.revisions[text] = Files([str(self.file)]).revision()

    def starts(self) -> None:
        """An agent that begins with the file, and knows nothing of an earlier one."""
        self.accepted = self.refused = None
        self.says_refused = self.says_invalid = False
        self.coming, self.damaged = self.text, 0
        # Asked before the agent, which forgets what was rolled back once something else is done.
        self.decides()
        self.agent = self.watch()
        self.settles()

    def watch(self) -> Agent:
        return Agent(self.host, "-f", str(self.file), "--max-deletes", str(LIMIT), *self.options)

    @precondition(lambda self: not self.suspended)
    @rule(
        waits=st.one_of(st.sampled_from(REFUSED), good()), then=st.one_of(st.none(), st.sampled_from(REFUSED), good())
    )
    def a_file_that_waits_and_another_one(self, waits: str, then: str | None) -> None:
        """Not that each of these steps would not come by itself: just these follow one another too seldom."""
        self.suspend()
        self.another(waits, in_place=False)
        self.while_it_sleeps(then, "", resumes=True)

    @precondition(lambda self: self.damaged < PATIENCE)
    @rule(
        text=st.one_of(st.none(), st.sampled_from([*REFUSED, *BROKEN]), good()),
        what=st.sampled_from(["", *DAMAGE]),
        resumes=st.booleans(),
    )
    def while_it_sleeps(self, text: str | None, what: str, resumes: bool) -> None:
        """What happens to a process that gets no time is told to it all at once. Told to, it reads first, and looks then."""
        assert self.agent is not None
        with contextlib.nullcontext() if what else self.nothing_anew():
            self.agent.process.send_signal(signal.SIGSTOP)
            self.damaged += bool(what)
            self.harm(what, mended=False)
            if resumes:
                assert self.host.reconcile("resume", "--name", "default").code == 0
                self.suspended = False
            if text is not None:
                self.writes(text)
            since = self.agent.mark
            self.agent.process.send_signal(signal.SIGHUP)
            self.agent.process.send_signal(signal.SIGCONT)
            self.reads_again(since)

    @rule(text=good(), in_place=st.booleans())
    def a_good_file(self, text: str, in_place: bool) -> None:
        self.another(text, in_place)

    @rule(text=st.sampled_from([*REFUSED, *BROKEN]), in_place=st.booleans())
    def a_bad_file(self, text: str, in_place: bool) -> None:
        self.another(text, in_place)

    @precondition(lambda self: "--atomic" in self.options)
    @rule()
    def a_file_that_fails(self) -> None:
        text = self.accepted or self.earlier[0]
        self.another(text.replace("[10.88.7.11]}", FAILS + "}"), in_place=False)

    @rule(data=st.data())
    def an_earlier_file(self, data: st.DataObject) -> None:
        self.another(data.draw(st.sampled_from(self.earlier)), in_place=False)

    def another(self, text: str, in_place: bool) -> None:
        with self.nothing_anew():
            self.writes(text, in_place)
            self.reads()
            self.settles()

    @precondition(lambda self: not self.suspended)
    @rule()
    def suspend(self) -> None:
        with self.nothing_anew():
            assert self.host.reconcile("suspend").code == 0
            self.suspended = True
            self.settles()

    @precondition(lambda self: self.suspended)
    @rule()
    def resume(self) -> None:
        with self.nothing_anew():
            assert self.host.reconcile("resume").code == 0
            self.suspended = False
            self.thaws()

    def thaws(self) -> None:
        self.decides()
        self.settles()

    @rule()
    def hang_up(self) -> None:
        assert self.agent is not None
        with self.nothing_anew():
            since = self.agent.mark
            self.agent.process.send_signal(signal.SIGHUP)
            self.reads_again(since)

    def reads_again(self, since: int) -> None:
        """The agent was told to (SIGHUP)."""
        assert self.agent is not None
        self.agent.hears("asked", since=since)
        self.refused = None
        self.reads()
        if self.coming or self.accepted:
            self.agent.hears("looked", since=since)
        self.settles()

    @precondition(lambda self: self.damaged < PATIENCE)
    @rule(what=st.sampled_from(DAMAGE))
    def damage(self, what: str) -> None:
        self.damaged += 1
        self.harm(what, mended=not self.frozen)
        with self.nothing_anew() if self.frozen else contextlib.nullcontext():
            self.settles()

    def harm(self, what: str, mended: bool) -> None:
        """Where nobody mends it, all of it has happened when this returns: a veth goes some time after the name of its namespace."""
        self.host.run(f"{what} 2>/dev/null || :")
        if "netns del web" in what and not mended:
            until(lambda: not [name for name in self.all_there()[0] if name.startswith("web-")])

    @precondition(lambda self: self.waiting is None and self.damaged < PATIENCE)
    @rule(text=good())
    def by_hand(self, text: str) -> None:
        assert self.agent is not None
        self.damaged += 1
        other = self.host.write(text, "other.yaml")
        waiting = self.host.tool("-f", str(other), "--confirm-timeout", "600", "--max-deletes", "1000")
        until(lambda: waiting.poll() is not None or self.applied_by_hand())
        if waiting.poll() is None:
            self.waiting = waiting
        else:
            assert waiting.returncode == 0
        self.settles()

    def applied_by_hand(self) -> bool:
        journal = confirm.find("default")
        return journal is not None and journal.applied

    @precondition(lambda self: self.waiting is not None)
    @rule()
    def confirms(self) -> None:
        assert self.waiting is not None
        assert self.host.reconcile("confirm").code == 0
        assert self.waiting.wait(15) == 0
        self.waiting = None
        self.thaws()

    @precondition(lambda self: self.waiting is not None)
    @rule()
    def rolls_back(self) -> None:
        assert self.waiting is not None
        assert self.host.reconcile("rollback").code == 0
        assert self.waiting.wait(15) == 7
        self.waiting = None
        self.thaws()

    @rule(kill=st.booleans(), what=st.sampled_from(["", *DAMAGE]))
    def restart(self, kill: bool, what: str) -> None:
        self.ends(kill)
        self.harm(what, mended=False)
        with self.nothing_anew():
            while self.text in BROKEN:
                before = self.all_there()
                agent = self.watch()
                assert agent.process.wait(15) == BROKEN[self.text]
                assert "Traceback" not in str(agent.said)
                assert self.all_there() == before
                self.writes(self.earlier[0])
            self.starts()

    def ends(self, kill: bool) -> None:
        assert self.agent is not None
        if kill:
            self.agent.process.kill()
            self.agent.process.wait(15)
        else:
            assert self.agent.stop() == 0

    def teardown(self) -> None:
        """The host is as before the day."""
        if self.agent is not None and self.agent.process.poll() is None:
            self.ends(kill=True)
        self.host.reconcile("resume", "--name", "default")
        self.host.reconcile("rollback")
        if self.waiting is not None:
            self.waiting.wait(15)
        assert self.host.reconcile("down", "--name", "default").code == 0
        shutil.rmtree("/run/state", ignore_errors=True)


def test_whatever_comes_the_host_is_as_the_last_file_that_was_let_pass_says(host: Host) -> None:
    class Here(Days):
        pass

    Here.host = host
    random = "AGENT_DAYS" in os.environ
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=DAYS,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not random,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_files_are_what_they_are_called(host: Host) -> None:
    """No good file deletes more than LIMIT of what another one wants, the others do."""
    most = KEPT + "  br-web:\n    addresses: [10.88.0.1/24]\n    mtu: 1400\n    containers:\n" + web(8081, 1300) + DB
    least = KEPT + "  br-web:\n    addresses: [10.88.0.1/24]\n"
    assert host.reconcile("-f", str(host.write(most))).code == 0
    assert guards.deletions(differing(least)) <= LIMIT
    assert host.reconcile("-f", str(host.write(least))).code == 0
    # Nor is there more left to delete where all was damaged that the days damage.
    host.run("nft flush ruleset")
    assert all(guards.deletions(differing(text)) > LIMIT for text in REFUSED)
