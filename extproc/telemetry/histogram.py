"""Histograms: counts of values in buckets, and quantiles (percentiles) of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Histogram(msgspec.Struct, array_like=True):
    """Counts per bucket, with one more for values above the last bound, and the sum of the values."""

    bounds: tuple[float, ...]
    """Inclusive upper bounds, ascending."""
    counts: list[int | float] = []
    sum: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: float = 1) -> None:
        """Counts one value, so many times."""
        self.counts[bucket_of(self.bounds, value)] += times
        self.sum += value * times

    def add(self, other: Histogram) -> None:
        """Adds ``other``. Raises ``ValueError`` where it has another number of buckets."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, cumulative count) of each bucket, as Prometheus' client library takes them."""
        total: float = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*(str(float(b)) for b in self.bounds), "+Inf"), list(self.counts), strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets


def quantile(q: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """The ``q``-quantile (0 to 1) of a histogram, as Prometheus' ``histogram_quantile`` computes it; None if empty.

    ``bounds``: the buckets' inclusive upper bounds, positive, ascending. ``counts`` has one more entry, of values
    above the last bound, which count as that bound. Values are taken to be spread evenly within a bucket.
    """
    total = sum(counts)
    if not total or not bounds:
        return None
    rank, below = q * total, 0.0
    for at, bound in enumerate(bounds):
        here = counts[at]
        if here and below + here >= rank:
            low = bounds[at - 1] if at else 0.0
            return low + (bound - low) * (rank - below) / here
        below += here
    return float(bounds[-1])


def bucket_of(bounds: tuple[float, ...], value: float) -> int:
    """The index of the first bound that ``value`` does not exceed; that after the last where it exceeds all."""
    at = 0
    for bound in bounds:  # compiled, and for so few, faster than bisect_left()
        if not bound < value:
            break
        at += 1
    return at
