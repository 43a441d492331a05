"""``/invocations`` as MLflow documents it: no request names its model, and bodies are of any kind."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.bodies.request import InferenceRequest
from tests.unit.apis.requests import head_suffices, interpret


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"dataframe_split": {"columns": ["a"], "data": [[1]]}}, "application/json"),
        ({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}, "application/json"),
        (b"a,b\n1,2\n", "text/csv"),
    ],
)
def test_asks_for(body: Any, kind: str) -> None:
    assert interpret("POST /invocations", body, {"content-type": kind}) == InferenceRequest("mlflow", "invocations", "")
    assert head_suffices("POST /invocations")


@pytest.mark.parametrize("line", ["GET /invocations", "POST /invocations//", "GET /version", "POST /invocation"])
def test_does_not_ask_for(line: str) -> None:
    assert interpret(line, {"inputs": [1]}) == "no_api"
