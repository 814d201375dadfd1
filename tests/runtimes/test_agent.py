"""The agent and containers that come and go: wired the moment they start, closed the moment they stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.host import Host, until
from tests.runtimes.conftest import AnyEngine
from tests.support.docker import IMAGE
from tests.watch.test_agent import Agent, in_sync

FILE = """\
version: 1
bridges:
  br-web:
    addresses: [10.88.0.1/24]
    containers:
      web: {{attach: {{{runtime}: web}}, addresses: [10.88.0.10], ports: ["8080:80"]}}
      db: {{addresses: [10.88.0.11]}}
"""


@pytest.fixture
def agent(host: Host, engine: AnyEngine) -> Iterator[Agent]:
    """On a host whose file names a container that does not run yet."""
    host.write(FILE.format(runtime=engine.runtime))
    made = Agent(host)
    made.hears("applied")
    made.hears("status", "Pending")
    yield made
    made.stop()


def answers(host: Host) -> bool:
    return "1 packets received" in host.run("ping -c 1 -W 5 10.88.0.10 || true").replace(
        "1 received", "1 packets received"
    )


def published(host: Host) -> bool:
    return "8080" in host.run("nft list map inet reconciler by_any4")


def test_it_is_wired_when_it_starts_closed_when_it_stops_and_wired_anew(
    agent: Agent, host: Host, engine: AnyEngine
) -> None:
    assert not published(host)
    engine("run", "--detach", "--name", "web", "--network", "none", IMAGE, "sleep", "1000")
    agent.hears("healed", "eth0 in")
    agent.hears("status", "Synced")
    assert published(host)
    assert answers(host)
    for times, stop in ((2, ("kill", "web")), (3, ("stop", "--time", "0", "web"))):
        before = engine.pid("web")
        engine(*stop)
        agent.hears("status", "Pending", times=times)
        until(lambda: not published(host))
        engine("start", "web")
        agent.hears("status", "Synced", times=times)
        assert engine.pid("web") != before
        assert published(host)
        assert answers(host)
    assert in_sync(host)


def test_others_are_no_matter(agent: Agent, host: Host, engine: AnyEngine) -> None:
    engine("run", "--detach", "--name", "stranger", "--network", "none", IMAGE, "sleep", "1000")
    engine("rm", "--force", "stranger")
    since = agent.mark
    host.run("ip netns exec db ip link set eth0 down")
    agent.hears("healed", "eth0 in db", since=since)
    assert agent.status()["health"] == "Pending"


def test_one_that_restarts_again_and_again_is_wired_each_time(agent: Agent, host: Host, engine: AnyEngine) -> None:
    """That is no quarrel about what is made for it."""
    engine("run", "--detach", "--name", "web", "--network", "none", IMAGE, "sleep", "1000")
    agent.hears("status", "Synced")
    for _ in range(7):
        before = engine.pid("web")
        engine("restart", "--time", "0", "web")
        assert engine.pid("web") != before
        until(lambda: published(host) and answers(host))
    assert not [item for item in agent.said if item["event"] == "fought"]


def test_its_name_is_what_counts(agent: Agent, host: Host, engine: AnyEngine) -> None:
    """One that is called otherwise now is let go of, and another one that got its name has its place."""
    engine("run", "--detach", "--name", "web", "--network", "none", IMAGE, "sleep", "1000")
    agent.hears("status", "Synced")
    engine("rename", "web", "old")
    agent.hears("status", "Pending", times=2)
    until(lambda: not published(host))
    assert "eth0" not in host.run(f"nsenter --target {engine.pid('old')} --net ip link")
    engine("run", "--detach", "--name", "web", "--network", "none", IMAGE, "sleep", "1000")
    agent.hears("status", "Synced", times=2)
    assert answers(host)
    engine("rm", "--force", "web")
    agent.hears("status", "Pending", times=3)
    until(lambda: not published(host))
