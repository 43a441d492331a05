"""Amazon SageMaker's requests, after its runtime's API reference."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret

MODEL = {"X-Amzn-SageMaker-Target-Model": "model-7.tar.gz"}
COMPONENT = {"X-Amzn-SageMaker-Inference-Component": "llama-component"}
VARIANT = {"X-Amzn-SageMaker-Target-Variant": "blue"}
ACTIONS = [("invocations", False), ("invocations-response-stream", True), ("async-invocations", False)]


@pytest.mark.parametrize(("action", "stream"), ACTIONS)
@pytest.mark.parametrize(
    ("headers", "model", "version"),
    [
        ({}, "my-endpoint", None),
        (MODEL, "model-7.tar.gz", None),
        (COMPONENT, "llama-component", None),
        (VARIANT, "my-endpoint", "blue"),
        (MODEL | COMPONENT | VARIANT, "model-7.tar.gz", "blue"),
    ],
)
def test_asks_for(action: str, stream: bool, headers: dict[str, str], model: str, version: str | None) -> None:
    line = f"POST /endpoints/my-endpoint/{action}"
    assert interpret(line, b"1,2,3\n", headers) == InferenceRequest("sagemaker", action, model, version, stream)
    assert head_suffices(line, headers)


def test_inside_a_container_of_many_models() -> None:
    assert interpret("POST /models/abc123/invoke", b"1,2,3", MODEL) == InferenceRequest("sagemaker", "invoke", "abc123")


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        ("GET /endpoints/my-endpoint/invocations", {}),
        ("POST /endpoints//invocations", {}),
        ("POST /endpoints/my-endpoint/invocation", {}),
        ("POST /endpoints/my-endpoint", MODEL),
        ("POST /endpoints/my-endpoint/invocations", {"x-amzn-sagemaker-target-model": ""}),
    ],
)
def test_does_not_ask_for(line: str, headers: dict[str, str]) -> None:
    assert interpret(line, b"1,2,3", headers) == "no_api"
