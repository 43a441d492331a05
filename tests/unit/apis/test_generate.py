"""``/generate`` as TGI and SGLang document it: no request names its model."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import interpret, json_size

TGI = {"inputs": "What is a mesh?", "parameters": {"max_new_tokens": 20, "adapter_id": "predibase/dbpedia"}}
SGLANG = {"text": "Paris is", "sampling_params": {"max_new_tokens": 8}, "stream": True, "lora_path": "lora0"}


@pytest.mark.parametrize(
    ("line", "body", "expected"),
    [
        (
            "POST /generate",
            TGI,
            InferenceRequest(
                "generate", "generate", "", None, False, "predibase/dbpedia", 20, json_size("What is a mesh?")
            ),
        ),
        (
            "POST /",
            TGI | {"stream": True},
            InferenceRequest(
                "generate", "generate", "", None, True, "predibase/dbpedia", 20, json_size("What is a mesh?")
            ),
        ),
        (
            "POST /generate_stream",
            TGI,
            InferenceRequest(
                "generate", "generate_stream", "", None, True, "predibase/dbpedia", 20, json_size("What is a mesh?")
            ),
        ),
        (
            "POST /generate",
            SGLANG,
            InferenceRequest("generate", "generate", "", None, True, "lora0", 8, json_size("Paris is")),
        ),
        (
            "POST /generate",
            {"input_ids": [1, 2]},
            InferenceRequest("generate", "generate", "", prompt_bytes=json_size([1, 2])),
        ),
        (
            "POST /generate",
            {"text": ["a", "b"], "lora_path": ["x", None], "sampling_params": [{"max_new_tokens": 1}]},
            InferenceRequest("generate", "generate", "", prompt_bytes=json_size(["a", "b"])),
        ),
    ],
)
def test_asks_for(line: str, body: Any, expected: InferenceRequest) -> None:
    assert interpret(line, body) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [("GET /generate", "no_api"), ("POST /generate//", "no_api"), ("POST /generates", "no_api")],
)
def test_does_not_ask_for(line: str, reason: str) -> None:
    assert interpret(line, TGI) == reason
