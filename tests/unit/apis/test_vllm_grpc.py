"""Requests to vLLM's engine over gRPC, after its vllm_engine.proto: no model is named, all else is read."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import field, interpret_call

SERVICE = "/vllm.grpc.engine.VllmEngine/"
TOKENS = field(2, field(1, "Hi") + field(2, b"\x01\x02\x03"))
SAMPLING = field(4, field(8, 64))


@pytest.mark.parametrize(
    ("method", "message", "expected"),
    [
        ("Generate", field(1, "r") + TOKENS, InferenceRequest("vllm", "generate", "", prompt_bytes=9)),
        (
            "Generate",
            field(3, "Hello") + field(5, 1),
            InferenceRequest("vllm", "generate", "", stream=True, prompt_bytes=5),
        ),
        (
            "Generate",
            TOKENS + SAMPLING + field(5, 0),
            InferenceRequest("vllm", "generate", "", max_tokens=64, prompt_bytes=9),
        ),
        ("Embed", field(1, "r") + TOKENS, InferenceRequest("vllm", "embed", "", prompt_bytes=9)),
    ],
)
def test_asks_for(method: str, message: bytes, expected: InferenceRequest) -> None:
    assert interpret_call(SERVICE + method, message) == expected


def test_does_not_ask_for() -> None:
    assert interpret_call(SERVICE + "HealthCheck", b"") == "no_api"
    assert interpret_call(SERVICE + "Generate", b"\x07") == "bad_grpc"
