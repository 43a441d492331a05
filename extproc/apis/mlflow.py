"""``/invocations``, as MLflow's scoring server and containers for SageMaker have it.

One server, one model, which nobody names; the body (JSON, CSV or anything) is never needed. Source: MLflow's
documentation, "Local Inference Server Specification".
"""

from __future__ import annotations

from extproc.apis.any_model import ANY_MODEL
from extproc.apis.error_shape import KIND, MESSAGE, ErrorShape
from extproc.apis.row import Row

ROWS = (
    Row(
        path="/invocations",
        api="mlflow",
        operation="invocations",
        note="also of TGI, vLLM and others in a container for SageMaker",
    ),
)

ANSWERS = {"invocations": ANY_MODEL}

_ERROR = ErrorShape(
    document={"error_code": KIND, "message": MESSAGE},
    kinds={
        400: "BAD_REQUEST",
        404: "RESOURCE_DOES_NOT_EXIST",
        429: "REQUEST_LIMIT_EXCEEDED",
        500: "INTERNAL_ERROR",
        503: "TEMPORARILY_UNAVAILABLE",
    },
)
ERRORS = {"": _ERROR}
