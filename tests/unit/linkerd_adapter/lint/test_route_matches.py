"""Matches that fewer requests meet than it seems, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import route_matches

from tests.lint.linkerd.corpus import bad, check, codes, route


@pytest.mark.parametrize("file", bad(route_matches.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, route_matches.RULES)


def header(name: str, value: str, kind: str = "Exact") -> str:
    return f"{{headers: [{{name: '{name}', type: {kind}, value: '{value}'}}]}}"


def path(kind: str, value: str) -> str:
    return f"{{path: {{type: {kind}, value: '{value}'}}}}"


@pytest.mark.parametrize(
    ("match", "found"),
    [
        (header("x-model", "v1"), []),
        (header("x-model", "v1", "RegularExpression"), ["LNK210"]),
        (header("x-model", "v.", "RegularExpression"), []),
        (header("x-model", "^v1$", "RegularExpression"), []),
        (header("Cookie", "a=b"), ["LNK210"]),
        (header("cookie", "a=b; c=d"), []),
        (header("cookie", "^(a|b)=1$", "RegularExpression"), ["LNK210"]),
        (header("cookie", "^.*a=b.*$", "RegularExpression"), []),
        (header("x-model", " v1"), ["LNK212"]),
        (header("x-model", "v1\t".replace("\t", " ")), ["LNK212"]),
        (header("x-model", "ä"), ["LNK212"]),
        (header("x-model", "ä.*", "RegularExpression"), []),
        (header("HOST", "llm.ai"), ["LNK212"]),
        (header(":method", "GET"), ["LNK212"]),
        (header("x model", "a"), ["LNK212"]),
        ("{headers: [{name: a, value: x}, {name: A, value: y}]}", ["LNK211"]),
        ("{queryParams: [{name: a, value: x}, {name: A, value: y}]}", []),
        ("{queryParams: [{name: a, value: x}, {name: a, value: y}]}", ["LNK211"]),
        ("{queryParams: [{name: a, type: RegularExpression, value: x}]}", ["LNK210"]),
        (path("PathPrefix", "v1"), ["LNK212"]),
        (path("Exact", "/v1"), []),
        (path("RegularExpression", "/v1"), ["LNK210"]),
        (path("RegularExpression", "/v1.*"), []),
        (path("RegularExpression", "v1.*"), []),
        ("{path: {type: Exact}}", []),
    ],
)
def test_matches(match: str, found: list[str]) -> None:
    assert of(route(f"{{matches: [{match}]}}")) == found


def test_grpc_methods_are_no_paths() -> None:
    assert of(route("{matches: [{path: {value: v1}, method: {service: s}}]}", kind="GRPCRoute")) == []


def test_hostnames() -> None:
    assert of(route("{}", spec=", hostnames: [llm.ai]")) == ["LNK204"]
    assert of(route("{}")) == []
