"""Patterns of models: what a glob matches, and which pattern comes first."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.model_patterns import PatternIndex, matches_glob


@pytest.mark.parametrize(
    ("glob", "text", "matches"),
    [
        *(("*", "", True), ("*", "a", True), ("a*", "a", True), ("a*", "ba", False), ("*a", "ab", False)),
        *(("a*a", "a", False), ("a*a", "aa", True), ("a*b*c", "abc", True), ("a*b*c", "acb", False)),
        *(("a*bc*bc*", "abcxbc", True), ("*ab*ab*", "xabx", False), ("a**b", "ab", True), ("a?*", "ab", False)),
    ],
)
def test_cases(glob: str, text: str, matches: bool) -> None:
    assert matches_glob(glob.split("*"), text) is matches


@given(st.text("ab*", max_size=8).filter(lambda glob: "*" in glob), st.text("ab", max_size=12))
def test_as_a_regular_expression(glob: str, text: str) -> None:
    pattern = ".*".join(map(re.escape, glob.split("*")))
    assert matches_glob(glob.split("*"), text) is (re.fullmatch(pattern, text) is not None)


INDEX = PatternIndex([("a*", 1), ("abc", 2), ("ab*", 3), ("*c", 4), ("abc", 5), ("*", 6)])


@pytest.mark.parametrize(
    ("model", "owner"), [("abc", 5), ("abd", 3), ("ac", 1), ("xc", 4), ("x", 6), ("", 6), ("ABC", 6), ("a*", 1)]
)
def test_exact_names_first_then_the_longest_glob(model: str, owner: int) -> None:
    assert INDEX.find(model) == owner


def test_nobody_owns_it() -> None:
    assert PatternIndex([("a", 1), ("b*", 2)]).find("c") is None


def test_owners_in_the_order_in_which_they_are_tried() -> None:
    assert INDEX.owners == (5, 3, 1, 4, 6)
