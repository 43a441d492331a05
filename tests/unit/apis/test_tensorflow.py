"""TensorFlow Serving's requests over REST, after its documentation."""

from __future__ import annotations

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret

BODY = {"signature_name": "serving_default", "instances": [1.0, 2.0]}


@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
@pytest.mark.parametrize(("place", "version"), [("versions/3", "3"), ("labels/canary", "canary")])
def test_asks_for_a_version(verb: str, place: str, version: str) -> None:
    for spelled in (verb, verb.upper(), verb.title()):
        line = f"POST /v1/models/half_plus_two/{place}:{spelled}"
        assert interpret(line, BODY) == InferenceRequest("tensorflow", verb, "half_plus_two", version)
        assert head_suffices(line)


def test_asks_for_the_newest() -> None:
    assert interpret("POST /v1/models/iris:classify", BODY) == InferenceRequest("tensorflow", "classify", "iris")
    assert interpret("POST /v1/models/iris:Regress", BODY) == InferenceRequest("tensorflow", "regress", "iris")
    assert interpret("POST /v1/models/iris:predict", BODY) == InferenceRequest("kserve", "predict", "iris")


@pytest.mark.parametrize(
    "line",
    [
        "GET /v1/models/iris/versions/3",
        "GET /v1/models/iris/versions/3:predict",
        "GET /v1/models/iris/metadata",
        "POST /v1/models/iris/versions/3",
        "POST /v1/models/iris/versions/:predict",
        "POST /v1/models/iris/version/3:predict",
        "POST /v1/models/iris/versions/3:explain",
    ],
)
def test_does_not_ask_for(line: str) -> None:
    assert interpret(line, BODY) == "no_api"
