"""Counts what the shell tells, and shows it to Prometheus. Floor 4: may import floors 0 to 3.

Counting happens on the request path, so it is plain dictionary and list arithmetic by one thread (a tenth of what the
client library's own counters cost); the library renders it when somebody scrapes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from extproc.actions import Fault, Note, Observed, Unmatched

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
"""Seconds: from an embedding to a long generation."""
MESSAGE_BUCKETS = (0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1)
"""Seconds that one ext_proc message keeps the processor busy."""


class Histogram:
    """Counts per bucket, and the sum. ``bounds`` are inclusive upper bounds in ascending order."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, cumulative count) as Prometheus wants them."""
        total = 0
        found: list[tuple[str, float]] = []
        for bound, count in zip((*(str(float(b)) for b in self.bounds), "+Inf"), list(self.counts), strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Metrics(Collector):
    """Everything the processor counts. Written by the engine's thread; may be collected by another."""

    def __init__(self) -> None:
        self.streams = 0
        """Open gRPC streams of Envoy's."""
        self._requests: dict[tuple[str, str, str, str, str], int] = {}
        self._durations: dict[tuple[str, str, str], Histogram] = {}
        self._unmatched: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._messages: dict[str, Histogram] = {}
        self.policy_generation = 0
        self.policy_reloads: dict[str, int] = {"success": 0, "failure": 0}

    def note(self, note: Note) -> None:
        """Counts what a stream noted."""
        match note:
            case Observed():
                key = (note.model, note.version, note.gpu_pool, note.api, note.code)
                self._requests[key] = self._requests.get(key, 0) + 1
                if note.seconds is not None:
                    labels = key[:3]
                    histogram = self._durations.get(labels)
                    if histogram is None:
                        histogram = self._durations[labels] = Histogram(DURATION_BUCKETS)
                    histogram.observe(note.seconds)
            case Unmatched():
                self._unmatched[note.reason] = self._unmatched.get(note.reason, 0) + 1
            case Fault():
                self.error(note.reason)

    def error(self, reason: str) -> None:
        """Counts a failure of ours or of the protocol's; ``reason`` is a word of a closed set."""
        self._errors[reason] = self._errors.get(reason, 0) + 1

    def message(self, phase: str, seconds: float) -> None:
        """Counts one ext_proc message and the time it took us."""
        histogram = self._messages.get(phase)
        if histogram is None:
            histogram = self._messages[phase] = Histogram(MESSAGE_BUCKETS)
        histogram.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus scrapes."""
        yield _counter(
            "inference_requests",
            "Inference requests by how they ended.",
            ("model", "version", "gpu_pool", "api", "code"),
            self._requests.items(),
        )
        yield _histogram(
            "inference_request_duration_seconds",
            "From the routed request to the last byte of the response.",
            ("model", "version", "gpu_pool"),
            self._durations.items(),
        )
        yield _counter(
            "inference_unmatched",
            "Requests that passed on unrouted, by reason.",
            ("reason",),
            (((reason,), count) for reason, count in list(self._unmatched.items())),
        )
        yield _histogram(
            "extproc_message_duration_seconds",
            "Time the processor spent on one ext_proc message.",
            ("phase",),
            (((phase,), histogram) for phase, histogram in list(self._messages.items())),
        )
        yield _counter(
            "extproc_errors",
            "Failures of the processor, and messages that broke the protocol.",
            ("reason",),
            (((reason,), count) for reason, count in list(self._errors.items())),
        )
        yield GaugeMetricFamily("extproc_streams", "Open ext_proc streams.", value=self.streams)
        info = GaugeMetricFamily(
            "extproc_policy_info",
            "The policy in force; its generation counts from 1.",
            labels=("generation",),
        )
        info.add_metric((str(self.policy_generation),), 1)
        yield info
        yield _counter(
            "extproc_policy_reloads",
            "Attempts to load changed policy files.",
            ("result",),
            (((result,), count) for result, count in list(self.policy_reloads.items())),
        )


def _counter(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in list(values):
        family.add_metric(key, count)
    return family


def _histogram(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], Histogram]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, histogram in list(values):
        family.add_metric(key, histogram.buckets(), histogram.sum)
    return family
