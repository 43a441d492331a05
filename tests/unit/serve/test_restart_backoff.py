"""A process that fails again and again is started later and later; one that left in peace is back at once."""

from __future__ import annotations

import signal

from hypothesis import given
from hypothesis import strategies as st

from extproc.serve.restart_backoff import RestartBackoff, describe_exit

KILLED = -signal.SIGKILL


def test_it_waits_twice_as_long_each_time_and_half_a_minute_at_most() -> None:
    restarts, now, waits = RestartBackoff(), 1000.0, []
    for _ in range(9):
        restarts.record_start(now)
        told = restarts.record_exit(KILLED, now)
        waits.append(told)
        seconds = float(told.split()[-2])
        assert not restarts.is_due(now + seconds - 0.01)
        now += seconds
        assert restarts.is_due(now)
    assert waits[0] == "ended with signal SIGKILL; starting it again in 0.5 s"
    assert [told.split()[-2] for told in waits] == ["0.5", "1", "2", "4", "8", "16", "30", "30", "30"]


def test_one_that_ran_for_a_minute_counts_as_the_first_again() -> None:
    restarts = RestartBackoff()
    for _ in range(5):
        restarts.record_start(0.0)
        restarts.record_exit(1, 0.0)
    restarts.record_start(100.0)
    assert restarts.record_exit(2, 161.0) == "ended with exit status 2; starting it again in 0.5 s"


def test_one_that_left_in_peace_is_back_at_once() -> None:
    restarts = RestartBackoff()
    restarts.record_start(5.0)
    assert restarts.record_exit(0, 6.0) == "ended with exit status 0; starting it again"
    assert restarts.is_due(6.0)


def test_one_that_can_not_be_started_waits_too() -> None:
    restarts = RestartBackoff()
    assert restarts.record_failed_start("no memory", 0.0) == "no memory; starting it again in 0.5 s"
    assert restarts.record_failed_start("no memory", 0.5) == "no memory; starting it again in 1 s"
    assert not restarts.is_due(1.4)


@given(
    st.lists(
        st.tuples(st.integers(-64, 255).filter(lambda s: s >= 0 or -s in signal.valid_signals()), st.floats(0, 1e6))
    )
)
def test_it_never_waits_for_longer_than_half_a_minute(lives: list[tuple[int, float]]) -> None:
    restarts, now = RestartBackoff(), 0.0
    for status, seconds in lives * 40:
        restarts.record_start(now)
        now += seconds
        restarts.record_exit(status, now)
        assert restarts.is_due(now + 30.0)


def test_signals_without_a_name_have_their_number() -> None:
    assert [describe_exit(-15), describe_exit(-40), describe_exit(3)] == [
        "signal SIGTERM",
        "signal 40",
        "exit status 3",
    ]
