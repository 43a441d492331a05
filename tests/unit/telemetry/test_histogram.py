"""Buckets as Prometheus wants them, their sums, and quantiles as Prometheus has them."""

from __future__ import annotations

import bisect
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.telemetry.histogram import Histogram, quantile
from extproc.telemetry.metric_families import DURATION_BUCKETS


@given(st.lists(st.floats(0, 1000)))
def test_histogram_buckets_are_cumulative_and_inclusive(values: list[float]) -> None:
    bounds = (0.5, 1.0, 10.0)
    histogram = Histogram(bounds)
    for v in values:
        histogram.observe(v)
    ordered = sorted(values)
    expected = [(str(b), float(bisect.bisect_right(ordered, b))) for b in bounds]
    assert histogram.buckets() == [*expected, ("+Inf", float(len(values)))]


@given(st.lists(st.floats(0, 1000)), st.lists(st.floats(0, 1000)))
def test_the_sum_of_two_is_the_one_of_all(ours: list[float], theirs: list[float]) -> None:
    one, two, both = (Histogram((0.5, 1.0, 10.0)) for _ in range(3))
    for histogram, values in ((one, ours), (two, theirs), (both, ours + theirs)):
        for value in values:
            histogram.observe(value)
    one.add(two)
    assert one.counts == both.counts
    assert abs(one.sum - both.sum) < 1e-6


BOUNDS = (0.1, 0.2, 0.4)


@pytest.mark.parametrize(
    ("q", "counts", "value"),
    [
        (0.5, (0, 10, 0, 0), 0.15),
        (0.5, (10, 0, 0, 0), 0.05),
        (0.95, (50, 50, 0, 0), 0.19),
        (0.25, (1, 1, 1, 1), 0.1),
        (0.99, (0, 0, 0, 5), 0.4),
        (0.0, (0, 4, 0, 0), 0.1),
        (1.0, (0, 4, 0, 0), 0.2),
        (0.5, (0, 0, 0, 0), None),
    ],
)
def test_quantiles_are_interpolated(q: float, counts: tuple[int, ...], value: float | None) -> None:
    assert quantile(q, BOUNDS, counts) == (None if value is None else pytest.approx(value))


VALUES = st.lists(st.floats(0.0001, 300), min_size=1, max_size=60)


def bucket(value: float) -> tuple[float, float]:
    edges = (0.0, *DURATION_BUCKETS, math.inf)
    return next((low, high) for low, high in itertools.pairwise(edges) if low < value <= high)


@given(VALUES, st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_lies_in_the_bucket_of_the_value_that_it_stands_for(values: list[float], q: float) -> None:
    histogram = Histogram(DURATION_BUCKETS)
    for value in values:
        histogram.observe(value)
    true = sorted(values)[max(0, math.ceil(q * len(values) - 1e-9) - 1)]
    low, high = bucket(true)
    found = quantile(q, histogram.bounds, histogram.counts)
    assert found is not None
    assert low - 1e-9 <= found <= high + 1e-9


@given(VALUES)
def test_quantiles_rise(values: list[float]) -> None:
    histogram = Histogram(DURATION_BUCKETS)
    for value in values:
        histogram.observe(value)
    found = [quantile(q / 20, histogram.bounds, histogram.counts) for q in range(21)]
    assert found == sorted(found, key=lambda one: one or 0.0)
