"""PromQL on Istio: series as its proxies export them, in a real Prometheus, asked over HTTP.

The article that this project follows computes the success rate by dividing two rates without summing them up.
Prometheus divides each series by itself then: its answer is 1 whatever happens, shown here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from extproc.render.prometheus.golden_rules import FAILURES, REQUESTS, SUCCESS
from extproc.render.prometheus.rule_groups import rule_groups
from tests.policy_documents import policy, snapshot_of
from tests.prometheus.server import Prometheus
from tests.prometheus.test_prometheus_docs import example

START, MINUTES, STEP = 1_760_000_400, 30, 15
"""Unix seconds; how long was recorded, and how often, in seconds."""
END = START + MINUTES * 60

RATES = {("v1", "200"): 8.5, ("v1", "404"): 1.0, ("v1", "503"): 0.5, ("v2", "200"): 0.9, ("v2", "500"): 0.1}
"""Requests per second by version and response code."""
SUCCEEDED = {"v1": 0.95, "v2": 0.9}
UNDER = {"v1": {100: 0.5, 250: 0.9, 500: 1.0}, "v2": {100: 0.0, 250: 0.5, 500: 1.0}}
"""Share of requests by milliseconds."""

POLICY = policy(
    "selector: {matchLabels: {app: model-inference}}\nmodels: [llama-3-8b]\n"
    "versions: [{name: v1, weight: 9}, {name: v2, weight: 1}]"
)

THE_ARTICLES = """
rate(istio_requests_total{
destination_service=~"model-inference.*",
response_code=~"2.."
}[5m]) /
rate(istio_requests_total{
destination_service=~"model-inference.*"
}[5m])
"""


def _labels(reporter: str, version: str) -> str:
    """What istio.stats writes, our tags among it."""
    source = "ingress" if reporter == "source" else "model-inference"
    pairs = {
        "reporter": reporter,
        "source_workload": "istio-ingressgateway",
        "source_workload_namespace": "istio-ingress",
        "source_principal": "spiffe://cluster.local/ns/istio-ingress/sa/istio-ingressgateway",
        "source_app": "istio-ingressgateway",
        "source_version": "unknown",
        "source_canonical_service": "istio-ingressgateway",
        "source_canonical_revision": "latest",
        "source_cluster": "Kubernetes",
        "destination_workload": f"model-inference-{version}",
        "destination_workload_namespace": "ai",
        "destination_principal": "spiffe://cluster.local/ns/ai/sa/model-inference",
        "destination_app": "model-inference",
        "destination_version": version,
        "destination_service": "model-inference.ai.svc.cluster.local",
        "destination_service_name": "model-inference",
        "destination_service_namespace": "ai",
        "destination_canonical_service": "model-inference",
        "destination_canonical_revision": version,
        "destination_cluster": "Kubernetes",
        "request_protocol": "http",
        "response_flags": "-",
        "connection_security_policy": "mutual_tls" if reporter == "destination" else "unknown",
        "model_name": "llama-3-8b",
        "model_version": version,
        "gpu_pool": "a100-west",
        "job": "kubernetes-pods",
        "instance": f"{source}:15020",
    }
    return ",".join(f'{name}="{value}"' for name, value in pairs.items())


def _recorded() -> Iterator[str]:
    """OpenMetrics, each series by its time."""
    for reporter in ("source", "destination"):
        for (version, code), rate in RATES.items():
            grpc = 'grpc_response_status=""'
            series = f'istio_requests_total{{{_labels(reporter, version)},response_code="{code}",{grpc}}}'
            yield from _counter(series, rate)
        for version, bounds in UNDER.items():
            everything = sum(rate for (of, _), rate in RATES.items() if of == version)
            for bound, share in [*bounds.items(), ("+Inf", 1.0)]:
                name = "istio_request_duration_milliseconds_bucket"
                yield from _counter(f'{name}{{{_labels(reporter, version)},le="{bound}"}}', everything * share)
    yield "# EOF"


def _counter(series: str, rate: float) -> Iterator[str]:
    for time in range(START, END + 1, STEP):
        yield f"{series} {1000 + rate * (time - START):g} {time}"


@pytest.fixture(scope="module")
def recorded(promtool: str, prometheus_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that holds the series."""
    directory = tmp_path_factory.mktemp("istio")
    file = directory / "istio.om"
    file.write_text("\n".join(_recorded()) + "\n")
    made = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(file), str(directory / "data")],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    with Prometheus(prometheus_program, directory) as running:
        yield running


def _by_version(found: list[tuple[dict[str, str], float]], label: str = "version") -> dict[str, float]:
    assert len({labels[label] for labels, _ in found}) == len(found)
    return {labels[label]: round(value, 6) for labels, value in found}


def test_the_article_s_success_rate_is_1_whatever_fails(recorded: Prometheus) -> None:
    found = recorded.query(THE_ARTICLES, END)
    assert [value for _, value in found] == [1.0] * 4
    assert {labels["response_code"] for labels, _ in found} == {"200"}


def test_ours_is_the_share_that_the_data_has(recorded: Prometheus) -> None:
    (golden, *_) = rule_groups(snapshot_of(POLICY), "istio")
    expr = {rule["record"]: rule["expr"] for rule in golden["rules"] if "record" in rule}
    requests, failures = recorded.query(expr[REQUESTS], END), recorded.query(expr[FAILURES], END)
    assert _by_version(requests) == {"v1": 10, "v2": 1}
    assert _by_version(failures) == {"v1": 0.5, "v2": 0.1}
    assert {labels["gpu_pool"] for labels, _ in requests} == {"a100-west"}
    # The ratio builds on what is recorded: here with the expressions in the place of their names.
    whole = expr[SUCCESS]
    for name in (REQUESTS, FAILURES):
        whole = whole.replace(f'{name}{{policy="chat"}}', f"({expr[name]})")
    assert _by_version(recorded.query(whole, END)) == SUCCEEDED


def test_durations_are_seconds(recorded: Prometheus) -> None:
    (golden, *_) = rule_groups(snapshot_of(POLICY), "istio")
    median, p95, _ = [rule["expr"] for rule in golden["rules"] if "quantile" in rule["labels"]][:3]
    assert _by_version(recorded.query(median, END)) == {"v1": 0.1, "v2": 0.25}
    assert _by_version(recorded.query(p95, END)) == {"v1": 0.375, "v2": 0.475}


def test_after_the_traffic_success_is_unknown(recorded: Prometheus) -> None:
    (golden, *_) = rule_groups(snapshot_of(POLICY), "istio")
    for rule in golden["rules"]:
        if rule.get("record") in (REQUESTS, FAILURES):
            assert recorded.query(rule["expr"], END + 3600) == []
    assert recorded.query(THE_ARTICLES, END + 3600) == []


def test_the_query_of_the_page_gives_what_the_data_has(recorded: Prometheus) -> None:
    assert _by_version(recorded.query(example("istio"), END), "model_version") == SUCCEEDED
