"""Gauges of what serves: which targets can be reached, and how busy GPU pools are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from extproc.policy.breaker import EJECTED, PROBING
from extproc.policy.snapshot import NONE
from extproc.telemetry import endpoint_gauges
from extproc.telemetry.endpoint_gauges import CollectorGauges, EndpointsByTarget
from extproc.telemetry.gpu_gauges import GpuGauge, collect_gpus

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

TargetName: TypeAlias = tuple[str, str, str]
"""Policy, version and GPU pool; empty where there is none."""

UP = "inference_target_up"
POOL_INFO = "inference_pool_info"
POOL_GAUGES = {
    "free": ("inference_pool_free", "Share of a GPU pool that is free, 0.05 to 1, by which requests are spread."),
    "waiting": ("inference_pool_waiting", "Requests that wait at a server of the pool for a place in a batch."),
    "cache": ("inference_pool_kv_cache_usage", "Share of the pool's KV cache that is in use, 0 to 1."),
    "gpu": ("inference_pool_gpu_utilization", "Share of the time in which the pool's GPUs were busy, 0 to 1."),
}
"""Name and help text of the gauge of each number, on the average of the pool's servers."""
LIMIT, IN_FLIGHT, ADMITS = "inference_concurrency_limit", "inference_in_flight", "inference_target_admits"
EJECTED_ENDPOINTS = "inference_endpoints_ejected"
QUEUED = "inference_queue_waiting"
NAMES = (
    UP,
    POOL_INFO,
    LIMIT,
    IN_FLIGHT,
    ADMITS,
    EJECTED_ENDPOINTS,
    QUEUED,
    *(name for name, _ in POOL_GAUGES.values()),
    *endpoint_gauges.NAMES,
)


class ServingGauges(msgspec.Struct, array_like=True):
    """What one process knows."""

    up: dict[TargetName, int] = {}
    """1 where a server can be reached, and one for gRPC if it has its own; of targets with another one in their
    policy.
    """
    pools: dict[str, dict[str, float]] = {}
    """By GPU pool the numbers that are known, named as in ``POOL_GAUGES``."""
    places: dict[str, tuple[str, str]] = {}
    """By GPU pool its cluster and its locality, each empty where the policy names none."""
    breakers: dict[TargetName, tuple[float, float, str, tuple[str, ...]]] = {}
    """Limit, requests in flight, state (``policy.breaker``), and those of its picked endpoints that are ejected."""
    endpoints: EndpointsByTarget = {}
    """Those that are picked, as the board has them, which all processes of a replica share."""
    collector: CollectorGauges | None = None
    """None: another process keeps it, or none is needed."""
    gpus: list[GpuGauge] = []
    """Custom metrics of the endpoints."""
    queued: dict[TargetName, int] = {}
    """Requests that wait for an endpoint of the target."""


def merged_breakers(processes: Sequence[ServingGauges]) -> dict[TargetName, tuple[float, float, list[str], list[str]]]:
    """Limits and requests in flight added up, the states of all that know the target, and the endpoints that any of
    them has ejected.
    """
    found: dict[TargetName, tuple[float, float, list[str], list[str]]] = {}
    for each in processes:
        for name, (limit, in_flight, state, ejected) in each.breakers.items():
            limits, flying, states, out = found.get(name, (0.0, 0.0, [], []))
            found[name] = (limits + limit, flying + in_flight, [*states, state], sorted({*out, *ejected}))
    return dict(sorted(found.items()))


def merged_queues(processes: Sequence[ServingGauges]) -> dict[TargetName, int]:
    """How many wait in all of them."""
    found: Counter[TargetName] = Counter()
    for each in processes:
        found.update(each.queued)
    return dict(sorted(found.items()))


def collect(processes: Sequence[ServingGauges]) -> Iterator[Metric]:
    """The gauges of one or more processes: a target is up where all of them reach it, loads are averaged."""
    from prometheus_client.core import GaugeMetricFamily

    up = GaugeMetricFamily(
        UP,
        "1 where a server of the version on the GPU pool can be reached (and one for gRPC, if it has its own), else 0.",
        labels=("policy", "version", "gpu_pool"),
    )
    for name in sorted({name for each in processes for name in each.up}):
        up.add_metric(_labels(name), min(each.up[name] for each in processes if name in each.up))
    yield up
    info = GaugeMetricFamily(
        POOL_INFO,
        "1 for each GPU pool, with the place that the policy names.",
        labels=("gpu_pool", "cluster", "locality"),
    )
    for pool, place in sorted({(pool, place) for each in processes for pool, place in each.places.items()}):
        info.add_metric((pool, *place), 1)
    yield info
    labels = ("policy", "version", "gpu_pool")
    limit = GaugeMetricFamily(LIMIT, "Requests that the version on the GPU pool may have at a time.", labels=labels)
    in_flight = GaugeMetricFamily(IN_FLIGHT, "Requests that it has, of policies with a circuit breaker.", labels=labels)
    admits = GaugeMetricFamily(ADMITS, "Share of the processes that have not ejected it.", labels=labels)
    ejected = GaugeMetricFamily(EJECTED_ENDPOINTS, "Picked endpoints of it that a process has ejected.", labels=labels)
    for name, (most, present, states, out) in merged_breakers(processes).items():
        limit.add_metric(_labels(name), most)
        in_flight.add_metric(_labels(name), present)
        admits.add_metric(_labels(name), sum(state not in (EJECTED, PROBING) for state in states) / len(states))
        ejected.add_metric(_labels(name), len(out))
    yield from (limit, in_flight, admits, ejected)
    queued = GaugeMetricFamily(QUEUED, "Requests that wait for an endpoint of it with room.", labels=labels)
    for name, waiting in merged_queues(processes).items():
        queued.add_metric(_labels(name), waiting)
    yield queued
    for key, (metric, text) in POOL_GAUGES.items():
        gauge = GaugeMetricFamily(metric, text, labels=("gpu_pool",))
        for pool in sorted({pool for each in processes for pool, known in each.pools.items() if key in known}):
            told = [each.pools[pool] for each in processes if pool in each.pools]
            gauge.add_metric((pool,), fmean(known[key] for known in told if key in known))
        yield gauge
    yield from endpoint_gauges.collect_endpoints(endpoint_gauges.merged([each.endpoints for each in processes]))
    yield from endpoint_gauges.collect_collector(next((c for each in processes if (c := each.collector)), None))
    yield from collect_gpus(next((each.gpus for each in processes if each.gpus), ()))


def _labels(name: TargetName) -> tuple[str, ...]:
    """As those of requests are: ``none`` where there is no version, or no pool."""
    return tuple(part or NONE for part in name)
