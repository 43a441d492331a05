"""Rows of the table of inference APIs: where the model is named."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.apis.row import ANY_PATH, Row
from extproc.bodies.json_reader import JsonReader

READER = JsonReader()


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ""),
        ({"reader": READER}, "body"),
        ({"reader": READER, "unnamed": True}, ""),
        ({"path": "/v1/{model}/infer"}, "path"),
        ({"path": "/v1/{model}:infer", "reader": READER}, "path"),
        ({"path": "/v1/{*}/{version}/infer"}, ""),
        ({"path": "/v1/{*}/infer", "reader": READER}, "body"),
        ({"query": "name"}, "query"),
        ({"query": "name", "path": "/v1/{model}/infer", "reader": READER}, "query"),
        ({"header": "x-model"}, "header"),
        ({"header": "x-model", "query": "name", "path": "/{model}", "reader": READER}, "header"),
        ({"path": ANY_PATH, "header": "x-model"}, "header"),
        ({"version_header": "x-version"}, ""),
    ],
)
def test_the_place_nearest_to_the_head_names_the_model(options: dict[str, Any], names: str) -> None:
    assert Row(**{"path": "/v1/infer", "api": "a", "operation": "infer", **options}).names == names


def test_a_row_is_a_post_that_cannot_change() -> None:
    row = Row(path="/v1/infer", api="a", operation="infer")
    assert (row.method, row.stream, row.uploads) == ("POST", False, False)
    with pytest.raises(AttributeError):
        row.path = "/v2/infer"  # type: ignore[misc]
