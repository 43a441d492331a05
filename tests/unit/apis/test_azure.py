"""Azure OpenAI's requests, after its REST reference."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret, json_size

MESSAGES = [{"role": "user", "content": "Hello"}]
DEPLOYED = {"messages": MESSAGES, "stream": True, "max_tokens": 10}
NAMED = {"model": "my-gpt", "messages": MESSAGES, "max_completion_tokens": 10}
VERSION = "api-version=2024-10-21"
OF_PATH = (
    *("chat/completions", "completions", "embeddings", "images/generations", "images/edits"),
    *("audio/speech", "audio/transcriptions", "audio/translations"),
)


@pytest.mark.parametrize("path", OF_PATH)
def test_a_deployment_is_the_model(path: str) -> None:
    line = f"POST /openai/deployments/my-gpt/{path}?{VERSION}"
    assert interpret(line, DEPLOYED) == InferenceRequest("azure", path.replace("/", "."), "my-gpt")
    assert head_suffices(line)


@pytest.mark.parametrize(
    ("line", "body", "expected"),
    [
        (
            f"POST /openai/deployments/my%20gpt/extensions/chat/completions?{VERSION}",
            DEPLOYED,
            InferenceRequest("azure", "chat.completions", "my gpt"),
        ),
        (
            "POST /openai/v1/chat/completions",
            NAMED,
            InferenceRequest("azure", "chat.completions", "my-gpt", None, False, None, 10, json_size(MESSAGES)),
        ),
        (
            "POST /openai/v1/responses?api-version=preview",
            {"model": "my-gpt", "input": "Hello", "stream": True},
            InferenceRequest("azure", "responses", "my-gpt", stream=True, prompt_bytes=json_size("Hello")),
        ),
        (
            "POST /openai/responses?api-version=2025-03-01-preview",
            {"model": "my-gpt", "input": "Hello"},
            InferenceRequest("azure", "responses", "my-gpt", prompt_bytes=json_size("Hello")),
        ),
        (
            "POST /openai/v1/embeddings",
            {"model": "ada", "input": ["a"]},
            InferenceRequest("azure", "embeddings", "ada", prompt_bytes=json_size(["a"])),
        ),
        (
            "POST /models/chat/completions?api-version=2024-05-01-preview",
            NAMED,
            InferenceRequest("azure", "chat.completions", "my-gpt", None, False, None, 10, json_size(MESSAGES)),
        ),
        (
            "POST /models/embeddings?api-version=2024-05-01-preview",
            {"model": "ada", "input": ["a"]},
            InferenceRequest("azure", "embeddings", "ada", prompt_bytes=json_size(["a"])),
        ),
        (
            f"GET /openai/realtime?{VERSION}&deployment=my-voice",
            b"",
            InferenceRequest("azure", "realtime", "my-voice", stream=True),
        ),
        ("GET /openai/v1/realtime?model=my-voice", b"", InferenceRequest("azure", "realtime", "my-voice", stream=True)),
        (
            "POST /openai/v1/realtime/calls?model=my-voice",
            b"v=0\r\n",
            InferenceRequest("azure", "realtime.calls", "my-voice", stream=True),
        ),
        (
            f"POST /openai/realtimeapi/sessions?{VERSION}",
            {"model": "my-voice"},
            InferenceRequest("azure", "realtime.sessions", "my-voice"),
        ),
    ],
)
def test_asks_for(line: str, body: Any, expected: InferenceRequest) -> None:
    assert interpret(line, body) == expected


@pytest.mark.parametrize(
    "line",
    [
        f"GET /openai/deployments/my-gpt/chat/completions?{VERSION}",
        f"POST /openai/deployments/my-gpt/chat?{VERSION}",
        f"POST /openai/deployments//chat/completions?{VERSION}",
        f"POST /openai/deployments/my-gpt/fine_tuning/jobs?{VERSION}",
        f"GET /openai/deployments?{VERSION}",
        "GET /openai/realtime?deployment=a&deployment=b",
    ],
)
def test_does_not_ask_for(line: str) -> None:
    assert interpret(line, DEPLOYED) == "no_api"
