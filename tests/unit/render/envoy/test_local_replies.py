"""Envoy's own error responses: which mapper takes which, in order."""

from __future__ import annotations

import json
from base64 import b64decode
from functools import cache
from typing import Any

import celpy
import pytest
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError
from google.rpc import status_pb2

from extproc.apis import FAMILIES
from extproc.render.envoy.local_replies import MAX_HEADERS, MAX_HEADERS_KB, local_replies, local_replies_in_mesh

CHAT = "/v1/chat/completions"
ENVIRONMENT = celpy.Environment()


@cache
def program(expression: str) -> celpy.Runner:
    """Compiled once: the mappers have few expressions, and compiling takes a hundred times as long as asking."""
    return ENVIRONMENT.program(ENVIRONMENT.compile(expression))


def mapped(
    status: int,
    details: str = "",
    *,
    path: str = CHAT,
    metadata: dict[str, str] | None = None,
    content_type: str = "application/json",
    in_mesh: bool = False,
) -> dict[str, Any] | None:
    """The first mapper whose filters hold. ``path``: empty where Envoy could not read the head."""
    known: dict[str, Any] = {
        "response": {"code": status, "code_details": details},
        "request": {"headers": {"content-type": content_type}, "url_path": path} if path else {"headers": {}},
        "metadata": {"filter_metadata": {"aimesh": metadata} if metadata else {}},
    }
    given = {name: json_to_cel(value) for name, value in known.items()}
    for mapper in local_replies_in_mesh() if in_mesh else local_replies():
        *by_status, by_expression = mapper["filter"].get("and_filter", {"filters": [mapper["filter"]]})["filters"]
        if by_status:
            comparison = by_status[0]["status_code_filter"]["comparison"]
            value = comparison["value"]["default_value"]
            if not (status == value if comparison["op"] == "EQ" else status >= value):
                continue
        expression = by_expression["extension_filter"]["typed_config"]["expression"]
        try:
            holds = program(expression).evaluate(given)
        except CELEvalError:  # Envoy takes an error for a no
            continue
        if holds:
            return dict(mapper)
    return None


def told(*arguments: Any, **names: Any) -> Any:
    """The document that the client gets."""
    found = mapped(*arguments, **names)
    assert found is not None
    form = found["body_format_override"]
    assert form["content_type"] == "application/json"
    return json.loads(form["text_format_source"]["inline_string"].replace("%%", "%"))


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
        (503, "ext_proc_error_grpc_error_14{aimesh.route}", "no_processor", "server_error"),
        (503, "no_healthy_upstream", "no_model_server", "server_error"),
        (504, "upstream_response_timeout", "timeout", "server_error"),
        (500, "", "internal_error", "server_error"),
        (429, "fault_filter_abort", "rate_limited", "rate_limit_error"),
    ],
)
@pytest.mark.parametrize("path", ["", CHAT])
def test_what_a_client_is_told(status: int, details: str, code: str, kind: str, path: str) -> None:
    error = told(status, details, path=path)["error"]
    assert (error["code"], error["type"]) == (code, kind)
    assert error["message"].endswith((".", "1.1."))


NONE = "No model server can take this request now."
SHAPES: list[tuple[str, str, Any]] = [
    ("anthropic", "/v1/messages", {"type": "error", "error": {"type": "overloaded_error", "message": NONE}}),
    ("bedrock", "/model/m/converse", {"message": NONE}),
    ("sagemaker", "/endpoints/m/invocations", {"Message": NONE}),
    ("cohere", "/v2/chat", {"message": NONE}),
    ("ollama", "/api/chat", {"error": NONE}),
    ("oip", "/v2/models/m/infer", {"error": NONE}),
    ("torchserve", "/predictions/m", {"code": 503, "type": "ServiceUnavailableException", "message": NONE}),
    ("generate", "/generate", {"error": NONE, "error_type": "overloaded"}),
    ("mlflow", "/invocations", {"error_code": "TEMPORARILY_UNAVAILABLE", "message": NONE}),
    (
        "mcp",
        "/mcp",
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": NONE, "data": {"code": "no_model_server"}}},
    ),
]


@pytest.mark.parametrize(("api", "path", "expected"), SHAPES)
def test_each_api_has_its_own_shape_by_what_the_processor_said_or_by_the_path(
    api: str, path: str, expected: Any
) -> None:
    known = {"api": api, "operation": "any"}
    assert told(503, "no_healthy_upstream", path="/prefixed", metadata=known) == expected
    assert told(503, "no_healthy_upstream", path="/prefixed", metadata=known, in_mesh=True) == expected
    assert told(503, "no_healthy_upstream", path=path) == expected
    assert mapped(503, "no_healthy_upstream", path=path, in_mesh=True) is None


def test_google_has_its_own_but_for_openai_s_operations() -> None:
    error = told(504, metadata={"api": "gemini", "operation": "generateContent"})["error"]
    assert (error["code"], error["status"]) == (504, "DEADLINE_EXCEEDED")
    for api in ("gemini", "vertex"):
        assert told(504, metadata={"api": api, "operation": "chat.completions"})["error"]["code"] == "timeout"
    assert told(413, path="/v1beta/models/m:generateContent")["error"]["status"] == "INVALID_ARGUMENT"
    assert told(413, path="/v1beta/openai/chat/completions")["error"]["code"] == "request_too_large"


@pytest.mark.parametrize("api", sorted({row.api for family in FAMILIES for row in family.ROWS}))
@pytest.mark.parametrize("in_mesh", [False, True])
def test_every_api_is_told_something(api: str, in_mesh: bool) -> None:
    for status in (502, 503, 504):
        assert told(status, metadata={"api": api}, in_mesh=in_mesh)


@pytest.mark.parametrize("in_mesh", [False, True])
def test_grpc_gets_the_message_alone(in_mesh: bool) -> None:
    found = mapped(503, metadata={"api": "oip"}, content_type="application/grpc+proto", in_mesh=in_mesh)
    assert found is not None
    assert found["body_format_override"] == {
        "text_format_source": {"inline_string": NONE},
        "content_type": "text/plain",
    }


@pytest.mark.parametrize(("status", "grpc"), [(429, 14), (503, 14), (504, 14), (408, 0), (413, 0), (500, 0)])
def test_grpc_gets_details_where_the_status_is_known(status: int, grpc: int) -> None:
    found = mapped(status, metadata={"api": "oip"}, content_type="application/grpc") or {}
    _, *added = found["headers_to_add"]
    if not grpc:
        assert not added
        return
    (header,) = (each["header"] for each in added)
    assert header["key"] == "grpc-status-details-bin"
    details = status_pb2.Status.FromString(b64decode(header["value"]))
    assert (details.code, details.message) == (
        grpc,
        found["body_format_override"]["text_format_source"]["inline_string"],
    )


def test_who_is_too_many_is_told_when_to_come_again() -> None:
    *_, added = (mapped(429, "local_rate_limited") or {})["headers_to_add"]
    assert added == {"header": {"key": "retry-after", "value": "1"}, "append_action": "ADD_IF_ABSENT"}


def test_amazon_s_exception_is_in_a_header() -> None:
    found = mapped(413, path="/model/m/converse") or {}
    timing, added = found["headers_to_add"]
    assert added["header"] == {"key": "x-amzn-errortype", "value": "ValidationException"}
    assert (mapped(413) or {})["headers_to_add"] == [timing]


@pytest.mark.parametrize("status", [400, 413, 503])
@pytest.mark.parametrize("in_mesh", [False, True])
def test_answers_of_the_processor_stay_as_they_are(status: int, in_mesh: bool) -> None:
    mapper = mapped(status, "aimesh_no_gpu", metadata={"api": "openai"}, in_mesh=in_mesh) or {}
    assert mapper.keys() == {"filter", "headers_to_add"}


@pytest.mark.parametrize("details", ["aimesh_no_gpu", "no_healthy_upstream"])
def test_times_of_a_model_server_are_left_out(details: str) -> None:
    (added,) = (mapped(503, details) or {})["headers_to_add"]
    assert added["header"] == {"key": "server-timing", "value": "total;dur=%DURATION%"}
    assert added["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"


@pytest.mark.parametrize("status", [200, 302, 399])
def test_what_is_no_error_stays(status: int) -> None:
    assert mapped(status) is None


@pytest.mark.parametrize("status", [401, 403, 404, 413])
def test_a_mesh_s_own_refusals_stay_as_they_are(status: int) -> None:
    assert mapped(status, metadata={"api": "openai"}, in_mesh=True) is None
    assert mapped(503, in_mesh=True) is None


def test_messages_name_the_limits() -> None:
    assert str(MAX_HEADERS) in told(431, "too_many_headers")["error"]["message"]
    assert f"{MAX_HEADERS_KB} KiB" in told(431, "headers_too_large")["error"]["message"]
