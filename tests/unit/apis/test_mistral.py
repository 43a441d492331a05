"""Mistral's requests beside OpenAI's, after its API reference."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import interpret, json_size


@pytest.mark.parametrize(
    ("line", "body", "expected"),
    [
        (
            "POST /v1/fim/completions",
            {"model": "codestral-latest", "prompt": "def f", "suffix": "return", "max_tokens": 9, "stream": True},
            InferenceRequest(
                *("mistral", "fim.completions", "codestral-latest", None, True, None, 9, json_size("def f", "return"))
            ),
        ),
        (
            "POST /v1/ocr",
            {"model": "mistral-ocr-latest", "document": {"type": "document_url"}},
            InferenceRequest("mistral", "ocr", "mistral-ocr-latest", prompt_bytes=json_size({"type": "document_url"})),
        ),
        (
            "POST /v1/chat/moderations",
            {"model": "m", "input": "a"},
            InferenceRequest("mistral", "chat.moderations", "m", prompt_bytes=json_size("a")),
        ),
        ("POST /v1/conversations/c/restart", {}, InferenceRequest("mistral", "conversations.restart", "")),
        ("GET /v1/conversations/c/history", None, InferenceRequest("mistral", "conversations.history", "")),
    ],
)
def test_asks_for(line: str, body: Any, expected: InferenceRequest) -> None:
    assert interpret(line, body) == expected
