"""Recording rules of a policy: success, request rate, durations, tokens, and its versions' shares of the requests.

Requests, failures and durations come from the source that is asked for; time to first token, time per output token and
tokens always from the processor, since a mesh sees no tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.policy.snapshot import Policy, Snapshot
from extproc.render.document import Doc
from extproc.render.prometheus.metric_sources import Series, golden_series, inference, processor_series
from extproc.render.prometheus.promql import number, rate, select
from extproc.render.source_names import Source

REQUESTS = "version_pool:inference_requests:rate5m"
FAILURES = "version_pool:inference_failures:rate5m"
SUCCESS = "version_pool:inference_success:ratio5m"
DURATION = "version_pool:inference_duration_seconds:quantile5m"
TTFT = "version_pool:inference_time_to_first_token_seconds:quantile5m"
TPOT = "version_pool:inference_time_per_output_token_seconds:quantile5m"
TOKENS = "version_pool:inference_tokens:rate5m"
OBSERVED = "version_pool:inference_observed_requests:rate5m"
SHARE = "canary:inference_share:ratio5m"
WEIGHT = "canary:inference_weight:ratio"

QUANTILES = ("0.5", "0.95", "0.99")
EVALUATION_INTERVAL = 30
"""Seconds between two evaluations, and so between two samples of a recorded series."""
MIN_FAILURES = 10
"""Failures below which no alert fires: a single failure of a version with hardly any requests pages nobody."""
MIN_BUSY_RATE = 0.1
"""Requests per second, averaged over an hour, above which an alert fires when there are no more requests."""


def golden_metrics(snapshot: Snapshot, policy: Policy, source: Source) -> list[Doc]:
    """The rules of one policy in evaluation order: each may use those before it."""
    found: list[Doc] = []
    for series in golden_series(snapshot, policy, source):
        found += _requests(series)
        found += _quantiles(series, DURATION, series.durations)
    tokens, models = processor_series(policy), inference(policy)
    found.append(_success(policy))
    found += _quantiles(tokens, TTFT, select("inference_time_to_first_token_seconds_bucket", models))
    found += _quantiles(tokens, TPOT, select("inference_time_per_output_token_seconds_bucket", models))
    every = tokens.total(rate(select("inference_tokens_total", models)), "type")
    found.append(record(TOKENS, every, **tokens.labels))
    observed = tokens.total(rate(select("inference_observed_requests_total", models)))
    found.append(record(OBSERVED, observed, **tokens.labels))
    found += _shares(policy)
    found.append(_stopped(policy))
    return found


def record(name: str, expr: str, **labels: str) -> Doc:
    """A recording rule. ``labels`` also has labels that ``expr`` gives by itself: without them `promtool check rules`
    takes rules of different policies for duplicates.
    """
    return {"record": name, "expr": expr, "labels": labels}


def _requests(series: Series) -> Iterator[Doc]:
    requests = series.total(rate(series.requests))
    failures = series.total(" or ".join(rate(selector) for selector in series.failures))
    yield record(REQUESTS, requests, **series.labels)
    # The series of failures does not exist before the first failure: until then it is 0, not absent.
    yield record(FAILURES, f"{failures}\nor 0 * {requests}", **series.labels)


def _success(policy: Policy) -> Doc:
    requests = select(REQUESTS, policy=policy.name)
    failing = f"{select(FAILURES, policy=policy.name)} / ({requests} > 0)"
    # Failures that only answers tell of are estimated where not all are read, and may come to more than all.
    return record(SUCCESS, f"clamp_min(1 - {failing}, 0)", policy=policy.name)


def _quantiles(series: Series, name: str, buckets: str) -> Iterator[Doc]:
    by_bound = series.total(rate(buckets), "le")
    scale = f"{number(series.scale)} * " if series.scale != 1 else ""
    for quantile in QUANTILES:
        # Without traffic a quantile is NaN, which is not >= 0.
        expr = f"{scale}histogram_quantile({quantile}, {by_bound}) >= 0"
        yield record(name, expr, **series.labels, quantile=quantile)


def _shares(policy: Policy) -> Iterator[Doc]:
    """Each version's share of the policy's requests, and the share that its weight gives it."""
    if len(policy.answering) < 2:
        return
    requests = select(REQUESTS, policy=policy.name)
    all_versions = f"sum by (policy) ({requests}) > 0"
    share = f"sum by (policy, version) ({requests}) / on (policy) group_left () ({all_versions})"
    yield record(SHARE, share, policy=policy.name)
    total = sum(version.weight for version in policy.answering)
    for version in policy.answering:
        weight = f"vector({number(version.weight / total)})"
        yield record(WEIGHT, weight, policy=policy.name, version=version.name)


def _stopped(policy: Policy) -> Doc:
    requests = select(REQUESTS, policy=policy.name)
    return {
        "alert": "InferenceTrafficStopped",
        # `unless`, not `== 0`: the series may be absent, as after a restart of every proxy.
        "expr": (
            f"sum by (policy) (avg_over_time({requests}[1h])) > {MIN_BUSY_RATE}\n"
            f"unless on (policy) sum by (policy) ({requests}) > 0"
        ),
        "for": "5m",
        "labels": {"severity": "ticket", "policy": policy.name},
        "annotations": {
            "summary": f"{policy.name} gets no requests any more",
            "description": "Within the last hour there were {{ $value | humanize }} a second.",
        },
    }
