"""Counts of tokens: they never fall, and what is kept of them is bounded."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from extproc.answers.json_pointers import ELEMENTS
from extproc.answers.shape import Usage
from extproc.answers.token_counts import Counting, Tokens, counts

USAGE = Usage(("/u",), ("a", "b/c"), ("d",), ("b/c",), part="/n")
COUNTS = st.none() | st.integers(-2, 50) | st.floats(allow_nan=True) | st.text(max_size=2)
NODES = st.fixed_dictionaries(
    {}, optional={"a": COUNTS, "d": COUNTS, "b": COUNTS | st.fixed_dictionaries({"c": COUNTS})}
)


@given(st.lists(st.tuples(st.integers(0, 3), NODES)))
def test_counts_never_fall(told: list[tuple[int, Any]]) -> None:
    counting, tokens = Counting(0, USAGE), Tokens()
    before: tuple[int, ...] = (0, 0, 0)
    for part, node in told:
        counting.add(tokens, part, node)
        now = counts([counting], tokens)
        assert all(value is None or value >= least for value, least in zip(now, before, strict=True))
        before = tuple(value or 0 for value in now)


@given(st.lists(NODES))
def test_what_is_missing_changes_nothing(told: list[Any]) -> None:
    counting, tokens, again = Counting(0, USAGE), Tokens(), Tokens()
    for node in told:
        counting.add(tokens, 0, node)
        counting.add(again, 0, node)
        counting.add(again, 0, dict.fromkeys(node, 0))
    for ours, theirs in zip(counts([counting], tokens), counts([counting], again), strict=True):
        assert ours in (theirs, None)
        assert ours is not None or not theirs


def test_parts_are_bounded() -> None:
    counting, tokens = Counting(0, USAGE), Tokens()
    for part in range(ELEMENTS + 10):
        counting.add(tokens, part, {"d": 1})
    assert counts([counting], tokens) == (None, ELEMENTS, None)


def test_of_several_usages_the_first_that_tells_more_than_nothing_counts() -> None:
    every = [Counting(0, USAGE), Counting(1, Usage(("/v",), ("x",), ("y",)))]
    tokens: Tokens = {}
    every[0].add(tokens, 0, {"a": 0, "d": 3})
    every[1].add(tokens, 0, {"x": 5, "y": 7})
    assert counts(every, tokens) == (5, 3, None)


def test_the_last_value_that_can_be_read_is_found() -> None:
    counting, tokens = Counting(0, USAGE), Tokens()
    counting.find(tokens, b'{"u":{"a":1},"u" : {"a":2},"x":"\\"u\\":{}","u":{"a"')
    assert counts([counting], tokens) == (2, None, None)
