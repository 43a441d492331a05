"""The Gemini API's requests, after its REST reference."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret, json_size

CONTENTS = [{"role": "user", "parts": [{"text": "Explain a mesh."}]}]
BODY = {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 100}}


@pytest.mark.parametrize(
    ("line", "operation", "model", "stream"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent?key=k", "generateContent", "gemini-2.5-flash", False),
        (
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            "streamGenerateContent",
            "gemini-2.5-flash",
            True,
        ),
        ("/v1/models/gemini-2.5-pro:generateContent", "generateContent", "gemini-2.5-pro", False),
        ("/v1alpha/models/gemini-2.5-pro:countTokens", "countTokens", "gemini-2.5-pro", False),
        ("/v1beta/models/gemini-embedding-001:embedContent", "embedContent", "gemini-embedding-001", False),
        ("/v1beta/models/gemini-embedding-001:batchEmbedContents", "batchEmbedContents", "gemini-embedding-001", False),
        ("/v1beta/models/imagen-4.0:predict", "predict", "imagen-4.0", False),
        ("/v1beta/models/veo-3.0:predictLongRunning", "predictLongRunning", "veo-3.0", False),
        ("/v1beta/tunedModels/my-model:streamGenerateContent", "streamGenerateContent", "my-model", True),
        ("/v1beta/models/a%2Fb%3Ac:generateContent", "generateContent", "a/b:c", False),
    ],
)
def test_asks_for(line: str, operation: str, model: str, stream: bool) -> None:
    assert interpret(f"POST {line}", BODY) == InferenceRequest("gemini", operation, model, stream=stream)
    assert head_suffices(f"POST {line}")


def test_as_openai_has_it() -> None:
    body = {"model": "gemini-2.5-flash", "messages": CONTENTS, "stream": True}
    expected = InferenceRequest(
        "gemini", "chat.completions", "gemini-2.5-flash", stream=True, prompt_bytes=json_size(CONTENTS)
    )
    assert interpret("POST /v1beta/openai/chat/completions", body) == expected


def test_interactions() -> None:
    body = {"model": "gemini-3-pro", "input": "Why?", "stream": True}
    expected = InferenceRequest("gemini", "interactions", "gemini-3-pro", stream=True, prompt_bytes=json_size("Why?"))
    assert interpret("POST /v1beta/interactions", body) == expected
    assert interpret("POST /v1beta/interactions", {"agent": "a", "input": "Why?"}) == "no_model"
    assert interpret("GET /v1beta/interactions/i", None) == InferenceRequest("gemini", "interactions.get", "")


@pytest.mark.parametrize(
    "line",
    [
        "GET /v1beta/models/gemini-2.5-flash:generateContent",
        "GET /v1beta/models/gemini-2.5-flash",
        "POST /v1beta/models/gemini-2.5-flash",
        "POST /v1beta/models/:generateContent",
        "POST /v1beta/models/gemini-2.5-flash:generate",
        "POST /v1beta/models/gemini-2.5-flash/generateContent",
        "POST /v2/models/gemini-2.5-flash:generateContent",
    ],
)
def test_does_not_ask_for(line: str) -> None:
    assert interpret(line, BODY) == "no_api"
