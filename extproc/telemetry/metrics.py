"""The processor's metrics, for Prometheus.

Counting happens on the request path, so it is arithmetic on dictionaries and lists by one thread; Prometheus' client
library renders them at a scrape. The metrics of several processes are one to Prometheus: each gives its ``state``, and
another ``Metrics`` adds them up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from extproc.exchange.notes import SHED, CustomSample, Fault, Note, Observed, RequestAccount, Unmatched
from extproc.policy.decision import FAILOVER
from extproc.policy.diversion import Diverted
from extproc.policy.snapshot import NONE, Snapshot
from extproc.telemetry import cluster_gauges, rendering_drift, rollout_gauges, serving_gauges
from extproc.telemetry.caller_labels import CallerLabels
from extproc.telemetry.cluster_gauges import ClusterGauges
from extproc.telemetry.custom_series import CustomSeries, MetricValues, samples
from extproc.telemetry.histogram import Histogram
from extproc.telemetry.rendering_drift import SeenRenderings
from extproc.telemetry.serving_gauges import ServingGauges

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
else:
    Collector = object  # imported at the first scrape: the import takes a tenth of the start

DURATION_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75),
    *(1, 1.5, 2, 2.5, 5, 7.5, 10, 15, 20, 30, 40, 60, 80, 120, 160, 320),
)
"""Seconds, from an embedding to a long generation. Neighbours differ by less than a canary may be slower."""
FIRST_TOKEN_BUCKETS = (
    *(0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75),
    *(1, 1.5, 2, 2.5, 5, 7.5, 10, 20, 40, 80),
)
"""Seconds, from a small warm model to a long prompt in a long queue; closest where objectives are set."""
PER_TOKEN_BUCKETS = (
    *(0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05),
    *(0.06, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5),
)
"""Seconds between two tokens, from a thousand tokens a second to less than one in two seconds."""
MESSAGE_BUCKETS = (0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1)
"""Seconds of the processor's time for one ext_proc message."""

_NOT_COUNTED = (SHED, "broken_off")
"""``Observed.error`` of what is no failure of the exchange, or is counted by its account."""

Labels: TypeAlias = tuple[str, ...]

_TARGET: Labels = ("model", "version", "gpu_pool")
_COUNTERS: dict[str, tuple[str, Labels]] = {
    "inference_requests": ("Inference requests by how they ended.", ("model", "version", "gpu_pool", "api", "code")),
    "inference_observed_requests": (
        "Answers that were read for times, tokens and errors: all, or a sample that stands for all.",
        ("model", "version", "gpu_pool"),
    ),
    "inference_errors": ("Inferences that failed or were broken off, and whose fault it was.", (*_TARGET, "reason")),
    "inference_tokens": (
        "Tokens of prompts (cached ones too), of answers, and those of prompts that were cached.",
        ("model", "version", "gpu_pool", "type", "estimated"),
    ),
    "inference_failovers": ("Requests that another version answered, since theirs was down.", _TARGET),
    "inference_diverted": ("Requests for which there was no room, by what took them.", ("policy", "version", "to")),
    "inference_unmatched": ("Requests that passed on unrouted, by reason.", ("reason",)),
    "inference_rejected": ("Requests that were answered with an error and went no further, by its code.", ("code",)),
    "inference_caller_requests": ("Requests by the caller's verified identity.", ("caller",)),
    "extproc_errors": ("Failures of the processor, and messages that broke the protocol.", ("reason",)),
    "extproc_counted_requests": ("Requests by what counted them: Envoy's access log, or the observer.", ("by",)),
    "extproc_spans": ("Spans of inferences for the collector, by what became of them.", ("result",)),
    "extproc_policy_reloads": ("Attempts to load changed policy files.", ("result",)),
}
_HISTOGRAMS: dict[str, tuple[str, Labels, tuple[float, ...]]] = {
    "inference_request_duration_seconds": (
        "From the request's arrival to the last byte of the response.",
        ("model", "version", "gpu_pool"),
        DURATION_BUCKETS,
    ),
    "inference_time_to_first_token_seconds": (
        "From the request's arrival to the first token of a streamed answer.",
        ("model", "version", "gpu_pool"),
        FIRST_TOKEN_BUCKETS,
    ),
    "inference_time_per_output_token_seconds": (
        "Between two tokens of a streamed answer, on its average.",
        ("model", "version", "gpu_pool", "estimated"),
        PER_TOKEN_BUCKETS,
    ),
    "extproc_message_duration_seconds": ("Processor's time for one ext_proc message.", ("phase",), MESSAGE_BUCKETS),
}
"""By name: help text and labels (and bucket bounds)."""
_GAUGES = (
    *("extproc_streams", "extproc_policy_info", "extproc_rendering_differs"),
    *(*serving_gauges.NAMES, *rollout_gauges.NAMES),
    *("extproc_workers", "extproc_worker_restarts", "extproc_policies_in_step", "extproc_policy_objects"),
)


def find_conflict(name: str, kind: str) -> str:
    """The built-in metric whose samples share a name with one of this name and type; empty where there is none."""
    wanted = samples(name, kind)
    ours = {n: samples(n, "COUNTER") for n in _COUNTERS} | {n: samples(n, "HISTOGRAM") for n in _HISTOGRAMS}
    ours |= {n: samples(n, "GAUGE") for n in _GAUGES}
    if name.startswith("extproc_"):
        return "extproc_*"
    return next((built_in for built_in, names in ours.items() if wanted & names), "")


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
        self._counters: dict[str, dict[Labels, int | float]] = {name: {} for name in _COUNTERS}
        self._histograms: dict[str, dict[Labels, Histogram]] = {name: {} for name in _HISTOGRAMS}
        self._callers = CallerLabels()
        self._generations, self._differing = set[int](), dict[str, int]()
        self._phases: dict[str, Histogram] = {}
        self._counters["extproc_policy_reloads"] = {("success",): 0, ("failure",): 0}

    def set_snapshot(self, snapshot: Snapshot) -> None:
        """Follows a reload: the policies in force from now on."""
        self.policy_generation = snapshot.generation
        self.renderings.set_snapshot(snapshot, perf_counter())
        self.series.declare(metric for policy in snapshot.policies for metric in policy.custom_metrics)

    def note(self, note: Note) -> None:
        """Counts a note of an exchange."""
        match note:
            case Observed():
                self._observed(note)
            case RequestAccount():
                self._account(note)
            case Unmatched():
                self._count("inference_unmatched", (note.reason,))
            case Fault():
                self.count_error(note.reason)
            case Diverted():
                self._count("inference_diverted", (note.policy, note.version or NONE, note.to))
            case CustomSample():
                self.series.note(note, monotonic())

    def _observed(self, note: Observed) -> None:
        labels = (note.model, note.version, note.gpu_pool)
        self._count("inference_observed_requests", labels)
        if not note.accounted:
            self._request(note, "observer")
        times = note.stands_for
        estimated = "true" if note.estimated else "false"
        if note.first_token is not None:
            self._histogram("inference_time_to_first_token_seconds", labels).observe(note.first_token, times)
        if note.per_token is not None:
            per_token = self._histogram("inference_time_per_output_token_seconds", (*labels, estimated))
            per_token.observe(note.per_token, times)
        told, counted = ("false", estimated) if times == 1 else ("true", "true")
        if note.input_tokens is not None:
            self._count("inference_tokens", (*labels, "input", told), note.input_tokens * times)
        if note.output_tokens is not None:
            self._count("inference_tokens", (*labels, "output", counted), note.output_tokens * times)
        if note.cached_tokens is not None:
            self._count("inference_tokens", (*labels, "cached", told), note.cached_tokens * times)
        if note.error and note.error not in _NOT_COUNTED:
            self._count("inference_errors", (*labels, note.error), times)

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
        histogram = self._phases.get(phase)
        if histogram is None:
            histogram = self._phases[phase] = self._histogram("extproc_message_duration_seconds", (phase,))
        histogram.observe(seconds)

    def state(self) -> bytes:
        """For ``add`` in another process. Encoding holds the GIL throughout, so it sees no half-made change."""
        state = State(self._counters, self._histograms, self.streams, self.policy_generation, self.series.state())
        state.differing = self.renderings.differing(perf_counter())
        state.cluster, state.serving = self.cluster(), self.serving()
        return _ENCODER.encode(state)

    def add(self, state: bytes, *, alive: bool = True) -> None:
        """Adds the state of another process; unless it is ``alive``, without its gauges."""
        other = _DECODER.decode(state)
        for name, key, count in ((n, k, c) for n, counts in other.counters.items() for k, c in counts.items()):
            self._count(name, key, count)
        for name, key, more in ((n, k, h) for n, found in other.histograms.items() for k, h in found.items()):
            self._histogram(name, key).add(more)
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

        for name, (text, labels) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for key, count in list(self._counters[name].items()):
                counter.add_metric(key, count)
            yield counter
        for name, (text, labels, _) in _HISTOGRAMS.items():
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
            histograms[key] = Histogram(_HISTOGRAMS[name][2])
        return histograms[key]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(State)
