"""Sequential tests of rates and quantiles that hold however often one looks.

A test is of "at most a share ``rate`` of the trials are hits". Its evidence is a mixture of likelihood ratios against
larger rates (Robbins, "Statistical Methods Related to the Law of the Iterated Logarithm", 1970; Johari et al., "Always
Valid Inference", 2022). While the share is what it should be, also where it changes from trial to trial, the mixture is
a supermartingale that begins at 1, so that it *ever* exceeds ``1 / level`` with a probability of ``level`` at most
(Ville's inequality). It depends on the counts alone and not on their order: counts of several processes add up.

Quantiles follow from rates (Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing
and best-arm identification", 2022): the p95 is above a bound where more than 5 % of the values are. No mean is taken,
so that a heavy tail does no harm.
"""

from __future__ import annotations

from math import inf, log
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from extproc.rollout.evidence import ZERO, Buckets, upper_bound

Counts: TypeAlias = NDArray[np.float64]

_OFFSETS = np.geomspace(0.1, 8.0, 24)
"""Alternatives by how much greater their log odds are than those of the rate under test, each of the same weight."""
_TINY = 1e-12


def log_evidence(hits: Counts | int, trials: int, rate: float) -> Counts:
    """Natural logarithm of the evidence against "at most a share ``rate`` of the trials are hits".

    For each of ``hits``, with which it grows. ``rate``: above 0 and below 1.
    """
    odds = log(rate / (1 - rate)) + _OFFSETS
    log_hit = -np.logaddexp(0, -odds) - log(rate)
    log_miss = -np.logaddexp(0, odds) - log(1 - rate)
    found = np.asarray(hits, dtype=np.float64)[..., np.newaxis]
    ratios = found * log_hit + (trials - found) * log_miss
    top = ratios.max(axis=-1, keepdims=True)
    return np.asarray(top[..., 0] + np.log(np.exp(ratios - top).mean(axis=-1)))


def exceeds(hits: int, trials: int, rate: float, level: float) -> bool:
    """Whether more than a share ``rate`` of the trials are hits, which is said wrongly with probability ``level``."""
    return bool(trials) and bool(log_evidence(hits, trials, rate) >= log(1 / level))


def count_above(buckets: Buckets, bound: float) -> int:
    """How many values are above ``bound`` for certain: those of the bucket that it falls in are not."""
    return sum(count for number, count in buckets.items() if number > ZERO and upper_bound(number - 1) >= bound - _TINY)


def count_below(buckets: Buckets, bound: float) -> int:
    """How many values are below ``bound`` for certain."""
    return sum(count for number, count in buckets.items() if upper_bound(number) < bound - _TINY)


def quantile(buckets: Buckets, q: float) -> float | None:
    """The estimate of a quantile, within 2 %; None where there are no values."""
    total, below = sum(buckets.values()), 0
    for number in sorted(buckets):
        below += buckets[number]
        if below and below >= q * total:
            return upper_bound(number)
    return None


def quantile_bounds(buckets: Buckets, q: float, level: float) -> tuple[float, float]:
    """Bounds of the ``q``-quantile (0 to 1, exclusive): it is above the first and not above the second, each of which
    is ever wrong with probability ``level``. ``-inf`` and ``inf`` where nothing is known.
    """
    numbers = sorted(number for number, count in buckets.items() if count)
    if not numbers:
        return -inf, inf
    counts = np.array([buckets[number] for number in numbers], dtype=np.float64)
    total, up_to = int(counts.sum()), counts.cumsum()
    threshold = log(1 / level)
    surely_above = log_evidence(total - (up_to - counts), total, 1 - q) >= threshold
    surely_below = log_evidence(up_to, total, q) >= threshold
    lowest = -inf if not surely_above.any() else _lower_edge(numbers[int(np.flatnonzero(surely_above)[-1])])
    highest = inf if not surely_below.any() else upper_bound(numbers[int(np.flatnonzero(surely_below)[0])])
    return lowest, highest


def _lower_edge(number: int) -> float:
    return -inf if number == ZERO else upper_bound(number - 1)
