"""Seldon Core 2: the Open Inference Protocol, where a header says which model is meant.

The header counts, not the path; it can name a pipeline (``p.pipeline``) or an experiment (``e.experiment``), which we
keep as one name. Source: Seldon Core 2's documentation, "Inference".
"""

from __future__ import annotations

from extproc.apis.error_shape import TEXT
from extproc.apis.row import Row

_HEADER = "seldon-model"

ROWS = (
    Row(path="/v2/models/{*}/infer", api="seldon", operation="infer", header=_HEADER),
    Row(path="/v2/models/{*}/versions/{version}/infer", api="seldon", operation="infer", header=_HEADER),
)

ERRORS = {"": TEXT}
