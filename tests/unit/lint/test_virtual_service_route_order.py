"""The order of routes, and requests that none of them takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import virtual_service_route_order
from tests.lint import corpus
from tests.lint.istio_objects import resource


@corpus.bad(virtual_service_route_order)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(virtual_service_route_order, path) == corpus.expected(virtual_service_route_order, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(virtual_service_route_order) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(virtual_service_route_order, text)


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
    shadowed, nothing = corpus.findings(virtual_service_route_order, routed(V1, CHAT, TO, V1))
    assert (shadowed.path, shadowed.message) == (
        "spec.http[1]",
        "the route on line 11 takes every request that this one matches",
    )
    assert nothing.message.endswith("takes every request before this one")


def test_a_delegate_has_no_default_route_of_its_own() -> None:
    assert codes(resource("VirtualService", http=[V1])) == []
