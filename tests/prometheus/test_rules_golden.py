"""Golden metrics from every source, by promtool: series with known answers give them, under one set of names."""

from __future__ import annotations

import pytest

from extproc.render.source_names import SOURCES, Source
from tests.policy_documents import file, policy, pool, snapshot_of
from tests.prometheus.conftest import STEP, Judge, steady

LONG = 2400
"""Seconds of traffic: longer than every window and every `for` that is judged here."""

CHAT = """
selector: {matchLabels: {app: chat}}
host: chat.ai.svc.cluster.local
models: [llama]
versions:
- {name: v1, weight: 90, gpuPools: [a100-west]}
- {name: v2, weight: 10, gpuPools: [a100-west]}
"""
SNAPSHOT = snapshot_of(policy(CHAT), pool("product: NVIDIA-A100-SXM4-80GB\nendpoints: ['10.0.0.1:8000']"))

# Requests per second by version and how they ended; and how many of them took up to 0.5, 1 and 10 seconds.
RATES = {("v1", "200"): 9.0, ("v1", "404"): 1.0, ("v2", "200"): 0.9, ("v2", "503"): 0.1}
FAST = {"v1": {0.5: 5.0, 1: 9.5, 10: 10.0}, "v2": {0.5: 0.0, 1: 0.0, 10: 1.0}}


def traffic(source: Source, seconds: int = LONG) -> dict[str, str]:
    """The same traffic as each source counts it."""
    found = {}
    for (version, code), rate in RATES.items():
        found[_counter(source, version, code)] = steady(rate, seconds)
    for version, bounds in FAST.items():
        for bound, rate in [*bounds.items(), (float("inf"), bounds[10])]:
            found[_bucket(source, version, bound)] = steady(rate, seconds)
    return found


def _counter(source: Source, version: str, code: str) -> str:
    match source:
        case "extproc":
            who = f'model="llama", version="{version}", gpu_pool="a100-west", api="openai", code="{code}"'
            return f"inference_requests_total{{{who}}}"
        case "istio":
            return f'istio_requests_total{{{_tags(version)}, response_code="{code}", grpc_response_status=""}}'
        case "linkerd":
            return (
                f"outbound_http_route_backend_response_statuses_total{{{_backend(version)}, "
                f'http_status="{code}", error=""}}'
            )


def _bucket(source: Source, version: str, bound: float) -> str:
    le = "+Inf" if bound == float("inf") else f"{bound:g}"
    match source:
        case "extproc":
            who = f'model="llama", version="{version}", gpu_pool="a100-west", le="{le}"'
            return f"inference_request_duration_seconds_bucket{{{who}}}"
        case "istio":
            le = le if le == "+Inf" else f"{bound * 1000:g}"
            return f'istio_request_duration_milliseconds_bucket{{{_tags(version)}, le="{le}"}}'
        case "linkerd":
            name = "outbound_http_route_backend_response_duration_seconds_bucket"
            return f'{name}{{{_backend(version)}, le="{le}"}}'


def _tags(version: str, reporter: str = "source", model: str = "llama") -> str:
    return f'reporter="{reporter}", model_name="{model}", model_version="{version}", gpu_pool="a100-west"'


def _backend(version: str) -> str:
    parent = 'parent_kind="Service", parent_namespace="ai", parent_name="chat"'
    return f'{parent}, route_name="chat", backend_namespace="ai", backend_name="chat-{version}", backend_port="8080"'


def _of(version: str, **more: str) -> str:
    labels = {"policy": "chat", "model": "llama", "version": version, "gpu_pool": "a100-west", **more}
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_traffic_has_the_same_metrics_whoever_counts_it(source: Source, judge: Judge) -> None:
    expected = {
        "version_pool:inference_requests:rate5m": {_of("v1"): 10, _of("v2"): 1},
        "version_pool:inference_failures:rate5m": {_of("v1"): 0, _of("v2"): 0.1},
        # A client's mistakes (404) are no failures.
        "version_pool:inference_success:ratio5m": {_of("v1"): 1, _of("v2"): 0.9},
        'version_pool:inference_duration_seconds:quantile5m{quantile="0.5"}': {
            _of("v1", quantile="0.5"): 0.5,
            _of("v2", quantile="0.5"): 5.5,
        },
        'version_pool:inference_duration_seconds:quantile5m{version="v1"}': {
            _of("v1", quantile="0.5"): 0.5,
            _of("v1", quantile="0.95"): 1,
            _of("v1", quantile="0.99"): 8.2,
        },
        "canary:inference_share:ratio5m": {
            '{policy="chat", version="v1"}': 0.9091,
            '{policy="chat", version="v2"}': 0.0909,
        },
        "canary:inference_weight:ratio": {
            '{policy="chat", version="v1"}': 0.9,
            '{policy="chat", version="v2"}': 0.1,
        },
        # A tenth of v2's requests fail, of thousands: no chance; v1 is what it is held against.
        "canary:inference_failures:ratio30m": {
            '{policy="chat", version="v1"}': 0,
            '{policy="chat", version="v2"}': 0.1,
        },
        'count by (alertname, version) (ALERTS{alertstate="firing", alertname=~"InferenceCanary.*"})': {
            '{alertname="InferenceCanaryFails", version="v2"}': 1,
            '{alertname="InferenceCanarySlow", version="v2"}': 1,
        },
    }
    judge(SNAPSHOT, source, traffic(source), "40m", expected)


@pytest.mark.parametrize("source", SOURCES)
def test_without_traffic_success_is_unknown_and_nothing_is_alerted(source: Source, judge: Judge) -> None:
    idle = dict.fromkeys(traffic(source), f"7x{LONG // STEP}")
    expected: dict[str, dict[str, float]] = {
        "version_pool:inference_requests:rate5m": {_of("v1"): 0, _of("v2"): 0},
        "version_pool:inference_success:ratio5m": {},
        "version_pool:inference_duration_seconds:quantile5m": {},
        "canary:inference_share:ratio5m": {},
        "canary:inference_failures:ratio30m": {},
        "canary:inference_failures_against_stable:zscore30m": {},
        'ALERTS{alertname!="InferenceProcessorAbsent"}': {},
    }
    judge(SNAPSHOT, source, idle, "40m", expected)


def test_before_the_first_request_nothing_is_known_and_nothing_is_alerted(judge: Judge) -> None:
    unknown: dict[str, dict[str, float]] = {
        '{__name__=~"version_pool:.*"}': {},
        'ALERTS{alertname!="InferenceProcessorAbsent"}': {},
    }
    judge(SNAPSHOT, "extproc", {"up": "1x40"}, "20m", unknown)


def test_traffic_that_stops_is_told_of(judge: Judge) -> None:
    gone = {name: f"{values} _x60" for name, values in traffic("extproc", 1800).items()}
    stopped = '(ALERTS{alertname="InferenceTrafficStopped", alertstate="firing"}'
    expected = {
        f"count by (policy) {stopped} offset 25m)": {},
        f"count by (policy) {stopped})": {'{policy="chat"}': 1},
    }
    judge(SNAPSHOT, "extproc", gone, "55m", expected)


def test_istio_counts_a_request_once_and_only_what_a_processor_has_named(judge: Judge) -> None:
    series = traffic("istio")
    also = {
        f'istio_requests_total{{{_tags("v1", "destination")}, response_code="500"}}': steady(10, LONG),
        f'istio_requests_total{{{_tags("none", model="none")}, response_code="500"}}': steady(10, LONG),
        f'istio_requests_total{{{_tags("v1", model="llamas")}, response_code="500"}}': steady(10, LONG),
    }
    expected = {"version_pool:inference_success:ratio5m": {_of("v1"): 1, _of("v2"): 0.9}}
    judge(SNAPSHOT, "istio", series | also, "20m", expected)


def test_linkerd_counts_what_has_no_status_as_failed(judge: Judge) -> None:
    answers = "outbound_http_route_backend_response_statuses_total"
    series = {
        f'{answers}{{{_backend("v1")}, http_status="200", error=""}}': steady(3, LONG),
        f'{answers}{{{_backend("v1")}, http_status="", error="UNKNOWN"}}': steady(1, LONG),
    }
    judge(SNAPSHOT, "linkerd", series, "20m", {"version_pool:inference_success:ratio5m": {_of("v1"): 0.75}})


def test_linkerd_s_services_of_one_name_are_told_apart(judge: Judge) -> None:
    ends = "{name: v1, weight: 1, endpoints: ['vllm.a.svc:80']}, {name: v2, weight: 1, endpoints: ['vllm.b.svc:80']}"
    more = "{name: v3, weight: 1, endpoints: ['vllm.b.svc:81']}"
    snapshot = snapshot_of(
        policy(f"selector: {{matchLabels: {{app: chat}}}}\nhost: chat.ai\nversions: [{ends}, {more}]")
    )
    answers = "outbound_http_route_backend_response_statuses_total"
    parent = 'parent_kind="Service", parent_namespace="ai", parent_name="chat", backend_name="vllm"'
    series = {
        f'{answers}{{{parent}, backend_namespace="{where}", backend_port="{port}", http_status="200"}}': steady(
            rate, LONG
        )
        for where, port, rate in (("a", 80, 1), ("b", 80, 2), ("b", 81, 4))
    }
    expected = {f'{{version="v{number}"}}': 2 ** (number - 1) for number in (1, 2, 3)}
    judge(snapshot, "linkerd", series, "20m", {"sum by (version) (version_pool:inference_requests:rate5m)": expected})


def test_linkerd_does_not_tell_a_client_that_left_from_an_answer_that_broke(judge: Judge) -> None:
    """Both have a status and an error there. The first is no failure; the second the processor counts."""
    answers = "outbound_http_route_backend_response_statuses_total"
    who = 'model="llama", version="v1", gpu_pool="a100-west"'
    series = {
        f'{answers}{{{_backend("v1")}, http_status="200", error=""}}': steady(5, LONG),
        f'{answers}{{{_backend("v1")}, http_status="200", error="UNKNOWN"}}': steady(5, LONG),
        f'inference_errors_total{{{who}, reason="cut_short"}}': steady(1, LONG),
    }
    judge(SNAPSHOT, "linkerd", series, "20m", {"version_pool:inference_success:ratio5m": {_of("v1"): 0.9}})


@pytest.mark.parametrize("source", SOURCES)
def test_an_answer_that_breaks_is_a_failure_whatever_its_status(source: Source, judge: Judge) -> None:
    """Status 200 is sent before the first token, and by gRPC always: that two in five answers of v2 broke, only the
    processor sees. A client that leaves is no failure."""
    who = 'model="llama", version="v2", gpu_pool="a100-west"'
    broken = {
        f'inference_errors_total{{{who}, reason="error_in_stream"}}': steady(0.3, LONG),
        f'inference_errors_total{{{who}, reason="cut_short"}}': steady(0.1, LONG),
        f'inference_errors_total{{{who}, reason="client_left"}}': steady(0.2, LONG),
        f'inference_errors_total{{{who}, reason="shed"}}': steady(0.2, LONG),
    }
    expected = {"version_pool:inference_success:ratio5m": {_of("v1"): 1, _of("v2"): 0.5}}
    judge(SNAPSHOT, source, traffic(source) | broken, "20m", expected)


def test_models_are_a_policy_s_own(judge: Judge) -> None:
    """Series of several policies, whose patterns would match each other's models."""
    versions = "versions: [{name: v1}]"
    snapshot = snapshot_of(
        file(
            policy(f"models: [llama, 'llama-*']\n{versions}", "chat"),
            policy(f"models: ['llama-3-*']\n{versions}", "three"),
            policy("models: ['*']", "rest"),
        )
    )
    series = {
        f'istio_requests_total{{{_tags("v1", model=name)}, response_code="200"}}': steady(2**i, LONG)
        for i, name in enumerate(("llama", "llama-*", "llama-3-*", "*", "other", "none"))
    }
    expected = {
        "sum by (policy, model) (version_pool:inference_requests:rate5m)": {
            '{policy="chat", model="llama"}': 1,
            '{policy="chat", model="llama-*"}': 2,
            '{policy="three", model="llama-3-*"}': 4,
            '{policy="rest", model="*"}': 8,
        }
    }
    judge(snapshot, "istio", series, "20m", expected)


def test_tokens_come_from_the_processor(judge: Judge) -> None:
    who = 'model="llama", version="v1", gpu_pool="a100-west"'
    series = {f'inference_tokens_total{{{who}, type="output"}}': steady(120, LONG)}
    for name in ("time_to_first_token", "time_per_output_token"):
        for bound, rate in {"0.1": 0.0, "0.2": 1.0, "+Inf": 1.0}.items():
            series[f'inference_{name}_seconds_bucket{{{who}, le="{bound}"}}'] = steady(rate, LONG)
    series[f"inference_observed_requests_total{{{who}}}"] = steady(4, LONG)
    median = {_of("v1", quantile="0.5"): 0.15}
    expected = {
        "version_pool:inference_observed_requests:rate5m": {_of("v1"): 4},
        "version_pool:inference_tokens:rate5m": {_of("v1", type="output"): 120},
        'version_pool:inference_time_to_first_token_seconds:quantile5m{quantile="0.5"}': median,
        'version_pool:inference_time_per_output_token_seconds:quantile5m{quantile="0.5"}': median,
    }
    for source in ("istio", "linkerd"):
        judge(SNAPSHOT, source, series, "20m", expected)
