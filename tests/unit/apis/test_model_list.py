"""Lists of models in the shape of each API, and the paths at which clients ask for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import apis
from extproc.apis.model_list import LISTS, list_path, model_list
from extproc.headers import Headers

NAMES = ("llama", "qwen:7b")


def names(method: str, path: str) -> list[Any]:
    body = json.loads(model_list(method, path, NAMES))
    match LISTS[method, path][0]:
        case "openai" | "azure":
            assert (body["object"], body["has_more"]) == ("list", False)
            assert {(model["object"], model["type"]) for model in body["data"]} == {("model", "model")}
            return [model["id"] for model in body["data"]]
        case "gemini":
            return [model["name"].removeprefix("models/") for model in body["models"]]
        case "ollama":
            return [model["model"] for model in body["models"]]
    assert {model["state"] for model in body} == {"READY"}
    return [model["name"] for model in body]


@pytest.mark.parametrize(("method", "path"), LISTS)
def test_every_list_has_the_names(method: str, path: str) -> None:
    assert names(method, path) == list(NAMES)
    assert LISTS[method, path][0] in apis.NAMES
    assert apis.classify(method, path, Headers()) is None


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/v1/models", "/v1/models"),
        ("GET", "/v1/models/?limit=9", "/v1/models"),
        ("GET", "/team/v1/models", "/v1/models"),
        ("GET", "/teams/v1/models", ""),
        ("POST", "/v1/models", ""),
        ("GET", "/v1/models/llama", ""),
        ("GET", "/", ""),
    ],
)
def test_the_path(method: str, target: str, expected: str) -> None:
    assert list_path(method, target, ("/team",)) == expected
