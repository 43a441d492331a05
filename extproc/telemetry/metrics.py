"""The processor's metrics, for Prometheus.

Counting happens on the request path, so it is arithmetic on dictionaries and lists by one thread; Prometheus' client
library renders them at a scrape. The metrics of several processes are one to Prometheus: each gives its ``state``, and
another ``Metrics`` adds them up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from extproc.exchange.notes import (
    SHED,
    CustomSample,
    Fault,
    Note,
    Observed,
    Picked,
    RequestAccount,
    Served,
    Unmatched,
    Waited,
)
from extproc.policy.custom_metric import GPU_UTILIZATION
from extproc.policy.decision import FAILOVER
from extproc.policy.diversion import Diverted
from extproc.policy.snapshot import NONE, Snapshot
from extproc.telemetry import cluster_gauges, rendering_drift, serving_gauges
from extproc.telemetry.caller_labels import CallerLabels
from extproc.telemetry.cluster_gauges import ClusterGauges
from extproc.telemetry.custom_series import CustomSeries, MetricValues
from extproc.telemetry.histogram import Histogram
from extproc.telemetry.metric_families import COUNTERS, HISTOGRAMS, Labels
from extproc.telemetry.rendering_drift import SeenRenderings
from extproc.telemetry.serving_gauges import ServingGauges

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
else:
    Collector = object  # imported at the first scrape: the import takes a tenth of the start

_NOT_COUNTED = (SHED, "broken_off")
"""``Observed.error`` of what is no failure of the exchange, or is counted by its account."""


class State(msgspec.Struct, array_like=True):
    """Everything that a process has counted, and its gauges."""

    counters: dict[str, dict[Labels, int | float]]
    histograms: dict[str, dict[Labels, Histogram]]
    streams: int = 0
    generation: int = 0
    series: list[MetricValues] = []
    differing: dict[str, int] = {}
    cluster: ClusterGauges | None = None
    serving: ServingGauges = msgspec.field(default_factory=ServingGauges)


class Metrics(Collector):
    """Everything the processor counts. Written by the event loop's thread; any thread may collect."""

    def __init__(self) -> None:
        self.series = CustomSeries()
        """The custom metrics of policies."""
        self.renderings = SeenRenderings()
        self.streams = 0
        """Open gRPC streams."""
        self.policy_generation = 0
        self.workers: int | None = None
        """Ready worker processes; None: this process has no workers."""
        self.worker_restarts = 0
        self.cluster: Callable[[], ClusterGauges | None] = lambda: None  # that of the watched policies
        self.serving: Callable[[], ServingGauges] = ServingGauges  # what this process knows of pools and targets
        self._clusters, self.servings = list[ClusterGauges | None](), list[ServingGauges]()  # of what was added
        self._counters: dict[str, dict[Labels, int | float]] = {name: {} for name in COUNTERS}
        self._histograms: dict[str, dict[Labels, Histogram]] = {name: {} for name in HISTOGRAMS}
        self._callers = CallerLabels()
        self._generations: set[int] = set()
        self._differing: dict[str, int] = {}
        self._phases: dict[str, Callable[[float], None]] = {}
        self._counters["extproc_policy_reloads"] = {("success",): 0, ("failure",): 0}

    def set_snapshot(self, snapshot: Snapshot) -> None:
        """Follows a reload: the policies in force from now on."""
        self.policy_generation = snapshot.generation
        self.renderings.set_snapshot(snapshot, perf_counter())
        asked = (metric for policy in snapshot.policies for metric in policy.custom_metrics)
        self.series.declare(metric for metric in asked if metric.source != GPU_UTILIZATION)

    def note(self, note: Note) -> None:
        """Counts a note of an exchange."""
        _COUNTED_BY[type(note)](self, note)

    def _observed(self, note: Observed) -> None:
        labels = (note.model, note.version, note.gpu_pool)
        if not note.left:
            self._count("inference_observed_requests", labels)
        if not note.accounted:
            self._request(note, "observer")
        times = note.stands_for
        estimated = "true" if note.estimated else "false"
        if note.first_token is not None:
            self._count("inference_observed_first_tokens", labels)
            first_token = self._histogram("inference_time_to_first_token_seconds", labels)
            first_token.observe(note.first_token, note.first_token_stands_for)
        if note.per_token is not None:
            per_token = self._histogram("inference_time_per_output_token_seconds", (*labels, estimated))
            per_token.observe(note.per_token, times)
        told, counted = ("false", estimated) if times == 1 else ("true", "true")
        tokens = (("input", told, note.input_tokens), ("output", counted, note.output_tokens))
        for kind, how, count in (*tokens, ("cached", told, note.cached_tokens)):
            if count is not None:
                self._count("inference_tokens", (*labels, kind, how), count * times)
        if note.error and note.error not in _NOT_COUNTED:
            self._count("inference_errors", (*labels, note.error), times)

    def _diverted(self, note: Diverted) -> None:
        self._count("inference_diverted", (note.policy, note.version or NONE, note.to))

    def _picked(self, note: Picked) -> None:
        self._count("inference_picks", (note.policy, note.version or NONE, note.gpu_pool or NONE, note.outcome))

    def _served(self, note: Served) -> None:
        self._count("inference_picks_served", (note.policy, note.version or NONE, note.gpu_pool or NONE, note.by))

    def _waited(self, note: Waited) -> None:
        self._count("inference_queue_requests", (note.policy, note.outcome))
        if note.seconds is not None:
            self._histogram("inference_queue_seconds", (note.policy,)).observe(note.seconds)

    def _account(self, note: RequestAccount) -> None:
        self._request(note, "access_log")
        if note.cohort == FAILOVER:
            self._count("inference_failovers", (note.model, note.version, note.gpu_pool))
        if note.failure:
            self._count("inference_errors", (note.model, note.version, note.gpu_pool, note.failure))

    def _request(self, note: Observed | RequestAccount, by: str) -> None:
        labels = (note.model, note.version, note.gpu_pool)
        self._count("inference_requests", (*labels, note.api, note.code))
        if note.seconds is not None:
            self._histogram("inference_request_duration_seconds", labels).observe(note.seconds)
        self._count("inference_caller_requests", (self._callers.label(note.caller),))
        self._count("extproc_counted_requests", (by,))

    def count_error(self, reason: str) -> None:
        """Counts a failure of the processor, or a violation of the protocol. ``reason``: a word of a closed set."""
        self._count("extproc_errors", (reason,))

    def count_rejected(self, code: str) -> None:
        """Counts a request that the processor answered itself. ``code``: a word of a closed set."""
        self._count("inference_rejected", (code,))

    def count_spans(self, result: str, count: int = 1) -> None:
        """Counts spans by ``result``: ``exported``, ``failed`` or ``dropped``."""
        self._count("extproc_spans", (result,), count)

    def count_reload(self, ok: bool) -> None:
        """Counts an attempt to load changed policy files."""
        self._count("extproc_policy_reloads", ("success" if ok else "failure",))

    def observe_message(self, phase: str, seconds: float) -> None:
        """Counts one ext_proc message and the processor's time for it."""
        observe = self._phases.get(phase)
        if observe is None:
            observe = self._phases[phase] = self._histogram("extproc_message_duration_seconds", (phase,)).observe
        observe(seconds)

    def state(self) -> bytes:
        """For ``add`` in another process. Encoding holds the GIL throughout, so it sees no half-made change."""
        state = State(self._counters, self._histograms, self.streams, self.policy_generation, self.series.state())
        state.differing = self.renderings.differing(perf_counter())
        state.cluster, state.serving = self.cluster(), self.serving()
        return _ENCODER.encode(state)

    def add(self, state: bytes, *, alive: bool = True) -> None:
        """Adds the state of another process; unless it is ``alive``, without its gauges."""
        other = _DECODER.decode(state)
        for name, counts in other.counters.items():
            for key, count in counts.items():
                self._count(name, key, count)
        for name, histograms in other.histograms.items():
            for key, histogram in histograms.items():
                self._histogram(name, key).add(histogram)
        self.series.add(other.series)
        if alive:
            self.streams += other.streams
            self._generations.add(other.generation)
            self._clusters.append(other.cluster)
            self.servings.append(other.serving)
            for part, differs in other.differing.items():
                self._differing[part] = max(differs, self._differing.get(part, 0))

    def collect(self) -> Iterator[Metric]:
        """All metrics, as Prometheus' client library takes them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for name, (text, labels) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for key, count in list(self._counters[name].items()):
                counter.add_metric(key, count)
            yield counter
        for name, (text, labels, _) in HISTOGRAMS.items():
            family = HistogramMetricFamily(name, text, labels=labels)
            for key, histogram in list(self._histograms[name].items()):
                family.add_metric(key, histogram.buckets(), histogram.sum)
            yield family
        yield from self.series.collect(monotonic())
        yield GaugeMetricFamily("extproc_streams", "Open ext_proc streams.", value=self.streams)
        text = "The policy in force; its generation counts from 1."
        info = GaugeMetricFamily("extproc_policy_info", text, labels=("generation",))
        for generation in sorted(self._generations or {self.policy_generation}):
            info.add_metric((str(generation),), 1)
        yield info
        yield from rendering_drift.collect(self._differing or self.renderings.differing(perf_counter()))
        yield from serving_gauges.collect((*self.servings, self.serving()))
        yield from cluster_gauges.collect((*self._clusters, self.cluster()))
        if self.workers is not None:
            yield GaugeMetricFamily("extproc_workers", "Worker processes that are ready.", value=self.workers)
            yield CounterMetricFamily(
                "extproc_worker_restarts", "Worker processes started in a dead one's place.", value=self.worker_restarts
            )

    def _count(self, name: str, key: Labels, by: float = 1) -> None:
        counts = self._counters[name]
        counts[key] = counts.get(key, 0) + by

    def _histogram(self, name: str, key: Labels) -> Histogram:
        histograms = self._histograms[name]
        if key not in histograms:
            histograms[key] = Histogram(HISTOGRAMS[name][2])
        return histograms[key]


# Not match: to say that a note is of another class takes as long as counting it does.
_COUNTED_BY: dict[type[Note], Callable[[Metrics, Any], None]] = {
    Observed: Metrics._observed,
    RequestAccount: Metrics._account,
    Unmatched: lambda metrics, note: metrics._count("inference_unmatched", (note.reason,)),
    Fault: lambda metrics, note: metrics.count_error(note.reason),
    Diverted: Metrics._diverted,
    Picked: Metrics._picked,
    Served: Metrics._served,
    Waited: Metrics._waited,
    CustomSample: lambda metrics, note: metrics.series.note(note, monotonic()),
}

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(State)
