"""What RE2 certainly refuses; ``tests/lint/test_expressions.py`` holds it against Envoy's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.lint.re2_regex import may_be_found, refused


@pytest.mark.parametrize(
    "regex",
    [
        *(
            "",
            "^/v1/(chat|completions)$",
            "a{2,3}?",
            "(?i)a",
            "(?P<n>a)",
            "(?<n>a)",
            r"\pL+",
            r"\p{N}+",
            r"[[:alpha:]]",
            r"\Qa(\E",
        ),
        *(r"\(?=", r"\\(a)", "[(?=]", r"a\+\+", "[a+]+", r"\x{41}", r"\C", r"\z", "[^]a]"),
    ],
)
def test_what_it_may_take(regex: str) -> None:
    assert refused(regex) == ""


@pytest.mark.parametrize(
    ("regex", "why"),
    [
        ("a(?=b)", "it has no (?="),
        ("a(?!b)", "it has no (?!"),
        ("(?<=a)b", "it has no (?<="),
        ("(?<!a)b", "it has no (?<!"),
        ("(?>a)", "it has no (?>"),
        ("(?#why)a", "it has no (?#"),
        (r"(a)\1", r"it has no \1"),
        (r"a\Z", r"it has no \Z"),
        ("a++", "it has no ++"),
        ("a*+", "it has no *+"),
        ("a{2}+", "it has no }+"),
    ],
)
def test_what_it_lacks(regex: str, why: str) -> None:
    assert refused(regex) == why


@pytest.mark.parametrize("regex", ["(", "a)", "[a", "*a", "a{3,2}", "(a"])
def test_what_no_engine_takes(regex: str) -> None:
    assert refused(regex)


def test_what_is_too_large_for_an_engine_is_refused() -> None:
    assert refused("a{99999999999999999999}") == "it is too large"


@pytest.mark.parametrize(
    ("regex", "text", "found"),
    [("b", "abc", True), ("^b", "abc", False), ("d", "abc", False), (r"\pL", "abc", True), ("[[a]", "a", True)],
)
def test_what_may_be_found_in_a_text(regex: str, text: str, found: bool) -> None:
    assert may_be_found(regex, text) is found


@given(st.text(alphabet="ab\\()[]{}?*+.^$|<>=!:P1Z,-", max_size=20))
def test_any_text_is_judged(regex: str) -> None:
    assert isinstance(refused(regex), str)
