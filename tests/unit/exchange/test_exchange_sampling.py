"""How near a sample comes to all answers, by simulation: percentiles, sums, and why each counts 1/share times."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import pytest

from extproc.exchange.sampling import END_RATE, AdaptiveShares, Row
from extproc.telemetry.histogram import Histogram, quantile
from extproc.telemetry.metric_families import FIRST_TOKEN_BUCKETS, PER_TOKEN_BUCKETS

ROW: Row = ("m", "v1", "", True)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


WINDOW = 300.0
"""Seconds, as the recorded percentiles are taken over."""
TYPICAL, SPREAD = -1.2, 0.7
"""Of the lognormal times: half of them below 0.3 s, one in a hundred above 1.5 s."""


class Simulated:
    """All times, and those that were observed, as the metrics count them."""

    def __init__(self, bounds: tuple[float, ...] = FIRST_TOKEN_BUCKETS) -> None:
        self.all, self.weighted, self.plain = (Histogram(bounds) for _ in range(3))
        self.observed = 0

    def add(self, other: Simulated) -> None:
        self.all.add(other.all)
        self.weighted.add(other.weighted)
        self.plain.add(other.plain)

    def note(self, value: float, share: float, drawn: float) -> bool:
        """Whether it was drawn."""
        self.all.observe(value)
        if drawn < share:
            self.observed += 1
            self.weighted.observe(value, 1 / share)
            self.plain.observe(value)
        return drawn < share

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
        found.note(first_token, shares.shares(ROW)[0], draw.random())
    return found


PER_TOKEN, PER_TOKEN_SPREAD = -3.5, 0.35
"""Of the lognormal times per token, each the mean of a stream: half of them below 30 ms, one in a hundred above 68."""


def simulate_ends(seed: int, rate: float) -> tuple[Simulated, float]:
    """The same of times per token, and what the tokens of all answers come to, by those of all."""
    draw, clock = random.Random(seed), Clock()
    end = clock.now + WINDOW
    shares, found, tokens = AdaptiveShares(clock), Simulated(PER_TOKEN_BUCKETS), [0.0, 0.0]
    while clock.now < end:
        clock.now += draw.expovariate(rate)
        length, (_, to_end) = draw.lognormvariate(5.0, 1.0), shares.shares(ROW)
        tokens[0] += length
        if found.note(draw.lognormvariate(PER_TOKEN, PER_TOKEN_SPREAD), to_end, draw.random()):
            tokens[1] += length / to_end
    return found, tokens[1] / tokens[0]


def steady(value: float) -> Callable[[float], float]:
    return lambda _: value


@cache
def simulate_evenly(seed: int, rate: float) -> Simulated:
    """At an even rate, times as they mostly are. Nobody adds to it."""
    return simulate(seed, steady(rate), steady(1))


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
    runs = [simulate_evenly(seed, rate) for seed in range(5)]
    every = [found.errors(found.weighted) for found in runs]
    assert max(max(errors[:2]) for errors in every) < 0.05
    assert mean(errors[2] for errors in every) < 0.05
    assert all(20 <= found.observed / WINDOW <= 42 for found in runs)


@pytest.mark.parametrize("rate", [5, 10, 40])
def test_what_only_whole_streams_tell_is_within_five_percent(rate: float) -> None:
    """Times per token: p50 in each window, p95 in 94 of a hundred. Sums of tokens, by the root of the mean square."""
    runs = [simulate_ends(seed, rate) for seed in range(20 if rate == 10 else 5)]
    every = [found.errors(found.weighted) for found, _ in runs]
    assert max(errors[0] for errors in every) < 0.05
    assert sum(errors[1] < 0.05 for errors in every) >= 0.85 * len(every)
    assert mean(errors[1] for errors in every) < 0.03
    assert mean(errors[2] for errors in every) < 0.05
    assert mean((ratio - 1) ** 2 for _, ratio in runs) ** 0.5 < 0.07
    assert all(END_RATE <= found.observed / WINDOW <= 1.3 * END_RATE for found, _ in runs)


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
        quiet = simulate(seed + 100, steady(10), steady(4))
        quiet.add(simulate_evenly(seed, 600))
        runs.append(quiet)
    weighted, plain = _both(runs)
    assert max(weighted) < 0.05
    assert plain[1] > 0.3
