"""Gauges of policies that are watched in a Kubernetes cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class ClusterGauges(msgspec.Struct, array_like=True):
    """What one process knows of its cluster."""

    in_step: bool
    """Whether it hears the API server."""
    objects: dict[str, int]
    """Policies and pools by what became of them: ``in_force``, ``held``, ``left_out``."""


def collect(processes: Iterable[ClusterGauges | None]) -> Iterator[Metric]:
    """The gauges of one or more processes, which all follow one cluster; nothing where none follows any."""
    known = [each for each in processes if each is not None]
    if not known:
        return
    from prometheus_client.core import GaugeMetricFamily

    yield GaugeMetricFamily(
        "extproc_policies_in_step",
        "1 where the policies in force are those that the API server tells, 0 while it can't be heard.",
        value=min(each.in_step for each in known),
    )
    objects = GaugeMetricFamily(
        "extproc_policy_objects",
        "Policies and pools of the cluster that serve as they are, as they last were, or not at all.",
        labels=("state",),
    )
    for state in sorted({state for each in known for state in each.objects}):
        objects.add_metric((state,), max(each.objects.get(state, 0) for each in known))
    yield objects
