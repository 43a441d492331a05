"""Sequential tests of rates and quantiles that hold however often one looks.

A test is of "at most a share ``rate`` of the trials are hits". Its evidence is a mixture of likelihood ratios against
larger rates (Robbins, "Statistical Methods Related to the Law of the Iterated Logarithm", 1970; Johari et al., "Always
Valid Inference", 2022). While the share is what it should be, also where it changes from trial to trial, the mixture is
a supermartingale that begins at 1, so that it *ever* exceeds ``1 / level`` with a probability of ``level`` at most
(Ville's inequality). It depends on the counts alone and not on their order: counts of several processes add up.

Quantiles follow from rates (Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing
and best-arm identification", 2022): the p95 is above a bound where more than 5 % of the values are. No mean is taken,
so that a heavy tail does no harm.

Values are given by groups of users, first those whose user is not known. What is said of them stands with all groups
and without any two: it is the least of what is left whichever two are left out, so that the level holds whatever two
users do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import inf, log
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from extproc.rollout.evidence import ZERO, Buckets, upper_bound

Counts: TypeAlias = NDArray[np.float64]

_OFFSETS = np.geomspace(0.1, 8.0, 24)
"""Alternatives by how much greater their log odds are than those of the rate under test, each of the same weight."""
_TINY = 1e-12
_LEFT_OUT = 2
"""Groups of users without which what is said must stand."""


def log_evidence(hits: Counts | int, trials: Counts | int, rate: float) -> Counts:
    """Natural logarithm of the evidence against "at most a share ``rate`` of the trials are hits".

    For each of ``hits``, with which it grows, and of ``trials`` where these are as many. ``rate``: above 0 and below 1.
    """
    odds = log(rate / (1 - rate)) + _OFFSETS
    log_hit = -np.logaddexp(0, -odds) - log(rate)
    log_miss = -np.logaddexp(0, odds) - log(1 - rate)
    found = np.asarray(hits, dtype=np.float64)[..., np.newaxis]
    missed = (trials - np.asarray(hits, dtype=np.float64))[..., np.newaxis]
    ratios = found * log_hit + missed * log_miss
    top = ratios.max(axis=-1, keepdims=True)
    return np.asarray(top[..., 0] + np.log(np.exp(ratios - top).mean(axis=-1)))


def exceeds(hits: int, trials: int, rate: float, level: float) -> bool:
    """Whether more than a share ``rate`` of the trials are hits, which is said wrongly with probability ``level``."""
    return bool(trials) and bool(log_evidence(hits, trials, rate) >= log(1 / level))


def exceeds_without_any(hits: Sequence[int], trials: Sequence[int], rate: float, level: float) -> bool:
    """The same of groups of users: of all of them, and without any two."""
    if sum(hits) <= rate * sum(trials):  # as at most looks
        return False
    left = _left(trials)
    return bool((log_evidence(_sums(left, hits), _sums(left, trials), rate) >= log(1 / level)).all())


def _left(trials: Sequence[int]) -> Counts:
    """A row for each way to leave groups out, also none, with a 1 for each that stays. The first one always does."""
    groups = [number for number, count in enumerate(trials) if number and count]
    rows = [(), *combinations(groups, min(_LEFT_OUT, len(groups)))]
    left = np.ones((len(rows), len(trials)))
    for row, out in zip(left, rows, strict=True):
        row[list(out)] = 0
    return left


def _sums(left: Counts, counts: Sequence[int]) -> Counts:
    return np.asarray(left @ np.array(counts, dtype=np.float64))


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


def quantile_bounds(groups: Sequence[Buckets], q: float, level: float) -> tuple[float, float]:
    """Bounds of the ``q``-quantile (0 to 1, exclusive): it is above the first and not above the second, each of which
    is ever wrong with probability ``level``. ``-inf`` and ``inf`` where nothing is known.
    """
    numbers = sorted({number for group in groups for number, count in group.items() if count})
    counts = np.array([[group.get(number, 0) for number in numbers] for group in groups], dtype=np.float64)
    up_to, trials = counts.cumsum(axis=1), counts.sum(axis=1)
    left = _left(list(map(int, trials)))
    totals, threshold = left @ trials, log(1 / level)

    def is_above(at: int) -> bool:
        hits = left @ (trials - up_to[:, at] + counts[:, at])
        return bool((log_evidence(hits, totals, 1 - q) >= threshold).all())

    def is_not_below(at: int) -> bool:
        return not (log_evidence(left @ up_to[:, at], totals, q) >= threshold).all()

    above, below = _first_without(is_above, len(numbers)), _first_without(is_not_below, len(numbers))
    lowest = -inf if not above else _lower_edge(numbers[above - 1])
    return lowest, inf if below == len(numbers) else upper_bound(numbers[below])


def _first_without(holds: Callable[[int], bool], end: int) -> int:
    """The first number for which it does not hold, of something that holds up to some number; ``end``: of none."""
    begin = 0
    while begin < end:
        middle = (begin + end) // 2
        if holds(middle):
            begin = middle + 1
        else:
            end = middle
    return begin


def _lower_edge(number: int) -> float:
    return -inf if number == ZERO else upper_bound(number - 1)
