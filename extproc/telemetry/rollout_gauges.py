"""Gauges of rollouts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from extproc.policy.rollout_plan import Phase

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
else:
    Collector = object  # imported at the first scrape

_VERDICTS = {"failing": -1, "waiting": 0, "passing": 1}
STEP, VERDICT, PHASE = "inference_rollout_step", "inference_rollout_verdict", "inference_rollout_phase"
FAULT = "inference_rollout_fault"
NAMES = (STEP, VERDICT, PHASE, FAULT)
_PHASES = get_args(Phase)


def exposition(accept: str, *collectors: Collector) -> tuple[str, bytes]:
    """Content type and text of what collectors give, in the format that the header ``accept`` asks for."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    encoder, content_type = choose_encoder(accept)
    return content_type, encoder(registry)


class RolloutGauges(Collector):
    """The gauges of rollouts as ``rollout.status.describe`` has them."""

    def __init__(self, rollouts: Iterable[Mapping[str, Any]]) -> None:
        self._rollouts = list(rollouts)

    def collect(self) -> Iterator[Metric]:
        """Nothing where nothing is rolled out."""
        if not self._rollouts:
            return
        from prometheus_client.core import GaugeMetricFamily

        labels = ("policy", "version")
        step = GaugeMetricFamily(STEP, "Percent of the drawn requests that the new version gets.", labels=labels)
        text = "What a guard says in the present step: 1 it holds, 0 not known yet, -1 it is broken."
        verdict = GaugeMetricFamily(VERDICT, text, labels=(*labels, "guard"))
        phase = GaugeMetricFamily(PHASE, "1: the phase of the rollout; 0: it is in another.", labels=(*labels, "phase"))
        text = "1: the last look at the rollout failed, so that it stays as it is; 0: it did not."
        fault = GaugeMetricFamily(FAULT, text, labels=labels)
        for rollout in self._rollouts:
            fault.add_metric((rollout["policy"], rollout["to"]), bool(rollout["fault"]))
            step.add_metric((rollout["policy"], rollout["to"]), rollout["percent"])
            for name in _PHASES:
                phase.add_metric((rollout["policy"], rollout["to"], name), name == rollout["phase"])
            for guard in rollout["guards"]:
                values = (rollout["policy"], rollout["to"], guard["guard"])
                verdict.add_metric(values, _VERDICTS[guard["verdict"]])
        yield step
        yield verdict
        yield phase
        yield fault
