"""Golden metrics: sums of whatever, and that nothing is not all well."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.exchange.notes import ERRORS, Observed, RequestAccount
from extproc.telemetry.golden_metrics import Counts, GoldenMetrics, compute_golden_metrics, is_failure
from extproc.telemetry.histogram import Histogram
from extproc.telemetry.metric_families import DURATION_BUCKETS


def observed(code: str = "200", seconds: float | None = 0.15, **more: object) -> Observed:
    return Observed("llama", "v1", "west", "openai", code, seconds, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "error", "expected"),
    [
        *(("200", error, error in ("error_in_stream", "cut_short")) for error in ERRORS),
        *((code, "", code in ("500", "503")) for code in ("0", "200", "404", "429", "500", "503")),
    ],
)
def test_what_is_the_services_failure(code: str, error: str, expected: bool) -> None:
    assert is_failure(observed(code, error=error)) == expected


def test_what_counts_come_to() -> None:
    counts = Counts()
    for n in range(20):
        counts.note(observed("503" if n == 0 else "200", cohort="sticky" if n % 2 else "pin"))
    counts.note(observed(first_token=0.09, per_token=0.003, output_tokens=30, cohort="weight"))
    assert counts.drawn == 11
    assert compute_golden_metrics(counts, 10.0) == GoldenMetrics(
        requests=21,
        success=pytest.approx(20 / 21),  # type: ignore[arg-type]
        refused=0.0,
        refusals={},
        rps=2.1,
        p50_ms=pytest.approx(125.0),  # type: ignore[arg-type]
        p95_ms=pytest.approx(147.5),  # type: ignore[arg-type]
        p99_ms=pytest.approx(149.5),  # type: ignore[arg-type]
        ttft_p50_ms=90.0,
        ttft_p95_ms=99.0,
        tpot_p50_ms=2.5,
        tpot_p95_ms=2.95,
        tokens_per_second=3.0,
        observed=1.0,
    )


def test_nothing_is_not_all_well() -> None:
    assert compute_golden_metrics(Counts(), 60) == GoldenMetrics(0, None, None, {}, 0.0, *[None] * 9)


OBSERVED = st.builds(
    observed,
    st.sampled_from(["0", "200", "404", "500"]),
    st.none() | st.floats(0.0001, 300),
    cohort=st.sampled_from(["", "weight", "sticky", "pin"]),
    first_token=st.none() | st.floats(0.0001, 100),
    per_token=st.none() | st.floats(0.0001, 5),
    output_tokens=st.none() | st.integers(0, 5000),
)


@given(st.lists(OBSERVED, max_size=30), st.integers(1, 4))
def test_it_does_not_matter_who_counted(every: list[Observed], processes: int) -> None:
    alone, parts = Counts(), [Counts() for _ in range(processes)]
    for n, one in enumerate(every):
        alone.note(one)
        parts[n % processes].note(one)
    total = Counts()
    for part in parts:
        total.add(part)
    assert compute_golden_metrics(total, 7.0) == compute_golden_metrics(alone, 7.0)


def test_other_buckets_are_refused_and_change_nothing() -> None:
    counts = Counts()
    counts.note(observed())
    with pytest.raises(ValueError, match="other buckets"):
        counts.add(Counts(requests=5, duration=Histogram((1.0, 2.0))))
    assert counts.requests == 1


def test_an_account_and_what_was_observed_are_one_exchange() -> None:
    counts = Counts()
    counts.account(RequestAccount("llama", "v1", "west", "openai", "200", 0.15, cohort="weight"))
    counts.note(observed(seconds=9.0, first_token=0.04, output_tokens=7, cohort="weight", accounted=True))
    assert (counts.requests, counts.failures, counts.drawn, counts.output_tokens) == (1, 0, 1, 7)
    assert counts.duration.sum == 0.15
    assert counts.first_token is not None
    assert sum(counts.first_token.counts) == 1


def test_what_was_refused_by_its_reason() -> None:
    one, other = Counts(), Counts()
    for code, refusal in (("200", ""), ("429", "queue_full"), ("429", "no_room"), ("429", ""), ("503", "no_endpoint")):
        one.account(RequestAccount("llama", "v1", "west", "openai", code, None, refusal=refusal))
    other.account(RequestAccount("llama", "v1", "west", "openai", "429", None, refusal="no_room"))
    one.add(other)
    found = compute_golden_metrics(one, 10.0)
    assert found.refusals == {"queue_full": 1, "no_room": 2, "no_endpoint": 1}
    assert found.refused == pytest.approx(4 / 6)
    assert found.success == pytest.approx(5 / 6), "a 503 is a failure whoever gave it, a 429 is none"
    assert compute_golden_metrics(other, 10.0).refusals == {"no_room": 1}, "as it was"


@pytest.mark.parametrize(
    ("code", "failure", "failures"),
    [
        ("200", "", 0),
        ("0", "client_left", 0),
        ("200", "client_left", 0),
        ("404", "", 0),
        ("503", "upstream_reset", 1),
        ("500", "", 1),
        ("200", "upstream_broke_off", 1),
        ("200", "upstream_stalled", 1),
        ("200", "no_answer", 1),
        ("200", "idle", 0),
        ("408", "client_stalled", 0),
    ],
)
def test_failures_by_account(code: str, failure: str, failures: int) -> None:
    counts = Counts()
    counts.account(RequestAccount("llama", "v1", "west", "openai", code, 0.1, failure=failure))
    assert (counts.requests, counts.failures) == (1, failures)


@pytest.mark.parametrize(("error", "failures"), [("error_in_stream", 1), ("cut_short", 1), ("broken_off", 0), ("", 0)])
def test_failures_that_only_the_answer_tells(error: str, failures: int) -> None:
    counts = Counts()
    counts.note(observed("503", error=error, accounted=True))
    assert (counts.requests, counts.failures) == (0, failures)


def test_what_stands_for_others_counts_for_them() -> None:
    counts = Counts()
    for _ in range(8):
        counts.account(RequestAccount("llama", "v1", "west", "openai", "200", 0.1))
    sampled = observed(accounted=True, share=0.25, first_token_share=0.25, first_token=0.09, per_token=0.003)
    counts.note(msgspec.structs.replace(sampled, output_tokens=30, error="cut_short"))
    assert (counts.requests, counts.failures, counts.output_tokens) == (8, 4, 120)
    assert compute_golden_metrics(counts, 1.0).observed == 1 / 8
    assert counts.first_token is not None
    assert counts.per_token is not None
    assert sum(counts.first_token.counts) == sum(counts.per_token.counts) == 4


def test_a_stream_that_was_left_has_told_of_its_first_token_alone() -> None:
    counts = Counts()
    left = observed(accounted=True, share=0.125, first_token_share=0.25, left=True, first_token=0.09)
    counts.note(left)
    assert (counts.observed, counts.failures, counts.output_tokens, counts.per_token) == (0, 0, 0, None)
    assert counts.first_token is not None
    assert sum(counts.first_token.counts) == 4


def test_success_is_no_less_than_nothing() -> None:
    """Failures may be estimated, and too many."""
    assert compute_golden_metrics(Counts(requests=3, failures=4.0), 1.0).success == 0


REFUSED = RequestAccount("llama", "v1", "west", "openai", "429", 0.1, refusal="no_room")


def test_what_is_counted_while_counts_are_added() -> None:
    """A thread that serves the page adds up what another one counts."""
    live = Counts()
    live.account(REFUSED)

    class Refusals(dict[str, int]):
        def get(self, code: str, default: Any = 0) -> Any:
            live.account(msgspec.structs.replace(REFUSED, refusal="saturated"))
            return super().get(code, default)

    class Durations(Histogram):
        def add(self, other: Histogram) -> None:
            live.account(REFUSED)
            super().add(other)

    for total in (Counts(refusals=Refusals()), Counts(duration=Durations(DURATION_BUCKETS))):
        total.add(live)
        assert 0 < sum(total.refusals.values()) <= total.requests
