"""Which inference API a request speaks: one small module per family, and the table of all their paths.

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
from extproc.apis.pattern import Fit, Key, Pattern, key, verb
from extproc.apis.row import ANY_PATH, Row
from extproc.bodies.request import Operation
from extproc.headers import Headers

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
_LITERAL: dict[tuple[str, str], Pattern] = {}
_ANYWHERE = [Pattern(row) for row in TABLE if row.path == ANY_PATH]
for _row in sorted(TABLE, key=lambda row: not row.header):
    _pattern = Pattern(_row)
    _PATTERNS.setdefault(_pattern.key, []).append(_pattern)
    if "{" not in _row.path and _pattern.fixed is not None and not any(r.header and r.path == _row.path for r in TABLE):
        _LITERAL.setdefault((_row.method, _row.path), _pattern)


_LONGEST = 512
"""Characters of a request target of which it is kept in mind what it fits."""


def classify(method: str, target: str, headers: Headers, prefixes: tuple[str, ...] = ()) -> Operation | None:
    """What a request with this method and request target (``:path``, query included) asks for; None: no inference.

    ``prefixes``: what a gateway may have put in front of an API's path; tried where the path alone is no API's.
    """
    if literal := _LITERAL.get((method, target)):
        return literal.fixed
    fits = _known_fits if len(target) <= _LONGEST else _fits
    for fit in fits(method, target, prefixes):
        if not fit.header or fit.header in headers:
            return fit.operation(headers)
    return None


def _fits(method: str, target: str, prefixes: tuple[str, ...]) -> tuple[Fit, ...]:
    """By how the target looks, what a request may ask for: the first of them of which it has the header, if any."""
    return tuple(_each_fit(method, target, prefixes))


_known_fits = lru_cache(maxsize=2048)(_fits)


def _each_fit(method: str, target: str, prefixes: tuple[str, ...]) -> Iterator[Fit]:
    path, _, query = target.partition("?")
    segments = path.split("/")
    if literal := _LITERAL.get((method, path)):
        yield Fit(literal, "", segments, query)
        return
    for prefix in ("", *(prefix for prefix in prefixes if path.startswith(prefix + "/"))):
        rest = path[len(prefix) :].split("/")
        # One slash at the end says nothing; the path that another model's name goes into keeps it.
        for pattern in _fitting(method, rest[:-1] if not rest[-1] else rest):
            yield Fit(pattern, prefix, rest, query)
            if not pattern.row.header:
                return
    for pattern in _ANYWHERE:
        if method == pattern.row.method:
            yield Fit(pattern, "", segments, query)


def _fitting(method: str, segments: Sequence[str]) -> Iterator[Pattern]:
    if len(segments) < 2 or segments[0]:
        return
    for last in dict.fromkeys((verb(segments[-1]), "")):
        for pattern in _PATTERNS.get(key(method, segments, last), ()):
            if pattern.fits(segments):
                yield pattern
