"""The model of Linkerd's proxy: each of its rules in a table, and properties that hold for all routes."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linkerd_adapter.route_selection import (
    Backend,
    Match,
    PathMatch,
    Rank,
    Request,
    Route,
    Rule,
    UnreadError,
    UnservableError,
    ValueMatch,
    by_precedence,
    fatal_rule,
    matches_whole,
    select,
    shares,
)

from extproc.headers import Headers
from tests.linkerd.any_routes import REQUESTS, ROUTES, RULES, WEIGHTED

V1 = Backend("ai", "v1", 80)


def client_request(path: str = "/", host: str = "", method: str = "GET", **headers: str) -> Request:
    return Request(method, path, Headers.of([(k.replace("_", "-"), v) for k, v in headers.items()]), host)


def only(match: Match, request: Request) -> bool:
    return select([Route("ai", "r", (Rule((match,)),))], request) is not None


def header(value: str, *, regex: bool = False) -> Match:
    return Match(headers=(ValueMatch("X-Model-Version", value, regex),))


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("v2", "v2", True),
        ("v2", "v2-beta", False),
        ("v2|v2-beta", "v2-beta", False),  # the first alternative fits, and then it is not all
        ("v2-beta|v2", "v2-beta", True),
        ("^(?:v2|v2-beta)$", "v2-beta", True),
        ("(?:v2|v2-beta)", "v2-beta", False),
        ("beta", "v2-beta", False),
        (".*", "", True),
        ("[a-z]+", "abc1", False),
        ("a*", "baa", False),  # the first match is empty, before the b
        (r"v\d+\.\d+", "v1.20", True),
    ],
)
def test_a_pattern_must_span_the_value_at_its_first_match(pattern: str, text: str, *, matches: bool) -> None:
    assert matches_whole(pattern, text) is matches
    assert only(header(pattern, regex=True), client_request(x_model_version=text)) is matches


@pytest.mark.parametrize("pattern", [r"\pL", r"\p{Greek}", "(?-u)a", r"\w{1000}"])
def test_what_only_the_proxy_reads_is_not_judged(pattern: str) -> None:
    with pytest.raises(UnreadError, match=re.escape(repr(pattern))):
        matches_whole(pattern, "a")


@pytest.mark.parametrize(
    ("pattern", "text"), [(r"v1\z", "v1"), ("a**", "aa"), ("[a-z&&[^b]]+", "ac"), ("(a+)+b", "aab"), ("(|a)*b", "aab")]
)
def test_what_the_proxy_reads_is_judged(pattern: str, text: str) -> None:
    assert matches_whole(pattern, text)


@pytest.mark.parametrize(
    "pattern",
    ["(", "a(?=b)", "(?>a)", "a(?!b)", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?P=n)", "[z-a]", r"^v2\Z", "a{1", r"\0"],
)
def test_what_the_proxy_could_not_read_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(pattern))):
        matches_whole(pattern, "ab")


def test_any_of_several_values_is_enough() -> None:
    """So a gateway that appends its header beside a client's routes by the client's."""
    request = Request("GET", "/", Headers.of([("x-model-version", "v9"), ("x-model-version", "v1")]))
    assert only(header("v1"), request)
    assert only(header("v[0-8]", regex=True), request)
    assert not only(header("v2"), request)
    assert not only(header("V1"), request)


def test_values_that_are_no_ascii() -> None:
    request = Request("GET", "/", Headers.of([("x-model-version", "ä")]))
    assert only(header("ä"), request)
    assert not only(header(".*", regex=True), request)
    pattern = header("a.b", regex=True)
    sent = [Request("GET", "/", Headers([("x-model-version", b"a%cb" % byte)])) for byte in range(256)]
    assert {byte for byte in range(256) if only(pattern, sent[byte])} == {0x09, *range(0x20, 0x7F)}


@pytest.mark.parametrize(
    ("prefix", "path", "matches"),
    [
        ("/", "/anything", True),
        ("/v1", "/v1", True),
        ("/v1", "/v1/", True),
        ("/v1/", "/v1", True),
        ("/v1", "/v1/chat?x=/v2", True),
        ("/v1", "/v10", False),
        ("/v1/chat", "/v1", False),
    ],
)
def test_a_prefix_is_of_whole_segments(prefix: str, path: str, *, matches: bool) -> None:
    assert only(Match(PathMatch("PathPrefix", prefix)), client_request(path)) is matches


@pytest.mark.parametrize(
    ("kind", "value", "path", "matches"),
    [
        ("Exact", "/v1", "/v1", True),
        ("Exact", "/v1", "/v1?a=b", True),
        ("Exact", "/v1", "/v1/", False),
        ("Exact", "/v1", "/v1/chat", False),
        ("Exact", "/v1", "/V1", False),
        ("Exact", "/v1", "/", False),
        ("RegularExpression", "/v[0-9]", "/v1", True),
        ("RegularExpression", "/v[0-9]", "/v1?a=b", True),
        ("RegularExpression", "/v[0-9]", "/v1/chat", False),
        ("RegularExpression", "/v[0-9]", "/w1", False),
    ],
)
def test_exact_paths_and_patterns(kind: str, value: str, path: str, *, matches: bool) -> None:
    assert only(Match(PathMatch(kind, value)), client_request(path)) is matches


@pytest.mark.parametrize(
    ("match", "rank"),
    [
        (Match(), (1, 0, 0, 0)),
        (Match(PathMatch("PathPrefix", "/")), (1, 0, 0, 0)),
        (Match(PathMatch("PathPrefix", "/v1/")), (3, 0, 0, 0)),
        (Match(PathMatch("Exact", "/v1/chat")), (8, 0, 0, 0)),
        (Match(PathMatch("RegularExpression", ".*")), (8, 0, 0, 0)),
        (Match(headers=(ValueMatch("a", "1"),), query=(ValueMatch("q", "2"),), method="GET"), (1, 1, 1, 1)),
    ],
)
def test_what_a_match_counts_for(match: Match, rank: tuple[int, int, int, int]) -> None:
    for hosts, host_rank in (((), (0, 0)), (("*.ai", "other"), (1, 3)), (("chat.ai", "*.ai"), (2, 7))):
        found = select([Route("ai", "r", (Rule((match,)),), hosts)], client_request("/v1/chat?q=2", "chat.ai", a="1"))
        assert found is not None
        assert found.rank == Rank(host_rank, *rank)


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        *[("?a=1", True), ("?b=2&a=1", True), ("?a=2", False), ("?a=0", False), ("", False), ("?a", False)],
        *[("?a=%31", True), ("?b=1", False), ("?A=1", False)],
    ],
)
def test_query_parameters(query: str, *, matches: bool) -> None:
    assert only(Match(query=(ValueMatch("a", "1"),)), client_request(f"/{query}")) is matches
    assert only(Match(query=(ValueMatch("a", "1+", regex=True),)), client_request(f"/{query}")) is matches
    assert not only(Match(query=(ValueMatch("a", "1+"),)), client_request(f"/{query}"))


@pytest.mark.parametrize(
    ("hosts", "host", "matches"),
    [
        (("chat.ai",), "chat.ai", True),
        (("chat.ai",), "chat.ai:8080", True),
        (("chat.ai",), "CHAT.AI", False),
        (("*.ai",), "a.AI", False),
        (("chat.ai",), "chat.ai.", True),
        (("*.ai",), "a.b.ai", True),
        (("*.ai",), "b.ai", True),
        (("*.ai",), "ai", False),
        (("*.ai",), ".ai", False),
        (("*.ai",), "chat.ai.", True),
        (("chat.ai",), "b.ai", False),
        (("chat.ai",), "d.ai", False),
        (("*.ai",), "xai", False),
        (("*.ai",), "openai", False),
        (("chat.ai",), "", False),
        (("chat.ai",), "chat.ai:http", False),
        (("chat.ai",), "chat.ai:", False),
        (("*",), "chat.ai", False),
        (("x", "chat.ai"), "chat.ai", True),
    ],
)
def test_hosts(hosts: tuple[str, ...], host: str, *, matches: bool) -> None:
    found = select([Route("ai", "r", (Rule(),), hosts)], client_request(host=host))
    assert (found is not None) is matches


@pytest.mark.parametrize(("query", "matches"), [("?a", True), ("?a=", True), ("?a=1", False), ("", False)])
def test_a_query_parameter_may_be_empty(query: str, *, matches: bool) -> None:
    assert only(Match(query=(ValueMatch("a", ""),)), client_request(f"/{query}")) is matches


BETTER = [
    # The first wins over the second, though it stands last.
    (
        Match(PathMatch("PathPrefix", "/v1/chat")),
        Match(PathMatch("PathPrefix", "/v1"), (ValueMatch("a", "1"), ValueMatch("b", "2"))),
    ),
    (Match(headers=(ValueMatch("a", "1"), ValueMatch("b", "2"))), Match(headers=(ValueMatch("a", "1"),), method="GET")),
    (Match(headers=(ValueMatch("a", "1"),)), Match(query=(ValueMatch("q", "1"),), method="GET")),
    (Match(query=(ValueMatch("q", "1"),)), Match(method="GET")),
    (Match(method="GET"), Match()),
    (
        Match(PathMatch("RegularExpression", "/v1/c.*")),
        Match(PathMatch("PathPrefix", "/v1/chat"), (ValueMatch("a", "1"),)),
    ),
]


@pytest.mark.parametrize(("better", "worse"), BETTER)
def test_what_wins_over_what(better: Match, worse: Match) -> None:
    request = client_request("/v1/chat/completions?q=1", a="1", b="2")
    routes = [Route("ai", "a", (Rule((worse,)),)), Route("ai", "b", (Rule((worse,)), Rule((better,))))]
    found = select(routes, request)
    assert found is not None
    assert (found.route.name, found.number) == ("b", 1)


def test_an_exact_path_is_no_better_than_a_prefix_of_its_length() -> None:
    rules = (Rule((Match(PathMatch("PathPrefix", "/v1")),)), Rule((Match(PathMatch("Exact", "/v1")),)))
    found = select([Route("ai", "r", rules)], client_request("/v1"))
    assert found is not None
    assert found.number == 0


def test_a_named_host_comes_before_everything_else() -> None:
    routes = [
        Route("ai", "any", (Rule((Match(headers=(ValueMatch("a", "1"),)),)),)),
        Route("ai", "some", (Rule(),), ("*.ai",)),
        Route("ai", "this", (Rule(),), ("chat.ai",)),
    ]
    for listed in (routes, routes[::-1]):
        names = []
        for host in ("chat.ai", "other.ai", "elsewhere"):
            found = select(listed, client_request(host=host, a="1"))
            assert found is not None
            names.append(found.route.name)
        assert names == ["this", "some", "any"]


def test_ties_go_to_the_oldest_then_by_name() -> None:
    made = [("b", "2026-01-02T00:00:00Z"), ("c", "2026-01-01T00:00:00Z"), ("z", ""), ("a", "2026-01-02T00:00:00Z")]
    routes = [Route("ai", name, (Rule(),), created=created) for name, created in made]
    assert [route.name for route in by_precedence(routes)] == ["c", "a", "b", "z"]
    consumers = [Route("ai", "b", (Rule(),)), Route("shop", "a", (Rule(),))]  # in which namespace does not count
    assert [route.name for route in by_precedence(consumers)] == ["a", "b"]
    found = select(by_precedence(routes), client_request())
    assert found is not None
    assert found.route.name == "c"


def test_how_often_a_rule_is_selected_can_be_counted() -> None:
    match = Match(PathMatch("PathPrefix", "/v1"), (ValueMatch("a", "1"),))
    routes = [Route("ai", "r", (Rule((match,), (V1,)), Rule()))]
    requests = Counter(client_request(path, a="1") for path in ("/v1", "/v1", "/v1/chat", "/"))
    assert requests[client_request("/v1", a="1")] == 2
    numbers = Counter(select(routes, request) for request in requests.elements())
    assert sorted((found.number, times) for found, times in numbers.items() if found) == [(0, 3), (1, 1)]


def test_what_is_not_said_of_a_rule_and_its_backends() -> None:
    assert (Rule().matches, Rule().backends, Rule().redirect) == ((), (), False)
    assert (V1.weight, V1.broken, V1.status) == (1, "", 500)
    assert str(V1) == "v1.ai:80"


def test_where_nothing_matches_there_is_no_rule() -> None:
    assert select([Route("ai", "r", (Rule((header("v1"),)),))], client_request(x_model_version="v2")) is None
    assert select([Route("ai", "r", ())], client_request()) is None
    assert select([], client_request()) is None


def test_one_backend_ignores_its_weight() -> None:
    nothing = Backend("ai", "v1", 80, 0)
    assert shares(Rule(backends=(nothing,))) == {nothing: 1}


def test_several_backends_without_any_weight_can_be_served_by_nobody() -> None:
    with pytest.raises(UnservableError):
        shares(Rule(backends=(Backend("ai", "v1", 80, 0), Backend("ai", "v2", 80, 0))))


def test_a_dead_canary_gets_nothing_once_it_is_found_out() -> None:
    rule = Rule(backends=(Backend("ai", "v1", 80, 90), Backend("ai", "v2", 80, 10)))
    assert list(shares(rule).values()) == [Fraction(9, 10), Fraction(1, 10)]
    assert shares(rule, lambda b: b.name != "v2") == {rule.backends[0]: 1}
    assert shares(rule, lambda _: False) == {}


def test_a_broken_backend_keeps_its_share() -> None:
    broken = Backend("ai", "v2", 80, 10, "there is no Service v2.ai")
    rule = Rule(backends=(Backend("ai", "v1", 80, 90), broken))
    assert shares(rule, lambda b: b.name == "v1")[broken] == Fraction(1, 10)


@given(ROUTES, REQUESTS)
@settings(max_examples=40)
def test_the_rule_that_wins_matches_and_none_is_better(routes: list[Route], request: Request) -> None:
    ordered = by_precedence(routes)
    found = select(ordered, request)
    alone = [
        one
        for route in ordered
        for number, rule in enumerate(route.rules)
        if (one := select([Route(route.namespace, route.name, (rule,), route.hosts)], request))
        for number in [number]
    ]
    if found is None:
        assert not alone
        return
    assert found.rank == max(one.rank for one in alone)
    best = next(one for one in alone if one.rank == found.rank)
    assert (best.route.name, best.rule) == (found.route.name, found.rule)


@given(ROUTES.flatmap(lambda routes: st.tuples(st.just(routes), st.permutations(routes))), REQUESTS)
@settings(max_examples=40)
def test_in_which_order_routes_are_listed_does_not_matter(
    listed: tuple[list[Route], list[Route]], request: Request
) -> None:
    assert select(by_precedence(listed[0]), request) == select(by_precedence(listed[1]), request)


@given(ROUTES, REQUESTS, RULES)
@settings(max_examples=40)
def test_a_rule_of_a_younger_route_never_takes_a_tie(routes: list[Route], request: Request, rule: Rule) -> None:
    before = select(by_precedence(routes), request)
    after = select(by_precedence([*routes, Route("zz", "z", (rule,))]), request)
    if before is not None:
        assert after is not None
        assert after == before or after.rank > before.rank


@given(WEIGHTED, st.sets(st.sampled_from("abcd")))
def test_shares_come_to_one_and_go_to_the_living(backends: list[Backend], dead: set[str]) -> None:
    rule = Rule(backends=tuple(backends))
    if len(backends) > 1 and not any(b.weight for b in backends):
        with pytest.raises(UnservableError):
            shares(rule)
        return
    found = shares(rule, lambda b: b.name not in dead)
    assert sum(found.values()) in ((1,) if found else (0,))
    for backend, share in found.items():
        assert share > 0
        assert backend.broken or backend.name not in dead
        assert backend.weight or len(backends) == 1
    if not found:
        assert all(b.name in dead or not b.weight for b in backends if not b.broken)


@given(WEIGHTED, st.integers(1, 1000))
def test_only_the_relation_of_weights_counts(backends: list[Backend], factor: int) -> None:
    rule = Rule(backends=tuple(backends))
    larger = tuple(Backend(b.namespace, b.name, b.port, b.weight * factor, b.broken) for b in backends)
    if len(backends) == 1 or any(b.weight for b in backends):
        assert list(shares(rule).values()) == list(shares(Rule(backends=larger)).values())


def test_only_several_backends_without_any_weight_are_fatal() -> None:
    none, some = Backend("ai", "v1", 80, 0), Backend("ai", "v2", 80, 1)
    routes = [Route("ai", "a", (Rule(backends=(none, some)), Rule(backends=(none,)), Rule()))]
    assert fatal_rule(routes) == ""
    assert fatal_rule([*routes, Route("ai", "b", (Rule(), Rule(backends=(none, none))))]) == (
        "rules[1] of b has only backends of weight 0"
    )


def test_a_backend_that_is_named_twice_has_both_shares() -> None:
    heavy = Backend("ai", "v2", 80, 2)
    assert shares(Rule(backends=(V1, V1, heavy))) == {V1: Fraction(1, 2), heavy: Fraction(1, 2)}
    broken = Backend("ai", "v1", 80, 1, "gone")
    assert shares(Rule(backends=(broken,)), lambda _: False) == {broken: 1}
    assert shares(Rule(backends=(V1,)), lambda _: False) == {}
    assert shares(Rule()) == {}
