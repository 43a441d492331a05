"""Ollama's requests, after its API documentation."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import interpret, json_size

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.mark.parametrize(
    ("line", "body", "expected"),
    [
        (
            "POST /api/generate",
            {"model": "llama3.2:1b", "prompt": "Why?", "system": "Be brief.", "options": {"num_predict": 20}},
            InferenceRequest("ollama", "generate", "llama3.2:1b", None, True, None, 20, json_size("Why?", "Be brief.")),
        ),
        (
            "POST /api/generate",
            {"model": "llama3.2", "prompt": "Why?", "stream": False, "options": {"num_predict": -1}},
            InferenceRequest("ollama", "generate", "llama3.2", prompt_bytes=json_size("Why?")),
        ),
        (
            "POST /api/chat",
            {"model": "hf.co/bartowski/Llama-3.2-GGUF:Q4_K_M", "messages": MESSAGES},
            InferenceRequest(
                "ollama", "chat", "hf.co/bartowski/Llama-3.2-GGUF:Q4_K_M", stream=True, prompt_bytes=json_size(MESSAGES)
            ),
        ),
        (
            "POST /api/chat",
            {"model": "gemma3", "messages": MESSAGES, "stream": False},
            InferenceRequest("ollama", "chat", "gemma3", prompt_bytes=json_size(MESSAGES)),
        ),
        (
            "POST /api/embed",
            {"model": "all-minilm", "input": ["a", "b"]},
            InferenceRequest("ollama", "embed", "all-minilm", prompt_bytes=json_size(["a", "b"])),
        ),
        (
            "POST /api/embeddings",
            {"model": "all-minilm", "prompt": "a"},
            InferenceRequest("ollama", "embeddings", "all-minilm", prompt_bytes=json_size("a")),
        ),
        (
            "POST /v1/systemone",
            {"model": "m", "state": "Fine.", "questions": {}},
            InferenceRequest("ollama", "systemone", "m", prompt_bytes=json_size("Fine.")),
        ),
        ("POST /api/show", {"model": "all-minilm", "verbose": True}, InferenceRequest("ollama", "show", "all-minilm")),
    ],
)
def test_asks_for(line: str, body: Any, expected: InferenceRequest) -> None:
    assert interpret(line, body) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("POST /api/generate", "no_model"),
        ("GET /api/generate", "no_api"),
        ("POST /api/pull", "no_api"),
        ("GET /api/tags", "no_api"),
        ("DELETE /api/delete", "no_api"),
    ],
)
def test_does_not_ask_for(line: str, reason: str) -> None:
    assert interpret(line, {"prompt": "Why?"}) == reason
