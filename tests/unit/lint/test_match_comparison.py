"""Which requests a match takes: what ``covers`` and ``never`` promise, against requests that are tried one by one."""

from __future__ import annotations

import random
import re
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.lint import match_comparison
from extproc.lint.manifest import Value
from extproc.lint.mesh import read as manifests
from tests import fast_yaml

Text: TypeAlias = dict[str, str]
GATEWAYS = frozenset(("mesh", "ai/public"))


def value(match: dict[str, Any]) -> Value:
    (resource,), _ = manifests([("f.yaml", fast_yaml.dump({"kind": "A", "spec": match}))])
    return resource.spec


def read(match: dict[str, Any]) -> match_comparison.Match:
    return match_comparison.read(value(match), GATEWAYS, "ai")


def said(condition: Text, given: str, *, ignores_case: bool = False) -> bool:
    """Whether a StringMatch takes a value, by the words of Istio's API."""
    ((kind, text),) = condition.items() or [("prefix", "")]
    if kind == "regex":
        return re.fullmatch(text, given) is not None
    if ignores_case:
        text, given = text.lower(), given.lower()
    return given == text if kind == "exact" else given.startswith(text)


def takes(match: dict[str, Any], request: dict[str, Any]) -> bool:
    """Whether a request is one that ``match`` is for."""
    headers = [(name.lower(), condition) for name, condition in match.get("headers", {}).items()]
    without = [(name.lower(), condition) for name, condition in match.get("withoutHeaders", {}).items()]
    return (
        all(
            said(match[name], request[name], ignores_case=name == "uri" and match.get("ignoreUriCase", False))
            for name in ("uri", "method", "authority")
            if name in match
        )
        and all(name in request["headers"] and said(c, request["headers"][name]) for name, c in headers)
        and not any(said(c, request["headers"].get(name, "")) for name, c in without)
        and match.get("port", request["port"]) == request["port"]
        and request["gateway"] in match.get("gateways", GATEWAYS)
    )


PATHS = ["/", "/v1", "/v1/", "/v1/chat", "/V1/chat", "/v2", "/v1/chat/completions", "/w"]
VALUES = ["", "beta", "best", "be", "gold", "Beta"]
PATH_REGEXES = [".*", "/.*", "^/v1/.*$", "/v1/chat", "/v[12]/?.*", "/(v1|w).*", ".+", "/v1/chat.+", "v1.*", "/v1/?"]
VALUE_REGEXES = [".*", ".+", "beta", "be(ta|st)", "be.*", "^b.*a$", "(beta)", "b?eta"]


def texts(plain: list[str], regexes: list[str]) -> st.SearchStrategy[Text]:
    written = st.sampled_from(plain)
    return st.one_of(
        written.map(lambda text: {"exact": text}),
        written.filter(bool).map(lambda text: {"prefix": text}),
        st.sampled_from(regexes).map(lambda text: {"regex": text}),
    )


NAMES = st.sampled_from(["x-tier", "X-Tier", "x-user"])
HEADERS = st.dictionaries(NAMES, texts(VALUES, VALUE_REGEXES), max_size=2)
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "uri": texts([*PATHS, "v1"], PATH_REGEXES),
        "ignoreUriCase": st.booleans(),
        "method": texts(["GET", "POST", "post"], [".*", "P.*", "GET|POST"]),
        "headers": HEADERS,
        "withoutHeaders": HEADERS,
        "port": st.sampled_from([80, 81]),
        "gateways": st.sampled_from([["mesh"], ["ai/public"], ["mesh", "ai/public"]]),
    },
)


def draw_requests(seed: int) -> list[dict[str, Any]]:
    """40 requests: drawn here, since Hypothesis takes a hundred times as long for them."""
    draw = random.Random(seed)
    return [
        {
            "uri": draw.choice(PATHS),
            "method": draw.choice(["GET", "POST"]),
            "headers": {name: draw.choice(VALUES) for name in ("x-tier", "x-user") if draw.random() < 0.5},
            "port": draw.choice([80, 81]),
            "gateway": draw.choice(["mesh", "ai/public"]),
        }
        for _ in range(40)
    ]


REQUESTS = st.integers(0, 1 << 32).map(draw_requests)


@given(MATCHES, MATCHES, REQUESTS)
@settings(max_examples=200, deadline=None)
def test_what_one_covers_it_takes(wide: dict[str, Any], narrow: dict[str, Any], requests: list[dict[str, Any]]) -> None:
    if read(wide).covers(read(narrow)):
        for request in requests:
            assert takes(wide, request) or not takes(narrow, request)


@given(st.lists(MATCHES, max_size=8), MATCHES)
@settings(max_examples=100, deadline=None)
def test_the_first_taker_is_found_as_by_asking_all(earlier: list[dict[str, Any]], match: dict[str, Any]) -> None:
    places = [value({"at": str(number)}) for number in range(len(earlier))]
    index = match_comparison.Earlier()
    for place, written in zip(places, earlier, strict=True):
        index.add(place, read(written))
    found = next((p for p, w in zip(places, earlier, strict=True) if read(w).covers(read(match))), None)
    assert index.taker(read(match)) is found


@given(MATCHES, REQUESTS)
@settings(max_examples=200, deadline=None)
def test_what_no_request_meets_none_meets(match: dict[str, Any], requests: list[dict[str, Any]]) -> None:
    if read(match).never():
        assert not any(takes(match, request) for request in requests)


@given(MATCHES)
def test_every_match_covers_itself(match: dict[str, Any]) -> None:
    assert read(match).covers(read(match))


EVERYTHING = match_comparison.Match(gateways=GATEWAYS)


@pytest.mark.parametrize(
    "match",
    [
        {},
        {"uri": {"prefix": "/"}, "name": "rest"},
        {"uri": {"prefix": "/"}, "ignoreUriCase": True},
        {"uri": {"regex": "^(.*)$"}},
        {"uri": {"regex": "/.*"}, "authority": {"regex": ".+"}, "method": {"regex": ".*"}},
        {"gateways": ["mesh", "public"]},
    ],
)
def test_everything_in_other_words(match: dict[str, Any]) -> None:
    assert read(match).covers(EVERYTHING)


@pytest.mark.parametrize(
    "match",
    [
        {"uri": {"prefix": "/v1"}},
        {"uri": {"regex": "/.+"}},
        {"uri": {"exact": "/"}},
        {"headers": {"x-tier": {"regex": ".*"}}},
        {"withoutHeaders": {"x-tier": {}}},
        {"queryParams": {"v": {"regex": ".*"}}},
        {"gateways": ["mesh"]},
        {"sourceLabels": {"app": "a"}},
        {"somethingNew": {"a": "b"}},
    ],
)
def test_not_everything(match: dict[str, Any]) -> None:
    assert not read(match).covers(EVERYTHING)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ({"headers": {"x": {"exact": "a"}}}, {"withoutHeaders": {"X": {"exact": "a"}}}, True),
        ({"headers": {"x": {"exact": "a"}}}, {"withoutHeaders": {"x": {"exact": "b"}}}, False),
        ({"headers": {"x": {"exact": "a"}}, "port": 80}, {"withoutHeaders": {"x": {"exact": "a"}}}, False),
        ({"headers": {"x": {"exact": "a"}}}, {"withoutHeaders": {"x": {"exact": "a"}}, "port": 80}, False),
    ],
)
def test_two_that_take_everything_together(one: dict[str, Any], other: dict[str, Any], together: bool) -> None:
    assert match_comparison.complements([read(one), read(other)]) is together


def test_an_expression_that_would_take_long_is_not_tried() -> None:
    slow = match_comparison.Condition("regex", "(a+)+b")
    assert slow.takes("a" * 60) is None
    assert match_comparison.Condition("regex", "[").takes("a") is None
    assert match_comparison.Condition("regex", "a.*b").takes("a" * 1000) is None


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ({"uri": {"regex": "/v1/chat"}}, ["the path"]),
        ({"uri": {"regex": "/v1/chat.*"}}, []),
        ({"headers": {"Cookie": {"regex": "a=b.*"}}}, ["the cookie header"]),
        ({"headers": {"cookie": {"regex": "^(.*; ?)?a=b(;.*)?$"}, "x": {"regex": "a"}}}, []),
    ],
)
def test_expressions_that_have_to_match_more(match: dict[str, Any], found: list[str]) -> None:
    assert [what for _, what in match_comparison.whole_value(value(match))] == found
