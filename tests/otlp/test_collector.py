"""What a collector gets of finished exchanges, and what becomes of them where there is none."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from extproc.command_line.argument_types import collector
from extproc.errors import SetupError
from extproc.exchange.notes import Observed
from extproc.serve.options import ServeOptions
from extproc.serve.server import Server
from extproc.telemetry import otlp
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.otlp import OtlpExporter
from tests.otlp.receiver import Receiver, receiving, values
from tests.unit.telemetry.test_genai import observed
from tests.waiting import until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def spans_counted(metrics: Metrics) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    found = (registry.get_sample_value("extproc_spans_total", {"result": r}) for r in ("exported", "failed", "dropped"))
    return {name: value for name, value in zip(("exported", "failed", "dropped"), found, strict=True) if value}


def send(receiver: Receiver, metrics: Metrics, *notes: tuple[tuple[tuple[str, str], ...], Observed]) -> None:
    """From start to stop."""
    exporter = OtlpExporter(receiver.url, metrics)
    exporter.start()
    for metadata, note in notes:
        exporter.note(metadata, note)
    exporter.stop()


def test_a_span_is_the_child_of_its_context(receiver: Receiver, metrics: Metrics) -> None:
    before = time.time_ns()
    send(receiver, metrics, (SAMPLED, observed(input_tokens=3, streamed=True)))
    (span,) = receiver.spans()
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert span.span_id.hex() not in (SPAN, "0" * 16)
    assert (span.name, span.kind, span.status.code) == ("chat llama-3-8b", span.SPAN_KIND_CLIENT, 0)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_000_000
    assert before <= span.end_time_unix_nano <= time.time_ns()
    found = values(span.attributes)
    assert found["gen_ai.usage.input_tokens"] == 3
    assert found["gen_ai.request.stream"] is True
    about = values(receiver.traces[0].resource_spans[0].resource.attributes)
    assert about["service.name"] == "extproc"
    assert about["service.instance.id"]
    assert spans_counted(metrics) == {"exported": 1}


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("OTEL_SERVICE_NAME", "gateway", "gateway"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=edge,deployment.environment=test", "edge"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-1", "extproc"),
    ],
)
def test_the_environment_says_who_we_are(
    receiver: Receiver, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str
) -> None:
    monkeypatch.setenv(variable, value)
    send(receiver, metrics, (SAMPLED, observed()))
    about = values(receiver.traces[0].resource_spans[0].resource.attributes)
    assert about["service.name"] == name
    assert len(about["service.instance.id"]) == 36, "several workers have one environment"


def test_the_parents_sampling_is_followed(receiver: Receiver, metrics: Metrics) -> None:
    unsampled = (("traceparent", f"00-{TRACE}-{SPAN}-00"),)
    header = observed(traceparent=f"00-{TRACE}-{SPAN}-00")
    send(receiver, metrics, (unsampled, observed()), ((), header), (SAMPLED, header), ((), observed(asked="root")))
    first, root = sorted(receiver.spans(), key=lambda span: span.name)
    assert first.parent_span_id.hex() == SPAN, "the metadata's context wins over the header's"
    assert (root.name, root.parent_span_id) == ("chat root", b"")
    assert any(root.trace_id)
    assert spans_counted(metrics) == {"exported": 2}


def test_a_sampler_of_the_environments(receiver: Receiver, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    send(receiver, metrics, (SAMPLED, observed(asked="child")), ((), observed(asked="root")))
    assert [span.name for span in receiver.spans()] == ["chat child"]


def test_failures_show(receiver: Receiver, metrics: Metrics) -> None:
    refused = observed(code="503", seconds=None)
    send(receiver, metrics, (SAMPLED, refused), ((), refused), (SAMPLED, observed(seconds=None)))
    (span,) = receiver.spans()
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert values(span.attributes)["error.type"] == "503"
    assert span.start_time_unix_nano == span.end_time_unix_nano


def test_state_travels_along(receiver: Receiver, metrics: Metrics) -> None:
    send(receiver, metrics, ((*SAMPLED, ("tracestate", "vendor=abc,other=1")), observed()))
    assert receiver.spans()[0].trace_state == "vendor=abc,other=1"


def test_metrics_by_the_conventions_names(receiver: Receiver, metrics: Metrics) -> None:
    before = time.time_ns()
    exchange = observed(first_token=0.03, per_token=0.012, input_tokens=100, output_tokens=20)
    send(receiver, metrics, ((), exchange), ((), exchange), ((), observed(code="500")), ((), observed(api="none")))
    found = receiver.latest()
    assert found.keys() == {
        "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token",
        "gen_ai.server.time_per_output_token",
        "gen_ai.client.token.usage",
    }
    good, bad = found["gen_ai.server.request.duration"]
    assert (good.count, good.sum) == (2, 3.0)
    assert good.bucket_counts[8] == 2, "1.5 s lie between 1.28 and 2.56"
    assert before <= good.start_time_unix_nano <= good.time_unix_nano
    assert not good.HasField("min")
    assert values(bad.attributes) == values(good.attributes) | {"error.type": "500"}
    (first,) = found["gen_ai.server.time_to_first_token"]
    assert list(first.explicit_bounds)[:4] == [0.001, 0.005, 0.01, 0.02]
    assert first.bucket_counts[4] == 2
    tokens = {values(p.attributes)["gen_ai.token.type"]: p.sum for p in found["gen_ai.client.token.usage"]}
    assert tokens == {"input": 200, "output": 40}
    scope = receiver.metrics[-1].resource_metrics[0].scope_metrics[0]
    assert all(m.histogram.aggregation_temporality == 2 for m in scope.metrics), "cumulative"


@pytest.mark.parametrize("signal", ["TRACES", "METRICS"])
def test_one_of_the_two_alone(
    receiver: Receiver, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, signal: str
) -> None:
    monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", "none")
    send(receiver, metrics, (SAMPLED, observed()))
    assert bool(receiver.traces) is (signal != "TRACES")
    assert bool(receiver.metrics) is (signal != "METRICS")


def test_sent_while_it_runs(receiver: Receiver, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
    exporter = OtlpExporter(receiver.url, metrics)
    exporter.start()
    exporter.note(SAMPLED, observed())
    until(lambda: receiver.spans() and receiver.metrics)
    exporter.stop()


def test_more_than_fits_is_dropped_and_counted(
    receiver: Receiver, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "_MAX_QUEUED", 3)
    exporter = OtlpExporter(receiver.url, metrics)
    for _ in range(5):
        exporter.note(SAMPLED, observed())
    exporter.start()
    exporter.stop()
    assert spans_counted(metrics) == {"exported": 3, "dropped": 2}
    (point,) = receiver.latest()["gen_ai.server.request.duration"]
    assert point.count == 5, "metrics miss nothing"


def test_no_collector(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    exporter = OtlpExporter("http://127.0.0.1:1", metrics)
    exporter.note(SAMPLED, observed())
    began = time.monotonic()
    exporter.start()
    exporter.stop()
    assert time.monotonic() - began < 10
    until(lambda: spans_counted(metrics) == {"failed": 1})


def test_off_nothing_of_opentelemetry_is_loaded() -> None:
    code = (
        "import sys, extproc.serve.server, extproc.serve.supervisor; "
        "print([m for m in sys.modules if m.startswith('opentel')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text("apiVersion: ai.istio.io/v1alpha1\nkind: ModelInferencePolicy\nmetadata: {name: a}\nspec: {}\n")
    return path


def options(policy: Path) -> ServeOptions:
    return ServeOptions(policies=(policy,), listen=("127.0.0.1:0",), admin="127.0.0.1:0", otlp="http://127.0.0.1:1")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, policy: Path) -> None:
    monkeypatch.delitem(sys.modules, "extproc.telemetry.otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.metric_exporter", None)
    with pytest.raises(SetupError, match=r"metric_exporter is missing\): pip install 'opentelemetry-sdk.*, or"):
        Server(options(policy))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "long"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
    ],
)
def test_a_variable_that_cant_be_used(monkeypatch: pytest.MonkeyPatch, policy: Path, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SetupError, match=rf"an OTEL_ variable of the environment can't be used: .*{value}"):
        Server(options(policy))


@pytest.mark.parametrize("text", ["127.0.0.1:4317", "ftp://a:1", "http://", "http:///v1"])
def test_what_is_no_collectors_url(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it as http://host:4317"):
        collector(text)
    assert collector("") == ""
    assert collector("https://collector:4317") == "https://collector:4317"
