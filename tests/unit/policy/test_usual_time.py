"""The usual time: learned from blocks, down at once, up slowly."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.usual_time import BLOCK, FIRST_BLOCK, LEAST_DELAY, RISE, SLOWEST_BLOCK, TOLERANCE, UsualTime


def learned(seconds: float, now: float = 0.0) -> UsualTime:
    usual = UsualTime()
    block(usual, seconds, now, FIRST_BLOCK)
    return usual


def block(usual: UsualTime, seconds: float, now: float, count: int, *, slowest: bool = False) -> None:
    for _ in range(count):
        usual.learn(seconds, now, slowest)


def test_nothing_is_late_before_a_block_is_there() -> None:
    usual = UsualTime()
    block(usual, 0.4, 0.0, FIRST_BLOCK - 1)
    assert (usual.seconds, usual.late_after) == (None, inf)
    usual.learn(0.4, 0.0, False)
    assert (usual.seconds, usual.late_after) == (0.4, 0.4 * TOLERANCE)
    assert learned(0.01).late_after == 0.01 + LEAST_DELAY


def test_a_long_one_among_twenty_is_not_usual() -> None:
    usual = UsualTime()
    for number in range(FIRST_BLOCK):
        usual.learn(9.0 if number == 3 else 0.1, 0.0, False)
    assert usual.seconds == 0.1


def test_it_falls_at_once_and_rises_slowly() -> None:
    usual = learned(1.0)
    block(usual, 0.5, 10.0, BLOCK)
    assert usual.seconds is not None
    assert 0.5 < usual.seconds < 1.0
    before = usual.seconds
    block(usual, 9.0, 70.0, BLOCK)
    assert usual.seconds == before * (1 + 60 * RISE)


def test_what_is_measured_at_the_least_limit_is_usual_however_long() -> None:
    usual = learned(0.1)
    block(usual, 3.0, 1.0, SLOWEST_BLOCK - 1, slowest=True)
    assert usual.seconds == 0.1
    usual.learn(3.0, 1.0, True)
    assert usual.seconds == 3.0


def test_a_block_that_begins_anew_forgets_what_was() -> None:
    usual = learned(0.5)
    block(usual, 0.1, 1.0, BLOCK - 1)
    usual.begin_block()
    block(usual, 0.1, 1.0, BLOCK - 1)
    assert usual.seconds == 0.5


@given(st.lists(st.floats(0.001, 10), min_size=FIRST_BLOCK, max_size=300), st.booleans())
def test_it_stays_within_what_was_measured(times: list[float], slowest: bool) -> None:
    usual = UsualTime()
    for number, seconds in enumerate(times):
        usual.learn(seconds, float(number), slowest)
    assert usual.seconds is not None
    assert 0.999 * min(times) <= usual.seconds <= 1.001 * max(times)
