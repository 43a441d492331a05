"""Regular expressions as Linkerd's proxy takes them, held against Python's `re`, which also takes the first way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linkerd_adapter import route_selection
from linkerd_adapter.lint import regexes

from tests.lint.linkerd.corpus import backend, bad, check, codes, findings, route

words = st.text("ab.", min_size=1, max_size=4)


def matched(pattern: str, value: str) -> bool:
    """By what the proxy does: search, then want the whole value."""
    found = re.search(pattern, value)
    return found is not None and found.span() == (0, len(value))


@given(st.lists(words, min_size=1, max_size=4), st.sampled_from(["{}", "({})", "(?:{})", "^(?:{})$", "^({})", "^{}$"]))
def test_an_alternative_is_told_of_exactly_where_it_cannot_match(alternatives: list[str], around: str) -> None:
    pattern = around.format("|".join(map(re.escape, alternatives)))
    hidden = regexes.unreachable_alternative(pattern)
    assert (hidden is not None) == any(not matched(pattern, value) for value in alternatives)
    if hidden:
        assert not matched(pattern, hidden[0])
        assert matched(pattern, hidden[1])
    assert not regexes.may_stop_short(pattern)
    assert matched(f"^(?:{pattern})$", alternatives[-1])


@pytest.mark.parametrize(
    ("pattern", "unclear"),
    [
        ("v[0-9]+", False),
        ("v[0-9]|v[0-9]-beta", True),
        ("v(1|2)-.*", True),
        ("^(?:v[0-9]|v[0-9]-beta)$", False),
        (r"^v1$|^v1-.*\z", False),
        (r"v1.*|v2\$", True),
        ("v.*?", True),
        ("v.{1,2}?", True),
        ("[a|b]+", False),
        (r"a\|b", False),
        ("[]|]", False),
        (r"a\*?|b", True),
        (r"a\*?", False),
        ("b+[a]?", False),
    ],
)
def test_what_may_stop_short(pattern: str, unclear: bool) -> None:
    assert regexes.may_stop_short(pattern) is unclear


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        ("/v1/models/{model}/infer", "/v1/models/[^/]+/infer"),
        ("/{a}/{b.c}", "/[^/]+/[^/]+"),
        ("/v[0-9]{2}", None),
        (r"\p{Greek}", None),
    ],
)
def test_a_template_of_paths_is_no_pattern(pattern: str, instead: str | None) -> None:
    assert regexes.path_template_pattern(pattern) == instead
    assert bool(regexes.fault(pattern)) == bool(instead)


@pytest.mark.parametrize(
    ("pattern", "plain"), [("/v1/chat", True), (r"v1\.2", True), ("^v1", False), ("v1$", False), ("v.", False)]
)
def test_a_text_without_wildcards(pattern: str, plain: bool) -> None:
    assert regexes.is_literal(pattern) is plain


@pytest.mark.parametrize(
    "pattern",
    ["(?=a)b", "(?<!a)b", r"(a)\1", "(?>a)", "(", "[", "a{2,1}", "*a", "(?P<n", "a\\", "(" * 3000, "a|" * 3000],
)
def test_what_rust_refuses(pattern: str) -> None:
    assert regexes.fault(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"\p{Greek}+",
        r"a\z",
        "(?i)a",
        "(?i:a)b",
        "(?<name>a)",
        "[[:alpha:]]",
        "a{2}",
        r"\\1",
        "[(?=]",
        r"\x{61}",
        "[+]+",
        "a**",
        "a++",
    ],
)
def test_what_rust_takes(pattern: str) -> None:
    assert regexes.fault(pattern) is None


@settings(max_examples=200)
@given(st.text("ab|()[]^$\\.*?+{},1-:P<>=!", max_size=20))
def test_any_pattern_can_be_judged(pattern: str) -> None:
    """By the oracle's own reader; what that reads is held against Rust in ``test_rust_regex.py``."""
    (
        regexes.unreachable_alternative(pattern),
        regexes.may_stop_short(pattern),
        regexes.path_template_pattern(pattern),
        regexes.is_literal(pattern),
    )
    try:
        route_selection.compiled(pattern)
        read = True
    except ValueError as error:
        read = isinstance(error, route_selection.UnreadError)
    assert (regexes.fault(pattern) is None) == read


@pytest.mark.parametrize("file", bad(regexes.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, regexes.RULES)


DEFAULT = f"{{backendRefs: [{backend('z')}]}}"


def with_matches(*matches: str) -> str:
    """A route with a rule for each match, and one for the rest."""
    return route(", ".join([*(f"{{matches: [{match}], backendRefs: [{backend('a')}]}}" for match in matches), DEFAULT]))


def header(value: str, kind: str = "RegularExpression") -> str:
    return f"{{headers: [{{name: x-model, type: {kind}, value: '{value}'}}]}}"


@pytest.mark.parametrize(
    ("match", "found"),
    [
        (header("v2|v2-beta", "Exact"), []),
        (header("v2|v2-beta"), ["LNK201"]),
        (header("v2-beta|v2"), []),
        (header("v2|v2.*"), ["LNK202"]),
        (header("^(?:v2|v2-beta)$"), []),
        (header("v2(?=-beta)"), ["LNK203"]),
        (header(r"\p{Greek}"), []),
        ("{path: {type: RegularExpression, value: '/v1/{model}'}}", ["LNK203"]),
        ("{queryParams: [{name: a, type: RegularExpression, value: '('}]}", ["LNK203"]),
        ("{path: {type: RegularExpression}}", []),
    ],
)
def test_patterns(match: str, found: list[str]) -> None:
    assert of(with_matches(match)) == found


def test_a_template_of_paths_is_told_what_to_be() -> None:
    (found,) = [
        f
        for f in findings(with_matches("{path: {type: RegularExpression, value: '/v1/{model}'}}"))
        if f.code == "LNK203"
    ]
    assert "/v1/[^/]+" in found.remedy
