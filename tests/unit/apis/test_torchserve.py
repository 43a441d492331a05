"""TorchServe's requests over REST, after its documentation."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret


@pytest.mark.parametrize(
    ("path", "operation", "model", "version"),
    [
        ("/predictions/resnet-18", "predictions", "resnet-18", None),
        ("/predictions/resnet-18/2.0", "predictions", "resnet-18", "2.0"),
        ("/predictions/a%3Ab", "predictions", "a:b", None),
        ("/predictions/a:predict", "predictions", "a:predict", None),
        ("/explanations/mnist", "explanations", "mnist", None),
    ],
)
def test_asks_for(path: str, operation: str, model: str, version: str | None) -> None:
    jpeg = b"\xff\xd8\xff\xe0 whatever the model takes"
    assert interpret(f"POST {path}", jpeg, {"content-type": "image/jpeg"}) == InferenceRequest(
        "torchserve", operation, model, version
    )
    assert head_suffices(f"POST {path}")


@pytest.mark.parametrize(
    "line",
    ["GET /predictions/resnet-18", "POST /predictions", "POST /predictions/", "POST /predictions/a/1/2", "GET /ping"],
)
def test_does_not_ask_for(line: str) -> None:
    assert interpret(line, b"x") == "no_api"
