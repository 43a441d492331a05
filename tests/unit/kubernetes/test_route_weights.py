"""Weights of versions by what Flagger and Argo Rollouts write into routes, and by what else may stand in one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.kubernetes.route_weights import Weights, weights_of, with_weights
from extproc.policy.weights_from import HTTP_ROUTE, VIRTUAL_SERVICE, WeightsFrom

FLAGGER = (("v1", "chat-primary"), ("v2", "chat-canary"))
COOKIE = {"headers": [{"name": "Cookie", "type": "RegularExpression", "value": ".*flagger-cookie.*abc.*"}]}
ROOT = {"path": {"type": "PathPrefix", "value": "/"}}


def http_route(*rules: tuple[list[dict[str, Any]], list[tuple[str, int | None]]]) -> dict[str, Any]:
    """Each rule with its matches and its backends."""
    written = [
        {
            "matches": matches,
            "backendRefs": [{"name": n, "port": 80} | ({} if w is None else {"weight": w}) for n, w in backends],
        }
        for matches, backends in rules
    ]
    return {"metadata": {"name": "chat", "namespace": "ai"}, "spec": {"rules": written}}


def virtual_service(*rules: tuple[list[dict[str, Any]], list[tuple[str, str, int | None]]]) -> dict[str, Any]:
    """Each rule with its matches and its destinations: host, subset, weight."""
    written = [
        {
            "match": matches,
            "route": [
                {"destination": {"host": host} | ({"subset": subset} if subset else {})}
                | ({} if weight is None else {"weight": weight})
                for host, subset, weight in destinations
            ],
        }
        for matches, destinations in rules
    ]
    return {"metadata": {"name": "chat", "namespace": "ai"}, "spec": {"hosts": ["chat"], "http": written}}


def of_route(route: dict[str, Any], backends: tuple[tuple[str, str], ...] = FLAGGER) -> Weights | None:
    return weights_of(route, WeightsFrom(HTTP_ROUTE, "chat", backends))


def of_service(route: dict[str, Any], backends: tuple[tuple[str, str], ...] = FLAGGER) -> Weights | None:
    return weights_of(route, WeightsFrom(VIRTUAL_SERVICE, "chat", backends))


@pytest.mark.parametrize(("primary", "canary"), [(100, 0), (90, 10), (0, 100)])
def test_what_flagger_writes(primary: int, canary: int) -> None:
    both: list[tuple[str, int | None]] = [("chat-primary", primary), ("chat-canary", canary)]
    weights = {"v1": primary, "v2": canary}
    assert of_route(http_route(([ROOT], both))) == weights
    sticky: list[tuple[str, int | None]] = [("chat-primary", 0), ("chat-canary", 100)]
    assert of_route(http_route(([ROOT | COOKIE], sticky), ([ROOT], both))) == weights
    found = virtual_service(([], [("chat-primary", "", primary), ("chat-canary", "", canary)]))
    assert of_service(found) == weights


def test_an_ab_test_of_flagger_gives_the_canary_nothing_by_weight() -> None:
    insiders = {"headers": [{"name": "x-insider", "value": "true"}]}
    rules = (([ROOT | insiders], [("chat-primary", 0), ("chat-canary", 100)]), ([ROOT], [("chat-primary", 100)]))
    assert of_route(http_route(*rules)) == {"v1": 100, "v2": 0}  # type: ignore[arg-type]
    match = {"headers": {"x-insider": {"exact": "true"}}}
    destinations = [("chat-primary", "", 0), ("chat-canary", "", 100)]
    found = virtual_service(([match], destinations), ([], [("chat-primary", "", None)]))  # type: ignore[arg-type]
    assert of_service(found) == {"v1": 100, "v2": 0}


def test_what_argo_rollouts_writes() -> None:
    """By hosts or by subsets; with a route for a header on top, and in an HTTPRoute at the end."""
    backends = (("v1", "stable"), ("v2", "canary"))
    header = {"headers": {"x-canary": {"exact": "true"}}}
    subsets = [("chat", "stable", 95), ("chat", "canary", 5)]
    assert of_service(virtual_service(([header], [("chat", "canary", 100)]), ([], subsets)), backends) == {  # type: ignore[arg-type]
        "v1": 95,
        "v2": 5,
    }
    hosts = [("stable.ai.svc.cluster.local", "", 95), ("canary", "", 5)]
    assert of_service(virtual_service(([], hosts)), backends) == {"v1": 95, "v2": 5}  # type: ignore[arg-type]
    by_header = {"headers": [{"name": "x-canary", "value": "true"}]}
    rules = (([ROOT], [("stable", 95), ("canary", 5)]), ([ROOT | by_header], [("canary", None)]))
    assert of_route(http_route(*rules), backends) == {"v1": 95, "v2": 5}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("route", "weights"),
    [
        (http_route(([], [("chat-primary", None), ("chat-canary", None)])), {"v1": 1, "v2": 1}),
        (http_route(([], [("chat-primary", 0), ("chat-canary", 0)])), None),
        (http_route(([], [("another", 1)])), None),
        (http_route(([COOKIE], [("chat-primary", 1), ("chat-canary", 1)])), None),
        (http_route(([], [("other", 1)]), ([], [("chat-canary", 1)])), {"v1": 0, "v2": 1}),
        (http_route(([COOKIE, ROOT], [("chat-primary", 1), ("chat-canary", 3)])), {"v1": 1, "v2": 3}),
        (http_route(([], [("chat-primary", 1), ("chat-canary", 1), ("chat-canary", 2)])), {"v1": 1, "v2": 3}),
        (http_route(), None),
    ],
)
def test_other_routes(route: dict[str, Any], weights: Weights | None) -> None:
    assert of_route(route) == weights


def test_a_destination_of_a_virtual_service_without_a_weight_gets_all_where_it_is_alone() -> None:
    assert of_service(virtual_service(([], [("chat-canary", "", None)]))) == {"v1": 0, "v2": 100}
    both: list[tuple[str, str, int | None]] = [("chat-primary", "", 7), ("chat-canary", "", None)]
    assert of_service(virtual_service(([], both))) == {"v1": 7, "v2": 0}
    assert of_service(virtual_service(([], [("chat-canary.other", "", None)]))) is None, "another namespace"


def test_the_weights_of_a_spec() -> None:
    spec = {"models": ["m"], "versions": [{"name": "v1", "weight": 5}, {"name": "v2"}, {"name": "v3", "mirror": 5}]}
    assert with_weights(spec, {"v2": 3}) == {
        "models": ["m"],
        "versions": [{"name": "v1", "weight": 0}, {"name": "v2", "weight": 3}, {"name": "v3", "mirror": 5}],
    }


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["chat-primary", "chat-canary", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["rules", "http", "matches", "match", "route", "backendRefs", "destination"])
            | st.sampled_from(["host", "subset", "name", "weight", "headers"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(ANYTHING, st.sampled_from([HTTP_ROUTE, VIRTUAL_SERVICE]))
def test_whatever_stands_there_it_is_weights_or_nothing(spec: Any, kind: str) -> None:
    route = {"metadata": {"name": "chat", "namespace": "ai"}, "spec": spec}
    found = weights_of(route, WeightsFrom(kind, "chat", FLAGGER))
    assert found is None or (found.keys() == {"v1", "v2"} and 0 < sum(found.values()) <= 2_000_000)


def test_a_service_of_another_namespace_is_another_one() -> None:
    route = http_route(([ROOT], [("chat-primary", 10), ("chat-canary", 1), ("chat-canary", 90)]))
    backends = route["spec"]["rules"][0]["backendRefs"]
    backends[0]["namespace"], backends[2]["namespace"] = "ai", "team"
    assert of_route(route) == {"v1": 10, "v2": 1}
