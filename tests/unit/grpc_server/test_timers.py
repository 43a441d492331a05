"""What is due is called, in order, once; what fails harms no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.grpc_server.timers import Timers


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5))))
def test_each_is_called_once_when_it_is_due_and_in_order(steps: list[tuple[int, int]]) -> None:
    """Steps: seconds that pass, and seconds after which one more is due."""
    clock = Clock()
    timers = Timers(clock)
    waiting: list[tuple[float, int]] = []
    called: list[int] = []
    for number, (passed, seconds) in enumerate(steps):
        clock.now += passed
        due = sorted(one for one in waiting if one[0] <= clock.now)
        assert timers.run(clock.now) is bool(due)
        assert called == [number for _, number in due]
        called.clear()
        waiting = [one for one in waiting if one not in due]
        timers.call_later(seconds, lambda number=number: called.append(number))  # type: ignore[misc]
        waiting.append((clock.now + seconds, number))
        assert timers.wait(clock.now, 2.5) == min(2.5, min(waiting)[0] - clock.now)


def test_what_is_added_by_a_callback_is_for_the_next_turn() -> None:
    clock = Clock()
    timers = Timers(clock)
    called: list[int] = []

    def again() -> None:
        called.append(len(called))
        timers.call_later(0, again)

    again()
    assert timers.run(clock.now)
    assert timers.run(clock.now)
    assert called == [0, 1, 2]


def test_a_callback_that_fails_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    timers = Timers(clock)
    called: list[int] = []
    timers.call_later(0, lambda: called.append(1 // 0))
    timers.call_later(0, lambda: called.append(1))
    assert timers.run(clock.now)
    assert called == [1]
    assert "ZeroDivisionError" in caplog.text
    assert not timers.pending
    assert timers.wait(clock.now, 7) == 7
