"""Routes that reach nothing, timeouts and retries that hurt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import virtual_service
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(virtual_service)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(virtual_service, path) == corpus.expected(virtual_service, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(virtual_service) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(virtual_service, text)


def routed(*routes: dict[str, Any], host: str = "shop", name: str = "a", **spec: Any) -> str:
    return resource("VirtualService", name, hosts=[host], http=list(routes), **spec)


TO = {"route": [{"destination": {"host": "shop"}}]}
CHAT = {"match": [{"uri": {"prefix": "/v1/chat"}}], **TO}
V1 = {"match": [{"uri": {"prefix": "/v1"}}], **TO}
BETA = {"match": [{"headers": {"x-beta": {"exact": "true"}}}], **TO}
NOT_BETA = {"match": [{"withoutHeaders": {"x-beta": {"exact": "true"}}}], **TO}


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ([CHAT, V1, TO], []),
        ([V1, CHAT, TO], ["AIM202"]),
        ([TO, V1], ["AIM202"]),
        ([CHAT, V1], ["AIM201"]),
        ([BETA, NOT_BETA], []),
        ([], []),
        ([{"match": [{}], **TO}], []),
        ([{"match": [{"uri": {"regex": ".*"}}], **TO}], []),
        ([{**TO, "route": None, "delegate": {"name": "b"}}, V1, TO], []),
        ([{"match": [{"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/b"}}], **TO}, TO], []),
        (
            [V1, {"match": [{"uri": {"prefix": "/v1/a"}}, {"uri": {"prefix": "/b"}}], **TO}, TO],
            [],
        ),
    ],
)
def test_the_order_of_routes(routes: list[dict[str, Any]], found: list[str]) -> None:
    assert codes(routed(*routes)) == found


def test_the_route_that_takes_anothers_requests_is_named_by_its_line() -> None:
    shadowed, nothing = corpus.findings(virtual_service, routed(V1, CHAT, TO, V1))
    assert (shadowed.path, shadowed.message) == (
        "spec.http[1]",
        "the route on line 11 takes every request that this one matches",
    )
    assert nothing.message.endswith("takes every request before this one")


def test_a_delegate_has_no_default_route_of_its_own() -> None:
    assert codes(resource("VirtualService", http=[V1])) == []


def destinations(*split: dict[str, Any], **route: Any) -> str:
    return routed({"route": list(split), **route})


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        ((None,), []),
        ((50, 50), []),
        ((50, None), ["AIM204"]),
        ((None, None), ["AIM204", "AIM204"]),
        ((0, 0), ["AIM204"]),
        ((0, 1), []),
        ((0,), ["AIM204"]),
    ],
)
def test_weights(weights: tuple[int | None, ...], found: list[str]) -> None:
    split = [{"destination": {"host": "shop"}, **({} if w is None else {"weight": w})} for w in weights]
    assert codes(destinations(*split)) == found


RULE = resource("DestinationRule", host="shop", subsets=[{"name": "v1"}])


@pytest.mark.parametrize(
    "route",
    [
        {"route": [{"destination": {"host": "shop", "subset": "v2"}}]},
        {**TO, "mirror": {"host": "shop", "subset": "v2"}},
        {**TO, "mirrors": [{"destination": {"host": "shop", "subset": "v2"}}]},
    ],
)
def test_subsets_of_every_destination(route: dict[str, Any]) -> None:
    (found,) = corpus.findings(virtual_service, routed(route) + RULE)
    assert (found.code, found.message.partition(" (")[0]) == (
        "AIM203",
        "the DestinationRule of shop.ai.svc.cluster.local",
    )
    (alone,) = corpus.findings(virtual_service, routed(route))
    assert alone.message == "no DestinationRule of shop.ai.svc.cluster.local here declares the subset v2"
    assert codes(routed(route) + RULE.replace("v1", "v2", 9).replace("/v2", "/v1")) == []


@pytest.mark.parametrize(
    ("host", "route", "found"),
    [
        ("shop", {"timeout": "30s"}, []),
        ("llama", {"timeout": "30s"}, ["AIM205"]),
        ("llama", {"timeout": "0s"}, []),
        ("shop", {"match": [{"uri": {"prefix": "/v1/chat"}}], "timeout": "30s"}, ["AIM205"]),
        ("shop", {"match": [{"headers": {"x-model-version": {"exact": "a"}}}], "timeout": "30s"}, ["AIM205"]),
        ("llama", {"retries": {"attempts": 2, "retryOn": "5xx, connect-failure"}}, ["AIM207"]),
        ("llama", {"retries": {"attempts": 0, "retryOn": "5xx"}}, []),
        ("llama", {"retries": {"attempts": 2, "retryOn": "connect-failure , refused-stream,"}}, []),
        ("llama", {"timeout": "10s", "retries": {"attempts": 1, "perTryTimeout": "5s"}}, ["AIM205"]),
        ("llama", {"timeout": "10s", "retries": {"attempts": 2, "perTryTimeout": "5s"}}, ["AIM205", "AIM206"]),
    ],
)
def test_timeouts_and_retries_of_inference(host: str, route: dict[str, Any], found: list[str]) -> None:
    default = {"route": [{"destination": {"host": "shop"}}]}
    routes = [{**default, **route}, *([default] if "match" in route else [])]
    assert codes(routed(*routes, host=host)) == found


def test_a_model_server_is_known_by_where_routes_go_and_by_policies() -> None:
    to = {"route": [{"destination": {"host": "vllm-7b"}}], "timeout": "30s"}
    assert codes(routed(to)) == ["AIM205"]
    policy = resource("ModelInferencePolicy", host="shop.ai.svc.cluster.local")
    assert codes(routed({**TO, "timeout": "30s"}) + policy) == ["AIM205"]


@pytest.mark.parametrize(
    ("ports", "number", "found"),
    [
        ([{"port": 80, "name": "tcp"}], None, ["AIM208"]),
        ([{"port": 80, "name": "TCP-web"}], None, ["AIM208"]),
        ([{"port": 80, "name": "tcp", "appProtocol": "http"}], None, []),
        ([{"port": 80, "name": "http", "appProtocol": "redis"}], None, ["AIM208"]),
        ([{"port": 80, "name": "http"}, {"port": 81, "name": "tcp"}], None, []),
        ([{"port": 80, "name": "http"}, {"port": 81, "name": "tcp"}], 81, ["AIM208"]),
        ([{"port": 80, "name": "http"}, {"port": 81, "name": "tcp"}], 80, []),
        ([{"port": 80}], None, []),
    ],
)
def test_protocols_of_ports(ports: list[dict[str, Any]], number: int | None, found: list[str]) -> None:
    port = {"port": {"number": number}} if number else {}
    text = routed({"route": [{"destination": {"host": "shop", **port}}]}) + resource("Service", "shop", ports=ports)
    assert codes(text) == found


@pytest.mark.parametrize(
    ("second", "found"),
    [
        ({"host": "shop"}, ["AIM209"]),
        ({"host": "shop.ai.svc.cluster.local"}, ["AIM209"]),
        ({"host": "other"}, []),
        ({"gateways": ["public"]}, []),
        ({"gateways": ["public", "mesh"]}, ["AIM209"]),
        ({"exportTo": ["."]}, []),
        ({"exportTo": ["*"]}, ["AIM209"]),
        ({"name": "a", "more": 1}, []),
    ],
)
def test_two_for_a_host(second: dict[str, Any], found: list[str]) -> None:
    assert codes(routed(TO) + routed(TO, **{"name": "b", **second})) == found
