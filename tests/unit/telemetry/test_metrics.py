"""What is counted, and how Prometheus sees it."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from extproc.apis import NAMES, TABLE
from extproc.envoy.events import Closed, RequestHeaders, ResponseBody, ResponseHeaders
from extproc.exchange.notes import ERRORS, CustomSample, Fault, Observed, RequestAccount, Unmatched
from extproc.exchange.observe import ObserveStream
from extproc.headers import Headers
from extproc.policy.custom_metric import LABELS, REQUESTS, CustomMetric
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.telemetry.genai import Measurements, collect
from extproc.telemetry.metrics import Metrics

PLACE = (":status", "api", "operation", "model", "policy", "version", "gpu_pool", "cohort")


def scrape(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scrape(metrics).get((name, tuple(sorted(labels.items()))))


def test_exchanges() -> None:
    metrics = Metrics()
    for seconds in (0.004, 0.3, None):
        metrics.note(Observed("llama", "v1", "west", "openai", "200", seconds))
    metrics.note(Observed("llama", "v2", "west", "openai", "503", 400.0))
    labels = {"model": "llama", "version": "v1", "gpu_pool": "west"}
    assert value(metrics, "inference_requests_total", **labels, api="openai", code="200") == 3
    assert value(metrics, "inference_request_duration_seconds_count", **labels) == 2
    assert value(metrics, "inference_request_duration_seconds_sum", **labels) == 0.304
    assert value(metrics, "inference_request_duration_seconds_bucket", **labels, le="0.005") == 1
    assert value(metrics, "inference_request_duration_seconds_bucket", **labels, le="+Inf") == 2
    labels["version"] = "v2"
    assert value(metrics, "inference_request_duration_seconds_bucket", **labels, le="320.0") == 0
    assert value(metrics, "inference_request_duration_seconds_bucket", **labels, le="+Inf") == 1


def test_the_rest() -> None:
    metrics = Metrics()
    metrics.note(Unmatched("bad_json"))
    metrics.note(Fault("late_request_headers"))
    metrics.count_error("internal")
    metrics.observe_message("request_headers", 0.00003)
    metrics.streams += 2
    metrics.policy_generation = 7
    metrics.count_reload(ok=False)
    assert value(metrics, "inference_unmatched_total", reason="bad_json") == 1
    assert value(metrics, "extproc_errors_total", reason="late_request_headers") == 1
    assert value(metrics, "extproc_errors_total", reason="internal") == 1
    assert value(metrics, "extproc_message_duration_seconds_bucket", phase="request_headers", le="5e-05") == 1
    assert value(metrics, "extproc_message_duration_seconds_bucket", phase="request_headers", le="2e-05") == 0
    assert value(metrics, "extproc_streams") == 2
    assert value(metrics, "extproc_policy_info", generation="7") == 1
    assert value(metrics, "extproc_policy_reloads_total", result="failure") == 1
    assert value(metrics, "extproc_policy_reloads_total", result="success") == 0


def test_several_processes_add_up() -> None:
    one, two, dead, total = Metrics(), Metrics(), Metrics(), Metrics()
    for metrics, seconds in ((one, 0.3), (two, 0.003), (dead, 400.0)):
        metrics.note(Observed("llama", "v1", "west", "openai", "200", seconds))
        metrics.observe_message("request_headers", 0.00003)
        metrics.streams += 2
        metrics.policy_generation = 4
    two.policy_generation = 5
    one.count_error("internal")
    two.count_reload(ok=True)
    total.add(one.state())
    total.add(two.state())
    total.add(dead.state(), alive=False)
    labels = {"model": "llama", "version": "v1", "gpu_pool": "west"}
    assert value(total, "inference_requests_total", **labels, api="openai", code="200") == 3
    assert value(total, "inference_request_duration_seconds_sum", **labels) == 400.303
    assert value(total, "inference_request_duration_seconds_bucket", **labels, le="0.005") == 1
    assert value(total, "inference_request_duration_seconds_bucket", **labels, le="320.0") == 2
    assert value(total, "inference_request_duration_seconds_bucket", **labels, le="+Inf") == 3
    assert value(total, "extproc_message_duration_seconds_count", phase="request_headers") == 3
    assert value(total, "extproc_errors_total", reason="internal") == 1
    assert value(total, "extproc_policy_reloads_total", result="success") == 1
    assert value(total, "extproc_streams") == 4
    assert value(total, "extproc_policy_info", generation="4") == 1
    assert value(total, "extproc_policy_info", generation="5") == 1
    assert value(total, "extproc_policy_info", generation="0") is None
    assert total.state() != one.state()
    assert value(one, "inference_requests_total", **labels, api="openai", code="200") == 1


def test_tokens_and_their_times() -> None:
    metrics = Metrics()
    place = {"model": "llama", "version": "v1", "gpu_pool": "west"}
    told = Observed("llama", "v1", "west", "openai", "200", 2.0, first_token=0.07, per_token=0.0101)
    told = msgspec.structs.replace(told, input_tokens=21, output_tokens=17, cached_tokens=8, streamed=True)
    metrics.note(told)
    metrics.note(msgspec.structs.replace(told, output_tokens=6, estimated=True, input_tokens=None, cached_tokens=None))
    assert value(metrics, "inference_time_to_first_token_seconds_count", **place) == 2
    assert value(metrics, "inference_time_to_first_token_seconds_bucket", **place, le="0.06") == 0
    assert value(metrics, "inference_time_to_first_token_seconds_bucket", **place, le="0.08") == 2
    for estimated, tokens in (("false", 17), ("true", 6)):
        assert value(metrics, "inference_time_per_output_token_seconds_sum", **place, estimated=estimated) == 0.0101
        assert value(metrics, "inference_tokens_total", **place, type="output", estimated=estimated) == tokens
    assert value(metrics, "inference_tokens_total", **place, type="input", estimated="false") == 21
    assert value(metrics, "inference_tokens_total", **place, type="cached", estimated="false") == 8
    assert value(metrics, "inference_tokens_total", **place, type="input", estimated="true") is None


def test_failures_that_no_status_tells() -> None:
    metrics = Metrics()
    for error in ERRORS:
        metrics.note(Observed("llama", "v1", "west", "openai", "200", None, error=error))
    place = {"model": "llama", "version": "v1", "gpu_pool": "west"}
    counted = {error: value(metrics, "inference_errors_total", **place, reason=error) for error in ERRORS}
    assert counted == {
        "error_in_stream": 1,
        "client_error": 1,
        "client_left": 1,
        "broken_off": None,
        "cut_short": 1,
        "shed": None,
    }


def test_a_stream_of_tokens_that_is_said_to_have_none_is_estimated() -> None:
    stream, metrics = ObserveStream(Snapshot((Policy("chat", models=("*",), versions=(Version("v1"),)),))), Metrics()
    about = {"api": "openai", "operation": "chat.completions", "model": "m", "policy": "chat", "version": "v1"}
    stream.receive(RequestHeaders(Headers(), metadata=about), 0.0)
    stream.receive(ResponseHeaders(Headers.of([(":status", "200"), ("content-type", "text/event-stream")])), 0.1)
    token = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":0}}\n\ndata: [DONE]\n\n'
    for note in stream.receive(ResponseBody(token * 3 + usage), 0.2):
        if isinstance(note, Observed):
            metrics.note(note)
    place = {"model": "*", "version": "v1", "gpu_pool": "none"}
    assert value(metrics, "inference_tokens_total", **place, type="input", estimated="false") == 9
    assert value(metrics, "inference_tokens_total", **place, type="output", estimated="true") == 3


ANY_TEXT = st.text(max_size=12) | st.sampled_from(
    ["200", "999", "\uff12\uff10\uff10", "20", "2000", "+20", "", "1xx", "101"]
)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(PLACE, ANY_TEXT)), min_size=1, max_size=20), st.booleans())
def test_no_peer_makes_up_the_value_of_a_label(told: list[dict[str, str]], asks: bool) -> None:
    metrics, genai = Metrics(), Measurements()
    metric = CustomMetric("asked", "COUNTER", LABELS, REQUESTS, REQUESTS)
    policy = Policy("chat", models=("*",), versions=(Version("v1"),), custom_metrics=(metric,) if asks else ())
    snapshot = Snapshot((policy,))
    metrics.set_snapshot(snapshot)
    for one in told:
        metadata = {key: value for key, value in one.items() if key != ":status"} | {"policy": one["policy"] or "chat"}
        stream = ObserveStream(snapshot)
        stream.receive(RequestHeaders(Headers(), metadata=metadata), 0.0)
        head = ResponseHeaders(Headers.of([(":status", one[":status"])]), True)
        for note in (*stream.receive(head, 1.0), *stream.receive(Closed(), 2.0)):
            if isinstance(note, Observed | CustomSample):
                metrics.note(note)
            if isinstance(note, Observed):
                genai.note(note)
                assert note.policy in ("chat", "other")
    found = {(name, value) for _, labels in scrape(metrics) for name, value in labels}
    found |= {
        (name, str(value)) for _, points in collect([genai]) for labels, _ in points for name, value in labels.items()
    }
    known = {"*", "v1", "chat", "none", "other", "inference", "0", *NAMES, *(row.operation for row in TABLE)}
    three = re.compile(r"[0-9]{3}", re.ASCII)
    for name, value in found:
        if name in ("code", "error.type", "status"):
            assert value in known or value == "client_left" or three.fullmatch(value), name
        elif name in ("model", "version", "gpu_pool", "api", "policy", "model_name", "model_version", "gpu_type"):
            assert value in known, name
        elif name in ("gen_ai.operation.name", "gen_ai.request.model", "aimesh.version", "aimesh.gpu_pool"):
            assert value in known | {"chat", "text_completion", "embeddings", "generate_content"}, name


def test_an_accounted_request_counts_by_its_account() -> None:
    metrics = Metrics()
    metrics.note(Observed("llama", "v1", "west", "openai", "200", 9.0, first_token=0.07, accounted=True))
    metrics.note(Observed("llama", "v1", "west", "openai", "0", 9.0, error="broken_off", accounted=True))
    metrics.note(Observed("llama", "v1", "west", "openai", "200", 9.0, error="cut_short", accounted=True))
    metrics.note(RequestAccount("llama", "v2", "west", "openai", "200", 0.5))
    metrics.note(RequestAccount("llama", "v2", "west", "openai", "400", None))
    metrics.note(RequestAccount("llama", "v2", "west", "openai", "503", 0.25, failure="upstream_reset"))
    metrics.note(Observed("llama", "v3", "west", "openai", "200", 1.0))
    where = {"model": "llama", "gpu_pool": "west"}
    counted = {
        version: sum(
            value(metrics, "inference_requests_total", **where, version=version, api="openai", code=code) or 0
            for code in ("0", "200", "400", "503")
        )
        for version in ("v1", "v2", "v3")
    }
    assert counted == {"v1": 0, "v2": 3, "v3": 1}
    assert value(metrics, "extproc_counted_requests_total", by="access_log") == 3
    assert value(metrics, "extproc_counted_requests_total", by="observer") == 1
    assert value(metrics, "inference_request_duration_seconds_count", **where, version="v1") is None
    assert value(metrics, "inference_request_duration_seconds_sum", **where, version="v2") == 0.75
    assert value(metrics, "inference_time_to_first_token_seconds_count", **where, version="v1") == 1
    assert value(metrics, "inference_errors_total", **where, version="v1", reason="cut_short") == 1
    assert value(metrics, "inference_errors_total", **where, version="v1", reason="broken_off") is None
    assert value(metrics, "inference_errors_total", **where, version="v2", reason="upstream_reset") == 1


def test_what_stands_for_others_counts_for_them() -> None:
    """Sums over ``estimated`` are those of all answers; what only the account tells counts once."""
    metrics = Metrics()
    place = {"model": "llama", "version": "v1", "gpu_pool": "west"}
    told = Observed("llama", "v1", "west", "openai", "200", 2.0, first_token=0.07, per_token=0.02, accounted=True)
    told = msgspec.structs.replace(told, input_tokens=20, output_tokens=10, cached_tokens=5, streamed=True)
    sampled = msgspec.structs.replace(told, share=0.25, first_token_share=0.25, first_token=0.3, error="cut_short")
    for observed in (told, sampled):
        metrics.note(observed)
    for kind, tokens in (("input", 20), ("output", 10), ("cached", 5)):
        assert value(metrics, "inference_tokens_total", **place, type=kind, estimated="false") == tokens
        assert value(metrics, "inference_tokens_total", **place, type=kind, estimated="true") == 4 * tokens
    first = "inference_time_to_first_token_seconds"
    assert value(metrics, f"{first}_bucket", **place, le="0.08") == 1
    assert value(metrics, f"{first}_count", **place) == 5
    assert value(metrics, f"{first}_sum", **place) == pytest.approx(0.07 + 4 * 0.3)
    assert value(metrics, "inference_time_per_output_token_seconds_count", **place, estimated="false") == 5
    assert value(metrics, "inference_errors_total", **place, reason="cut_short") == 4
    assert value(metrics, "inference_observed_requests_total", **place) == 2
    assert value(metrics, "inference_observed_first_tokens_total", **place) == 2
    assert value(metrics, "inference_requests_total", **place, api="openai", code="200") is None
    total = Metrics()
    total.add(metrics.state())
    assert scrape(total) == scrape(metrics)


def test_a_stream_that_was_left_has_told_of_its_first_token_alone() -> None:
    metrics = Metrics()
    place = {"model": "llama", "version": "v1", "gpu_pool": "west"}
    left = Observed("llama", "v1", "west", "openai", "200", None, first_token=0.3, accounted=True, streamed=True)
    metrics.note(msgspec.structs.replace(left, share=0.125, first_token_share=0.5, left=True, read_to_end=False))
    read = msgspec.structs.replace(left, share=0.125, first_token_share=0.5, output_tokens=10)
    metrics.note(read)
    assert value(metrics, "inference_time_to_first_token_seconds_count", **place) == 4
    assert value(metrics, "inference_observed_first_tokens_total", **place) == 2
    assert value(metrics, "inference_observed_requests_total", **place) == 1
    assert value(metrics, "inference_tokens_total", **place, type="output", estimated="true") == 80
