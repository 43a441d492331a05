"""Timeouts and retries that hurt inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import virtual_service_timeouts_and_retries
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(virtual_service_timeouts_and_retries)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(virtual_service_timeouts_and_retries, path) == corpus.expected(
        virtual_service_timeouts_and_retries, path
    )


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(virtual_service_timeouts_and_retries) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(virtual_service_timeouts_and_retries, text)


def routed(*routes: dict[str, Any], host: str = "shop", name: str = "a", **spec: Any) -> str:
    return resource("VirtualService", name, hosts=[host], http=list(routes), **spec)


TO = {"route": [{"destination": {"host": "shop"}}]}


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
