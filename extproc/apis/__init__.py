"""Which inference API a request speaks: one small module per family, and the table of all their paths. Floor 2.

To add a family: write its module with ``ROWS``, and name it in ``TABLE``.
"""

from __future__ import annotations

from urllib.parse import unquote

from extproc.apis import oip, openai
from extproc.apis.row import Row
from extproc.jsonbody import MAX_MODEL_LENGTH
from extproc.request import Operation

TABLE: tuple[Row, ...] = (*openai.ROWS, *oip.ROWS)

NAMES = frozenset(row.api for row in TABLE)
"""Every value that the label ``api`` can take, but for ``other``."""

_LITERAL = {
    (row.method, row.path): Operation(row.api, row.operation, read=row.read)
    for row in TABLE
    if "{" not in row.path
}
# By method and number of segments; a segment that is None stands for any.
_PATTERNS: dict[tuple[str, int], list[tuple[list[str], Row]]] = {}
for _row in TABLE:
    if "{" in _row.path:
        _segments = _row.path.split("/")
        _PATTERNS.setdefault((_row.method, len(_segments)), []).append((_segments, _row))


def classify(method: str, target: str) -> Operation | None:
    """What a request with this method and request target (``:path``, query included) asks for; None: no inference."""
    path = target.partition("?")[0]
    if found := _LITERAL.get((method, path)):
        return found
    segments = path.split("/")
    for pattern, row in _PATTERNS.get((method, len(segments)), ()):
        captured = _capture(pattern, segments)
        if captured is not None:
            return Operation(
                row.api, row.operation, captured.get("{model}"), captured.get("{version}"), row.read
            )
    return None


def _capture(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    captured = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected[:1] == "{":
            value = unquote(segment)
            if not 0 < len(value) <= MAX_MODEL_LENGTH:
                return None
            captured[expected] = value
        elif expected != segment:
            return None
    return captured
