"""Triton's generate extension, after its documentation."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret

BODY = {"text_input": "client input", "parameters": {"stream": False, "max_tokens": 20}}


@pytest.mark.parametrize(
    ("path", "operation", "version", "stream"),
    [
        ("/v2/models/ensemble/generate", "generate", None, False),
        ("/v2/models/ensemble/versions/1/generate", "generate", "1", False),
        ("/v2/models/ensemble/generate_stream", "generate_stream", None, True),
        ("/v2/models/ensemble/versions/1/generate_stream", "generate_stream", "1", True),
    ],
)
def test_asks_for(path: str, operation: str, version: str | None, stream: bool) -> None:
    assert interpret(f"POST {path}", BODY) == InferenceRequest("triton", operation, "ensemble", version, stream)
    assert head_suffices(f"POST {path}")


@pytest.mark.parametrize(
    "line",
    [
        "GET /v2/models/ensemble/generate",
        "POST /v2/models//generate",
        "POST /v2/models/ensemble/generate-stream",
        "POST /v2/models/ensemble/versions/generate",
        "POST /v2/models/ensemble/1/generate",
        "GET /v2/models/ensemble/stats",
    ],
)
def test_does_not_ask_for(line: str) -> None:
    assert interpret(line, BODY) == "no_api"
