"""Export of spans and metrics of inferences to an OpenTelemetry collector, by OTLP over gRPC.

The request path only queues a finished exchange; a thread makes spans of the queue and sends them. Answers that were
broken off become spans, and count, once their accounts say by whom. While the collector is slow or unreachable the
queue fills; what does not fit is dropped and counted. Everything but the endpoint (headers, certificates, timeout,
sampler, resource attributes) comes from OpenTelemetry's own environment variables.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from threading import Event, Thread
from uuid import uuid4

import msgspec
from opentelemetry.context import Context as SdkContext
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace.propagation import set_span_in_context

from extproc import __version__
from extproc.exchange.notes import BROKEN_OFF, Observed, RequestAccount
from extproc.grpc_server import Metadata
from extproc.telemetry import genai, trace_context
from extproc.telemetry.awaited_accounts import AwaitedAccounts, Ended
from extproc.telemetry.histogram import Histogram
from extproc.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_SCOPE = "aimesh.extproc"
_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
_QUEUE_INTERVAL = 1.0
"""Seconds between two batches."""
_DEFAULT_METRIC_INTERVAL = 60_000
"""Milliseconds between two exports of metrics, where ``OTEL_METRIC_EXPORT_INTERVAL`` is not set: the specification's
default."""
_MAX_BATCH = 512
"""Exchanges whose spans are sent in one message."""
_MAX_QUEUED = 8192
"""Exchanges in the queue: 16 batches."""
_SWITCH_INTERVAL = 0.0005
"""Seconds that the thread that serves requests waits at most for the GIL while spans are made. Python's default of
5 ms is longer than a whole decision takes."""
_SHUTDOWN_TIMEOUT = 3.0
"""Seconds that the last export has when the process ends."""


class OtlpExporter:
    """Exports one process's spans and metrics; not those for which ``OTEL_{TRACES,METRICS}_EXPORTER`` is ``none``."""

    def __init__(self, endpoint: str, metrics: Metrics) -> None:
        """``endpoint``: ``http://host:port``, or ``https`` for TLS."""
        resource = _resource()
        self._metrics = metrics
        self._queue: deque[Ended] = deque()
        self._awaited = AwaitedAccounts()
        self._broken: deque[Ended] = deque()
        """Answers that were broken off and do not count yet, and accounts of failures."""
        self._uncounted = AwaitedAccounts()
        self._measurements, self._counted_late = genai.Measurements(), genai.Measurements()
        """Of the thread that serves requests, and of our own."""
        self._started_at = time.time_ns()
        self._spans = _SpanSender(endpoint, resource) if _enabled("OTEL_TRACES_EXPORTER") else None
        self._points = _MetricSender(endpoint, resource) if _enabled("OTEL_METRICS_EXPORTER") else None
        self._interval = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or _DEFAULT_METRIC_INTERVAL) / 1000
        self._default_switch_interval = sys.getswitchinterval()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="otlp", daemon=True)

    def note(self, metadata: Metadata, observed: Observed) -> None:
        """Queues a finished exchange. ``metadata``: that of its gRPC stream."""
        if not genai.is_inference(observed):
            return
        if observed.error == BROKEN_OFF and self._points is not None and len(self._broken) < _MAX_QUEUED:
            self._broken.append((time.time(), observed))
        else:
            self._measurements.note(observed)
        if self._spans is None:
            return
        context = trace_context.read_context(metadata, observed.traceparent)
        if not genai.has_span(observed, child=bool(context.parent)):
            return
        if len(self._queue) >= _MAX_QUEUED:
            self._metrics.count_spans("dropped")
        else:
            traced = msgspec.structs.replace(observed, traceparent=context.parent, tracestate=context.state)
            self._queue.append((time.time(), traced))

    def account(self, account: RequestAccount) -> None:
        """Queues what Envoy tells of a request that failed. A full queue loses it: span and metrics then tell what was
        observed.
        """
        if not account.failure:
            return
        if self._spans is not None and account.observed and len(self._queue) < _MAX_QUEUED:
            self._queue.append((time.time(), account))
        if self._points is not None and len(self._broken) < _MAX_QUEUED:
            self._broken.append((time.time(), account))

    def start(self) -> None:
        """Starts the thread, and lowers the interpreter's thread switch interval until ``stop``."""
        sys.setswitchinterval(_SWITCH_INTERVAL)
        self._thread.start()

    def stop(self) -> None:
        """Sends what is queued, for ``_SHUTDOWN_TIMEOUT`` at most. The rest is lost."""
        self._stopping.set()
        self._thread.join(_SHUTDOWN_TIMEOUT)
        for exporter in (self._spans, self._points):
            if exporter is not None:
                exporter.close()
        sys.setswitchinterval(self._default_switch_interval)

    def _run(self) -> None:
        due = time.monotonic() + self._interval
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(_QUEUE_INTERVAL)
            try:
                now = math.inf if stopping else time.time()
                self._count_late(now)
                self._send_spans(now)
                if self._points is not None and (stopping or time.monotonic() >= due):
                    due = time.monotonic() + self._interval
                    self._points.send((self._measurements, self._counted_late), self._started_at)
            except Exception:
                log.exception("sending to the collector failed")

    def _count_late(self, now: float) -> None:
        """Counts answers that were broken off, but for what still awaits its account at ``now``."""
        ended: list[Ended] = []
        while self._broken:
            at, note = self._broken.popleft()
            awaited = self._uncounted
            ended += awaited.explain(at, note) if isinstance(note, RequestAccount) else awaited.take(at, note)
        for _, observed in (*ended, *self._uncounted.overdue(now)):
            if isinstance(observed, Observed):
                self._counted_late.note(observed)

    def _send_spans(self, now: float) -> None:
        """Sends what is queued, but for what still awaits its account at ``now``."""
        if self._spans is None:
            return
        batch: list[Ended] = []
        while True:
            while self._queue and len(batch) < _MAX_BATCH:
                batch += self._awaited.take(*self._queue.popleft())
            if not self._queue:
                batch += self._awaited.overdue(now)
            if not batch:
                return
            sent, ok = self._spans.send(batch[:_MAX_BATCH])
            del batch[:_MAX_BATCH]
            if sent:
                self._metrics.count_spans("exported" if ok else "failed", sent)


def _resource() -> Resource:
    """The resource by the environment, with an instance id of its own: cumulative sums must not mix with another's."""
    resource = Resource.create({"service.version": __version__, "service.instance.id": str(uuid4())})
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "extproc"}))
    return resource


def _enabled(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() != "none"


class _SpanSender:
    """Makes spans with the SDK, which samples them and assigns their ids, and sends them."""

    def __init__(self, endpoint: str, resource: Resource) -> None:
        self._exporter = OTLPSpanExporter(endpoint)
        self._finished = _FinishedSpans()
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self._finished)
        self._tracer = provider.get_tracer(_SCOPE, __version__, schema_url=_SCHEMA)

    def send(self, batch: Sequence[Ended]) -> tuple[int, bool]:
        """Sends the batch: (number of sampled spans, whether the collector accepted them)."""
        for ended_at, observed in batch:
            if isinstance(observed, Observed):
                self._make(observed, int(ended_at * 1e9))
            time.sleep(0)  # lets the thread that serves requests run
        spans = self._finished.take()
        return len(spans), not spans or self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        self._exporter.shutdown()

    def _make(self, observed: Observed, end: int) -> None:
        span = self._tracer.start_span(
            genai.span_name(observed),
            _parent_context(observed),
            SpanKind.CLIENT,
            genai.attributes(observed),
            start_time=end - int((observed.seconds or 0.0) * 1e9),
        )
        if genai.is_failed_span(observed):
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)


def _parent_context(observed: Observed) -> SdkContext:
    parent = trace_context.parse_traceparent(observed.traceparent)
    if parent is None:
        return SdkContext()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([observed.tracestate]) if observed.tracestate else None
    remote = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags, trace_state=state)
    return set_span_in_context(NonRecordingSpan(remote), SdkContext())


class _FinishedSpans(SpanProcessor):
    """Collects the spans that have ended."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        spans, self._spans = self._spans, []
        return spans


class _MetricSender:
    """Sends measurements, cumulative since the start."""

    def __init__(self, endpoint: str, resource: Resource) -> None:
        self._exporter = OTLPMetricExporter(endpoint)
        self._resource = resource

    def send(self, measurements: Sequence[genai.Measurements], since: int) -> None:
        """The sums of ``measurements``. ``since``: their start in nanoseconds since the epoch."""
        now = time.time_ns()
        metrics = [
            sdk.Metric(instrument.name, instrument.description, instrument.unit, _histogram(series, since, now))
            for instrument, series in genai.collect(measurements)
        ]
        if metrics:
            scope = sdk.ScopeMetrics(InstrumentationScope(_SCOPE, __version__, _SCHEMA), metrics, _SCHEMA)
            self._exporter.export(sdk.MetricsData([sdk.ResourceMetrics(self._resource, [scope], "")]))

    def close(self) -> None:
        self._exporter.shutdown()


def _histogram(series: Sequence[tuple[genai.Attributes, Histogram]], since: int, now: int) -> sdk.Histogram:
    points = []
    for attributes, histogram in series:
        counts = [round(count) for count in histogram.counts]
        # The least and the greatest value are optional in OTLP, and not kept.
        unknown: float = None  # type: ignore[assignment]
        points.append(
            sdk.HistogramDataPoint(
                attributes, since, now, sum(counts), histogram.sum, counts, histogram.bounds, unknown, unknown
            )
        )
    return sdk.Histogram(points, sdk.AggregationTemporality.CUMULATIVE)
