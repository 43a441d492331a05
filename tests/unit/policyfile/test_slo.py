"""Service level objectives in a policy file: what they mean, and every way in which they are wrong."""

from __future__ import annotations

import pytest

from extproc.policy.snapshot import Objective, Slo
from extproc.telemetry.metric_families import DURATION_BUCKETS, FIRST_TOKEN_BUCKETS
from tests.policy_documents import found, policy, policy_of, said

NO_BOUND = "is no bound of the histogram, so nobody counts what is faster"


def _policy(slo: str) -> str:
    return policy(f"observability: {{slo: {slo}}}")


def test_everything_that_can_be_promised() -> None:
    text = "{availability: 99.9, timeToFirstToken: {under: 500ms, target: 95}, duration: {under: 10s, target: 99}"
    assert policy_of(f"observability: {{slo: {text}, window: 28d}}}}").slo == Slo(
        99.9, Objective(0.5, 95), Objective(10, 99), 28
    )


def test_one_objective_is_enough_and_the_window_has_a_default() -> None:
    assert policy_of("observability: {slo: {availability: 99}}").slo == Slo(99.0, None, None, 30)
    assert policy_of("observability: {}").slo is None


@pytest.mark.parametrize(
    ("name", "bounds"), [("timeToFirstToken", FIRST_TOKEN_BUCKETS), ("duration", DURATION_BUCKETS)]
)
def test_every_bound_of_the_histogram_may_be_promised(name: str, bounds: tuple[float, ...]) -> None:
    for bound in bounds:
        assert found(_policy(f"{{{name}: {{under: {bound:g}s, target: 95}}}}")) == []


@pytest.mark.parametrize(
    ("slo", "problem"),
    [
        ("{}", ": names no objective; give availability, timeToFirstToken or duration"),
        ("{window: 30d}", ": names no objective; give availability, timeToFirstToken or duration"),
        ("{availability: 100}", ".availability: 100 is out of range; give a number from 50 to 99.999"),
        ("{availability: 0.999}", ".availability: 0.999 is out of range; give a number from 50 to 99.999"),
        ("{availabilty: 99}", '.availabilty: is not a known field; did you mean "availability"?'),
        ("{availability: 99, window: 3d}", '.window: "3d" is no window; give 7d to 90d'),
        ("{availability: 99, window: 91d}", '.window: "91d" is no window; give 7d to 90d'),
        ("{availability: 99, window: 30}", '.window: "30" is no window; give 7d to 90d'),
        ("{availability: 99, window: 720h}", '.window: "720h" is no window; give 7d to 90d'),
        ("{duration: {under: 10s}}", ".duration: has no target; say how many must be, in percent: target: 95"),
        ("{duration: {target: 99}}", ".duration: has no under; say what is fast enough: under: 500ms"),
        ("{duration: 10s}", ".duration: is not a mapping; write fields below it: `key: value`, one a line, indented"),
        (
            "{timeToFirstToken: {under: 600ms, target: 95}}",
            f".timeToFirstToken.under: 600ms {NO_BOUND}; give 500ms or 750ms",
        ),
        (
            "{timeToFirstToken: {under: 1ms, target: 95}}",
            f".timeToFirstToken.under: 1ms {NO_BOUND}; give 10ms",
        ),
        (
            "{duration: {under: 10m, target: 95}}",
            f".duration.under: 600s {NO_BOUND}; give 320s",
        ),
    ],
)
def test_what_is_wrong_is_said_at_its_line(slo: str, problem: str) -> None:
    assert [said(p) for p in found(_policy(slo))] == [f"5 spec.observability.slo{problem}"]
