"""Queries of guards for other tools, in the real promtool: one number where there are answers, else nothing."""

from __future__ import annotations

from extproc.render.delivery import queries
from tests.policy_documents import policy, snapshot_of
from tests.prometheus.conftest import Judge, steady

SNAPSHOT = snapshot_of(
    policy(
        """
        models: [llama]
        versions: [{name: v1, weight: 1}, {name: v2, weight: 0}]
        rollout:
          to: v2
          prometheus: http://p
          guards:
          - {metric: errors, max: 1%}
          - {metric: timeToFirstToken, quantile: 50, max: 500ms}
          - {metric: timePerOutputToken, quantile: 50, relativeTo: v1, maxRatio: 1.2}
          - {metric: outputTokens, quantile: 50, relativeTo: v1, minRatio: 0.5}
        """
    )
)
SECONDS = 10 * 60


def by_name(version: str) -> dict[str, str]:
    return {query.name: query.promql for query in queries(SNAPSHOT.policies[0], version, "5m")}


def answers(version: str, *, tokens: float, per_token: float, failing: float = 0.0) -> dict[str, str]:
    """Ten a second, of which so many fail, half of those within a stream; first tokens within 0.2 to 0.4 s."""
    who = f'model="llama", version="{version}", gpu_pool="none"'
    series = {
        f'inference_requests_total{{{who}, api="openai", code="200"}}': steady(10 - failing / 2, SECONDS),
        f'inference_tokens_total{{{who}, type="output", estimated="false"}}': steady(tokens * 10, SECONDS),
    }
    if failing:
        series[f'inference_requests_total{{{who}, api="openai", code="500"}}'] = steady(failing / 2, SECONDS)
        series[f'inference_errors_total{{{who}, reason="cut_short"}}'] = steady(failing / 2, SECONDS)
    for name, bounds in (("time_to_first_token", (0.2, 0.4)), ("time_per_output_token", (0.0, 2 * per_token))):
        for bound, rate in ((bounds[0], 0.0), (bounds[1], 10.0), ("+Inf", 10.0)):
            series[f'inference_{name}_seconds_bucket{{{who}, le="{bound}"}}'] = steady(rate, SECONDS)
    return series


def test_every_guard_is_one_number(judge: Judge) -> None:
    series = answers("v1", tokens=100, per_token=0.01) | answers("v2", tokens=25, per_token=0.015, failing=1)
    asked = by_name("v2")
    expected = {
        asked["errors"]: {"{}": 0.1},
        asked["time-to-first-token-p50"]: {"{}": 0.3},
        asked["time-per-output-token-p50-by-v1"]: {"{}": 1.5},
        asked["output-tokens-by-v1"]: {"{}": 0.2632},  # 25 of 9.5 good answers a second
    }
    judge(SNAPSHOT, "extproc", series, "9m", expected)


def test_who_never_fails_is_at_zero_and_who_has_no_requests_says_nothing(judge: Judge) -> None:
    series = answers("v1", tokens=100, per_token=0.01)
    good, silent = by_name("v1"), by_name("v2")
    expected: dict[str, dict[str, float]] = {query: {} for query in silent.values()}
    expected[good["errors"]] = {"{}": 0.0}
    judge(SNAPSHOT, "extproc", series, "9m", expected)
