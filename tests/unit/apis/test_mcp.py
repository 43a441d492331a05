"""The Model Context Protocol's messages, after its specification."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret, json_size

SESSION = {"mcp-session-id": "1868a90c", "mcp-protocol-version": "2025-06-18"}
ARGUMENTS = {"location": "New York", "name": "not this", "method": "nor this"}


def message(method: Any, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 2, "method": method, "params": params}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            message("tools/call", name="get_weather", arguments=ARGUMENTS, _meta={"traceparent": "00-0af7-b7ad-01"}),
            InferenceRequest("mcp", "tools/call", "get_weather", prompt_bytes=json_size(ARGUMENTS)),
        ),
        (
            message("prompts/get", name="code_review", arguments={}),
            InferenceRequest("mcp", "prompts/get", "code_review", prompt_bytes=2),
        ),
        (
            message("initialize", protocolVersion="2025-06-18", clientInfo={"name": "c"}),
            InferenceRequest("mcp", "initialize", ""),
        ),
        (message("tools/list"), InferenceRequest("mcp", "tools/list", "")),
        (message("resources/read", uri="file:///x", name="n"), InferenceRequest("mcp", "resources/read", "")),
        (
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            InferenceRequest("mcp", "notifications/initialized", ""),
        ),
        (message("acme/launch", name="n"), InferenceRequest("mcp", "other", "")),
        (message(7, name="n"), InferenceRequest("mcp", "other", "")),
        ({"jsonrpc": "2.0", "id": 1, "result": {"name": "n"}}, InferenceRequest("mcp", "response", "")),
        ([message("tools/call", name="a"), message("tools/call", name="b")], InferenceRequest("mcp", "batch", "")),
    ],
)
def test_asks_for(body: Any, expected: InferenceRequest) -> None:
    assert interpret("POST /mcp", body, SESSION) == expected


def test_what_has_no_message_is_told_by_its_method() -> None:
    assert interpret("GET /mcp", b"", SESSION | {"accept": "text/event-stream"}) == InferenceRequest(
        "mcp", "listen", "", stream=True
    )
    assert interpret("DELETE /mcp", b"", SESSION) == InferenceRequest("mcp", "close", "")
    assert head_suffices("GET /mcp")


@pytest.mark.parametrize(
    ("line", "body", "reason"),
    [
        ("POST /mcp", b"", "no_body"),
        ("POST /mcp", b"hello", "bad_json"),
        ("POST /mcp", message("tools/call", arguments={}), "no_model"),
        ("POST /mcp", message("tools/call", name=""), "bad_model"),
        ("PUT /mcp", message("tools/list"), "no_api"),
        ("POST /mcp/x", message("tools/list"), "no_api"),
    ],
)
def test_does_not_ask_for(line: str, body: Any, reason: str) -> None:
    assert interpret(line, body, SESSION) == reason
