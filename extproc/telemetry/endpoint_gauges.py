"""Gauges of endpoints that are picked, and of the collector that reads their load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from extproc.picking.endpoint_state import EndpointState
from extproc.policy.snapshot import NONE

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

MAX_SERIES = 1000
"""Endpoints with series of their own; of more, each target has one series of them all."""
ALL = "all"
"""Value of the label ``endpoint`` there."""

EndpointsByTarget: TypeAlias = dict[tuple[str, str, str], list[EndpointState]]
"""By policy, version and GPU pool; empty where there is none."""

WAITING, RUNNING = "inference_endpoint_waiting", "inference_endpoint_running"
CACHE, IN_FLIGHT = "inference_endpoint_kv_cache_usage", "inference_endpoint_in_flight"
GPU = "inference_endpoint_gpu_utilization"
_GAUGES: dict[str, tuple[str, Callable[[EndpointState], float | None]]] = {
    WAITING: ("Requests that wait at the endpoint for a place in a batch.", lambda state: state.waiting),
    RUNNING: ("Requests in the endpoint's batch.", lambda state: state.running),
    CACHE: ("Share of the endpoint's KV cache that is in use, 0 to 1; of several, the fullest.", lambda s: s.cache),
    GPU: ("Share of the time in which the endpoint's GPUs were busy, 0 to 1, on the average.", lambda s: s.gpu),
    IN_FLIGHT: ("Requests of all policies that were sent to it and have not ended.", lambda state: state.in_flight),
}
_OF_ALL: dict[str, Callable[[Iterable[float]], float]] = {CACHE: max, GPU: fmean}
"""What stands for all endpoints of a target; of other gauges the sum."""
NAMES = tuple(_GAUGES)
PAGES, STALE, OLDEST = "extproc_collector_pages", "extproc_collector_stale_pages", "extproc_collector_oldest_seconds"
READ, FAILED = "extproc_collector_pages_read", "extproc_collector_pages_failed"
CPU, RESTARTS = "extproc_collector_cpu_seconds", "extproc_collector_restarts"


class CollectorGauges(msgspec.Struct, frozen=True, array_like=True):
    """The collector of a replica."""

    pages: int
    """That it is to read."""
    stale: int
    """Of these, the ones of which nothing new is known."""
    oldest: float
    """Seconds since the report that is the oldest; infinite where one has never come."""
    read: float
    failed: dict[str, float]
    """By reason."""
    cpu: float
    """Seconds."""
    restarts: int


def collect_endpoints(targets: EndpointsByTarget) -> Iterator[Metric]:
    """The gauges of endpoints; what is not known has none."""
    from prometheus_client.core import GaugeMetricFamily

    each = sum(map(len, targets.values())) <= MAX_SERIES
    for name, (text, number) in _GAUGES.items():
        gauge = GaugeMetricFamily(name, text, labels=("policy", "version", "gpu_pool", "endpoint"))
        for target, states in sorted(targets.items()):
            labels = tuple(part or NONE for part in target)
            known = {state.endpoint: value for state in states if (value := number(state)) is not None}
            if not each and known:
                known = {ALL: _OF_ALL.get(name, sum)(known.values())}
            for endpoint, value in known.items():
                gauge.add_metric((*labels, endpoint), value)
        yield gauge


def collect_collector(found: CollectorGauges | None) -> Iterator[Metric]:
    """The gauges and counters of the collector; none where this process has none."""
    if found is None:
        return
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily(PAGES, "Metrics pages of endpoints that the collector reads.", value=found.pages)
    yield GaugeMetricFamily(STALE, "Pages of which nothing new is known, so that a load is not.", value=found.stale)
    yield GaugeMetricFamily(OLDEST, "Age of the oldest report, in seconds; +Inf: one never came.", value=found.oldest)
    yield CounterMetricFamily(READ, "Pages that were read.", value=found.read)
    failed = CounterMetricFamily(FAILED, "Pages that could not be read, by reason.", labels=("reason",))
    for reason, count in found.failed.items():
        failed.add_metric((reason,), count)
    yield failed
    yield CounterMetricFamily(CPU, "Seconds of CPU that the collector has used.", value=found.cpu)
    yield CounterMetricFamily(RESTARTS, "Collectors started in a dead one's place.", value=found.restarts)


def merged(processes: Sequence[EndpointsByTarget]) -> EndpointsByTarget:
    """What several processes of a replica tell, who all read the same board."""
    return {target: states for each in processes for target, states in each.items()}


def rows(
    targets: Mapping[tuple[str, str, str], Sequence[EndpointState]], queued: Mapping[tuple[str, str, str], int]
) -> list[dict[str, object]]:
    """For documents: a row for each endpoint of each target, with its share of the target's picks, and how many
    requests wait for one of the target's.
    """
    found = []
    for (policy, version, pool), states in sorted(targets.items()):
        picks = sum(state.picks for state in states)
        for state in states:
            row: dict[str, object] = {"policy": policy, "version": version or NONE, "gpu_pool": pool or NONE}
            row |= msgspec.structs.asdict(state) | {"share": state.picks / picks if picks else None}
            found.append(row | {"queued": queued.get((policy, version, pool), 0)})
    return found
