"""Globs of model names, against what Python's own say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.model_pattern import matches_glob


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
