"""/metrics: Prometheus's naming, and that the dashboard and the alerts name what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.watch.served import Board, Kind, Served, Tally
from reconciler.watch.server import Server
from tests.render.pictures import host, many
from tests.watch.shown import NOW, served
from tests.watch.test_server import ask

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (the extra `metrics`)")

from prometheus_client.parser import text_string_to_metric_families

from reconciler.watch.metrics import Exposition

MONITORING = Path(__file__).parents[2] / "examples" / "monitoring"
ACCEPTS = ("", "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0")


def samples(shown: Served) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples, by name and labels."""
    text = Exposition(lambda: shown).answer("")[1].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def names(shown: Served) -> set[str]:
    """The names of all samples."""
    return {name for name, _ in samples(shown)}


@pytest.mark.parametrize("accept", ACCEPTS)
def test_prometheus_gets_what_it_asks_for(accept: str) -> None:
    with Server(Board(served(host(many(2)), many(2)))) as server:
        answer = ask(server, "/metrics", Accept=accept)
    assert answer.status == 200
    assert ("openmetrics" in answer.headers["Content-Type"]) == ("openmetrics" in accept)
    assert answer.text.endswith("# EOF\n") == ("openmetrics" in accept)


def test_it_tells_what_there_is_and_what_differs() -> None:
    drifted = served(host(many(2)), many(3))
    assert drifted.plan is not None
    told = samples(drifted)
    assert told["reconcile_containers", ()] == 2
    assert told["reconcile_published_ports", ()] == 2
    assert told["reconcile_bridges", ()] == 1
    creations = sum(step.before is None for step in drifted.plan.steps)
    assert told["reconcile_drift_objects", (("action", "create"),)] == creations > 0
    assert told["reconcile_condition", (("condition", "Synced"),)] == 0
    assert told["reconcile_condition", (("condition", "Healthy"),)] == 1
    assert told["reconcile_last_success_timestamp_seconds", ()] == NOW
    assert told["reconcile_applies_total", (("outcome", "applied"),)] == 1
    assert told["reconcile_applies_total", (("outcome", "rolled_back"),)] == 0
    assert told["reconcile_requests_total", ()] == 12
    assert told["reconcile_heal_duration_seconds_bucket", (("le", "0.025"),)] == 1
    assert told["reconcile_heal_duration_seconds_bucket", (("le", "+Inf"),)] == 2
    assert told["reconcile_heal_duration_seconds_count", ()] == 2
    assert told["reconcile_heal_duration_seconds_sum", ()] == pytest.approx(99.02)


def test_what_an_agent_has_counted_is_asked_for_anew_each_time() -> None:
    board = Board(served(host(many(1)), many(1)))
    exposition = Exposition(board.snapshot)
    before = exposition.answer("")[1]
    board.show(replace(board.snapshot(), tally=Tally().observed(failed=True)))
    after = exposition.answer("")[1]
    assert b"reconcile_observation_failures_total 0.0" in before
    assert b"reconcile_observation_failures_total 1.0" in after


def test_an_agent_that_has_only_begun_has_metrics() -> None:
    told = samples(Served(owner="default"))
    assert told["reconcile_last_success_timestamp_seconds", ()] == 0
    assert {labels[0][1] for name, labels in told if name == "reconcile_condition"} == {kind.value for kind in Kind}


def test_names_are_as_the_field_has_them() -> None:
    """https://prometheus.io/docs/practices/naming/"""
    text = Exposition(lambda: served(host(many(1)), many(1))).answer("")[1].decode()
    for family in text_string_to_metric_families(text):
        if family.name.startswith("reconcile_"):
            assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
            assert family.documentation.endswith("."), family.name
            assert not re.search(r"milli|_ms$|minutes", family.name)
            assert (family.type == "counter") == any(sample.name.endswith("_total") for sample in family.samples)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_nothing_to_improve() -> None:
    text = Exposition(lambda: served(host(many(1)), many(1))).answer("")[1]
    ours = b"".join(line for line in text.splitlines(keepends=True) if b"reconcile_" in line)
    done = subprocess.run(["promtool", "check", "metrics"], input=ours, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# --- the dashboard and the alerts ------------------------------------------------------------------------------------


def expressions() -> list[str]:
    """All that the files ask Prometheus for."""
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [item["query"]["query"] for item in dashboard["templating"]["list"] if isinstance(item["query"], dict)]
    return asked + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def test_every_metric_that_they_name_exists() -> None:
    there = names(served(host(many(1)), many(1)))
    asked = {name for text in expressions() for name in re.findall(r"\b(?:reconcile|process)_\w+", text)}
    assert len(asked) > 15
    assert asked <= there


def test_every_label_that_they_name_has_that_value() -> None:
    told = {pair for _, labels in samples(served(host(many(1)), many(1))) for pair in labels}
    values = {value for _, value in told}
    for text in expressions():
        for label, operator, value in re.findall(r'(condition|outcome|action)(=~?)"([^"]+)"', text):
            for one in value.split("|") if operator == "=~" else [value]:
                assert (label, one) in told, (label, one, values)


def test_every_alert_says_what_is_wrong_and_how_bad_it_is() -> None:
    rules: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]


def test_the_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = json.loads((MONITORING / "grafana-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert all(x < 24 for x, _ in own)
        assert not own & cells, panel["title"]
        cells |= own


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("command", [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]])
def test_promtool_takes_the_alerts_and_they_fire_when_they_should(command: list[str]) -> None:
    done = subprocess.run(["promtool", *command], cwd=MONITORING, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
