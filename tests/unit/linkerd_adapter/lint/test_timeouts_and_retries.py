"""Timeouts and retries of routes and Services."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import timeouts_and_retries

from tests.lint.linkerd.corpus import bad, check, codes, route, service


@pytest.mark.parametrize("file", bad(timeouts_and_retries.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, timeouts_and_retries.RULES)


def annotated(key: str, value: str, *more: tuple[str, str]) -> str:
    pairs = ", ".join(f"{name}: '{text}'" for name, text in ((key, value), *more))
    return f", annotations: {{{pairs}}}"


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("timeout.linkerd.io/request", "90s", ["LNK601"]),
        ("timeout.linkerd.io/response", "90s", ["LNK601"]),
        ("timeout.linkerd.io/idle", "90s", []),
        ("timeout.linkerd.io/idle", "0s", ["LNK603"]),
        ("timeout.linkerd.io/idle", "0", ["LNK603"]),
        ("retry.linkerd.io/limit", "0", []),
        ("retry.linkerd.io/http", "5xx", []),
        ("retry.linkerd.io/grpc", "internal", ["LNK607"]),
    ],
)
def test_annotations_of_routes(key: str, value: str, found: list[str]) -> None:
    assert of(route("{}", metadata=annotated(key, value))) == found


def test_annotations_of_grpc_routes() -> None:
    assert of(route("{}", kind="GRPCRoute", metadata=annotated("retry.linkerd.io/http", "5xx"))) == ["LNK607"]
    assert of(route("{}", kind="GRPCRoute", metadata=annotated("retry.linkerd.io/grpc", "internal"))) == []


def test_a_limit_of_nothing_beside_other_annotations_for_retries() -> None:
    two = annotated("retry.linkerd.io/limit", "0", ("retry.linkerd.io/http", "5xx"))
    assert of(route("{}", metadata=two)) == ["LNK616"]
    assert of(route("{}", metadata=annotated("retry.linkerd.io/limit", "1", ("retry.linkerd.io/http", "5xx")))) == []


@pytest.mark.parametrize(
    ("timeouts", "found"),
    [
        ("request: 90s", ["LNK601"]),
        ("request: 0s", []),
        ("request: 0h0m", []),
        ("request: 1m30s", ["LNK615"]),
        ("request: 0m0s", []),
        ("backendRequest: 5s", ["LNK602"]),
    ],
)
def test_timeouts_of_rules(timeouts: str, found: list[str]) -> None:
    assert of(route(f"{{timeouts: {{{timeouts}}}}}")) == found


def test_a_request_timeout_that_is_given_twice() -> None:
    twice = route("{timeouts: {request: 5s}}", metadata=annotated("timeout.linkerd.io/request", "9s"))
    assert of(twice) == ["LNK601", "LNK605"]


@pytest.mark.parametrize(
    ("of_service", "of_route", "rules", "found"),
    [
        ("timeout.linkerd.io/idle", "timeout.linkerd.io/idle", "{}", []),
        ("retry.linkerd.io/http", "timeout.linkerd.io/idle", "{}", []),
        ("retry.linkerd.io/http", "retry.linkerd.io/limit", "{}", ["LNK606"]),
        ("timeout.linkerd.io/idle", "retry.linkerd.io/limit", "{timeouts: {request: 0s}}", []),
        ("timeout.linkerd.io/idle", "retry.linkerd.io/limit", "{timeouts: {request: 5s}}", ["LNK601", "LNK606"]),
    ],
)
def test_what_a_route_has_replaces_what_its_service_has(
    of_service: str, of_route: str, rules: str, found: list[str]
) -> None:
    values = {"timeout.linkerd.io/idle": "90s", "retry.linkerd.io/http": "5xx", "retry.linkerd.io/limit": "2"}
    given = service("llm", metadata=annotated(of_service, values[of_service]))
    assert of(given + route(rules, metadata=annotated(of_route, values[of_route]))) == found
