"""Which inference API a request speaks: one small module per family, and the table of all their paths. Floor 2.

To add a family: write its module with ``ROWS``, and name it in ``FAMILIES``.
"""

from __future__ import annotations

from collections.abc import Sequence

from extproc.apis import (
    anthropic,
    azure,
    bedrock,
    cohere,
    gemini,
    generate,
    kserve,
    mcp,
    mlflow,
    oip,
    oip_grpc,
    ollama,
    openai,
    ray,
    sagemaker,
    seldon,
    tensorflow,
    tensorflow_grpc,
    torchserve,
    torchserve_grpc,
    triton,
    vertex,
    vllm,
    vllm_grpc,
)
from extproc.apis.pattern import Key, Pattern, key, verb
from extproc.apis.row import ANY_PATH, Row
from extproc.headers import Headers
from extproc.request import Operation

# Where two families have the same path, the first wins; the row's note says why it is the first.
FAMILIES = (
    openai,
    azure,
    vllm,
    vllm_grpc,
    anthropic,
    gemini,
    vertex,
    bedrock,
    sagemaker,
    cohere,
    ollama,
    oip,
    oip_grpc,
    seldon,
    kserve,
    tensorflow,
    tensorflow_grpc,
    triton,
    torchserve,
    torchserve_grpc,
    generate,
    mlflow,
    mcp,
    ray,
)

TABLE: tuple[Row, ...] = tuple(row for family in FAMILIES for row in family.ROWS)

NAMES = frozenset(row.api for row in TABLE)
"""Every value that the label ``api`` can take, but for ``other``."""

# Those that ask for a header first.
_PATTERNS: dict[Key, list[Pattern]] = {}
# What needs no matching at all: no row that asks for a header might claim it.
_LITERAL: dict[tuple[str, str], Operation] = {}
_ANYWHERE = [Pattern(row) for row in TABLE if row.path == ANY_PATH]
for _row in sorted(TABLE, key=lambda row: not row.header):
    _pattern = Pattern(_row)
    _PATTERNS.setdefault(_pattern.key, []).append(_pattern)
    if "{" not in _row.path and _pattern.fixed is not None and not any(r.header and r.path == _row.path for r in TABLE):
        _LITERAL.setdefault((_row.method, _row.path), _pattern.fixed)


def classify(method: str, target: str, headers: Headers, prefixes: Sequence[str] = ()) -> Operation | None:
    """What a request with this method and request target (``:path``, query included) asks for; None: no inference.

    ``prefixes``: what a gateway may have put in front of an API's path; tried where the path alone is no API's.
    """
    path, _, query = target.partition("?")
    if found := _LITERAL.get((method, path)):
        return found
    segments = path.split("/")
    if pattern := _fitting(method, segments, headers):
        return pattern.operation("", segments, query, headers)
    for prefix in prefixes:
        if path.startswith(prefix + "/"):
            segments = path[len(prefix) :].split("/")
            if pattern := _fitting(method, segments, headers):
                return pattern.operation(prefix, segments, query, headers)
    for pattern in _ANYWHERE:
        if method == pattern.row.method and pattern.row.header in headers:
            return pattern.operation("", segments, query, headers)
    return None


def _fitting(method: str, segments: Sequence[str], headers: Headers) -> Pattern | None:
    if segments[0]:
        return None
    for last in (verb(segments[-1]), ""):
        for pattern in _PATTERNS.get(key(method, segments, last), ()):
            if pattern.fits(segments, headers):
                return pattern
    return None
