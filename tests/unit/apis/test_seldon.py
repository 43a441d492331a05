"""Seldon Core 2's requests, after its documentation: the header counts, not the path."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret

BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}


@pytest.mark.parametrize("name", ["iris", "iris-pipeline.pipeline", "iris-test.experiment"])
def test_asks_for(name: str) -> None:
    headers = {"Seldon-Model": name}
    assert interpret("POST /v2/models/whatever/infer", BODY, headers) == InferenceRequest("seldon", "infer", name)
    assert interpret("POST /v2/models/whatever/versions/2/infer", BODY, headers) == InferenceRequest(
        "seldon", "infer", name, "2"
    )
    assert head_suffices("POST /v2/models/whatever/infer", headers)


def test_without_the_header_it_is_the_plain_protocol() -> None:
    assert interpret("POST /v2/models/iris/infer", BODY) == InferenceRequest("oip", "infer", "iris")


@pytest.mark.parametrize(
    ("line", "header"),
    [
        ("POST /v2/models/iris/infer", ""),
        ("POST /v2/models/iris/infer", "m" * 257),
        ("GET /v2/models/iris/infer", "iris"),
        ("POST /v2/models/iris/ready", "iris"),
        ("POST /predict", "iris"),
    ],
)
def test_does_not_ask_for(line: str, header: str) -> None:
    assert interpret(line, BODY, {"seldon-model": header}) == "no_api"
