"""After an outage: how long others may still be waiting, held against client-go's pauses."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.kubernetes.outage import LONGEST, Outage


def test_without_an_outage_there_is_no_rest() -> None:
    outage = Outage()
    assert outage.rest(5) == 0
    outage.heard(5)
    assert outage.rest(5) == 0


def test_an_outage_and_its_rest() -> None:
    outage = Outage()
    outage.heard(5)
    outage.failed(10)
    outage.failed(12)
    assert outage.rest(13) == inf
    outage.heard(13)
    assert [outage.rest(now) for now in (13, 15, 30)] == pytest.approx([7.6, 5.6, 0])
    outage.failed(30)
    outage.heard(30)
    assert outage.rest(30) == pytest.approx(15.2), "others go on with longer pauses"
    outage.failed(1000)
    outage.heard(1000)
    assert outage.rest(1000) == pytest.approx(1.6)
    outage.failed(2000)
    outage.heard(4000)
    assert outage.rest(4000) == LONGEST


def test_of_one_that_began_before_it_was_watched_all_is_possible() -> None:
    outage = Outage()
    outage.failed(10)
    outage.heard(10.5)
    assert outage.rest(10.5) == LONGEST


class Reflector:
    """One watch of client-go's."""

    def __init__(self, chances: Iterator[float]) -> None:
        self._chances = chances
        self._pause, self._paused_at = 0.8, -inf
        self.back_at = -inf

    def fails(self, since: float, until: float) -> None:
        """Tries until it has an answer. The server is away ``since`` and ``until`` these times."""
        tried = max(since, self.back_at)
        while tried < until:
            if tried - self._paused_at >= 120:
                self._pause = 0.8
            self._paused_at = tried
            tried += self._pause * next(self._chances)
            self._pause = min(2 * self._pause, 30.0)
        self.back_at = tried


@given(
    st.lists(st.tuples(st.floats(0, 300), st.floats(0.001, 400)), min_size=1, max_size=5),
    st.lists(st.floats(1, 2), min_size=200, max_size=200),
)
def test_nobody_comes_later(outages: list[tuple[float, float]], chances: list[float]) -> None:
    """``outages``: seconds before each, and how long it lasts."""
    outage, reflector = Outage(), Reflector(iter(chances))
    now = 0.0
    outage.heard(now)
    for before, length in outages:
        now += before
        outage.failed(now)
        reflector.fails(now, now + length)
        now += length
        outage.heard(now)
        assert reflector.back_at <= now + outage.rest(now) + 1e-6
