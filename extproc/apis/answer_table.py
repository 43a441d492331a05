"""The answers of all families as one table, made from what each family's module declares."""

from __future__ import annotations

from extproc.apis import FAMILIES
from extproc.apis.answer_shape import AnswerShape, GrpcAnswerShape

SHAPES: dict[tuple[str, str], AnswerShape | GrpcAnswerShape] = {
    (family.ROWS[0].api, operation): shape
    for family in FAMILIES
    for operation, shape in getattr(family, "ANSWERS", {}).items()
}
"""By API and operation. Answers of other operations are timed to their end, and not read."""

SESSIONS: dict[tuple[str, str], AnswerShape] = {
    (family.ROWS[0].api, operation): shape
    for family in FAMILIES
    for operation, shape in getattr(family, "SESSION_ANSWERS", {}).items()
}
"""Operations that open a session with many answers: the shape of each of those."""

HEADERS = tuple(
    sorted({n for s in SHAPES.values() if isinstance(s, AnswerShape) and s.usage_headers for n in s.usage_headers})
)
"""Names of the response headers with token counts."""
