"""Amazon SageMaker's runtime.

An endpoint has one model, several components or many models: the finest of these that a request names is its model. A
production variant is a version. Source: the Amazon SageMaker Runtime API reference, and "Contract for custom containers
to serve multiple models" in its developer guide.
"""

from __future__ import annotations

import msgspec

from extproc.apis.any_model import ANY_MODEL
from extproc.apis.error_shape import MESSAGE, ErrorShape
from extproc.apis.row import Row

_TARGET_MODEL = "x-amzn-sagemaker-target-model"
_COMPONENT = "x-amzn-sagemaker-inference-component"
_VARIANT = "x-amzn-sagemaker-target-variant"

_ACTIONS = ("invocations", "invocations-response-stream", "async-invocations")

ROWS = (
    *(
        Row(
            path=f"/endpoints/{'{*}' if header else '{model}'}/{action}",
            api="sagemaker",
            operation=action,
            header=header,
            version_header=_VARIANT,
            stream=action.endswith("stream"),
        )
        for header in (_TARGET_MODEL, _COMPONENT, "")
        for action in _ACTIONS
    ),
    Row(path="/models/{model}/invoke", api="sagemaker", operation="invoke", note="inside a container of many models"),
)

ANSWERS = {
    "invocations": ANY_MODEL,
    "invocations-response-stream": msgspec.structs.replace(ANY_MODEL, payload="raw"),
    "invoke": ANY_MODEL,
}

_ERROR = ErrorShape(
    document={"Message": MESSAGE},
    kinds={
        400: "ValidationError",
        429: "ThrottlingException",
        500: "InternalFailure",
        503: "ServiceUnavailable",
    },
    header="x-amzn-errortype",
)
ERRORS = {"": _ERROR}
