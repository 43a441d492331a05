"""How ext_proc filters are configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import envoy_filter_ext_proc, processing_modes
from tests.lint import corpus
from tests.lint.istio_objects import envoy_filter, ext_proc, host_patch, http_filter


@corpus.bad(envoy_filter_ext_proc)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    found = corpus.found(envoy_filter_ext_proc, path, processing_modes)
    assert found == corpus.expected(envoy_filter_ext_proc, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(envoy_filter_ext_proc) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(envoy_filter_ext_proc, text)


def processor(name: str = "models.route", context: str = "GATEWAY", **config: Any) -> str:
    return envoy_filter(http_filter(ext_proc(**config), name=name, context=context))


OBSERVER = {
    "observability_mode": True,
    "route_cache_action": None,
    "mutation_rules": None,
    "message_timeout": None,
    "processing_mode": {"response_body_mode": "STREAMED"},
}


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, []),
        ({"routeCacheAction": "CLEAR", "route_cache_action": None}, []),
        ({"route_cache_actions": "CLEAR"}, ["AIM121"]),
        ({"route_cache_action": "RETAIN"}, ["AIM122"]),
        ({"route_cache_action": None, "disable_clear_route_cache": True}, ["AIM122"]),
        ({"route_cache_action": None, "disable_clear_route_cache": False}, ["AIM123"]),
        ({"route_cache_action": "DEFAULT"}, ["AIM123"]),
        ({"disable_clear_route_cache": True}, ["AIM133"]),
        ({"route_cache_action": "RETAIN", "disable_clear_route_cache": True}, ["AIM133"]),
        ({"disable_clear_route_cache": False}, []),
        ({"mutation_rules": None}, ["AIM134"]),
        ({"forward_rules": None}, ["AIM135"]),
        ({"message_timeout": None}, ["AIM132"]),
        ({"failure_mode_allow": False}, []),
    ],
)
def test_one_that_routes(config: dict[str, Any], found: list[str]) -> None:
    assert codes(processor(**config)) == found


def test_our_own_filters_clear_the_cache_in_their_replies() -> None:
    assert codes(processor("aimesh.route", route_cache_action=None)) == []


def test_inbound_there_is_no_route_to_choose_again() -> None:
    assert codes(processor(context="SIDECAR_INBOUND", route_cache_action=None)) == []


def test_one_that_sees_answers_only_may_do_what_routers_may_not() -> None:
    answers = {"request_header_mode": "SKIP", "response_body_mode": "STREAMED"}
    assert codes(processor(processing_mode=answers, mutation_rules=None, forward_rules=None)) == []
    assert codes(processor(processing_mode=answers, message_timeout=None)) == ["AIM132"]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, []),
        ({"failure_mode_allow": False}, ["AIM125"]),
        ({"failure_mode_allow": None}, ["AIM125"]),
        ({"route_cache_action": "CLEAR"}, ["AIM124"]),
        ({"route_cache_action": "DEFAULT"}, []),
        ({"mutation_rules": {"disallow_all": True}}, ["AIM124"]),
        ({"allow_mode_override": True}, ["AIM136", "AIM124"]),
        ({"processing_mode": {"response_body_mode": "BUFFERED"}}, ["AIM124"]),
        ({"processing_mode": {"request_body_mode": "FULL_DUPLEX_STREAMED"}}, ["AIM124"]),
        ({"processing_mode": {"request_body_mode": "STREAMED"}}, []),
    ],
)
def test_one_that_observes(config: dict[str, Any], found: list[str]) -> None:
    assert codes(processor("models.observe", **OBSERVER | config)) == found


ENVOY_GRPC = {"envoy_grpc": {"cluster_name": "processor"}}


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"grpc_service": None}, ["AIM181"]),
        ({"grpc_service": None, "http_service": {"http_service": {}}}, []),
        ({"http_service": {"http_service": {}}}, ["AIM181"]),
        ({"grpc_service": {**ENVOY_GRPC, "timeout": "1s"}}, ["AIM131"]),
        ({"grpc_service": {"google_grpc": {"target_uri": "processor:50051"}}}, ["AIM137"]),
    ],
)
def test_services(config: dict[str, Any], found: list[str]) -> None:
    assert codes(processor(**config)) == found


NO_WAIT = {"send_body_without_waiting_for_header_response": True}


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"processing_mode": {"request_body_mode": "STREAMED"}}, ["AIM127"]),
        ({"processing_mode": {"request_body_mode": "STREAMED"}, **NO_WAIT}, []),
        ({"processing_mode": {"request_body_mode": "BUFFERED"}}, ["AIM136"]),
        ({"allow_mode_override": True}, ["AIM136"]),
        ({"allow_mode_override": True, "processing_mode": {"request_body_mode": "FULL_DUPLEX_STREAMED"}}, ["AIM130"]),
        ({"allow_mode_override": True, **NO_WAIT, "processing_mode": {"request_body_mode": "STREAMED"}}, ["AIM130"]),
        ({"allowed_override_modes": [{"request_body_mode": "BUFFERED"}]}, ["AIM130"]),
    ],
)
def test_bodies(config: dict[str, Any], found: list[str]) -> None:
    assert codes(processor(**config)) == found


@pytest.mark.parametrize("limit", ["request_body_buffer_limit", "per_request_buffer_limit_bytes"])
def test_a_raised_limit_anywhere_here_is_enough(limit: str) -> None:
    buffered = http_filter(ext_proc(processing_mode={"request_body_mode": "BUFFERED"}))
    raised: dict[str, Any] = {limit: 67108864}
    assert codes(envoy_filter(buffered, host_patch(**raised))) == []


@pytest.mark.parametrize(
    ("attribute", "found"),
    [
        ("xds.route_name", []),
        ("request.path", []),
        ("request.headers['x-a']", []),
        ("xds.no_such", ["AIM139"]),
        ("nobodys.attribute", ["AIM139"]),
        ("request.", ["AIM181"]),
        ("", ["AIM181"]),
    ],
)
@pytest.mark.parametrize("which", ["request_attributes", "response_attributes"])
def test_attributes(attribute: str, found: list[str], which: str) -> None:
    config: dict[str, Any] = {which: [attribute]}
    assert codes(processor(**config)) == found


def test_any_filter_needs_a_type_but_one_that_is_removed() -> None:
    assert codes(envoy_filter(http_filter(None))) == ["AIM138"]
    assert codes(envoy_filter(http_filter({"@type": "type.googleapis.com/a.B"}))) == []
    assert codes(envoy_filter(http_filter(None, operation="REMOVE"))) == []
