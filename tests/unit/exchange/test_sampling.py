"""Sampling: what share is observed, what is drawn and told; and, by simulation, how near that comes to all answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.bodies.request import InferenceRequest
from extproc.envoy.actions import Mutation
from extproc.exchange.sampling import (
    FULL_RATE,
    LEFT_OUT,
    MAX_ROWS,
    OBSERVE,
    STREAMED,
    AdaptiveShares,
    Rate,
    Row,
    share_told,
    with_sampling,
)
from extproc.policy.circuit_breaker import CircuitBreaker
from extproc.policy.decision import Decision
from extproc.policy.snapshot import Policy, Version
from extproc.telemetry.histogram import Histogram, quantile
from extproc.telemetry.metric_families import FIRST_TOKEN_BUCKETS

MUTATION = Mutation((("x-model-name", "m"),), ("x-gpu-pool",), (("policy", "p"),))
CHAT = InferenceRequest("openai", "chat.completions", "m")
SESSION = InferenceRequest("openai", "realtime", "m")
FIRST, LAST = b"\0" * 8, b"\xff" * 8
"""Entropy that is drawn with any share but 0, and with none but 1."""
ROW: Row = ("m", "v1", "", True)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def marked(
    share: float | None,
    entropy: bytes = FIRST,
    shares: AdaptiveShares | None = None,
    request: InferenceRequest = CHAT,
    versions: tuple[str, ...] = ("v1",),
    **decision: Any,
) -> str | None:
    """What is told; None: nothing."""
    policy = Policy("p", models=("m",), versions=tuple(map(Version, versions)), sampling=share)
    made = Decision(request, policy, **{"pattern": "m", "version": "v1", **decision})
    found = with_sampling(MUTATION, made, entropy, shares, streamed=True)
    assert (found.set, found.remove) == (MUTATION.set, MUTATION.remove)
    assert found.metadata[:1] == MUTATION.metadata
    return dict(found.metadata).get(OBSERVE)


def shares_at(rate: float, count: int = 400, row: Row = ROW) -> list[float]:
    """The shares of requests that come at an even rate."""
    clock = Clock()
    shares = AdaptiveShares(clock)
    found = []
    for _ in range(count):
        clock.now += 1 / rate
        found.append(shares.share(row))
    return found


@pytest.mark.parametrize(
    ("share", "entropy", "value"),
    [
        (0.0, FIRST, LEFT_OUT),
        (0.25, b"\x3f" + b"\xff" * 7, "0.25"),
        (0.25, b"\x40" + b"\0" * 7, LEFT_OUT),
        (0.999, LAST, LEFT_OUT),
        (0.5, b"\0" * 6 + b"\xff\xff", "0.5"),
        (1.0, LAST, None),
        (None, LAST, None),
    ],
)
def test_the_share_is_drawn_from_the_entropy_and_told(share: float | None, entropy: bytes, value: str | None) -> None:
    assert marked(share, entropy) == value


@given(st.floats(0, 1, exclude_max=True), st.binary(min_size=8, max_size=8))
def test_more_is_sampled_with_a_greater_share(share: float, entropy: bytes) -> None:
    """Raising the share leaves nobody out who was in."""
    sampled = [marked(each, entropy) != LEFT_OUT for each in (share, (1 + share) / 2)]
    assert sampled != [True, False]


@given(st.floats(0, 1, exclude_max=True, exclude_min=True), st.integers(0, 2**48 - 1))
def test_what_is_told_is_the_share_to_the_last_bit(share: float, drawn: int) -> None:
    told = marked(share, drawn.to_bytes(6))
    assert share_told({OBSERVE: told or ""}) == (share if drawn / 2**48 < share else 0)


@pytest.mark.parametrize("share", [0.0, 0.5, None])
def test_sessions_are_observed_whatever_the_share(share: float | None) -> None:
    busy = AdaptiveShares(Clock())
    assert [marked(share, LAST, busy, SESSION) for _ in range(5 * FULL_RATE)] == [None] * 5 * FULL_RATE


def test_who_belongs_to_no_policy_is_observed() -> None:
    assert with_sampling(MUTATION, Decision(CHAT), LAST, None, streamed=True) is MUTATION


@pytest.mark.parametrize("rate", [0.01, 1, 10, FULL_RATE, 1.9 * FULL_RATE])
def test_at_few_answers_all_are_observed(rate: float) -> None:
    assert set(shares_at(rate)) == {1.0}


def test_the_full_rate_is_twenty_a_second() -> None:
    assert set(shares_at(39.9)) == {1.0}
    assert shares_at(40.1)[-1] == 0.5


@settings(max_examples=30)
@given(st.floats(2.05 * FULL_RATE, 2000))
def test_of_many_answers_once_or_twice_the_full_rate_is_observed(rate: float) -> None:
    share = shares_at(rate, int(8 * rate))[-1]
    assert FULL_RATE * 0.99 <= share * rate <= 2 * FULL_RATE * 1.01


def test_the_least_share_is_one_in_65536() -> None:
    shares = AdaptiveShares(Clock())
    shares.share(ROW)
    shares._rates[ROW].per_second = 1e9
    assert shares.share(ROW) == 1 / 65536


def test_a_burst_is_followed_within_a_second_and_so_is_its_end() -> None:
    clock = Clock()
    shares = AdaptiveShares(clock)
    burst = []
    for _ in range(2000):
        clock.now += 0.001
        burst.append(shares.share(ROW))
    assert burst[: 2 * FULL_RATE - 2] == [1.0] * (2 * FULL_RATE - 2)
    assert sum(burst[:1000]) < 200
    assert burst[-1] <= 1 / 32
    clock.now += 1.0
    assert shares.share(ROW) == 1.0


def test_rows_have_rates_of_their_own() -> None:
    clock = Clock()
    shares = AdaptiveShares(clock)
    for _ in range(10 * FULL_RATE):
        shares.share(ROW)
    assert shares.share(ROW) < 1
    for other in (("n", "v1", "", True), ("m", "v2", "", True), ("m", "v1", "a100", True), ("m", "v1", "", False)):
        assert shares.share(other) == 1.0
    assert shares.share(ROW) < 1


def test_the_rows_that_are_kept_are_bounded() -> None:
    shares = AdaptiveShares(Clock())
    for number in range(3 * FULL_RATE * MAX_ROWS // 100):
        shares.share((f"m{number}", "", "", True))
    for _ in range(3 * FULL_RATE):
        shares.share(ROW)
    assert shares.share(ROW) == 0.5
    for number in range(MAX_ROWS + 1):
        shares.share((f"n{number}", "", "", True))
    assert shares.share(ROW) == 1.0


def test_versions_that_clients_name_make_no_rows() -> None:
    """A policy without versions passes on the client's own."""
    shares = AdaptiveShares(Clock())
    told = {marked(None, LAST, shares, versions=(), version=f"v{number}") for number in range(10 * FULL_RATE)}
    assert told == {None, LEFT_OUT}


@pytest.mark.parametrize(("rate", "told"), [(15, None), (70, None), (200, "0.5"), (1000, "0.125")])
def test_four_times_as_many_are_observed_for_a_circuit_breaker(rate: float, told: str | None) -> None:
    clock = Clock()
    shares = AdaptiveShares(clock)
    made = Decision(CHAT, Policy("p", models=("m",), versions=(Version("v1"),), breaker=CircuitBreaker()), "m", "v1")
    for _ in range(3000):
        clock.now += 1 / rate
        found = dict(with_sampling(MUTATION, made, FIRST, shares, streamed=True).metadata)
    assert (found.get(OBSERVE), found[STREAMED]) == (told, "true")
    assert STREAMED not in dict(with_sampling(MUTATION, made, FIRST, shares, streamed=False).metadata)


def test_equal_decisions_share_a_mutation() -> None:
    """Its bytes are made once."""
    policy = Policy("p", sampling=0.5)
    one, two = (with_sampling(MUTATION, Decision(CHAT, policy), FIRST, None, streamed=True) for _ in range(2))
    assert one is two


@given(st.lists(st.floats(0, 10), max_size=50), st.floats(0, 10))
def test_a_rate_counts_the_last_second(gaps: list[float], gap: float) -> None:
    rate, now = Rate(), 0.0
    for each in gaps:
        now += each
        assert 1 <= rate.note(now) <= len(gaps)
    before = rate.per_second
    assert rate.note(now + gap) <= before + 1
    if gap >= 1:
        assert rate.per_second == 1


@pytest.mark.parametrize(
    ("told", "share"),
    [({}, 1.0), ({OBSERVE: LEFT_OUT}, 0.0), ({OBSERVE: "0.25"}, 0.25), ({OBSERVE: "1e-05"}, 1e-5)]
    + [({OBSERVE: nonsense}, 1.0) for nonsense in ("", "x", "-1", "2", "nan", "inf")],
)
def test_what_is_told_is_read(told: dict[str, str], share: float) -> None:
    assert share_told(told) == share


WINDOW = 300.0
"""Seconds, as the recorded percentiles are taken over."""
TYPICAL, SPREAD = -1.2, 0.7
"""Of the lognormal times: half of them below 0.3 s, one in a hundred above 1.5 s."""


class Simulated:
    """All times, and those that were observed, as the metrics count them."""

    def __init__(self) -> None:
        self.all, self.weighted, self.plain = (Histogram(FIRST_TOKEN_BUCKETS) for _ in range(3))
        self.observed = 0

    def add(self, other: Simulated) -> None:
        self.all.add(other.all)
        self.weighted.add(other.weighted)
        self.plain.add(other.plain)

    def errors(self, histogram: Histogram) -> list[float]:
        """Relative errors of p50, p95 and p99."""
        return [abs(_quantile(q, histogram) / _quantile(q, self.all) - 1) for q in (0.5, 0.95, 0.99)]


def _quantile(q: float, histogram: Histogram) -> float:
    found = quantile(q, histogram.bounds, histogram.counts)
    assert found
    return found


def simulate(seed: int, rate: Callable[[float], float], slowness: Callable[[float], float]) -> Simulated:
    """One processor over the window. ``rate``: of requests, and ``slowness``: factor of their times, by the second."""
    draw, clock = random.Random(seed), Clock()
    end = clock.now + WINDOW
    shares, found = AdaptiveShares(clock), Simulated()
    while clock.now < end:
        clock.now += draw.expovariate(rate(clock.now))
        first_token = draw.lognormvariate(TYPICAL, SPREAD) * slowness(clock.now)
        share = shares.share(ROW)
        found.all.observe(first_token)
        if draw.random() < share:
            found.observed += 1
            found.weighted.observe(first_token, 1 / share)
            found.plain.observe(first_token)
    return found


def steady(value: float) -> Callable[[float], float]:
    return lambda _: value


def bursts(quiet: float, busy: float) -> Callable[[float], float]:
    """Ten seconds of each minute are busy."""
    return lambda now: busy if now % 60 < 10 else quiet


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


@pytest.mark.parametrize("rate", [1, 10, 15])
def test_at_ten_requests_a_second_percentiles_are_exact(rate: float) -> None:
    found = simulate(1, steady(rate), steady(1))
    assert found.weighted.counts == found.all.counts
    assert found.errors(found.weighted) == pytest.approx([0, 0, 0])


@pytest.mark.parametrize("rate", [45, 160, 600])
def test_at_more_they_are_within_five_percent(rate: float) -> None:
    """p99 of single windows may be farther away: 9,000 answers have 90 above it."""
    runs = [simulate(seed, steady(rate), steady(1)) for seed in range(5)]
    every = [found.errors(found.weighted) for found in runs]
    assert max(max(errors[:2]) for errors in every) < 0.05
    assert mean(errors[2] for errors in every) < 0.05
    assert all(20 <= found.observed / WINDOW <= 42 for found in runs)


@pytest.mark.parametrize("busy", [100, 1000])
def test_counts_are_unbiased_in_bursts(busy: float) -> None:
    runs = [simulate(seed, bursts(10, busy), steady(1)) for seed in range(5)]
    ratios = [sum(found.weighted.counts) / sum(found.all.counts) for found in runs]
    assert mean(ratios) == pytest.approx(1, abs=0.03)
    assert ratios == pytest.approx([1] * 5, abs=0.08)


def _both(runs: Sequence[Simulated]) -> tuple[list[float], list[float]]:
    """The mean errors of what is weighted, and of the plain sample."""
    errors = [(found.errors(found.weighted), found.errors(found.plain)) for found in runs]
    weighted, plain = zip(*errors, strict=True)
    return [mean(each) for each in zip(*weighted, strict=True)], [mean(each) for each in zip(*plain, strict=True)]


def test_bursts_that_are_slower_weigh_as_much_as_they_are() -> None:
    """Why an observed answer counts 1/share times: in a plain sample quiet times would crowd out busy ones."""
    weighted, plain = _both([simulate(seed, bursts(10, 600), bursts(1, 3)) for seed in range(5)])
    assert max(weighted[:2]) < 0.05
    assert weighted[2] < 0.1
    assert plain[0] > 0.3


def test_processors_with_different_parts_add_up() -> None:
    """A replica that has little to do observes all of it."""
    runs = []
    for seed in range(5):
        quiet, busy = simulate(seed, steady(10), steady(4)), simulate(seed + 100, steady(600), steady(1))
        quiet.add(busy)
        runs.append(quiet)
    weighted, plain = _both(runs)
    assert max(weighted) < 0.05
    assert plain[1] > 0.3
