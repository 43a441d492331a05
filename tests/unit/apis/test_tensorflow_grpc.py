"""TensorFlow Serving's requests over gRPC, after model.proto, predict.proto, classification.proto, inference.proto."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import field, interpret_call

SERVICE = "/tensorflow.serving.PredictionService/"
INPUTS = field(2, field(1, "x") + field(2, b"tensor"))
NUMBER, LABEL = field(2, field(1, 7)), field(4, "stable")


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress"])
@pytest.mark.parametrize(
    ("spec", "version"),
    [
        (b"", None),
        (NUMBER, "7"),
        (LABEL, "stable"),
        (field(3, "serving_default") + NUMBER, "7"),
        (NUMBER + LABEL, "stable"),
        (LABEL + NUMBER, "7"),
    ],
)
def test_asks_for(method: str, spec: bytes, version: str | None) -> None:
    message = field(1, field(1, "half_plus_two") + spec) + INPUTS
    assert interpret_call(SERVICE + method, message) == InferenceRequest(
        "tensorflow", method.lower(), "half_plus_two", version
    )


def test_many_tasks_of_one_model() -> None:
    spec = field(1, field(1, "census") + NUMBER)
    tasks = b"".join(field(1, spec + field(2, f"tensorflow/serving/{name}")) for name in ("classify", "regress"))
    assert interpret_call(SERVICE + "MultiInference", tasks + INPUTS) == InferenceRequest(
        "tensorflow", "multi_inference", "census", "7"
    )


@pytest.mark.parametrize(
    ("path", "message", "reason"),
    [
        (SERVICE + "Predict", INPUTS, "no_model"),
        (SERVICE + "Predict", field(1, NUMBER), "no_model"),
        (SERVICE + "MultiInference", field(1, field(1, "not a spec")), "bad_grpc"),
        (SERVICE + "GetModelMetadata", field(1, field(1, "m")), "no_api"),
        ("/tensorflow.serving.ModelService/GetModelStatus", field(1, field(1, "m")), "no_api"),
    ],
)
def test_does_not_ask_for(path: str, message: bytes, reason: str) -> None:
    assert interpret_call(path, message) == reason
