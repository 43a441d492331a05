"""Counts of tokens: they never fall, and what is kept of them is bounded."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from extproc.answers.json_pointers import MAX_ELEMENTS
from extproc.answers.token_counts import CountsByPart, UsageCounter, total_counts
from extproc.apis.answer_shape import Usage

USAGE = Usage(("/u",), ("a", "b/c"), ("d",), ("b/c",), part_index="/n")
COUNTS = st.none() | st.integers(-2, 50) | st.floats(allow_nan=True) | st.text(max_size=2)
NODES = st.fixed_dictionaries(
    {}, optional={"a": COUNTS, "d": COUNTS, "b": COUNTS | st.fixed_dictionaries({"c": COUNTS})}
)


@given(st.lists(st.tuples(st.integers(0, 3), NODES)))
def test_counts_never_fall(told: list[tuple[int, Any]]) -> None:
    counting, tokens = UsageCounter(0, USAGE), CountsByPart()
    before: tuple[int, ...] = (0, 0, 0)
    for part, node in told:
        counting.add(tokens, part, node)
        now = total_counts([counting], tokens)
        assert all(value is None or value >= least for value, least in zip(now, before, strict=True))
        before = tuple(value or 0 for value in now)


@given(st.lists(NODES))
def test_what_is_missing_changes_nothing(told: list[Any]) -> None:
    counting, tokens, again = UsageCounter(0, USAGE), CountsByPart(), CountsByPart()
    for node in told:
        counting.add(tokens, 0, node)
        counting.add(again, 0, node)
        counting.add(again, 0, dict.fromkeys(node, 0))
    for ours, theirs in zip(total_counts([counting], tokens), total_counts([counting], again), strict=True):
        assert ours in (theirs, None)
        assert ours is not None or not theirs


def test_parts_are_bounded() -> None:
    counting, tokens = UsageCounter(0, USAGE), CountsByPart()
    for part in range(MAX_ELEMENTS + 10):
        counting.add(tokens, part, {"d": 1})
    assert total_counts([counting], tokens) == (None, MAX_ELEMENTS, None)


def test_of_several_usages_the_first_that_tells_more_than_nothing_counts() -> None:
    every = [UsageCounter(0, USAGE), UsageCounter(1, Usage(("/v",), ("x",), ("y",)))]
    tokens: CountsByPart = {}
    every[0].add(tokens, 0, {"a": 0, "d": 3})
    every[1].add(tokens, 0, {"x": 5, "y": 7})
    assert total_counts(every, tokens) == (5, 3, None)


def test_the_last_value_that_can_be_read_is_found() -> None:
    counting, tokens = UsageCounter(0, USAGE), CountsByPart()
    counting.add_truncated(tokens, b'{"u":{"a":1},"u" : {"a":2},"x":"\\"u\\":{}","u":{"a"')
    assert total_counts([counting], tokens) == (2, None, None)
