"""``/invocations``, as MLflow's scoring server and containers for SageMaker have it.

One server, one model, which nobody names; the body (JSON, CSV or anything) is never needed. Source: MLflow's
documentation, "Local Inference Server Specification".
"""

from __future__ import annotations

from extproc.apis.any_model import ANY_MODEL
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
