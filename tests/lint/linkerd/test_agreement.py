"""What the linter says of a bad manifest is what the oracle of Linkerd's routing, made apart from it, does with it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from linkerd_adapter import route_selection
from linkerd_adapter.kubectl_output import parse
from linkerd_adapter.lint.linter import lint
from linkerd_adapter.names import Service
from linkerd_adapter.policy_controller import Cluster

from extproc.headers import Headers

BAD = Path(__file__).parent / "bad"
APEX = Service("ai", "llm")


def cluster(name: str) -> Cluster:
    return Cluster(parse((BAD / f"{name}.yaml").read_text(), name), live=False)


def asked(path: str = "/", method: str = "GET", **headers: str) -> route_selection.Request:
    return route_selection.Request(method, path, Headers.of((k.replace("_", "-"), v) for k, v in headers.items()))


def answered(name: str, request: route_selection.Request) -> str | None:
    """The backend of the rule that the oracle finds."""
    routes, _ = cluster(name).routes(APEX, 80, "ai")
    found = route_selection.select(routes, request)
    return found.rule.backends[0].name if found else None


@pytest.mark.parametrize(
    ("name", "request_", "backend"),
    [
        ("lnk201-alternation", asked(x_model_version="v2"), "llm-v2"),
        ("lnk201-alternation", asked(x_model_version="v2-beta"), "llm-v1"),
        ("lnk201-alternation-in-a-group", asked(x_model_version="v2-beta"), "llm-v1"),
        ("lnk201-alternation-half-anchored", asked(x_model_version="v2-beta"), "llm-v1"),
        ("lnk202-lazy", asked(x_model_version="v2-beta"), "llm-v1"),
        ("lnk205-no-default", asked(x_model_version="v1"), "llm-v1"),
        ("lnk205-no-default", asked(), None),
        ("lnk206-twice", asked(x_model_version="v2"), "llm-v1"),
        ("lnk207-exact-path", asked("/v1/models"), "llm-v1"),
        ("lnk207-exact-path", asked("/v1/models", x_tenant="a"), "llm-v2"),
        ("lnk208-method", asked("/v1", "POST"), "llm-v1"),
        ("lnk208-method", asked("/v1", "POST", x_tenant="a"), "llm-v2"),
    ],
)
def test_matches(name: str, request_: route_selection.Request, backend: str | None) -> None:
    assert answered(name, request_) == backend


@pytest.mark.parametrize(
    "name",
    [
        *("lnk101-no-kind", "lnk102-no-group", "lnk301-mirror", "lnk301-rewrite", "lnk203-lookahead"),
        *("lnk203-path-template", "lnk203-python-end", "lnk203-open-count", "lnk203-nul", "lnk303-cors"),
        *("lnk604-retry-list", "lnk604-fraction", "lnk604-compound"),
    ],
)
def test_routes_that_do_not_count(name: str) -> None:
    routes, ignored = cluster(name).routes(APEX, 80, "ai")
    assert (routes, len(ignored)) == ([], 1)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "lnk104-headless",
            "lnk105-external-name",
            "lnk501-app-protocol",
            "lnk503-opaque-port",
            "lnk504-grpc-beside-http",
        ),
        *("lnk505-service-profile", "lnk505-dst-overrides"),
    ],
)
def test_parents_where_no_route_counts(name: str) -> None:
    assert cluster(name).routes_disabled(APEX, 80, "ai")


def test_ports_that_are_opaque_by_default() -> None:
    disabled = cluster("lnk503-opaque-by-default").routes_disabled(APEX, 6379, "ai")
    assert disabled
    assert "opaque" in disabled.why
    assert not cluster("lnk201-alternation").routes_disabled(APEX, 6379, "ai"), "a Service that nobody knows"


@pytest.mark.parametrize("name", ["lnk302-backend-filter", "lnk404-no-port", "lnk405-pool"])
def test_backends_that_answer_500(name: str) -> None:
    [route], _ = cluster(name).routes(APEX, 80, "ai")
    assert route.rules[0].backends[0].broken


@pytest.mark.parametrize(("name", "status"), [("lnk407-no-such-port", 502), ("lnk408-external-name", 500)])
def test_backends_that_take_their_share_and_fail(name: str, status: int) -> None:
    [route], _ = cluster(name).routes(APEX, 80, "ai")
    assert {backend.status for backend in route.rules[0].backends if backend.broken} == {status}


@pytest.mark.parametrize(("name", "port"), [("lnk515-opaque-http", 80), ("lnk515-opaque-by-default", 6379)])
def test_ports_whose_connections_are_reset(name: str, port: int) -> None:
    disabled = cluster(name).routes_disabled(APEX, port, "ai")
    assert disabled
    assert disabled.outcome == "reset"


def test_profiles_count_for_their_own_namespace() -> None:
    there = cluster("lnk505-profile-of-clients")
    assert there.routes_disabled(APEX, 80, "shop")
    assert not there.routes_disabled(APEX, 80, "ai")


def test_weights() -> None:
    [alone], _ = cluster("lnk401-alone-at-zero").routes(APEX, 80, "ai")
    assert list(route_selection.shares(alone.rules[0]).values()) == [Fraction(1)]
    [none], _ = cluster("lnk403-all-zero").routes(APEX, 80, "ai")
    with pytest.raises(route_selection.UnservableError):
        route_selection.shares(none.rules[0])


words = st.sampled_from(["a", "b"])
headers = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["x", "y"]), "value": words}), max_size=2, unique_by=str
)
paths = st.sampled_from(["/", "/a", "/a/", "/a/b", "/b"])
found_matches = st.fixed_dictionaries(
    {},
    optional={
        "path": st.fixed_dictionaries({"type": st.sampled_from(["Exact", "PathPrefix"]), "value": paths}),
        "headers": headers,
        "method": st.sampled_from(["GET", "POST"]),
    },
)
rules = st.lists(st.lists(found_matches, max_size=2).map(lambda m: {"matches": m}), min_size=1, max_size=4)
requests = st.builds(
    lambda path, method, sent: route_selection.Request(method, path, Headers.of(sent)),
    paths,
    st.sampled_from(["GET", "POST", "PUT"]),
    st.lists(st.tuples(st.sampled_from(["x", "y"]), words), max_size=3),
)


@given(rules, st.lists(requests, max_size=20))
def test_rules_that_are_never_used_and_requests_that_none_takes(
    written: list[dict[str, Any]], asked_for: list[route_selection.Request]
) -> None:
    parent = {"group": "", "kind": "Service", "name": "llm", "namespace": "ai", "port": 80}
    metadata = {"name": "llm", "namespace": "ai"}
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {"parentRefs": [parent], "rules": written},
    }
    found, _ = lint([("a.yaml", yaml.safe_dump(route))])
    codes = {finding.code for finding in found}
    routes, _ = Cluster([route], live=False).routes(APEX, 80, "ai")
    nobody = asked("/nowhere", "PUT")
    assert (route_selection.select(routes, nobody) is None) == ("LNK205" in codes)
    twice = {finding.path for finding in found if finding.code == "LNK206"}
    idle = {
        number
        for number, rule in enumerate(written)
        if {f"spec.rules[{number}].matches[{i}]" for i in range(len(rule["matches"]))} <= twice
        and (rule["matches"] or f"spec.rules[{number}]" in twice)
    }
    for request in asked_for:
        answer = route_selection.select(routes, request)
        if "LNK205" not in codes:
            assert answer is not None
        assert answer is None or answer.number not in idle
