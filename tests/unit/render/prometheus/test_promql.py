"""Pieces of PromQL: what is quoted, and which models and bounds a regular expression means."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.render.prometheus import promql

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)


@given(_TEXT)
def test_a_text_that_is_matched_exactly_is_matched_alone(value: str) -> None:
    assert re.fullmatch(promql.exactly(value), value)
    assert not re.fullmatch(promql.exactly(value), value + "x")
    assert not re.fullmatch(promql.exactly("a.b"), "axb")


@given(_TEXT)
def test_a_literal_reads_back_as_the_text(value: str) -> None:
    assert json.loads(promql.text(value)) == value


@pytest.mark.parametrize(
    ("value", "labels", "others"),
    [
        (10, ("10", "10.0"), ("100", "1", "10.5", "+Inf")),
        (0.5, ("0.5",), ("0x5", "0.50", "0")),
        (2.5, ("2.5",), ("25",)),
        (320, ("320", "320.0"), ("32", "3200")),
    ],
)
def test_a_bound_however_it_is_written(value: float, labels: tuple[str, ...], others: tuple[str, ...]) -> None:
    assert all(re.fullmatch(promql.bound(value), label) for label in labels)
    assert not any(re.fullmatch(promql.bound(value), label) for label in others)


def test_one_value_of_a_label_or_several() -> None:
    assert promql.among("model", ["llama-*"]) == 'model="llama-*"'
    assert promql.among("model", ["llama", "llama-*"]) == 'model=~"llama|llama-\\\\*"'


def test_selectors() -> None:
    assert promql.select("up", 'code=~"5.."', job='a"b') == 'up{code=~"5..", job="a\\"b"}'
    assert promql.renamed("up", "version", "version") == "up"
    assert promql.renamed("up", "version", "model_version") == (
        'label_replace(up, "version", "$1", "model_version", "(.+)")'
    )
