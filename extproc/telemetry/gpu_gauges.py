"""Custom metrics of how busy GPUs are: averages over endpoints that are picked, as they are when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from extproc.policy.custom_metric import GPU_UTILIZATION
from extproc.policy.snapshot import NONE, Policy, Snapshot
from extproc.telemetry.endpoint_gauges import EndpointsByTarget

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_Labels: TypeAlias = tuple[str, ...]


class GpuGauge(msgspec.Struct, frozen=True, array_like=True):
    """A custom metric."""

    name: str
    labels: _Labels
    values: dict[_Labels, float]
    """0 to 1, by the values of labels."""


def gpu_gauges(snapshot: Snapshot, targets: EndpointsByTarget) -> list[GpuGauge]:
    """Those that policies ask for, of endpoints whose GPUs somebody tells of."""
    found: dict[tuple[str, _Labels], dict[_Labels, list[float]]] = {}
    for policy in snapshot.policies:
        for metric in policy.custom_metrics:
            if metric.source != GPU_UTILIZATION:
                continue
            values = found.setdefault((metric.name, metric.labels), {})
            for (name, version, pool), states in targets.items():
                told = [state.gpu for state in states if state.gpu is not None]
                if name == policy.name and told:
                    labels = _labels(snapshot, policy, version, pool)
                    values.setdefault(tuple(labels[label] for label in metric.labels), []).extend(told)
    averages = ((key, {labels: fmean(told) for labels, told in values.items()}) for key, values in found.items())
    return [GpuGauge(*key, values) for key, values in averages if values]


def _labels(snapshot: Snapshot, policy: Policy, version: str, pool: str) -> dict[str, str]:
    """As those of requests are."""
    known = snapshot.pool_by_name.get(pool)
    required = policy.gpu.architecture if policy.gpu else ""
    gpu = known.gpu.architecture if known is not None else required or NONE
    return {"model_version": version or NONE, "gpu_type": gpu, "gpu_pool": pool or NONE, "policy": policy.name}


def collect_gpus(gauges: Sequence[GpuGauge]) -> Iterator[Metric]:
    """The gauges as Prometheus' client library takes them."""
    from prometheus_client.core import GaugeMetricFamily

    for each in gauges:
        gauge = GaugeMetricFamily(each.name, "Asked for by a policy: gpuUtilization, 0 to 1.", labels=each.labels)
        for labels, value in sorted(each.values.items()):
            gauge.add_metric(labels, value)
        yield gauge
