"""What clients of each API get whose request is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.apis.grpc_error import status_details
from extproc.bodies.request import Operation
from extproc.errors import Rejected
from extproc.exchange.refusals import refused
from extproc.headers import Headers

METADATA = (("api", "an api"),)


def answer(api: str, status: int, operation: str = "") -> tuple[Any, dict[str, str]]:
    """Body and headers."""
    found = refused(Rejected(status, "a_code", 'it is "wrong"\n'), Operation(api, operation), METADATA, Headers())
    assert (found.status, found.code, found.metadata, found.grpc) == (status, "a_code", METADATA, False)
    return json.loads(found.body), dict(found.headers)


JSON = {"content-type": "application/json"}
DATA = {"code": "a_code"}
MESSAGE = 'it is "wrong"\n'
OPENAI = {"error": {"message": MESSAGE, "type": "invalid_request_error", "code": "a_code"}}


@pytest.mark.parametrize(
    ("api", "operation", "status", "expected"),
    [
        ("openai", "chat.completions", 400, OPENAI),
        ("azure", "chat.completions", 413, OPENAI),
        ("vllm", "score", 499, OPENAI),
        ("ray", "multiplexed", 400, OPENAI),
        ("", "", 400, OPENAI),
        ("gemini", "chat.completions", 400, OPENAI),
        ("vertex", "chat.completions", 400, OPENAI),
        ("openai", "chat.completions", 503, {"error": OPENAI["error"] | {"type": "server_error"}}),
        *(
            ("anthropic", "messages", status, {"type": "error", "error": {"type": kind, "message": MESSAGE}})
            for status, kind in (
                (400, "invalid_request_error"),
                (404, "not_found_error"),
                (413, "request_too_large"),
                (429, "rate_limit_error"),
                (503, "overloaded_error"),
                (502, "api_error"),
            )
        ),
        ("cohere", "chat", 400, {"message": MESSAGE}),
        *((api, "", 503, {"error": MESSAGE}) for api in ("ollama", "oip", "triton", "kserve", "seldon", "tensorflow")),
        ("generate", "generate", 413, {"error": MESSAGE, "error_type": "validation"}),
        ("generate", "generate", 429, {"error": MESSAGE, "error_type": "overloaded"}),
        ("torchserve", "predictions", 404, {"code": 404, "type": "ModelNotFoundException", "message": MESSAGE}),
        ("mlflow", "invocations", 400, {"error_code": "BAD_REQUEST", "message": MESSAGE}),
        *(
            (
                *("mcp", "message", status),
                {
                    "jsonrpc": "2.0",
                    "id": None,
                    "error": {"code": number, "message": MESSAGE, "data": DATA},
                },
            )
            for status, number in ((400, -32600), (503, -32603))
        ),
    ],
)
def test_the_body_has_the_shape_of_the_api(api: str, operation: str, status: int, expected: Any) -> None:
    assert answer(api, status, operation) == (expected, JSON)


@pytest.mark.parametrize("api", ["gemini", "vertex"])
@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "INVALID_ARGUMENT"), (404, "NOT_FOUND"), (413, "INVALID_ARGUMENT"), (503, "UNAVAILABLE"), (599, "INTERNAL")],
)
def test_google_has_a_status_and_details(api: str, status: int, name: str) -> None:
    body, headers = answer(api, status, "generateContent")
    (detail,) = body["error"].pop("details")
    assert body == {"error": {"code": status, "message": MESSAGE, "status": name}}
    assert (detail["@type"], detail["reason"]) == ("type.googleapis.com/google.rpc.ErrorInfo", "A_CODE")
    assert headers == JSON


@pytest.mark.parametrize(
    ("api", "key", "status", "kind"),
    [
        ("bedrock", "message", 400, "ValidationException"),
        ("bedrock", "message", 413, "ValidationException"),
        ("bedrock", "message", 404, "ResourceNotFoundException"),
        ("bedrock", "message", 503, "ServiceUnavailableException"),
        ("sagemaker", "Message", 400, "ValidationError"),
        ("sagemaker", "Message", 503, "ServiceUnavailable"),
    ],
)
def test_amazon_names_the_exception_in_a_header(api: str, key: str, status: int, kind: str) -> None:
    assert answer(api, status) == ({key: MESSAGE}, JSON | {"x-amzn-errortype": kind})


@pytest.mark.parametrize(
    ("status", "code", "again"), [(400, 3, False), (413, 8, False), (429, 8, True), (503, 14, True)]
)
def test_grpc_gets_the_message_and_details(status: int, code: int, again: bool) -> None:
    headers = Headers.of([("content-type", "application/grpc")])
    found = refused(Rejected(status, "a_code", MESSAGE), Operation("oip", "infer"), METADATA, headers)
    assert (found.grpc, found.message, found.body) == (True, MESSAGE, MESSAGE.encode())
    details = status_details(code, "a_code", MESSAGE, retry=again)
    assert found.headers == (("grpc-status-details-bin", details),)
