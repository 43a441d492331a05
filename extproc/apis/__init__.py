"""Finds the inference API of a request: one module per family, and the table of all their paths.

To add a family: write its module with ``ROWS``, and ``ANSWERS`` if its answers have tokens; name it in ``FAMILIES``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from extproc.apis import (
    anthropic,
    azure,
    bedrock,
    cohere,
    gemini,
    generate,
    kserve,
    mcp,
    mistral,
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
from extproc.apis.path_pattern import Key, Match, Pattern, last_fixed_text, row_key
from extproc.apis.row import ANY_PATH, Row
from extproc.bodies.request import Operation
from extproc.headers import Headers

# Where two families have the same path, the first one in this list is used; the row's note says why.
FAMILIES = (
    openai,
    azure,
    mistral,
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

# Rows with a header come first.
_PATTERNS: dict[Key, list[Pattern]] = {}
# Rows without placeholders that no row with a header competes with: found by a single lookup.
_LITERAL: dict[tuple[str, str], Pattern] = {}
_ANYWHERE = [Pattern(row) for row in TABLE if row.path == ANY_PATH]
for _row in sorted(TABLE, key=lambda row: not row.header):
    _pattern = Pattern(_row)
    _PATTERNS.setdefault(_pattern.key, []).append(_pattern)
    if "{" not in _row.path and _pattern.fixed is not None and not any(r.header and r.path == _row.path for r in TABLE):
        _LITERAL.setdefault((_row.method, _row.path), _pattern)


_MAX_CACHED_TARGET = 512
"""Characters of a request target whose matches are cached."""


def classify(method: str, target: str, headers: Headers, prefixes: tuple[str, ...] = ()) -> Operation | None:
    """The operation of a request with this method and target (``:path`` with its query); None: no inference.

    ``prefixes``: path prefixes that a gateway may have added; tried where the path alone matches no row.
    """
    if literal := _LITERAL.get((method, target)):
        return literal.fixed
    matches = _cached_matches if len(target) <= _MAX_CACHED_TARGET else _matches
    for match in matches(method, target, prefixes):
        if not match.header or match.header in headers:
            return match.operation(headers)
    return None


def _matches(method: str, target: str, prefixes: tuple[str, ...]) -> tuple[Match, ...]:
    """All matches of a method and target. A request has the first one whose header, if any, it has."""
    return tuple(_find_matches(method, target, prefixes))


_cached_matches = lru_cache(maxsize=2048)(_matches)


def _find_matches(method: str, target: str, prefixes: tuple[str, ...]) -> Iterator[Match]:
    path, _, query = target.partition("?")
    segments = path.split("/")
    if literal := _LITERAL.get((method, path)):
        yield Match(literal, "", segments, query)
        return
    for prefix in ("", *(prefix for prefix in prefixes if path.startswith(prefix + "/"))):
        rest = path[len(prefix) :].split("/")
        # One trailing slash is ignored for matching, and kept where the path is rewritten.
        for pattern in _matching_patterns(method, rest[:-1] if not rest[-1] else rest):
            yield Match(pattern, prefix, rest, query)
            if not pattern.row.header:
                return
    for pattern in _ANYWHERE:
        if method == pattern.row.method:
            yield Match(pattern, "", segments, query)


def _matching_patterns(method: str, segments: Sequence[str]) -> Iterator[Pattern]:
    if len(segments) < 2 or segments[0]:
        return
    for last in dict.fromkeys((last_fixed_text(segments[-1]), "")):
        for pattern in _PATTERNS.get(row_key(method, segments, last), ()):
            if pattern.matches(segments):
                yield pattern
