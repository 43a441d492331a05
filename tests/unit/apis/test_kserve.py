"""KServe's protocol v1, after its documentation."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret

BODY = {"instances": [[6.8, 2.8, 4.8, 1.4]]}


@pytest.mark.parametrize(
    ("path", "operation", "model"),
    [
        ("/v1/models/sklearn-iris:predict", "predict", "sklearn-iris"),
        ("/v1/models/sklearn-iris:explain", "explain", "sklearn-iris"),
        ("/v1/models/org%2Firis:predict", "predict", "org/iris"),
        ("/v1/models/llama3:8b:predict", "predict", "llama3:8b"),
    ],
)
def test_asks_for(path: str, operation: str, model: str) -> None:
    assert interpret(f"POST {path}", BODY) == InferenceRequest("kserve", operation, model)
    assert head_suffices(f"POST {path}")


@pytest.mark.parametrize(
    "line",
    [
        "GET /v1/models/iris:predict",
        "GET /v1/models/iris",
        "POST /v1/models/iris",
        "POST /v1/models/:predict",
        "POST /v1/models/iris:predicts",
        "POST /v1/models/iris%3Apredict",
        "POST /v1/models/iris/predict",
    ],
)
def test_does_not_ask_for(line: str) -> None:
    assert interpret(line, BODY) == "no_api"
