"""Cohere's requests, after its API reference."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import interpret, json_size

MESSAGES = [{"role": "user", "content": "Hello"}]
DOCUMENTS = ["Carson City is in Nevada."]


@pytest.mark.parametrize(
    ("line", "body", "expected"),
    [
        (
            "POST /v2/chat",
            {"model": "command-a", "messages": MESSAGES, "stream": True, "max_tokens": 30},
            InferenceRequest("cohere", "chat", "command-a", None, True, None, 30, json_size(MESSAGES)),
        ),
        (
            "POST /v1/chat",
            {"model": "command-r", "message": "Hello", "chat_history": MESSAGES, "max_tokens": 30},
            InferenceRequest("cohere", "chat", "command-r", None, False, None, 30, json_size("Hello", MESSAGES)),
        ),
        (
            "POST /v1/generate",
            {"model": "command", "prompt": "Once", "max_tokens": 3, "stream": True},
            InferenceRequest("cohere", "generate", "command", None, True, None, 3, json_size("Once")),
        ),
        (
            "POST /v2/embed",
            {"model": "embed-v4.0", "texts": ["a"], "input_type": "search_query"},
            InferenceRequest("cohere", "embed", "embed-v4.0", prompt_bytes=json_size(["a"])),
        ),
        (
            "POST /v1/embed",
            {"model": "embed-v3.0", "texts": ["a", "b"]},
            InferenceRequest("cohere", "embed", "embed-v3.0", prompt_bytes=json_size(["a", "b"])),
        ),
        (
            "POST /v2/rerank",
            {"model": "rerank-v3.5", "query": "Capital?", "documents": DOCUMENTS},
            InferenceRequest("cohere", "rerank", "rerank-v3.5", prompt_bytes=json_size("Capital?", DOCUMENTS)),
        ),
        (
            "POST /v1/classify",
            {"model": "embed-v3.0", "inputs": ["spam?"], "examples": []},
            InferenceRequest("cohere", "classify", "embed-v3.0", prompt_bytes=json_size(["spam?"], [])),
        ),
        (
            "POST /v1/tokenize",
            {"model": "command", "text": "Hello"},
            InferenceRequest("cohere", "tokenize", "command", prompt_bytes=json_size("Hello")),
        ),
        (
            "POST /v1/detokenize",
            {"model": "command", "tokens": [7]},
            InferenceRequest("cohere", "detokenize", "command", prompt_bytes=json_size([7])),
        ),
    ],
)
def test_asks_for(line: str, body: Any, expected: InferenceRequest) -> None:
    assert interpret(line, body) == expected


def test_the_first_rerank_is_known_by_the_name_of_who_serves_it_now() -> None:
    found = interpret("POST /v1/rerank", {"model": "rerank-v2", "query": "q", "documents": []})
    assert found == InferenceRequest("vllm", "rerank", "rerank-v2", prompt_bytes=json_size("q", []))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("POST /v1/embed", "no_model"),
        ("GET /v2/chat", "no_api"),
        ("POST /v3/chat", "no_api"),
        ("POST /v1/embed-jobs", "no_api"),
        ("POST /v2/classify", "no_api"),
    ],
)
def test_does_not_ask_for(line: str, reason: str) -> None:
    assert interpret(line, {"texts": ["a"]}) == reason
