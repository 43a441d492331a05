"""Buckets as Prometheus wants them, and their sums."""

from __future__ import annotations

import bisect

from hypothesis import given
from hypothesis import strategies as st

from extproc.telemetry.histogram import Histogram


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
