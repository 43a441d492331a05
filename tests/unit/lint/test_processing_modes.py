"""Which parts of requests and answers ext_proc filters see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import processing_modes
from tests.lint import corpus
from tests.lint.istio_objects import PER_ROUTE, envoy_filter, ext_proc, host_patch, http_filter


@corpus.bad(processing_modes)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(processing_modes, path) == corpus.expected(processing_modes, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(processing_modes) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(processing_modes, text)


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        ({"request_body_mode": "BUFFERED"}, []),
        ({"request_body_mode": "BUFFERED_PARTIAL"}, ["AIM126"]),
        ({"requestBodyMode": "BUFFERED_PARTIAL"}, ["AIM126"]),
        ({"response_body_mode": "BUFFERED"}, ["AIM140"]),
        ({"response_body_mode": "BUFFERED_PARTIAL"}, ["AIM140"]),
        ({"response_body_mode": "STREAMED"}, []),
        ({"request_body_mode": "FULL_DUPLEX_STREAMED"}, ["AIM129", "AIM128"]),
        ({"request_body_mode": "FULL_DUPLEX_STREAMED", "request_trailer_mode": "SEND"}, ["AIM129"]),
        ({"request_body_mode": "FULL_DUPLEX_STREAMED", "response_trailer_mode": "SEND"}, ["AIM129", "AIM128"]),
        ({"response_body_mode": "FULL_DUPLEX_STREAMED", "response_trailer_mode": "SEND"}, ["AIM129"]),
        ({"request_body_mode": "BUFFERD"}, ["AIM121"]),
        ({"request_header_mode": "BUFFERED"}, ["AIM121"]),
        ({"request_trailer_mode": "NONE"}, ["AIM121"]),
        ({"request_body_mode": 2}, []),
        ({"request_headers_mode": "SEND"}, ["AIM121"]),
    ],
)
def test_modes_of_a_filter_and_of_a_host_are_judged_alike(mode: dict[str, Any], found: list[str]) -> None:
    assert codes(envoy_filter(http_filter(ext_proc(processing_mode=mode)))) == found
    settings = {"models.route": {"@type": PER_ROUTE, "overrides": {"processing_mode": mode}}}
    assert codes(envoy_filter(http_filter(ext_proc()), host_patch(settings))) == found


def test_a_misspelt_word_gets_the_one_that_was_meant() -> None:
    text = envoy_filter(http_filter(ext_proc(processing_mode={"request_body_mode": "BUFFERD"})))
    (found,) = corpus.findings(processing_modes, text)
    assert (found.message, found.remedy) == ("there is no mode BUFFERD", 'did you mean "BUFFERED"?')


def test_the_trailers_that_a_duplex_answer_needs_are_named() -> None:
    text = envoy_filter(http_filter(ext_proc(processing_mode={"response_body_mode": "FULL_DUPLEX_STREAMED"})))
    assert corpus.findings(processing_modes, text)[-1].remedy == "write response_trailer_mode: SEND"


def test_an_observer_may_buffer_answers_as_nobody_waits() -> None:
    config = ext_proc(observability_mode=True, processing_mode={"response_body_mode": "BUFFERED"})
    assert codes(envoy_filter(http_filter(config))) == []


@pytest.mark.parametrize(("field", "found"), [("grpcService", []), ("async_mode", []), ("grpc_services", ["AIM121"])])
def test_fields_of_overrides(field: str, found: list[str]) -> None:
    settings = {"models.route": {"@type": PER_ROUTE, "overrides": {field: True}}}
    assert codes(envoy_filter(http_filter(ext_proc()), host_patch(settings))) == found
