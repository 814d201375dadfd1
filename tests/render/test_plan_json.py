"""A plan for machines."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network

import pytest

from reconciler import __version__
from reconciler.core.planner import plan
from reconciler.core.resource import State
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.links import link_key
from reconciler.kinds.veth import Veth
from reconciler.render.json import plain, plan_json, position_json
from tests.render import hosts
from tests.render.hosts import OWNER


def test_a_step_says_all_there_is_to_know() -> None:
    wanted = hosts.state(hosts.bridge("br-web", 4, mode="", mtu=1500))
    found = State.of([Bridge(owner=OWNER, name="br-web", mtu=1400, mac="02:00:00:00:00:01", stp=False)])
    data = plan_json(plan(wanted, found, OWNER))
    assert (data["format_version"], data["tool_version"]) == ("1.1", __version__)
    assert (data["owner"], data["basis"], data["empty"]) == (OWNER, "live", False)
    (step,) = data["steps"]
    requests = step.pop("requests")
    assert [item["type"] for item in requests] == ["RTM_SETLINK"]
    before, after = step.pop("before"), step.pop("after")
    assert (before["mtu"], after["mtu"], after["mac"]) == (1400, 1500, None)
    assert step == {
        "action": "update",
        "kind": "bridge",
        "key": {"space": "link", "namespace": "", "name": "br-web"},
        "label": "bridge br-web",
        "bridge": "br-web",
        "container": None,
        "position": {"file": "net.yaml", "line": 4, "column": 5},
        "differences": [{"field": "mtu", "before": 1400, "after": 1500}],
        "reason": "differs",
        "replacement": False,
        "implied": False,
        "disruptive": True,
    }


def test_requests_can_be_left_out() -> None:
    data = plan_json(plan(hosts.example(), hosts.host(), OWNER), requests=False)
    assert all("requests" not in step for step in data["steps"])


def test_both_halves_of_a_replacement_are_marked() -> None:
    wanted = hosts.example()
    old = wanted.resources[link_key("", "db-0a1b2c")]
    assert isinstance(old, Veth)
    made = plan(wanted, hosts.found(wanted, replace(old, peer=("db", "eth9"))), OWNER)
    halves = [step for step in plan_json(made)["steps"] if step["key"]["name"] == "db-0a1b2c" and step["replacement"]]
    assert sorted(step["action"] for step in halves if step["kind"] == "veth") == ["create", "delete"]


def test_it_is_the_same_every_time_and_plain() -> None:
    first = json.dumps(plan_json(plan(hosts.example(), hosts.host(), OWNER)))
    second = json.dumps(plan_json(plan(hosts.example(), hosts.host(), OWNER)))
    assert first == second
    assert "object at 0x" not in first


def test_a_network_is_its_text_not_its_addresses() -> None:
    assert plain(ip_network("::/0")) == "::/0"


def test_a_value_without_a_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no JSON form for object"):
        plain(object())


@pytest.mark.parametrize(
    ("position", "file", "line", "column"),
    [
        ("net.yaml:4:5", "net.yaml", 4, 5),
        ("a:1:b.yaml:4:5", "a:1:b.yaml", 4, 5),
        ("net.yaml:4", "net.yaml", 4, None),
        ("-", "-", None, None),
    ],
)
def test_positions_are_taken_apart(position: str, file: str, line: int | None, column: int | None) -> None:
    assert position_json(position) == {"file": file, "line": line, "column": column}


def test_no_position_is_null() -> None:
    assert position_json("") is None
