"""Gauges of a watched cluster, of one process and of several."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from extproc.telemetry.cluster_gauges import ClusterGauges, collect
from extproc.telemetry.metrics import Metrics


def exposed(metrics: Metrics) -> list[str]:
    registry = CollectorRegistry()
    registry.register(metrics)
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if line.startswith(("extproc_policies_in_step", "extproc_policy_objects"))]


def test_who_watches_no_cluster_tells_nothing_of_one() -> None:
    assert list(collect([None])) == []
    assert exposed(Metrics()) == []


def test_workers_follow_one_cluster_and_the_worst_is_told() -> None:
    total = Metrics()
    for gauges in (ClusterGauges(True, {"in_force": 3, "held": 0}), None, ClusterGauges(False, {"in_force": 2})):
        worker = Metrics()
        worker.cluster = lambda gauges=gauges: gauges  # type: ignore[misc]
        total.add(worker.state())
        total.add(worker.state(), alive=False)
    assert exposed(total) == [
        "extproc_policies_in_step 0.0",
        'extproc_policy_objects{state="held"} 0.0',
        'extproc_policy_objects{state="in_force"} 3.0',
    ]
