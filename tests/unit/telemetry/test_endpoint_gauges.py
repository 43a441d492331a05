"""Gauges of endpoints and of the collector, and rows of documents."""

from __future__ import annotations

from math import inf

from extproc.picking.endpoint_state import EndpointState
from extproc.telemetry.endpoint_gauges import (
    MAX_SERIES,
    CollectorGauges,
    EndpointsByTarget,
    collect_endpoints,
    merged,
    rows,
)
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.serving_gauges import ServingGauges

ONE = EndpointState("10.0.0.1:1", 2.0, 3.0, 0.5, 0.9, 0.1, 4.0, 30.0, ["sql"])
TWO = EndpointState("10.0.0.2:1", in_flight=1.0, picks=10.0)
TARGETS: EndpointsByTarget = {("p", "v", ""): [ONE, TWO]}


def samples(targets: EndpointsByTarget) -> dict[tuple[str, ...], float]:
    return {(s.name, *s.labels.values()): s.value for family in collect_endpoints(targets) for s in family.samples}


def test_each_endpoint_has_what_is_known_of_it() -> None:
    assert samples(TARGETS) == {
        ("inference_endpoint_waiting", "p", "v", "none", "10.0.0.1:1"): 2,
        ("inference_endpoint_running", "p", "v", "none", "10.0.0.1:1"): 3,
        ("inference_endpoint_kv_cache_usage", "p", "v", "none", "10.0.0.1:1"): 0.5,
        ("inference_endpoint_in_flight", "p", "v", "none", "10.0.0.1:1"): 4,
        ("inference_endpoint_in_flight", "p", "v", "none", "10.0.0.2:1"): 1,
        ("inference_endpoint_gpu_utilization", "p", "v", "none", "10.0.0.1:1"): 0.9,
    }


def test_of_many_endpoints_each_target_has_one_series() -> None:
    many = [
        EndpointState(f"h:{n}", 1.0, 2.0, 0.5 if n else 0.75, float(n % 2), in_flight=3.0) for n in range(MAX_SERIES)
    ]
    assert len(samples({("p", "v", "w"): many})) == 5 * MAX_SERIES
    assert samples({("p", "v", "w"): many, ("q", "", ""): [TWO]}) == {
        ("inference_endpoint_waiting", "p", "v", "w", "all"): MAX_SERIES,
        ("inference_endpoint_running", "p", "v", "w", "all"): 2 * MAX_SERIES,
        ("inference_endpoint_kv_cache_usage", "p", "v", "w", "all"): 0.75,
        ("inference_endpoint_in_flight", "p", "v", "w", "all"): 3 * MAX_SERIES,
        ("inference_endpoint_in_flight", "q", "none", "none", "all"): 1,
        ("inference_endpoint_gpu_utilization", "p", "v", "w", "all"): 0.5,
    }


def test_processes_tell_the_same_board() -> None:
    assert merged([TARGETS, {}, TARGETS]) == TARGETS
    worker, total = Metrics(), Metrics()
    worker.serving = lambda: ServingGauges(endpoints=TARGETS)
    found = CollectorGauges(16, 1, inf, 100.0, {"connect": 2.0, "timeout": 0.0}, 0.5, 1)
    total.serving = lambda: ServingGauges(collector=found)
    for _ in range(2):
        total.add(worker.state())
    told = {(s.name, *s.labels.values()): s.value for family in total.collect() for s in family.samples}
    assert told["inference_endpoint_in_flight", "p", "v", "none", "10.0.0.1:1"] == 4
    assert {name: value for name, value in told.items() if name[0].startswith("extproc_collector")} == {
        ("extproc_collector_pages",): 16,
        ("extproc_collector_stale_pages",): 1,
        ("extproc_collector_oldest_seconds",): inf,
        ("extproc_collector_pages_read_total",): 100,
        ("extproc_collector_pages_failed_total", "connect"): 2,
        ("extproc_collector_pages_failed_total", "timeout"): 0,
        ("extproc_collector_cpu_seconds_total",): 0.5,
        ("extproc_collector_restarts_total",): 1,
    }


def test_rows_have_shares_of_their_target() -> None:
    found = rows(TARGETS | {("q", "", "w"): [EndpointState("h:1")]}, {("q", "", "w"): 4, ("p", "other", ""): 9})
    assert [(row["version"], row["gpu_pool"], row["endpoint"], row["share"]) for row in found] == [
        ("v", "none", "10.0.0.1:1", 0.75),
        ("v", "none", "10.0.0.2:1", 0.25),
        ("none", "w", "h:1", None),
    ]
    assert [row["queued"] for row in found] == [0, 0, 4]
    assert found[0]["adapters"] == ["sql"]
