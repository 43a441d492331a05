"""Triton's generate extension.

The path tells model and version; the body is never needed. What else Triton serves is ``oip``. Source: Triton
Inference Server's documentation, "Generate Extension".
"""

from __future__ import annotations

from extproc.apis.answer_shape import AnswerShape
from extproc.apis.error_shape import TEXT
from extproc.apis.row import Row

ROWS = tuple(
    Row(
        path=f"/v2/models/{{model}}/{version}{action}",
        api="triton",
        operation=action,
        stream=action == "generate_stream",
    )
    for version in ("", "versions/{version}/")
    for action in ("generate", "generate_stream")
)

ANSWER = AnswerShape(output=("/text_output",), has_end_mark=False)
ANSWERS = {"generate": ANSWER, "generate_stream": ANSWER}

ERRORS = {"": TEXT}
