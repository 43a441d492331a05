"""GRPCRoutes that turn HTTPRoutes off, or make a Service fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import grpc_routes

from tests.lint.linkerd.corpus import PARENT, bad, check, codes, route


@pytest.mark.parametrize("file", bad(grpc_routes.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, grpc_routes.RULES)


ROUTE = route("{}")


def test_a_grpc_route_beside_an_http_route_on_the_same_port() -> None:
    grpc = route("{}", kind="GRPCRoute")
    assert of(ROUTE + grpc) == ["LNK504"]
    assert of(ROUTE + grpc.replace("port: 80", "port: 81")) == []
    assert of(ROUTE + route("{}", kind="GRPCRoute", parents=PARENT.replace(", port: 80", ""))) == ["LNK504"]
    assert of(grpc) == []


def test_a_grpc_route_that_matches_by_headers_alone() -> None:
    by_headers = "{matches: [{headers: [{name: a, value: b}]}]}"
    assert of(route(by_headers, kind="GRPCRoute")) == ["LNK209"]
    assert of(route(by_headers)) == []
    by_method = by_headers.replace("{headers", "{method: {service: s}, headers")
    assert of(route(by_method, kind="GRPCRoute")) == []
