"""Signals as a queue."""

from __future__ import annotations

import signal
from queue import Empty

import pytest

from extproc.serve.signals import signal_queue

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.mark.parametrize("number", CAUGHT)
def test_each_is_in_the_queue_once(number: signal.Signals) -> None:
    with signal_queue() as signals:
        signal.raise_signal(number)
        assert signals.get(timeout=10) == number
        with pytest.raises(Empty):
            signals.get_nowait()


def test_they_come_in_their_order() -> None:
    with signal_queue() as signals:
        for number in (*CAUGHT, signal.SIGTERM):
            signal.raise_signal(number)
        assert [signals.get(timeout=10) for _ in range(4)] == [*CAUGHT, signal.SIGTERM]


def fail() -> None:
    with signal_queue():
        signal.raise_signal(signal.SIGHUP)
        raise ZeroDivisionError


def test_the_handlers_from_before_are_put_back_also_after_an_error() -> None:
    before = [signal.getsignal(number) for number in CAUGHT]
    with pytest.raises(ZeroDivisionError):
        fail()
    assert [signal.getsignal(number) for number in CAUGHT] == before
