"""The errors of all families as one table, made from what each family's module declares."""

from __future__ import annotations

from extproc.apis import FAMILIES, openai
from extproc.apis.error_shape import ErrorShape

SHAPES: dict[tuple[str, str], ErrorShape] = {
    (family.ROWS[0].api, operation): shape
    for family in FAMILIES
    for operation, shape in getattr(family, "ERRORS", {}).items()
}
"""By API and operation; by API and an empty text for all its other operations."""

DEFAULT = openai.ERROR
"""Of APIs that declare none, and where no API is known."""


def error_shape(api: str, operation: str) -> ErrorShape:
    """The shape in which clients of this operation expect an error."""
    return SHAPES.get((api, operation)) or SHAPES.get((api, ""), DEFAULT)
