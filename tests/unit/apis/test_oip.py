"""The Open Inference Protocol over REST, after its specification, and as Seldon reads it."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret

JSON = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}
TENSORS = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}\0\0\x80?'
BINARY = {"content-type": "application/octet-stream", "inference-header-content-length": "91"}


@pytest.mark.parametrize(
    ("path", "model", "version"),
    [
        ("/v2/models/iris/infer", "iris", None),
        ("/v2/models/iris/versions/3/infer", "iris", "3"),
        ("/v2/models/org%2Firis%3Av1/infer?x=y", "org/iris:v1", None),
    ],
)
def test_asks_for(path: str, model: str, version: str | None) -> None:
    expected = InferenceRequest("oip", "infer", model, version)
    assert interpret(f"POST {path}", JSON) == expected
    assert interpret(f"POST {path}", TENSORS, BINARY) == expected
    assert head_suffices(f"POST {path}")


@pytest.mark.parametrize(
    "line",
    [
        "GET /v2/models/iris/infer",
        "GET /v2/models/iris/ready",
        "POST /v2/models/iris/ready",
        "POST /v2/models/iris",
        "POST /v2/models/iris/versions//infer",
        "POST /v2/repository/models/iris/load",
    ],
)
def test_does_not_ask_for(line: str) -> None:
    assert interpret(line, JSON) == "no_api"
