"""Filters that Linkerd lacks, can not convert, or applies too late."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import route_filters

from tests.lint.linkerd.corpus import backend, bad, check, codes, findings, route


@pytest.mark.parametrize("file", bad(route_filters.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, route_filters.RULES)


def ruled(filter_: str, *, headers: str = "", other: str = "") -> str:
    """A route with a rule by ``headers`` that has the filter, and another by ``other``."""
    return route(
        f"{{matches: [{{headers: [{headers}]}}], filters: [{filter_}]}}, {{matches: [{{headers: [{other}]}}]}}"
    )


def modifier(how: str, header: str, kind: str = "request") -> str:
    return f"{{type: {kind.capitalize()}HeaderModifier, {kind}HeaderModifier: {{{how}: [{header}]}}}}"


def redirect(to: str) -> str:
    return f"{{type: RequestRedirect, requestRedirect: {{{to}}}}}"


X = "{name: X-Model, value: a}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ruled(modifier("set", X)), []),
        (ruled(modifier("set", X), headers=X), []),
        (ruled(modifier("set", X), other=X), ["LNK306"]),
        (ruled(modifier("set", X), headers=X, other=X), []),
        (ruled(modifier("add", X)), []),
        (ruled(modifier("add", X), headers=X), ["LNK305"]),
        (ruled(modifier("add", "{name: x-MODEL, value: b}"), other=X), ["LNK305"]),
        (ruled(modifier("remove", "x-model"), other=X), ["LNK306"]),
        (ruled(modifier("remove", "x-other"), other=X), []),
        (ruled(modifier("set", "{name: l5d-retry-limit, value: '1'}")), ["LNK307"]),
        (ruled(modifier("remove", "l5d-dst-override")), []),
        (ruled(modifier("set", X, "response"), other=X), []),
        (ruled("{type: RequestMirror}"), ["LNK301"]),
        (ruled("{type: CORS}"), ["LNK303"]),
        (ruled("{}"), ["LNK303"]),
        (
            ruled(redirect("path: {type: ReplaceFullPath, replaceFullPath: x}")),
            ["LNK308"],
        ),
        (ruled(redirect("path: {type: ReplaceFullPath}")), ["LNK308"]),
        (ruled(redirect("hostname: x")), []),
        (ruled(modifier("set", "{name: a, value: ä}")), ["LNK308"]),
        (ruled(modifier("add", "{name: a, value: ä}", "response")), ["LNK308"]),
    ],
)
def test_filters_of_rules(text: str, found: list[str]) -> None:
    assert of(text) == found


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        (modifier("set", X), []),
        ("{type: ExtensionRef}", ["LNK302"]),
        ("{type: CORS}", ["LNK303"]),
        (modifier("set", "{name: a, value: ä}"), ["LNK308"]),
    ],
)
def test_filters_of_backends(filter_: str, found: list[str]) -> None:
    assert of(route(f"{{backendRefs: [{backend('a', f', filters: [{filter_}]')}]}}")) == found


def test_response_headers_are_none_of_the_older_apis() -> None:
    text = ruled(modifier("set", X, "response"))
    assert of(text.replace("gateway.networking.k8s.io/v1", "policy.linkerd.io/v1beta3")) == ["LNK304"]


def test_the_finding_names_the_filter() -> None:
    (found,) = [f for f in findings(ruled("{type: URLRewrite}")) if f.code == "LNK301"]
    assert "the filter URLRewrite" in found.message
