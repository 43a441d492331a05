"""Anthropic's requests, after its API reference."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import interpret, json_size

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "Hello, Claude"}]}]
TOOLS = [{"name": "weather", "input_schema": {"type": "object", "properties": {"model": {"type": "string"}}}}]
HEADERS = {"x-api-key": "sk", "anthropic-version": "2023-06-01", "content-type": "application/json"}


@pytest.mark.parametrize(
    ("line", "body", "expected"),
    [
        (
            "POST /v1/messages?beta=true",
            {
                "model": "claude-opus-4-1",
                "max_tokens": 1024,
                "system": "Be brief.",
                "messages": MESSAGES,
                "stream": True,
            },
            InferenceRequest(
                "anthropic", "messages", "claude-opus-4-1", None, True, None, 1024, json_size("Be brief.", MESSAGES)
            ),
        ),
        (
            "POST /v1/messages",
            {"tools": TOOLS, "messages": MESSAGES, "max_tokens": 7, "model": "claude-haiku"},
            InferenceRequest("anthropic", "messages", "claude-haiku", None, False, None, 7, json_size(TOOLS, MESSAGES)),
        ),
        (
            "POST /v1/messages/count_tokens",
            {"model": "claude-opus-4-1", "messages": MESSAGES},
            InferenceRequest("anthropic", "messages.count_tokens", "claude-opus-4-1", prompt_bytes=json_size(MESSAGES)),
        ),
        (
            "POST /v1/messages/batches",
            {"requests": [{"custom_id": "1", "params": {"model": "claude-haiku"}}]},
            InferenceRequest("anthropic", "messages.batches", ""),
        ),
        (
            "POST /v1/complete",
            {"model": "claude-2.1", "prompt": "\n\nHuman: Hi\n\nAssistant:", "max_tokens_to_sample": 5},
            InferenceRequest(
                "anthropic", "complete", "claude-2.1", None, False, None, 5, json_size("\n\nHuman: Hi\n\nAssistant:")
            ),
        ),
    ],
)
def test_asks_for(line: str, body: Any, expected: InferenceRequest) -> None:
    assert interpret(line, body, HEADERS) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("POST /v1/messages", "no_model"),
        ("GET /v1/messages", "no_api"),
        ("POST /v1/messages/batches/b1/results", "no_api"),
        ("POST /v1/message", "no_api"),
    ],
)
def test_does_not_ask_for(line: str, reason: str) -> None:
    assert interpret(line, {"messages": MESSAGES, "max_tokens": 1}, HEADERS) == reason
