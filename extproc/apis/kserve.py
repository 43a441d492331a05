"""KServe's protocol v1.

The path tells the model; the body is never needed. Source: KServe's documentation, "Data Plane (V1)".
"""

from __future__ import annotations

from extproc.apis.error_shape import TEXT
from extproc.apis.row import Row

ROWS = (
    Row(
        path="/v1/models/{model}:predict",
        api="kserve",
        operation="predict",
        note="TensorFlow Serving has the same path: KServe took it from there, and is seen more",
    ),
    Row(path="/v1/models/{model}:explain", api="kserve", operation="explain"),
)

ERRORS = {"": TEXT}
