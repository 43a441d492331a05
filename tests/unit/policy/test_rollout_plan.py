"""Guards in words."""

from __future__ import annotations

import pytest

from extproc.policy.rollout_plan import (
    DEFAULT_STEPS,
    ERRORS,
    EXPONENTIAL_STEPS,
    FIRST_TOKEN,
    OUTPUT_TOKENS,
    PER_TOKEN,
    Guard,
)


@pytest.mark.parametrize(
    ("guard", "label"),
    [
        (Guard(metric=ERRORS, maximum=0.005), "errors ≤ 0.5%"),
        (Guard(metric=FIRST_TOKEN, quantile=0.95, maximum=0.5), "timeToFirstToken p95 ≤ 500ms"),
        (
            Guard(metric=PER_TOKEN, quantile=0.5, relative_to="v1", max_ratio=1.2),
            "timePerOutputToken p50 ≤ 1.2 times v1",
        ),
        (Guard(metric=OUTPUT_TOKENS, quantile=0.5, relative_to="v1", min_ratio=0.5), "outputTokens p50 ≥ 0.5 times v1"),
        (Guard(metric=FIRST_TOKEN, quantile=0.5, maximum=1.25), "timeToFirstToken p50 ≤ 1.25s"),
        (Guard(metric=FIRST_TOKEN, quantile=0.5, maximum=1.2345), "timeToFirstToken p50 ≤ 1.2345s"),
        (Guard(metric=OUTPUT_TOKENS, quantile=0.1, minimum=20), "outputTokens p10 ≥ 20"),
        (Guard(promql="up", minimum=0.8, maximum=2), "up ≥ 0.8 and ≤ 2"),
    ],
)
def test_labels(guard: Guard, label: str) -> None:
    assert guard.label == label


def test_the_steps_are_those_that_the_documents_name() -> None:
    assert DEFAULT_STEPS == (1, 5, 25, 50, 100)
    assert EXPONENTIAL_STEPS == (1, 2, 4, 8, 16, 32, 64, 100)
