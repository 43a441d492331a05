"""The Open Inference Protocol v2 over REST, as KServe, Triton, Seldon and OpenVINO Model Server speak it.

The path tells model and version; the body (JSON, or JSON followed by raw tensors) is never needed. Source: the Open
Inference Protocol's REST specification, "Inference".
"""

from __future__ import annotations

from extproc.apis.error_shape import TEXT
from extproc.apis.row import Row

ROWS = (
    Row(path="/v2/models/{model}/infer", api="oip", operation="infer"),
    Row(path="/v2/models/{model}/versions/{version}/infer", api="oip", operation="infer"),
)

ERRORS = {"": TEXT}
