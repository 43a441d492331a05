"""Notes are values; what an observed answer stands for."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from extproc.exchange.notes import CustomSample, LoadReport, Note, Observed
from extproc.policy.custom_metric import CustomMetric, Source


@pytest.mark.parametrize("kind", [*get_args(Note), LoadReport])
def test_notes_do_not_change(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


def test_a_sample_stands_for_itself() -> None:
    sample = CustomSample(CustomMetric("hits", "COUNTER", (), Source(header="x-hits")), (), 2.0)
    assert (sample.per, sample.times) == (1.0, 1.0)


@pytest.mark.parametrize(("share", "times"), [(1.0, 1), (0.5, 2), (1 / 64, 64), (0.3, 1 / 0.3)])
def test_an_answer_of_a_share_stands_for_the_others(share: float, times: float) -> None:
    assert Observed("m", "v1", "none", "openai", "200", 1.0, share=share).stands_for == times
