"""Spans and metrics of inferences, sent to an OpenTelemetry collector by OTLP over gRPC.

The request's path only leaves a finished exchange in a queue; a thread makes spans of it and sends them. Where the
collector is slow or gone the queue fills, and what does not fit is dropped and counted. Everything beyond the endpoint
(headers, certificates, timeout, sampler, resource attributes) comes from OpenTelemetry's own environment variables.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from threading import Event, Thread
from uuid import uuid4

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
from extproc.envoy.actions import Observed
from extproc.grpc_server import Metadata
from extproc.telemetry import genai, trace_context
from extproc.telemetry.histogram import Histogram
from extproc.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_SCOPE = "aimesh.extproc"
_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
_EVERY = 1.0
"""Seconds between two looks into the queue."""
_METRICS_EVERY = 60_000
"""Milliseconds, unless ``OTEL_METRIC_EXPORT_INTERVAL`` says otherwise: the standard's own default."""
_BATCH = 512
"""Spans of one message."""
_MOST = 8192
"""Exchanges that wait; 16 batches."""
_SWITCH = 0.0005
"""Seconds that the thread that serves requests may have to wait for the one that makes spans: by itself, Python lets it
wait for 5 ms, ten times longer than a decision takes with all that is around it."""
_LAST = 3.0
"""Seconds that the last message has when we end."""


class Otlp:
    """One process's way to a collector. Spans and metrics, unless ``OTEL_{TRACES,METRICS}_EXPORTER`` say ``none``."""

    def __init__(self, endpoint: str, metrics: Metrics) -> None:
        """``endpoint``: ``http://host:port``, ``https`` for TLS. Each process is an instance of its own."""
        resource = _resource()
        self._metrics = metrics
        self._waiting: deque[tuple[Observed, trace_context.Context, int]] = deque()
        self._measured = genai.Measurements()
        self._started_at = time.time_ns()
        self._spans = _Spans(endpoint, resource) if _wanted("OTEL_TRACES_EXPORTER") else None
        self._points = _Points(endpoint, resource) if _wanted("OTEL_METRICS_EXPORTER") else None
        self._interval = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or _METRICS_EVERY) / 1000
        self._switch = sys.getswitchinterval()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="otlp", daemon=True)

    def note(self, metadata: Metadata, observed: Observed) -> None:
        """Takes a finished exchange; ``metadata`` is that of its gRPC stream."""
        if not genai.is_inference(observed):
            return
        self._measured.note(observed)
        if self._spans is None:
            return
        context = trace_context.context(metadata, observed.traceparent)
        if not genai.makes_span(observed, child=bool(context.parent)):
            return
        if len(self._waiting) >= _MOST:
            self._metrics.spans("dropped")
        else:
            self._waiting.append((observed, context, time.time_ns()))

    def start(self) -> None:
        """Begins to send. From now on a thread of this process that works has to make way for another sooner."""
        sys.setswitchinterval(_SWITCH)
        self._thread.start()

    def stop(self) -> None:
        """Sends what there is, for a moment; what could not go by then is lost."""
        self._stopping.set()
        self._thread.join(_LAST)
        for exporter in (self._spans, self._points):
            if exporter is not None:
                exporter.close()
        sys.setswitchinterval(self._switch)

    def _run(self) -> None:
        due = time.monotonic() + self._interval
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(_EVERY)
            try:
                self._send_spans()
                if self._points is not None and (stopping or time.monotonic() >= due):
                    due = time.monotonic() + self._interval
                    self._points.send(self._measured, self._started_at)
            except Exception:
                log.exception("sending to the collector failed")

    def _send_spans(self) -> None:
        waiting = self._waiting
        while self._spans is not None and waiting:
            batch = [waiting.popleft() for _ in range(min(_BATCH, len(waiting)))]
            sent, ok = self._spans.send(batch)
            if sent:
                self._metrics.spans("exported" if ok else "failed", sent)


def _resource() -> Resource:
    """Who sends, as the environment says. Cumulative sums need an instance that nobody else is."""
    found = Resource.create({"service.version": __version__, "service.instance.id": str(uuid4())})
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        found = found.merge(Resource({"service.name": "extproc"}))
    return found


def _wanted(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() != "none"


class _Spans:
    """Makes spans with the SDK, which samples them and gives them their ids, and sends them."""

    def __init__(self, endpoint: str, resource: Resource) -> None:
        self._exporter = OTLPSpanExporter(endpoint)
        self._recorded = _Recorded()
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self._recorded)
        self._tracer = provider.get_tracer(_SCOPE, __version__, schema_url=_SCHEMA)

    def send(self, batch: Sequence[tuple[Observed, trace_context.Context, int]]) -> tuple[int, bool]:
        """(how many of them are sampled, whether the collector took them)."""
        for one in batch:
            self._make(*one)
            time.sleep(0)  # whoever serves requests goes first
        spans = self._recorded.take()
        return len(spans), not spans or self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        self._exporter.shutdown()

    def _make(self, observed: Observed, context: trace_context.Context, end: int) -> None:
        span = self._tracer.start_span(
            genai.span_name(observed),
            _inside(context),
            SpanKind.CLIENT,
            genai.attributes(observed),
            start_time=end - int((observed.seconds or 0.0) * 1e9),
        )
        if genai.failed(observed):
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)


def _inside(context: trace_context.Context) -> SdkContext:
    parent = trace_context.parent(context.parent)
    if parent is None:
        return SdkContext()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([context.state]) if context.state else None
    remote = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags, trace_state=state)
    return set_span_in_context(NonRecordingSpan(remote), SdkContext())


class _Recorded(SpanProcessor):
    """Keeps the spans that have ended."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        spans, self._spans = self._spans, []
        return spans


class _Points:
    """Sends measurements, summed up since the start."""

    def __init__(self, endpoint: str, resource: Resource) -> None:
        self._exporter = OTLPMetricExporter(endpoint)
        self._resource = resource

    def send(self, measured: genai.Measurements, since: int) -> None:
        """``since``: when the sums began, in nanoseconds since the epoch."""
        now = time.time_ns()
        found = [
            sdk.Metric(instrument.name, instrument.description, instrument.unit, _histogram(series, since, now))
            for instrument, series in measured.collect()
        ]
        if found:
            scope = sdk.ScopeMetrics(InstrumentationScope(_SCOPE, __version__, _SCHEMA), found, _SCHEMA)
            self._exporter.export(sdk.MetricsData([sdk.ResourceMetrics(self._resource, [scope], "")]))

    def close(self) -> None:
        self._exporter.shutdown()


def _histogram(series: Sequence[tuple[genai.Attributes, Histogram]], since: int, now: int) -> sdk.Histogram:
    points = []
    for about, histogram in series:
        counts = list(histogram.counts)
        # Nothing keeps the least and the greatest, and the protocol needs neither.
        nothing: float = None  # type: ignore[assignment]
        points.append(
            sdk.HistogramDataPoint(
                about, since, now, sum(counts), histogram.sum, counts, histogram.bounds, nothing, nothing
            )
        )
    return sdk.Histogram(points, sdk.AggregationTemporality.CUMULATIVE)
