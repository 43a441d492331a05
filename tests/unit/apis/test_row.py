"""Where a row of the table says that the model is named."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"path": "/a"}, ""),
        ({"path": "/a", "reader": JsonReader()}, "body"),
        ({"path": "/a", "reader": JsonReader(), "unnamed": True}, ""),
        ({"path": "/{model}", "reader": JsonReader()}, "path"),
        ({"path": "/{version}", "reader": None}, ""),
        ({"path": "/{model}:predict", "query": "m"}, "query"),
        ({"path": "/{model}", "query": "m", "header": "h"}, "header"),
    ],
)
def test_where_the_model_is_named(fields: dict[str, Any], names: str) -> None:
    assert Row(api="a", operation="o", **fields).names == names
