"""For how long a request may wait."""

from __future__ import annotations

import pytest

from extproc.exchange.waiting_pick import MESSAGE_TIMEOUT, patience
from extproc.render.envoy.envoy_options import seconds


@pytest.mark.parametrize("timeout", [0.0, 0.2, 1.0, 2.5, 10.0, 60.0])
def test_less_than_what_is_told_as_it_is_rendered(timeout: float) -> None:
    assert patience([("x-other", b"1"), (MESSAGE_TIMEOUT, seconds(timeout))]) == 0.75 * timeout


@pytest.mark.parametrize("told", ["", "1", "1ms", "-1s", "nans", "1e9s", "1s, 2s", "٣s", "1.s", b"5s"])
def test_the_usual_where_nothing_is_told_that_makes_sense(told: str | bytes) -> None:
    assert patience([(MESSAGE_TIMEOUT, told)]) == patience([]) == 0.75


def test_a_bound() -> None:
    assert patience([(MESSAGE_TIMEOUT, "999999999s")]) == 45
