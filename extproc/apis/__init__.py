"""Which inference API a request speaks: one small module per family, and the table of all their paths. Floor 2.

To add a family: write its module with ``ROWS``, and name it in ``FAMILIES``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

from extproc.apis import oip, openai
from extproc.apis.row import Row
from extproc.headers import Headers, safe_value
from extproc.jsonreader import MAX_MODEL_LENGTH
from extproc.request import Operation

FAMILIES = (openai, oip)

TABLE: tuple[Row, ...] = tuple(row for family in FAMILIES for row in family.ROWS)

NAMES = frozenset(row.api for row in TABLE)
"""Every value that the label ``api`` can take, but for ``other``."""


class _Segment:
    """One segment of a row's path: a literal, or a variable with literal text behind it."""

    __slots__ = ("literal", "suffix", "variable")

    def __init__(self, text: str) -> None:
        self.variable, closing, self.suffix = text[1:].partition("}") if text[:1] == "{" else ("", "", "")
        self.literal = "" if closing else text

    def match(self, segment: str) -> bool:
        if not self.variable:
            return segment == self.literal
        return len(segment) > len(self.suffix) and segment.endswith(self.suffix)

    def value(self, segment: str) -> str:
        return segment[: len(segment) - len(self.suffix)] if self.suffix else segment


class _Pattern:
    """A row, ready to be matched."""

    __slots__ = ("_model", "_segments", "_version", "fixed", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        self._segments = [_Segment(text) for text in row.path.split("/")]
        names = [segment.variable for segment in self._segments]
        self._model = names.index("model") if "model" in names else -1
        self._version = names.index("version") if "version" in names else -1
        plain = self._model < 0 and not row.header and not row.query
        # One object serves all requests to a row of which the head tells nothing but the row itself.
        self.fixed = (
            Operation(row.api, row.operation, None if row.reader else "", None, row.stream, row.reader)
            if plain and self._version < 0
            else None
        )

    def operation(self, prefix: str, segments: list[str], query: str, headers: Headers) -> Operation | None:
        """What the request asks for if it fits."""
        row = self.row
        for mine, theirs in zip(self._segments, segments, strict=True):
            if not mine.match(theirs):
                return None
        if row.header and row.header not in headers:
            return None
        if self.fixed is not None:
            return self.fixed
        model = None
        rename: Callable[[str], tuple[str, str]] | None = None
        if row.header:
            model, rename = headers.text(row.header), partial(_named_in_header, row.header)
        elif row.query:
            model, rename = _parameter(query, row.query), partial(_named_in_query, prefix, segments, query, row.query)
        elif self._model >= 0:
            model = unquote(self._segments[self._model].value(segments[self._model]))
            rename = partial(self._named_in_path, prefix, segments, query)
        if model is not None and not 0 < len(model) <= MAX_MODEL_LENGTH:
            return None
        version = unquote(self._segments[self._version].value(segments[self._version])) if self._version >= 0 else None
        return Operation(row.api, row.operation, model, version, row.stream, row.reader, rename)

    def _named_in_path(self, prefix: str, segments: list[str], query: str, model: str) -> tuple[str, str]:
        changed = list(segments)
        changed[self._model] = quote(model, safe="") + self._segments[self._model].suffix
        return ":path", prefix + "/".join(changed) + ("?" + query if query else "")


def _named_in_header(name: str, model: str) -> tuple[str, str]:
    return name, safe_value(model)


def _parameter(query: str, name: str) -> str:
    """The first value of a parameter of a query; empty where there is none."""
    return next((value for key, value in parse_qsl(query) if key == name), "")


def _named_in_query(prefix: str, segments: list[str], query: str, name: str, model: str) -> tuple[str, str]:
    parts = [
        f"{part.partition('=')[0]}={quote(model, safe='')}" if unquote_plus(part.partition("=")[0]) == name else part
        for part in query.split("&")
    ]
    return ":path", f"{prefix}{'/'.join(segments)}?{'&'.join(parts)}"


# By method and number of segments; those that ask for a header first.
_PATTERNS: dict[tuple[str, int], list[_Pattern]] = {}
# What needs no matching at all: no row that asks for a header might claim it.
_LITERAL: dict[tuple[str, str], Operation] = {}
for _row in sorted(TABLE, key=lambda row: not row.header):
    _pattern = _Pattern(_row)
    _PATTERNS.setdefault((_row.method, _row.path.count("/") + 1), []).append(_pattern)
    if "{" not in _row.path and _pattern.fixed is not None and not any(r.header and r.path == _row.path for r in TABLE):
        _LITERAL.setdefault((_row.method, _row.path), _pattern.fixed)


def classify(method: str, target: str, headers: Headers, prefixes: Sequence[str] = ()) -> Operation | None:
    """What a request with this method and request target (``:path``, query included) asks for; None: no inference.

    ``prefixes``: what a gateway may have put in front of an API's path; tried where the path alone is no API's.
    """
    path, _, query = target.partition("?")
    if found := _matched(method, "", path, query, headers):
        return found
    for prefix in prefixes:
        if path.startswith(prefix + "/") and (found := _matched(method, prefix, path[len(prefix) :], query, headers)):
            return found
    return None


def _matched(method: str, prefix: str, path: str, query: str, headers: Headers) -> Operation | None:
    if found := _LITERAL.get((method, path)):
        return found
    segments = path.split("/")
    for pattern in _PATTERNS.get((method, len(segments)), ()):
        if found := pattern.operation(prefix, segments, query, headers):
            return found
    return None
