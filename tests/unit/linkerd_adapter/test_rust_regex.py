"""Patterns by the grammar of Rust's ``regex``, held against what the crate itself (1.13.2, its defaults) said of them.

``rust_regexes.json``: pairs of a pattern and null where ``Regex::new`` refuses it, else of texts with the span that
``find`` found in each, or null. The first of them are written by hand, the others drawn from pieces of the syntax.
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st
from linkerd_adapter.rust_class import MAX_NESTING
from linkerd_adapter.rust_regex import MAX_SIZE, RefusedError, UnjudgedError, parse

TABLE: list[tuple[str, dict[str, Any] | None]] = json.loads(Path(__file__).with_name("rust_regexes.json").read_text())
UNJUDGED = {"(?-u)a", r"\pL", r"\p{Greek}"}
"""What Rust reads and is left open here."""


@pytest.mark.parametrize(("pattern", "found"), TABLE, ids=[ascii(pattern) for pattern, _ in TABLE])
def test_a_pattern_is_read_as_by_the_crate(pattern: str, found: dict[str, Any] | None) -> None:
    if pattern in UNJUDGED:
        assert found is not None
        with pytest.raises(UnjudgedError):
            parse(pattern)
        return
    if found is None:
        with pytest.raises(RefusedError):
            parse(pattern)
        return
    program = parse(pattern)
    assert {text: span and list(span) for text in found for span in [program.find(text)]} == found


def test_the_table_has_what_only_one_of_rust_and_python_reads() -> None:
    def python(pattern: str) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what a later Python may take otherwise
                re.compile(pattern)
        except (re.error, OverflowError):
            return False
        return True

    only_rust = [pattern for pattern, found in TABLE if found is not None and not python(pattern)]
    only_python = [pattern for pattern, found in TABLE if found is None and python(pattern)]
    assert {"a**", "(?<n>a)", r"\x{61}"} <= set(only_rust)
    assert {r"^v2\Z", "a{1", r"\0", "/v1/models/{model}/infer"} <= set(only_python)


@pytest.mark.parametrize(
    "pattern",
    [
        "(" * (MAX_NESTING + 1) + "a" + ")" * (MAX_NESTING + 1),
        "(?:a" * 126 + ")" * 126,
        "[" * 252 + "]" * 252,
        "(" * 5000,
    ],
)
def test_what_is_nested_too_deeply_is_refused(pattern: str) -> None:
    with pytest.raises(RefusedError):
        parse(pattern)


@pytest.mark.parametrize("pattern", [r"\w{400}", "a{1,3000}", "(?:ab|c){1500}", f"a{{{MAX_SIZE + 1}}}"])
def test_what_may_be_too_much_is_left_open(pattern: str) -> None:
    with pytest.raises(UnjudgedError):
        parse(pattern)


NESTED = "(?:" * 12 + "a*" + ")*" * 12 + "b"


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a*)*b", "(a|a)*b", "(a|aa)+b", "(?:a?){200}b", "^(?:a+)+$b", NESTED, ".*" * 8 + "b"]
)
def test_patterns_of_exponential_time_in_python_are_judged(pattern: str) -> None:
    """A backtracking search would try 2**500 ways to share the text out, and end by the test's timeout."""
    assert parse(pattern).find("a" * 500) is None
    if "$" not in pattern:
        assert parse(pattern).find("a" * 500 + "b") == (max(0, 500 - 200 if "200" in pattern else 0), 501)


QUIET = re2.Options()
QUIET.log_errors = False
PIECES = ["a", "b", ".", "[ab]", "[^a]", "[[:alpha:]]", "a?", "b*", "a+?", "*", "+", "^", "$", "|", "(", ")", "(?i)"]
PIECES += ["(?:", "(?P<n>", "{2}", "{1,2}", r"\b", r"\z", r"\x{61}", "(?U)", "(?s)", r"\.", "[a-c]", "-", "]"]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.text("abA.-", max_size=6))
def test_what_re2_reads_too_means_the_same(pattern: str, text: str) -> None:
    """RE2's first match is Rust's, where both read a pattern; ``**`` only Rust reads, ``]`` alone both."""
    try:
        there = re2.compile(pattern, QUIET)
        here = parse(pattern)
    except (re2.error, ValueError):
        return
    found = there.search(text)
    assert here.find(text) == (found and found.span())


@given(st.text(r"ab|()[]^$\.*?+{},1-:P<>=!&~xu# " + "\n", max_size=25))
def test_any_text_is_read_or_refused(pattern: str) -> None:
    try:
        program = parse(pattern)
    except (RefusedError, UnjudgedError):
        return
    span = program.find(pattern)
    assert span is None or 0 <= span[0] <= span[1] <= len(pattern)
