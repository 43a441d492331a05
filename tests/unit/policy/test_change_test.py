"""The cumulative sum test: it tells a change after few trials, and seldom tells one that is none."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.change_test import ChangeTest


def trials_to_alarm(share: float, random: Random, most: int = 20_000) -> int:
    test = ChangeTest(0.1, 0.4, 9.2)
    for number in range(1, most):
        if test.note(bad=random.random() < share):
            return number
    return most


def test_a_change_is_told_soon_and_none_seldom() -> None:
    random = Random(1)
    assert trials_to_alarm(1.0, random) == 7
    assert sum(trials_to_alarm(0.4, random) for _ in range(200)) / 200 < 40
    assert sum(trials_to_alarm(0.1, random) for _ in range(50)) / 50 > 9_000  # the bound is e**9.2


@given(st.lists(st.booleans()))
def test_it_is_never_later_for_one_bad_trial_more(trials: list[bool]) -> None:
    one, other = ChangeTest(0.1, 0.4, 9.2), ChangeTest(0.1, 0.4, 9.2)
    other.note(bad=True)
    for bad in trials:
        alarm = one.note(bad=bad)
        assert other.note(bad=bad) or not alarm


def test_it_can_begin_anew() -> None:
    test = ChangeTest(0.1, 0.4, 9.2)
    for _ in range(6):
        assert not test.note(bad=True)
    test.clear()
    assert [test.note(bad=True) for _ in range(7)] == [False] * 6 + [True]
