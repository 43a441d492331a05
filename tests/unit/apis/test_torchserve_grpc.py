"""TorchServe's requests over gRPC, after its inference.proto."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import field, interpret_call

SERVICE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/"
INPUT = field(3, field(1, "data") + field(2, b"\xff\xd8"))


@pytest.mark.parametrize(
    ("method", "operation", "stream"),
    [
        ("Predictions", "predictions", False),
        ("StreamPredictions", "stream_predictions", True),
        ("StreamPredictions2", "stream_predictions", True),
    ],
)
def test_asks_for(method: str, operation: str, stream: bool) -> None:
    message = field(1, "densenet161") + INPUT
    assert interpret_call(SERVICE + method, message) == InferenceRequest(
        "torchserve", operation, "densenet161", stream=stream
    )
    message += field(2, "1.0")
    assert interpret_call(SERVICE + method, message) == InferenceRequest(
        "torchserve", operation, "densenet161", "1.0", stream=stream
    )


def test_does_not_ask_for() -> None:
    assert interpret_call(SERVICE + "Predictions", INPUT) == "no_model"
    assert interpret_call(SERVICE + "Ping", b"") == "no_api"
