"""Programs of regular expressions: preference of branches and repetitions, and no instruction tried twice."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linkerd_adapter import regex_program
from linkerd_adapter.regex_program import Assert, Code, Consume, Program, alternation, repetition

A, B, END = (Consume("a"),), (Consume("b"),), (Assert(r"\Z"),)


def find(code: Code, text: str) -> tuple[int, int] | None:
    return Program(code).find(text)


def repeated(body: Code, low: int, high: int | None, *, lazy: bool = False, empty: bool = False) -> Code:
    return repetition(body, low, high, lazy=lazy, may_be_empty=empty)


def test_the_leftmost_match_is_found_and_it_may_be_empty() -> None:
    assert find(A, "bba") == (2, 3)
    assert find(A, "bb") is None
    assert find((), "bb") == (0, 0)
    assert find(END, "bb") == (2, 2)
    assert find((*A, *END), "aba") == (2, 3)


def test_the_first_alternative_that_fits_wins_not_the_longest() -> None:
    assert find(alternation([A, A + B]), "ab") == (0, 1)
    assert find(alternation([A + B, A]), "ab") == (0, 2)
    assert find((*alternation([A, A + B, B]), *END), "ab") == (0, 2)
    assert find(alternation([(), A]), "a") == (0, 0)
    assert find(alternation([A]), "a") == (0, 1)


@pytest.mark.parametrize(
    ("low", "high", "greedy", "lazy"),
    [
        (0, None, (0, 3), (0, 0)),
        (1, None, (0, 3), (0, 1)),
        (2, None, (0, 3), (0, 2)),
        (0, 1, (0, 1), (0, 0)),
        (1, 2, (0, 2), (0, 1)),
        (2, 2, (0, 2), (0, 2)),
        (0, 0, (0, 0), (0, 0)),
        (4, None, None, None),
        (4, 5, None, None),
    ],
)
def test_repetitions(low: int, high: int | None, greedy: tuple[int, int] | None, lazy: tuple[int, int] | None) -> None:
    assert find(repeated(A, low, high), "aaa") == greedy
    assert find(repeated(A, low, high, lazy=True), "aaa") == lazy


def test_an_empty_match_that_is_preferred_stays_so_when_it_is_repeated() -> None:
    """``(|a)*`` finds nothing in ``a``, ``(a|)*`` finds it: as the crate does."""
    assert find(repeated(alternation([(), A]), 0, None, empty=True), "aa") == (0, 0)
    assert find(repeated(alternation([A, ()]), 0, None, empty=True), "aa") == (0, 2)
    assert find(repeated(alternation([(), A]), 1, None, empty=True), "aa") == (0, 0)


def test_no_instruction_is_tried_twice_at_one_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """``(a+)+b`` on ``aaa…``: 2**n ways for who tries them all."""
    tried = 0

    class Counted:
        def __init__(self, expression: str) -> None:
            self._pattern = re.compile(expression)

        def match(self, text: str, position: int) -> re.Match[str] | None:
            nonlocal tried
            tried += 1
            return self._pattern.match(text, position)

    monkeypatch.setattr(regex_program, "_compiled", Counted)
    code = (*repeated(repeated(A, 1, None), 1, None), *B)
    assert find(code, "a" * 100) is None
    assert tried <= len(code) * 101


CODES = st.recursive(
    st.sampled_from([("a", A), ("b", B)]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: (f"(?:{p[0][0]}|{p[1][0]})", alternation([p[0][1], p[1][1]]))),
        st.tuples(inner, inner).map(lambda p: (p[0][0] + p[1][0], p[0][1] + p[1][1])),
        st.tuples(inner, st.integers(1, 2), st.integers(0, 2), st.booleans()).map(
            lambda p: (
                f"(?:{p[0][0]}){{{p[1]},{p[1] + p[2]}}}{'?' * p[3]}",
                repeated(p[0][1], p[1], p[1] + p[2], lazy=p[3]),
            )
        ),
    ),
    max_leaves=5,
)


@given(CODES, st.text("ab", max_size=7))
def test_where_nothing_is_empty_python_finds_the_same(pair: tuple[str, Code], text: str) -> None:
    found = re.search(pair[0], text)
    assert find(pair[1], text) == (found and found.span())
