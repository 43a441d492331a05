"""Vertex AI's requests, after its REST reference."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import field, head_suffices, interpret, interpret_call, json_size

PLACE = "projects/my-project/locations/us-central1"
CLAUDE = f"/v1/{PLACE}/publishers/anthropic/models/claude-sonnet-4@20250514"
BODY = {"anthropic_version": "vertex-2023-10-16", "messages": [], "max_tokens": 10, "stream": True}


@pytest.mark.parametrize(
    ("line", "operation", "model", "stream"),
    [
        (f"{CLAUDE}:rawPredict", "rawPredict", "claude-sonnet-4@20250514", False),
        (f"{CLAUDE}:streamRawPredict", "streamRawPredict", "claude-sonnet-4@20250514", True),
        (
            f"/v1/{PLACE}/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            "streamGenerateContent",
            "gemini-2.5-flash",
            True,
        ),
        (
            f"/v1beta1/{PLACE}/publishers/google/models/gemini-2.5-pro:countTokens",
            "countTokens",
            "gemini-2.5-pro",
            False,
        ),
        (f"/v1/{PLACE}/publishers/google/models/text-embedding-005:predict", "predict", "text-embedding-005", False),
        (
            "/v1/publishers/google/models/gemini-2.5-pro:generateContent?key=k",
            "generateContent",
            "gemini-2.5-pro",
            False,
        ),
        (f"/v1/{PLACE}/endpoints/1234567890:predict", "predict", "1234567890", False),
        (f"/v1/{PLACE}/endpoints/1234567890:rawPredict", "rawPredict", "1234567890", False),
        (f"/v1/{PLACE}/endpoints/1234567890:serverStreamingPredict", "serverStreamingPredict", "1234567890", True),
        (f"/v1beta1/{PLACE}/endpoints/1234567890/chat/completions", "chat.completions", "1234567890", False),
    ],
)
def test_asks_for(line: str, operation: str, model: str, stream: bool) -> None:
    assert interpret(f"POST {line}", BODY) == InferenceRequest("vertex", operation, model, stream=stream)
    assert head_suffices(f"POST {line}")


def test_as_openai_has_it_the_body_names_the_model() -> None:
    body = {"model": "google/gemini-2.5-flash", "messages": ["hi"], "stream": True, "max_tokens": 4}
    expected = InferenceRequest(
        "vertex", "chat.completions", "google/gemini-2.5-flash", None, True, None, 4, json_size(["hi"])
    )
    assert interpret(f"POST /v1/{PLACE}/endpoints/openapi/chat/completions", body) == expected


CALL = "/google.cloud.aiplatform.v1beta1.PredictionService/ChatCompletions"
JSON = '{"model":"gemma","messages":["hi"],"stream":true,"max_tokens":4}'


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            field(1, "projects/p/locations/l/endpoints/e") + field(2, field(1, "application/json") + field(2, JSON)),
            InferenceRequest("vertex", "chat.completions", "gemma", None, True, None, 4, json_size(["hi"])),
        ),
        (
            field(2, field(2, '{"model":"first"}') + field(2, '{"model":"last"}')),
            InferenceRequest("vertex", "chat.completions", "last"),
        ),
        (field(1, "e"), "no_body"),
        (field(2, field(2, "{}")), "no_model"),
        (field(2, field(2, "hello")), "bad_json"),
        (b"\x07", "bad_grpc"),
    ],
)
def test_a_call_holds_the_request_as_openai_has_it(message: bytes, expected: InferenceRequest | str) -> None:
    assert interpret_call(CALL, message) == expected


@pytest.mark.parametrize(
    "line",
    [
        f"GET {CLAUDE}:rawPredict",
        f"POST {CLAUDE}",
        f"POST {CLAUDE}:rawpredictions",
        f"POST /v1/{PLACE}/publishers/google/models/:predict",
        f"POST /v1/{PLACE}/models/1234567890:predict",
        f"POST /v1/{PLACE}/endpoints/1234567890:deployModel",
        "POST /v1/projects/p/publishers/google/models/gemini-2.5-pro:generateContent",
    ],
)
def test_does_not_ask_for(line: str) -> None:
    assert interpret(line, BODY) == "no_api"
