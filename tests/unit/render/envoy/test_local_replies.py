"""Envoy's own error responses: which mapper takes which, in order."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.render.envoy.local_replies import MAX_HEADERS, MAX_HEADERS_KB, local_replies


def mapped(status: int, details: str = "") -> dict[str, Any] | None:
    """The error that a client gets for a local reply: what the first mapper gives whose filters hold."""
    for mapper in local_replies():
        by_status, by_details = mapper["filter"]["and_filter"]["filters"]
        comparison = by_status["status_code_filter"]["comparison"]
        value = comparison["value"]["default_value"]
        if not (status == value if comparison["op"] == "EQ" else status >= value):
            continue
        expression = by_details["extension_filter"]["typed_config"]["expression"]
        assert expression.startswith("!response.code_details.startsWith('aimesh_')")
        _, _, suffix = expression.partition(" && response.code_details.endsWith('")
        if not details.startswith("aimesh_") and details.endswith(suffix.removesuffix("')")):
            body = mapper["body_format_override"]
            assert body["content_type"] == "application/json"
            return dict(body["json_format"]["error"])
    return None


@pytest.mark.parametrize(
    ("status", "details", "code", "kind"),
    [
        (413, "request_payload_too_large", "request_too_large", "invalid_request_error"),
        (408, "request_overall_timeout", "request_timeout", "invalid_request_error"),
        (426, "low_version", "http_version_too_low", "invalid_request_error"),
        (431, "http1.too_many_headers", "too_many_headers", "invalid_request_error"),
        (431, "http1.headers_too_large", "headers_too_large", "invalid_request_error"),
        (400, "missing_host_header", "no_host", "invalid_request_error"),
        (400, "http1.codec_error", "bad_request", "invalid_request_error"),
        (403, "upgrade_failed", "upgrade_refused", "invalid_request_error"),
        (404, "route_not_found", "not_found", "invalid_request_error"),
        (501, "http1.invalid_transfer_encoding", "transfer_encoding", "server_error"),
        (503, "overload", "overloaded", "server_error"),
        (503, "no_healthy_upstream", "no_model_server", "server_error"),
        (504, "upstream_response_timeout", "timeout", "server_error"),
        (500, "", "internal_error", "server_error"),
        (429, "", "bad_request", "invalid_request_error"),
    ],
)
def test_what_a_client_is_told(status: int, details: str, code: str, kind: str) -> None:
    found = mapped(status, details)
    assert found is not None
    assert (found["code"], found["type"]) == (code, kind)
    assert found["message"].endswith((".", "1.1."))


@pytest.mark.parametrize("status", [400, 413, 503])
def test_answers_of_the_processor_stay_as_they_are(status: int) -> None:
    assert mapped(status, "aimesh_no_gpu") is None


@pytest.mark.parametrize("status", [200, 302, 399])
def test_what_is_no_error_stays(status: int) -> None:
    assert mapped(status) is None


def test_messages_name_the_limits() -> None:
    assert str(MAX_HEADERS) in (mapped(431, "too_many_headers") or {})["message"]
    assert f"{MAX_HEADERS_KB} KiB" in (mapped(431) or {})["message"]
