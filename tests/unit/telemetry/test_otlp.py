"""The exporter without a collector: spans and their parents, batches, points, and what is lost."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from extproc.exchange.notes import Observed, RequestAccount
from extproc.policy.snapshot import NONE
from extproc.telemetry import awaited_accounts, otlp
from extproc.telemetry.metrics import Metrics, State
from extproc.telemetry.otlp import OtlpExporter
from tests.unit.telemetry.test_genai import observed
from tests.waiting import until

TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
PARENT = f"00-{TRACE:032x}-{SPAN:016x}-01"
CHILD = (("traceparent", PARENT),)


class Collector:
    """Stands in for both exporters of OpenTelemetry's SDK: keeps what they would send."""

    def __init__(self) -> None:
        self.batches: list[Sequence[ReadableSpan]] = []
        self.metrics: list[sdk.MetricsData] = []
        self.closed = 0
        self.result = SpanExportResult.SUCCESS
        self.endpoints: list[str] = []
        self.fail = False

    def __call__(self, endpoint: str) -> Collector:
        self.endpoints.append(endpoint)
        return self

    def export(self, data: Any) -> SpanExportResult:
        if self.fail:
            raise RuntimeError("the exporter broke")
        if isinstance(data, sdk.MetricsData):
            self.metrics.append(data)
        else:
            self.batches.append(data)
        return self.result

    def shutdown(self) -> None:
        self.closed += 1

    @property
    def spans(self) -> list[ReadableSpan]:
        return [span for batch in self.batches for span in batch]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Collector:
    stand_in = Collector()
    monkeypatch.setattr(otlp, "OTLPSpanExporter", stand_in)
    monkeypatch.setattr(otlp, "OTLPMetricExporter", stand_in)
    return stand_in


def counted(metrics: Metrics) -> dict[str, float]:
    """Spans by what became of them."""
    state = msgspec.msgpack.decode(metrics.state(), type=State)
    return {result: count for (result,), count in state.counters["extproc_spans"].items()}


def export(*exchanges: tuple[tuple[tuple[str, str], ...], Observed], metrics: Metrics | None = None) -> None:
    exporter = OtlpExporter("http://collector:4317", metrics or Metrics())
    for metadata, exchange in exchanges:
        exporter.note(metadata, exchange)
    exporter.start()
    exporter.stop()


def test_a_span_lasts_as_long_as_its_exchange(collector: Collector) -> None:
    export((CHILD, observed(seconds=1.5)))
    (span,) = collector.spans
    assert (span.name, span.kind, span.status.status_code) == (
        "chat llama-3-8b",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 1_500_000_000
    assert collector.endpoints == ["http://collector:4317"] * 2
    assert collector.closed == 2


def test_the_parent_is_that_of_the_metadata_else_of_the_header(collector: Collector) -> None:
    export((CHILD, observed(traceparent=f"00-{'1' * 32}-{'2' * 16}-01")), ((), observed(traceparent=PARENT)))
    assert [(span.parent.trace_id, span.parent.span_id) for span in collector.spans if span.parent] == [
        (TRACE, SPAN),
        (TRACE, SPAN),
    ]
    assert all(span.parent and span.parent.is_remote for span in collector.spans)


@pytest.mark.parametrize("traceparent", ["", "nonsense", f"00-{'0' * 32}-{'2' * 16}-01"])
def test_without_a_valid_parent_a_trace_begins(collector: Collector, traceparent: str) -> None:
    export(((), observed(traceparent=traceparent)))
    (span,) = collector.spans
    assert span.parent is None
    assert span.context is not None
    assert span.context.trace_id != 0


def test_what_the_parent_does_not_sample_is_not_sent_nor_counted(collector: Collector) -> None:
    metrics = Metrics()
    export(((("traceparent", PARENT[:-1] + "0"),), observed()), metrics=metrics)
    assert (collector.batches, counted(metrics)) == ([], {})


def test_tracestate_goes_with_the_parent(collector: Collector) -> None:
    export(((*CHILD, ("tracestate", "vendor=abc,other=1")), observed()), ((*CHILD, ("tracestate", "=")), observed()))
    assert [dict(span.context.trace_state) for span in collector.spans if span.context] == [
        {"vendor": "abc", "other": "1"},
        {},
    ]


def test_a_refusal_with_a_parent_is_a_failed_span_without_duration(collector: Collector) -> None:
    refusal = observed(code="503", seconds=None)
    export((CHILD, refusal), ((), refusal))
    (span,) = collector.spans
    assert (span.status.status_code, span.start_time) == (StatusCode.ERROR, span.end_time)


BROKEN_OFF = {"error": "broken_off", "accounted": True, "request_id": "a"}
ACCOUNT = RequestAccount("m", "v1", "none", "openai", "200", 1.0, failure="upstream_broke_off", request_id="a")


def test_a_span_of_a_broken_off_answer_tells_whose_fault_it_was(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "_QUEUE_INTERVAL", 0.001)
    exporter = OtlpExporter("http://collector:4317", Metrics())
    exporter.note(CHILD, observed(**BROKEN_OFF))
    exporter.start()
    exporter.note(CHILD, observed(asked="next"))
    until(lambda: collector.spans)
    assert [span.name for span in collector.spans] == ["chat next"], "the other waits"
    exporter.account(msgspec.structs.replace(ACCOUNT, failure=""))
    exporter.account(msgspec.structs.replace(ACCOUNT, observed=False))
    exporter.account(ACCOUNT)
    until(lambda: len(collector.spans) == 2)
    exporter.stop()
    found = collector.spans[1]
    assert found.attributes is not None
    assert (found.attributes["error.type"], found.status.status_code) == ("upstream_broke_off", StatusCode.ERROR)
    assert found.parent is not None
    assert found.parent.span_id == SPAN


def test_a_span_without_an_account_tells_what_was_observed(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    export((CHILD, observed(**BROKEN_OFF)))
    (found,) = collector.spans
    assert found.attributes is not None
    assert (found.attributes["error.type"], found.status.status_code) == ("broken_off", StatusCode.UNSET)
    monkeypatch.setattr(awaited_accounts, "MAX_WAIT", 0.01)
    monkeypatch.setattr(otlp, "_QUEUE_INTERVAL", 0.001)
    exporter = OtlpExporter("http://collector:4317", Metrics())
    exporter.note(CHILD, observed(**BROKEN_OFF))
    exporter.start()
    until(lambda: len(collector.spans) == 2)
    exporter.stop()


def test_accounts_do_not_overfill_the_queue(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "_MAX_QUEUED", 1)
    exporter = OtlpExporter("http://collector:4317", Metrics())
    exporter.note(CHILD, observed(**BROKEN_OFF))
    exporter.account(ACCOUNT)
    exporter.start()
    exporter.stop()
    (found,) = collector.spans
    assert found.attributes is not None
    assert found.attributes["error.type"] == "broken_off"


def test_what_is_no_inference_is_not_exported(collector: Collector) -> None:
    export((CHILD, observed(api=NONE)))
    assert (collector.batches, collector.metrics) == ([], [])


def test_batches_are_bounded(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "_MAX_BATCH", 2)
    metrics = Metrics()
    export(*[(CHILD, observed())] * 5, metrics=metrics)
    assert [len(batch) for batch in collector.batches] == [2, 2, 1]
    assert counted(metrics) == {"exported": 5}


def test_a_full_queue_drops(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "_MAX_QUEUED", 2)
    metrics = Metrics()
    export(*[(CHILD, observed())] * 5, metrics=metrics)
    assert len(collector.spans) == 2
    assert counted(metrics) == {"dropped": 3, "exported": 2}


def test_a_refused_batch_is_counted_as_failed(collector: Collector) -> None:
    collector.result = SpanExportResult.FAILURE
    metrics = Metrics()
    export((CHILD, observed()), metrics=metrics)
    assert counted(metrics) == {"failed": 1}


def test_an_error_of_the_sdk_does_not_end_the_thread(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otlp, "_QUEUE_INTERVAL", 0.001)
    exporter = OtlpExporter("http://collector:4317", Metrics())
    collector.fail = True
    exporter.note(CHILD, observed())
    with caplog.at_level(logging.ERROR, "extproc.telemetry.otlp"):
        exporter.start()
        until(lambda: "sending to the collector failed" in caplog.text)
        collector.fail = False
        exporter.note(CHILD, observed(asked="next"))
        until(lambda: collector.spans)
    exporter.stop()
    assert "chat next" in [span.name for span in collector.spans]


def test_metrics_are_cumulative_points_without_extremes(collector: Collector) -> None:
    export((CHILD, observed(seconds=1.5)), (CHILD, observed(seconds=0.5)))
    (resource,) = collector.metrics[-1].resource_metrics
    (scope,) = resource.scope_metrics
    (metric,) = [metric for metric in scope.metrics if metric.name == "gen_ai.server.request.duration"]
    assert isinstance(metric.data, sdk.Histogram)
    (point,) = metric.data.data_points
    assert (point.count, point.sum, sum(point.bucket_counts)) == (2, 2.0, 2)
    assert [getattr(point, extreme) for extreme in ("min", "max")] == [None, None]
    assert point.start_time_unix_nano < point.time_unix_nano
    assert metric.data.aggregation_temporality is sdk.AggregationTemporality.CUMULATIVE
    assert resource.resource.attributes["service.name"] == "extproc"


def error_types(collector: Collector) -> dict[Any, int]:
    """Counted requests by their ``error.type``, None without one."""
    (resource,) = collector.metrics[-1].resource_metrics
    metrics = (metric for scope in resource.scope_metrics for metric in scope.metrics)
    (found,) = (metric.data for metric in metrics if metric.name == "gen_ai.server.request.duration")
    assert isinstance(found, sdk.Histogram)
    return {(point.attributes or {}).get("error.type"): point.count for point in found.data_points}


@pytest.mark.parametrize("first", ["answer", "account"])
@pytest.mark.parametrize("drawn", [True, False])
def test_an_answer_that_was_broken_off_counts_by_whom(collector: Collector, first: str, drawn: bool) -> None:
    """Also one that was not drawn to be read to its end, and broke off before its first token."""
    exporter = OtlpExporter("http://collector:4317", Metrics())
    calls: list[Callable[[], None]] = [
        lambda: exporter.note(CHILD, observed(**BROKEN_OFF, read_to_end=drawn)),
        lambda: exporter.account(msgspec.structs.replace(ACCOUNT, observed=drawn)),
    ]
    for call in calls if first == "answer" else reversed(calls):
        call()
    exporter.note(CHILD, observed())
    exporter.start()
    exporter.stop()
    assert error_types(collector) == {None: 1, "upstream_broke_off": 1}


def test_without_an_account_it_counts_as_broken_off(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    export((CHILD, observed(**BROKEN_OFF)))
    assert error_types(collector) == {"broken_off": 1}
    monkeypatch.setattr(otlp, "_MAX_QUEUED", 1)
    export((CHILD, observed(**BROKEN_OFF)), (CHILD, observed(**BROKEN_OFF | {"request_id": "b"})))
    assert error_types(collector) == {"broken_off": 2}, "also where no more can wait"


def test_metrics_go_at_their_interval(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "_QUEUE_INTERVAL", 0.001)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1")
    exporter = OtlpExporter("http://collector:4317", Metrics())
    exporter.note(CHILD, observed())
    exporter.start()
    until(lambda: len(collector.metrics) > 2)
    exporter.stop()


def test_before_their_interval_only_spans_go(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "_QUEUE_INTERVAL", 0.001)
    exporter = OtlpExporter("http://collector:4317", Metrics())
    exporter.note(CHILD, observed())
    exporter.start()
    until(lambda: collector.spans)
    assert collector.metrics == []
    exporter.stop()
    assert len(collector.metrics) == 1, "the last export has the metrics too"


@pytest.mark.parametrize(("signal", "kept"), [("TRACES", "metrics"), ("METRICS", "batches")])
@pytest.mark.parametrize("none", ["none", " NONE "])
def test_a_signal_can_be_off(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, signal: str, kept: str, none: str
) -> None:
    monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", none)
    export((CHILD, observed()))
    assert [name for name in ("batches", "metrics") if getattr(collector, name)] == [kept]
    assert (len(collector.endpoints), collector.closed) == (1, 1)


def test_the_switch_interval_is_shorter_only_while_it_runs(collector: Collector) -> None:
    before = sys.getswitchinterval()
    exporter = OtlpExporter("http://collector:4317", Metrics())
    assert sys.getswitchinterval() == before
    exporter.start()
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    exporter.stop()
    assert sys.getswitchinterval() == before
    assert collector.closed == 2


def test_the_end_does_not_wait_for_a_collector_that_hangs(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "_QUEUE_INTERVAL", 0.001)
    monkeypatch.setattr(otlp, "_SHUTDOWN_TIMEOUT", 0.001)
    answered, asked = Event(), Event()

    def hang(_: Any) -> SpanExportResult:
        asked.set()
        answered.wait(60)
        return SpanExportResult.SUCCESS

    monkeypatch.setattr(collector, "export", hang)
    metrics = Metrics()
    exporter = OtlpExporter("http://collector:4317", metrics)
    exporter.note(CHILD, observed())
    exporter.start()
    assert asked.wait(60)
    exporter.stop()
    assert counted(metrics) == {}, "still on its way"
    answered.set()
    until(lambda: counted(metrics) == {"exported": 1})


def test_each_process_is_an_instance_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "llm-router")
    first, second = otlp._resource().attributes, otlp._resource().attributes
    assert first["service.name"] == second["service.name"] == "llm-router"
    assert first["service.instance.id"] != second["service.instance.id"]
