"""TorchServe's inference API.

The path tells model and version; the body is whatever the model takes. Source: TorchServe's documentation, "Inference
API".
"""

from __future__ import annotations

from extproc.apis.answer_shape import AnswerShape
from extproc.apis.error_shape import KIND, MESSAGE, STATUS, ErrorShape
from extproc.apis.row import Row

ROWS = (
    Row(path="/predictions/{model}", api="torchserve", operation="predictions"),
    Row(path="/predictions/{model}/{version}", api="torchserve", operation="predictions"),
    Row(path="/explanations/{model}", api="torchserve", operation="explanations"),
)

ANSWERS = {"predictions": AnswerShape(pieces_are_tokens=False, raw_output=True, has_end_mark=False)}

_ERROR = ErrorShape(
    document={"code": STATUS, "type": KIND, "message": MESSAGE},
    kinds={
        400: "BadRequestException",
        404: "ModelNotFoundException",
        500: "InternalServerException",
        503: "ServiceUnavailableException",
    },
)
ERRORS = {"": _ERROR}
