"""Strategies for routes, requests to them and backends, as ``route_selection`` takes them."""

from __future__ import annotations

from hypothesis import strategies as st
from linkerd_adapter.route_selection import Backend, Match, PathMatch, Request, Route, Rule, ValueMatch

from extproc.headers import Headers

NAMES = st.sampled_from(["x-model-name", "x-model-version", "x-gpu-pool"])
VALUES = st.sampled_from(["v1", "v2", "v1|v2", "[0-9]*"])
KINDS = st.sampled_from(["Exact", "PathPrefix", "RegularExpression"])
MATCHES = st.builds(
    Match,
    st.none() | st.builds(PathMatch, KINDS, st.sampled_from(["/", "/v1", "/v1/a"])),
    st.lists(st.builds(ValueMatch, NAMES, VALUES, st.booleans()), max_size=3).map(tuple),
    st.just(()),
    st.sampled_from(["", "GET", "POST"]),
)
RULES = st.builds(Rule, st.lists(MATCHES, max_size=3).map(tuple))
ROUTES = st.lists(
    st.builds(
        Route,
        st.just("ai"),
        st.sampled_from("abcd"),
        st.lists(RULES, max_size=4).map(tuple),
        st.lists(st.sampled_from(["chat.ai", "*.ai"]), max_size=1).map(tuple),
        st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    ),
    max_size=4,
    unique_by=lambda route: route.name,
)
REQUESTS = st.builds(
    Request,
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["/", "/v1", "/v1/", "/v1/a", "/v2"]),
    st.lists(st.tuples(NAMES, st.sampled_from([b"v1", b"v2", b"7"])), max_size=4).map(Headers),
    st.sampled_from(["", "chat.ai", "other.ai:80"]),
)

BACKENDS = st.builds(
    Backend,
    st.just("ai"),
    st.sampled_from("abcd"),
    st.just(80),
    st.integers(0, 1_000_000),
    st.sampled_from(["", "gone"]),
)
WEIGHTED = st.lists(BACKENDS, min_size=1, max_size=6)
