"""What an observed answer stands for."""

from __future__ import annotations

import pytest

from extproc.exchange.notes import Observed


@pytest.mark.parametrize(("share", "times"), [(1.0, 1), (0.5, 2), (1 / 64, 64), (0.3, 1 / 0.3)])
def test_an_answer_of_a_share_stands_for_the_others(share: float, times: float) -> None:
    assert Observed("m", "v1", "none", "openai", "200", 1.0, share=share).stands_for == times
