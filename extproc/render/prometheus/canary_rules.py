"""Rules that compare canaries with the stable version: alerts for a canary that fails more often, or is slower.

The stable version is the one with the largest weight; every other version that answers is compared with it. Failures
are compared by the two-proportion z-test, so that few requests alone do not alert, and only from ``MIN_FAILURES`` on,
below which the test means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from extproc.policy.snapshot import Policy
from extproc.render.document import Doc
from extproc.render.prometheus.golden_rules import (
    DURATION,
    EVALUATION_INTERVAL,
    FAILURES,
    MIN_FAILURES,
    OBSERVED,
    REQUESTS,
    record,
)
from extproc.render.prometheus.promql import select, text

COUNT = "canary:inference_requests:sum30m"
FAILED = "canary:inference_failures:sum30m"
READ = "canary:inference_observed_requests:sum30m"
RATIO = "canary:inference_failures:ratio30m"
ZSCORE = "canary:inference_failures_against_stable:zscore30m"

MIN_ZSCORE = 3
"""Standard deviations: exceeded by chance in one of 740 comparisons."""
MAX_P95_RATIO = 1.5
"""Ratio of the canary's P95 duration to the stable version's."""
_AGAINST = "on (policy) group_left ()"
"""Vector matching: each canary with the one stable version of its policy."""


def canary(policy: Policy) -> list[Doc]:
    """The rules of one policy in evaluation order: each may use those before it."""
    stable = max(policy.answering, key=lambda version: version.weight).name
    return [*_counts(policy.name), _zscore(policy.name, stable), *_alerts(policy.name, stable)]


def _counts(policy: str) -> Iterator[Doc]:
    for name, rate in ((COUNT, REQUESTS), (FAILED, FAILURES), (READ, OBSERVED)):
        counted = f"sum by (version) (sum_over_time({select(rate, policy=policy)}[30m])) * {EVALUATION_INTERVAL}"
        yield record(name, counted, policy=policy)
    yield record(RATIO, f"{select(FAILED, policy=policy)} / ({select(COUNT, policy=policy)} > 0)", policy=policy)


def _zscore(policy: str, stable: str) -> Doc:
    (count, its_count), (failed, its_failed), (ratio, its_ratio), (read, its_read) = (
        (select(name, f"version!={text(stable)}", policy=policy), select(name, policy=policy, version=stable))
        for name in (COUNT, FAILED, RATIO, READ)
    )
    # What an answer of a sample tells counts for several, and proves no more than one.
    sample, its_sample = (f"({fewer} > 0 < {all_} or {all_})" for fewer, all_ in ((read, count), (its_read, its_count)))
    pooled = f"(({failed} + {_AGAINST} {its_failed}) / ({count} + {_AGAINST} {its_count}))"
    variance = f"{pooled} * (1 - {pooled}) * (1 / {sample} + {_AGAINST} 1 / {its_sample})"
    # Where nothing fails, or everything, difference and variance are both 0: the result is 0 and not 0/0.
    return record(ZSCORE, f"({ratio} - {_AGAINST} {its_ratio})\n/ sqrt(clamp_min({variance}, 1e-12))", policy=policy)


def _alerts(policy: str, stable: str) -> Iterator[Doc]:
    version = "{{ $labels.version }}"
    yield {
        "alert": "InferenceCanaryFails",
        "expr": (
            f"{select(ZSCORE, policy=policy)} > {MIN_ZSCORE}\nand {select(FAILED, policy=policy)} >= {MIN_FAILURES}"
        ),
        "for": "2m",
        "labels": {"severity": "page", "policy": policy},
        "annotations": {
            "summary": f"{policy} {version} fails more often than {stable}",
            "description": (
                f"Over 30 minutes version {version} of the policy {policy} failed more often than {stable}, by "
                "{{ $value | humanize }} standard deviations. Take its weight away until it is known why."
            ),
        },
    }
    p95 = {"policy": policy, "quantile": "0.95"}
    theirs = f"max by (policy, version) ({select(DURATION, f'version!={text(stable)}', **p95)})"
    its = f"max by (policy) ({select(DURATION, version=stable, **p95)})"
    yield {
        "alert": "InferenceCanarySlow",
        "expr": f"{theirs}\n> {_AGAINST} {MAX_P95_RATIO} * {its}",
        "for": "15m",
        "labels": {"severity": "ticket", "policy": policy},
        "annotations": {
            "summary": f"{policy} {version} is slower than {stable}",
            "description": (
                f"For 15 minutes the P95 of version {version} of the policy {policy} was above {MAX_P95_RATIO} "
                f"times that of {stable}: " + "{{ $value | humanizeDuration }}."
            ),
        },
    }
