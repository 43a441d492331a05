"""Ray Serve's multiplexed models, after its documentation: a header names the model, on any path."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret


@pytest.mark.parametrize("header", ["ray_serve_multiplexed_model_id", "serve_multiplexed_model_id"])
@pytest.mark.parametrize("line", ["GET /", "POST /forecast/today?x=1", "POST /my/app"])
def test_asks_for(line: str, header: str) -> None:
    assert interpret(line, {"x": 1}, {header: "customer_123"}) == InferenceRequest("ray", "multiplexed", "customer_123")
    assert head_suffices(line, {header: "customer_123"})


def test_a_path_of_another_api_is_that_apis() -> None:
    headers = {"serve_multiplexed_model_id": "lora-7"}
    assert interpret("POST /v1/embeddings", {"model": "m"}, headers) == InferenceRequest("openai", "embeddings", "m")


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        ("POST /my/app", {}),
        ("POST /my/app", {"serve-multiplexed-model-id": "a"}),
        ("POST /my/app", {"serve_multiplexed_model_id": ""}),
        ("PUT /my/app", {"serve_multiplexed_model_id": "a"}),
    ],
)
def test_does_not_ask_for(line: str, headers: dict[str, str]) -> None:
    assert interpret(line, {"x": 1}, headers) == "no_api"
