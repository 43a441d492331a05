"""Routing headers that arrive from clients, and whether they count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import header_spoofing
from extproc.lint.header_spoofing import CLIENT_HEADERS
from tests.lint import corpus
from tests.lint.istio_objects import URL, early_mutations, envoy_filter, ext_proc, host_patch, http_filter, resource


@corpus.bad(header_spoofing)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(header_spoofing, path) == corpus.expected(header_spoofing, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(header_spoofing) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(header_spoofing, text)


def routes(*names: str, **route: Any) -> str:
    match = {"headers": {name: {"exact": "v2"} for name in names}}
    return resource("VirtualService", hosts=["a"], http=[{"match": [match], **route}])


PROCESSOR = http_filter(ext_proc())


@pytest.mark.parametrize(
    ("mutation", "found"),
    [
        ({"remove": "x-model-version"}, []),
        ({"remove": "X-Model-Version"}, []),
        ({"remove_on_match": {"key_matcher": {"prefix": "x-model-"}}}, []),
        ({"remove_on_match": {"key_matcher": {"exact": "x-model-version"}}}, []),
        ({"remove_on_match": {"key_matcher": {"prefix": ""}}}, ["AIM152"]),
        ({"remove": "x-gpu-pool"}, ["AIM152"]),
        ({"remove_on_match": {"key_matcher": {"exact": "x-model"}}}, ["AIM152"]),
    ],
)
def test_what_strips_a_header(mutation: dict[str, Any], found: list[str]) -> None:
    assert codes(envoy_filter(PROCESSOR, early_mutations(mutation)) + routes("x-model-version")) == found


def test_headers_that_are_not_for_routing_need_no_stripping() -> None:
    assert codes(envoy_filter(PROCESSOR, early_mutations({"remove": "x-gpu-pool"})) + routes("x-user")) == []


@pytest.mark.parametrize(
    ("pins", "found"),
    [("x-model-version", []), ("x-a, X-Model-Version ", []), ("x-model", ["AIM152"]), ("", ["AIM152"])],
)
def test_a_header_that_clients_may_send(pins: str, found: list[str]) -> None:
    patches = PROCESSOR, early_mutations({"remove": "x-gpu-pool"})
    assert codes(envoy_filter(*patches, annotations={CLIENT_HEADERS: pins}) + routes("x-model-version")) == found


def test_stripping_counts_on_the_listeners_of_the_processor() -> None:
    strip = {"remove": "x-model-version"}
    assert codes(envoy_filter(PROCESSOR)) == ["AIM151"]
    assert codes(envoy_filter(PROCESSOR, early_mutations(strip, context="SIDECAR_OUTBOUND"))) == ["AIM151"]
    assert codes(envoy_filter(PROCESSOR, early_mutations(strip, context="ANY"))) == []
    observer = http_filter(ext_proc(observability_mode=True))
    assert codes(envoy_filter(observer)) == []


def test_routes_without_any_processor() -> None:
    assert codes(routes("x-model-version", "x-gpu-pool", "x-user")) == ["AIM156", "AIM156"]
    assert codes(routes("x-model-version") + envoy_filter(http_filter(ext_proc(observability_mode=True)))) == []


def test_a_filter_that_strips_comes_too_late() -> None:
    def late(name: str) -> list[str]:
        kind = f"{URL}envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
        mutations = {"request_mutations": [{"remove": name}]}
        return codes(envoy_filter(http_filter({"@type": kind, "mutations": mutations})))

    assert late("x-model-version") == ["AIM153"]
    assert late("X-GPU-Pool") == ["AIM153"]
    assert late("x-user") == []


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ({}, ["AIM155"]),
        ({"append_action": "APPEND_IF_EXISTS_OR_ADD"}, ["AIM155"]),
        ({"append_action": "ADD_IF_ABSENT"}, ["AIM155"]),
        ({"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}, []),
        ({"append": False}, []),
        ({"append": True}, ["AIM155"]),
    ],
)
def test_what_a_mutation_leaves_of_the_clients_value(option: dict[str, Any], found: list[str]) -> None:
    added = {"header": {"key": "x-model-version", "value": "v1"}, **option}
    assert codes(envoy_filter(host_patch(request_headers_to_add=[added]))) == found
    assert codes(envoy_filter(host_patch(response_headers_to_add=[added]))) == []


def test_a_virtual_service_that_removes_or_adds() -> None:
    remove = {"headers": {"request": {"remove": ["x-model-version", "x-user"]}}}
    assert codes(routes("x-user", **remove)) == ["AIM154"]
    assert codes(routes("x-user", route=[{"destination": {"host": "a"}, **remove}])) == ["AIM154"]
    add = {"headers": {"request": {"add": {"x-model-version": "v1"}, "set": {"x-gpu-pool": "a"}}}}
    assert codes(routes("x-user", **add)) == ["AIM155"]
    stripped = envoy_filter(PROCESSOR, early_mutations({"remove_on_match": {"key_matcher": {"prefix": "x-"}}}))
    assert codes(stripped + routes("x-user", **remove)) == []
    assert codes(stripped + routes("X-Model-Version", **remove)) == ["AIM154"], "the route goes by it"
