"""What is shown, as Prometheus has it: https://prometheus.io/docs/practices/naming/.

Nothing is counted here. The agent's Tally and State are turned into samples when somebody asks, so that an agent needs no metrics
library, and this one is imported only where it is used (the extra `metrics`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.core.plan import Action
from reconciler.render.status import status_json
from reconciler.watch.served import BUCKETS, Kind, Served, Tally

if TYPE_CHECKING:
    from prometheus_client import Metric


def families(served: Served) -> Iterator[Metric]:
    """All metrics of ours. Raises ImportError where prometheus-client is not installed."""
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

    def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"reconcile_{name}", text, value=value)

    yield InfoMetricFamily("reconcile_build", "What is running.", value={"version": __version__})
    yield InfoMetricFamily(
        "reconcile_revision",
        "The file that the host is held to.",
        value={"owner": served.owner, "revision": served.revision},
    )
    conditions = GaugeMetricFamily(
        "reconcile_condition", "Whether the condition holds (1) or not (0).", labels=["condition"]
    )
    for kind in Kind:
        condition = served.condition(kind)
        conditions.add_metric([kind.value], float(condition is not None and condition.holds))
    yield conditions
    yield from _objects(served)
    yield from _counted(served.tally)
    times = {
        "last_observation_timestamp_seconds": ("When it last saw the kernel.", served.looked_at),
        "last_success_timestamp_seconds": ("When the host was last as the file says.", served.tally.last_success),
    }
    for name, (text, value) in times.items():
        yield gauge(name, text, value or 0.0)


def _objects(served: Served) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    drift = GaugeMetricFamily(
        "reconcile_drift_objects", "Kernel objects that are not as the file says.", labels=["action"]
    )
    for action in Action:
        drift.add_metric([action.value], float(served.plan.count(action) if served.plan else 0))
    yield drift
    plan = served.plan
    counts = {
        "pending_objects": ("Objects that wait for what is not ours to make.", len(plan.pending) if plan else 0),
        "conflict_objects": ("Foreign objects where ours should be.", len(plan.conflicts) if plan else 0),
        "foreign_objects": ("Foreign objects on things of ours.", len(plan.foreign) if plan else 0),
        "managed_objects": ("Kernel objects of ours.", plan.managed if plan else 0),
    }
    if plan is not None and served.desired is not None:
        numbers = status_json(plan, served.found, served.desired)["found"]
        texts = {"bridges": "Bridges of ours.", "containers": "Containers on them.", "ports": "Published ports."}
        names = {"ports": "published_ports"}
        counts |= {names.get(name, name): (text, numbers[name]) for name, text in texts.items()}
    for name, (text, value) in counts.items():
        yield GaugeMetricFamily(f"reconcile_{name}", text, value=float(value))


def _counted(tally: Tally) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    applies = CounterMetricFamily("reconcile_applies", "Applies, by how they ended.", labels=["outcome"])
    for outcome, count in tally.applies.items():
        applies.add_metric([outcome.replace(" ", "_")], float(count))
    yield applies
    counters = {
        "observations": ("Looks at the kernel.", tally.observations),
        "observation_failures": ("Looks at the kernel that failed.", tally.observation_failures),
        "requests": ("Writing messages sent to the kernel.", tally.requests),
    }
    for name, (text, value) in counters.items():
        yield CounterMetricFamily(f"reconcile_{name}", text, value=float(value))
    sums, so_far = [], 0
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], tally.heals, strict=True):
        so_far += count
        sums.append((bound, float(so_far)))
    yield HistogramMetricFamily(
        "reconcile_heal_duration_seconds",
        "From seeing a drift to having mended it.",
        buckets=sums,
        sum_value=tally.heal_seconds,
    )


class Exposition:
    """What /metrics answers. Raises ImportError where prometheus-client is not installed."""

    def __init__(self, snapshot: Callable[[], Served]) -> None:
        from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

        self._snapshot = snapshot
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def collect(self) -> Iterator[Metric]:
        """prometheus-client's protocol for a collector."""
        return families(self._snapshot())

    def describe(self) -> list[Metric]:
        """Nothing: names are not looked for twice, since these are all there are."""
        return []

    def answer(self, accept: str) -> tuple[str, bytes]:
        """(content type, body) for a client that sends this Accept header: OpenMetrics, or the older text format."""
        from prometheus_client.exposition import choose_encoder

        encode, kind = choose_encoder(accept)
        return kind, encode(self._registry)
