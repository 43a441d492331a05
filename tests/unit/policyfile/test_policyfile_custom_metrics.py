"""Metrics that a policy asks for, as its file declares them."""

from __future__ import annotations

import re

import pytest

from extproc.policy.custom_metric import (
    CACHED_TOKENS,
    GPU_UTILIZATION,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    REQUESTS,
    SECONDS,
    CustomMetric,
    Source,
)
from tests.house.tree import ROOT
from tests.policy_documents import found, policy, policy_of, said

SERVERS = "versions: [{name: v1, endpoints: ['10.0.0.1:80']}]\npicking: {metrics: {type: vllm, gpuPort: 9400}}\n"


def declared(metric: str) -> CustomMetric:
    (only,) = policy_of(f"{SERVERS}observability:\n  customMetrics: [{metric}]").custom_metrics
    return only


def test_what_the_articles_names_mean() -> None:
    assert declared("{name: inference_throughput, type: GAUGE, labels: [gpu_type, model_version]}") == CustomMetric(
        "inference_throughput", "GAUGE", ("model_version", "gpu_type"), OUTPUT_TOKENS, SECONDS
    )
    hit_ratio = declared("{name: feature_cache_hit_ratio, type: GAUGE}")
    assert (hit_ratio.source, hit_ratio.per, hit_ratio.window) == (CACHED_TOKENS, INPUT_TOKENS, 60.0)


@pytest.mark.parametrize(
    ("written", "source", "per"),
    [
        ("source: {header: X-Cache-Hit-Ratio}", Source(header="x-cache-hit-ratio"), REQUESTS),
        ("source: {body: /a/b}, per: {body: /a~1b}", Source(body=("a", "b")), Source(body=("a/b",))),
        ("source: requests, per: second", REQUESTS, SECONDS),
        ("source: cachedTokens, per: inputTokens", CACHED_TOKENS, INPUT_TOKENS),
        ("source: outputTokens, per: request", OUTPUT_TOKENS, REQUESTS),
        ("source: gpuUtilization", GPU_UTILIZATION, REQUESTS),
    ],
)
def test_gauges(written: str, source: Source, per: Source) -> None:
    assert declared(f"{{name: a, type: GAUGE, {written}}}") == CustomMetric("a", "GAUGE", (), source, per)
    named = declared(f"{{name: inference_throughput, type: GAUGE, {written}}}")
    assert (named.source, named.per) == (source, per), "what is written counts, whatever the name"


def test_counters_histograms_and_windows() -> None:
    assert declared("{name: a_total, type: COUNTER, source: {header: x-hits}}").source == Source(header="x-hits")
    assert declared("{name: a, type: HISTOGRAM, source: inputTokens, buckets: [1, 2.5, 100]}").buckets == (1, 2.5, 100)
    assert declared("{name: a, type: GAUGE, source: inputTokens, window: 5m}").window == 300.0


OURS = "is the name of a metric of ours"


@pytest.mark.parametrize(
    ("metrics", "start"),
    [
        ("- {name: 1a, type: GAUGE, source: inputTokens}", '7 X[0].name: "1a" is not allowed'),
        ("- {type: GAUGE, source: inputTokens}", "7 X[0]: has no name"),
        ("- {name: a, source: inputTokens}", "7 X[0]: has no type; give one of GAUGE, COUNTER, HISTOGRAM"),
        ("- {name: a, type: gauge, source: inputTokens}", '7 X[0].type: "gauge" is none of'),
        ("- {name: a, type: GAUGE}", "7 X[0]: has no source; write source: outputTokens, {header: x-my-number}"),
        ("- {name: inference_throughput, type: COUNTER}", "7 X[0]: has no source"),
        ("- {name: inference_throughput, type: GAUGE, per: second}", "7 X[0]: has no source"),
        (
            "- {name: a, type: HISTOGRAM, source: gpuUtilization, buckets: [1]}",
            "7 X[0].source: is no number of a request, which could be added up; write type: GAUGE",
        ),
        (
            "- {name: a, type: GAUGE, source: gpuUtilization, per: second}",
            "7 X[0].per: does not go with gpuUtilization",
        ),
        ("- {name: a, type: GAUGE, source: gpuUtilization, window: 9s}", "7 X[0].window: does not go with gpuUtil"),
        (
            "- {name: a, type: GAUGE, source: gpuUtilization, labels: [api, code, policy]}",
            "7 X[0].labels: api, code tell of requests, gpuUtilization of servers; give some of model_version",
        ),
        (
            "- {name: a, type: GAUGE, source: inputTokens, per: gpuUtilization}",
            '7 X[0].per: "gpuUtilization" is none of',
        ),
        ("- {name: a, type: GAUGE, source: tokens}", '7 X[0].source: "tokens" is none of requests, inputTokens'),
        ("- {name: a, type: GAUGE, source: {}}", "7 X[0].source: names nothing; give exactly one of"),
        ("- {name: a, type: GAUGE, source: {header: x, body: /y}}", "7 X[0].source: has header and body"),
        ("- {name: a, type: GAUGE, source: {header: 'x y'}}", '7 X[0].source.header: "x y" is not allowed'),
        ("- {name: a, type: GAUGE, source: {body: y}}", '7 X[0].source.body: "y" is not a JSON Pointer'),
        ("- {name: a, type: GAUGE, source: requests}", "7 X[0].source: would always be 1"),
        ("- {name: a, type: GAUGE, source: {header: x}, per: {header: X}}", "7 X[0].source: would always be 1"),
        ("- {name: a, type: GAUGE, source: inputTokens, per: hour}", '7 X[0].per: "hour" is none of second, request'),
        ("- {name: a, type: GAUGE, source: inputTokens, window: 1s}", "7 X[0].window: 1 s is out of range; give 5s to"),
        ("- {name: a, type: COUNTER, source: inputTokens, window: 10s}", "7 X[0].window: a COUNTER has none; remove"),
        ("- {name: a, type: COUNTER, source: inputTokens, per: second}", "7 X[0].per: a COUNTER has none"),
        ("- {name: a, type: GAUGE, source: inputTokens, buckets: [1]}", "7 X[0].buckets: a GAUGE has none"),
        ("- {name: a, type: HISTOGRAM, source: inputTokens}", "7 X[0]: has no buckets; give the upper bounds"),
        ("- {name: a, type: HISTOGRAM, source: inputTokens, buckets: [2, 1]}", "7 X[0].buckets: is not in ascending"),
        ("- {name: a, type: HISTOGRAM, source: inputTokens, buckets: []}", "7 X[0].buckets: is an empty list"),
        (
            "- {name: a, type: GAUGE, source: inputTokens, labels: [user]}",
            '7 X[0].labels[0]: "user" is none of model_n',
        ),
        ("- {name: a, type: GAUGE, source: inputTokens, labels: [api, api]}", "7 X[0].labels[1]: the same label"),
        ("- {name: inference_requests_total, type: GAUGE, source: inputTokens}", f"7 X[0].name: {OURS}"),
        (
            "- {name: inference_requests, type: COUNTER, source: inputTokens}",
            f"7 X[0].name: {OURS} (inference_r",
        ),
        (
            "- {name: inference_request_duration_seconds_sum, type: GAUGE, source: inputTokens}",
            f"7 X[0].name: {OURS} (inference_request_duration_seconds)",
        ),
        ("- {name: extproc_mine, type: GAUGE, source: inputTokens}", f"7 X[0].name: {OURS} (extproc_*)"),
        (
            "- {name: a, type: COUNTER, source: requests}\n    - {name: a, type: COUNTER, source: requests}",
            "8 X[1].name: the metric a is there already, on line 7",
        ),
    ],
)
def test_what_is_wrong(metrics: str, start: str) -> None:
    (only,) = found(policy(f"observability:\n  customMetrics:\n    {metrics}"))
    assert said(only).startswith(start.replace("X", "spec.observability.customMetrics"))


def test_a_source_of_another_kind() -> None:
    metric = "{name: a, type: GAUGE, source: {query: y}}"
    assert [said(p) for p in found(policy(f"observability: {{customMetrics: [{metric}]}}"))] == [
        "5 spec.observability.customMetrics[0].source: names nothing; give exactly one of header and body",
        "5 spec.observability.customMetrics[0].source.query: is not a known field; use one of: header, body",
    ]


def test_the_example_of_the_reference_page() -> None:
    page = (ROOT / "docs" / "policy.md").read_text()
    (example,) = re.findall(r"### Custom metrics\n.*?```yaml\n(.*?)```", page, re.DOTALL)
    names = [metric.name for metric in policy_of(example).custom_metrics]
    assert names[:2] == ["inference_throughput", "feature_cache_hit_ratio"]
    assert found(policy(example)) == []
