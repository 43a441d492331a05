"""Sequential tests: how often they are wrong however often one looks, and what they see."""

from __future__ import annotations

from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.rollout.evidence import GROWTH, ZERO, Buckets, bucket, upper_bound
from extproc.rollout.verdict import (
    count_above,
    count_below,
    exceeds,
    exceeds_without_any,
    log_evidence,
    quantile,
    quantile_bounds,
)

LEVEL = 0.05
SEQUENCES = 400


def buckets_of(values: list[float]) -> Buckets:
    found: Buckets = {}
    for value in values:
        found[bucket(value)] = found.get(bucket(value), 0) + 1
    return found


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5, 0.95])
def test_looking_after_every_request_alarms_no_more_often_than_promised(rate: float) -> None:
    """At the bound itself, which is where most false alarms are."""
    random = np.random.default_rng(7)
    hits = np.zeros(SEQUENCES)
    alarmed = np.zeros(SEQUENCES, dtype=bool)
    for trials in range(1, 600):
        hits += random.random(SEQUENCES) < rate
        alarmed |= log_evidence(hits, trials, rate) >= log(1 / LEVEL)
    assert alarmed.mean() <= LEVEL
    assert alarmed.any()


def test_a_rate_that_changes_below_the_bound_alarms_no_more_often() -> None:
    random = np.random.default_rng(8)
    hits = np.zeros(SEQUENCES)
    alarmed = np.zeros(SEQUENCES, dtype=bool)
    for trials in range(1, 600):
        hits += random.random(SEQUENCES) < (0.05 if trials // 100 % 2 else 0.01)
        alarmed |= log_evidence(hits, trials, 0.05) >= log(1 / LEVEL)
    assert alarmed.mean() <= LEVEL


def test_the_mixture_is_a_martingale() -> None:
    """Its expectation stays 1 from one request to the next: exact, by both outcomes."""
    for rate in (0.01, 0.3):
        for hits, trials in ((0, 1), (3, 40), (20, 60)):
            now = np.exp(log_evidence(hits, trials, rate))
            following = np.exp(log_evidence(np.array([hits, hits + 1]), trials + 1, rate))
            assert (1 - rate) * following[0] + rate * following[1] == pytest.approx(now)


@given(trials=st.integers(1, 10**7), rate=st.floats(0.0001, 0.9999), data=st.data())
def test_more_hits_are_more_evidence_and_never_a_number_that_is_none(
    trials: int, rate: float, data: st.DataObject
) -> None:
    fewer = data.draw(st.integers(0, trials))
    more = data.draw(st.integers(fewer, trials))
    found = log_evidence(np.array([fewer, more]), trials, rate)
    assert np.isfinite(found).all()
    assert found[0] <= found[1] + 1e-9 * abs(found[0])


def test_what_is_seen_and_what_is_not() -> None:
    assert exceeds(15, 200, 0.01, 0.0005)  # 7.5 % where 1 % may be
    assert not exceeds(4, 200, 0.01, 0.0005)
    assert not exceeds(0, 0, 0.01, 0.0005)


def test_bounds_of_a_quantile_are_wrong_no_more_often_than_promised() -> None:
    """At whatever number of values one looks; heavy tails do no harm."""
    random = np.random.default_rng(9)
    wrong, looks = 0, [*range(20, 200, 40), 500, 1000]
    for _ in range(200):
        values = random.pareto(1.1, 1000) + 0.01
        median = 2 ** (1 / 1.1) - 1 + 0.01
        found: Buckets = {}
        missed, seen = False, 0
        for look in looks:
            for value in values[seen:look]:
                found[bucket(value)] = found.get(bucket(value), 0) + 1
            seen = look
            low, high = quantile_bounds([found], 0.5, LEVEL / 2)
            missed |= not low < median <= high
        wrong += missed
    assert wrong <= 200 * LEVEL


def test_bounds_close_in_on_the_quantile() -> None:
    values = buckets_of([n / 1000 for n in range(1, 20_001)])
    low, high = quantile_bounds([values], 0.95, 0.001)
    assert 18.3 < low < 19 < high < 19.7
    assert quantile(values, 0.95) == pytest.approx(19, rel=0.021)
    assert quantile_bounds([{}], 0.5, 0.01) == (-inf, inf)
    assert quantile({}, 0.5) is None


def test_values_that_are_all_the_same_have_the_bounds_of_their_bucket() -> None:
    low, high = quantile_bounds([{bucket(0.5): 1000}], 0.5, 0.001)
    assert low < 0.5 <= high <= low * GROWTH * 1.001
    assert quantile_bounds([{ZERO: 1000}], 0.5, 0.001) == (-inf, 0.0)


@given(st.lists(st.floats(0, 1e4), max_size=60), st.floats(1e-3, 1e4))
def test_counts_beyond_a_bound_are_certain(values: list[float], bound: float) -> None:
    buckets = buckets_of(values)
    assert sum(value > bound * GROWTH**2 for value in values) <= count_above(buckets, bound)
    assert count_above(buckets, bound) <= sum(value >= bound * (1 - 1e-9) for value in values)
    assert count_below(buckets, bound) <= sum(value <= bound * (1 + 1e-9) for value in values)
    assert count_above(buckets, bound) + count_below(buckets, bound) <= len(values)


@given(st.floats(1e-7, 1e7))
def test_a_value_is_in_its_bucket(value: float) -> None:
    number = bucket(value)
    assert upper_bound(number - 1) * (1 - 1e-9) < value <= upper_bound(number) * (1 + 1e-9)
    assert bucket(0) == ZERO < bucket(1e-30)


def test_what_two_groups_of_users_do_changes_nothing() -> None:
    """Whichever they are, the level holds; and what is so of all users is still seen."""
    random = np.random.default_rng(11)
    trials, alarms = [60] * 16, 0
    for _ in range(SEQUENCES):
        hits = random.binomial(trials, 0.05)
        hits[random.choice(16, 2, replace=False)] = 60
        alarms += exceeds_without_any([0, *hits], [0, *trials], 0.05, LEVEL)
        assert exceeds(int(hits.sum()), 960, 0.05, LEVEL)
    assert alarms <= SEQUENCES * LEVEL
    assert exceeds_without_any([0, *[12] * 16], [0, *trials], 0.05, LEVEL)
    assert not exceeds_without_any([0, 60, 60, *[0] * 14], [0, 60, 60, *[0] * 14], 0.05, LEVEL), "nobody is left"


def test_users_who_are_not_known_are_never_left_out() -> None:
    for hits, trials in ((15, 200), (4, 200), (0, 0)):
        assert exceeds_without_any([hits, 0], [trials, 0], 0.01, 0.0005) == exceeds(hits, trials, 0.01, 0.0005)


def test_few_who_are_not_known_do_not_outvote_the_groups_that_are_left_out() -> None:
    assert exceeds(60, 300, 0.05, LEVEL), "alone"
    assert not exceeds_without_any([60, 0, 0], [300, 5000, 5000], 0.05, LEVEL), "0.6 % of all"
    late = [buckets_of([9.0] * 300), *[buckets_of([0.1] * 5000)] * 2]
    assert quantile_bounds(late, 0.5, LEVEL)[0] < 1


def test_counts_beyond_what_a_machine_counts_are_counts() -> None:
    assert exceeds_without_any([2**70, 1, 1, 1], [2**71, 9, 9, 9], 0.05, LEVEL)
    assert not exceeds_without_any([1, 1, 1, 1], [2**71, 9, 9, 9], 0.05, LEVEL)


def test_bounds_of_a_quantile_stand_without_any_two_groups() -> None:
    slow, quick = {bucket(3.0): 400}, buckets_of([n / 1000 for n in range(1, 201)])
    low, high = quantile_bounds([{}, slow, slow, *[quick] * 6], 0.5, 0.001)
    alone = quantile_bounds([{number: 6 * count for number, count in quick.items()}], 0.5, 0.001)
    assert low <= alone[0] < 0.1 < alone[1] < high
    assert low < 0.2
    assert quantile_bounds([{}, slow, slow], 0.5, 0.001) == (-inf, inf)


@given(st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.4, 0.8]), max_size=30), min_size=1, max_size=5))
def test_the_edges_that_are_found_are_those_that_a_look_at_all_would_find(groups: list[list[float]]) -> None:
    found = [buckets_of(values) for values in groups]
    low, high = quantile_bounds(found, 0.5, 0.2)
    whole = [sum(group.values()) for group in found]
    edges = sorted({number for group in found for number in group})

    def hits(at: int, sign: int) -> list[int]:
        return [sum(c for n, c in group.items() if sign * (n - at) >= 0) for group in found]

    above = [n for n in edges if exceeds_without_any(hits(n, 1), whole, 0.5, 0.2)]
    below = [n for n in edges if exceeds_without_any(hits(n, -1), whole, 0.5, 0.2)]
    lowest = -inf if not above or above[-1] == ZERO else upper_bound(above[-1] - 1)
    assert (low, high) == (lowest, upper_bound(below[0]) if below else inf)
