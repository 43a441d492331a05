"""Rows of the table prepared for matching: what the head of a matching request tells, and how to rename its model.

Source for paths and queries: RFC 3986 §2.1 and §3.3, and the URL standard's ``application/x-www-form-urlencoded``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, unquote, unquote_plus, unquote_to_bytes

from extproc.apis.row import Row
from extproc.bodies.ambiguous_keys import is_key
from extproc.bodies.json_reader import MAX_MODEL_LENGTH
from extproc.bodies.request import Operation
from extproc.headers import Headers, safe_value

Key: TypeAlias = tuple[str, int, str, str]
"""Method, number of segments, first segment, fixed text of the last segment: few rows have the same."""

Rename: TypeAlias = Callable[[str], tuple[str, str]]

_MAX_SEGMENT_LENGTH = 12 * MAX_MODEL_LENGTH
"""Characters of a path segment that holds the longest name: 4 UTF-8 bytes a character, each escaped as ``%XX``."""
_MAX_PARAMETERS = 100
"""Parameters of one query."""
_MAX_QUERY_LENGTH = 8192
"""Characters of one query."""
_PLACEHOLDER = re.compile(r"\{(.+)\}(.*)")


def row_key(method: str, segments: Sequence[str], last: str) -> Key:
    """The key of rows with as many segments, where ``last`` is the fixed text of the last segment."""
    return method, len(segments), segments[1] if len(segments) > 1 else "", last


def last_fixed_text(segment: str) -> str:
    """The fixed text that a row may have for this last segment: what follows the last colon, or all of it."""
    return segment.rpartition(":")[2].lower()


class _Variable:
    """A segment of a path that is a placeholder with a fixed ``suffix``, which may be empty."""

    __slots__ = ("at", "length", "suffix")

    def __init__(self, at: int, suffix: str) -> None:
        self.at = at
        self.suffix = suffix.lower()
        self.length = len(suffix)

    def value(self, segments: Sequence[str]) -> str:
        segment = segments[self.at]
        if self.length:
            segment = segment[: -self.length]
        if "%" not in segment or len(segment) > _MAX_SEGMENT_LENGTH:  # too long for a name even when unescaped
            return segment
        # Twice as fast as `unquote`, which text with other characters than ASCII needs.
        return unquote_to_bytes(segment).decode("utf-8", "replace") if segment.isascii() else unquote(segment)

    def replaced(self, segments: Sequence[str], value: str) -> list[str]:
        changed = list(segments)
        changed[self.at] = quote(value, safe="") + (segments[self.at][-self.length :] if self.length else "")
        return changed


class Pattern:
    """A row prepared for matching."""

    __slots__ = ("_header", "_literals", "_model", "_variables", "_version", "fixed", "key", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        self._header = row.header
        segments = row.path.split("/")
        self.key = row_key(row.method, segments, last_fixed_text(segments[-1].rpartition("}")[2]))
        found = [_PLACEHOLDER.fullmatch(text) for text in segments]
        # The first segments are in the key.
        self._literals = [(at, text) for at, text in enumerate(segments) if at > 1 and not found[at]]
        varying = [(m[1], _Variable(at, m[2])) for at, m in enumerate(found) if m]
        self._variables = [(variable.at, variable.length, variable.suffix) for _, variable in varying]
        self._model, self._version = dict(varying).get("model"), dict(varying).get("version")
        # The head names no model and no version: all requests of the row share one object.
        self.fixed = (
            Operation(
                *(row.api, row.operation, None if row.names else "", None, row.stream, row.reader),
                uploads=row.uploads,
                shared=row.shared,
                stateful=row.stateful,
            )
            if row.names in ("", "body")
            else None
        )

    def matches(self, segments: Sequence[str]) -> bool:
        """Whether a path with the row's key matches the row. The row's header is not looked at."""
        for at, text in self._literals:
            if segments[at] != text:
                return False
        for at, length, suffix in self._variables:
            segment = segments[at]
            if len(segment) <= length or (length and segment[-length:].lower() != suffix):
                return False
        return True

    def operation(self, prefix: str, segments: Sequence[str], query: str, headers: Headers) -> Operation | None:
        """The operation of a matching request; None where the model is ambiguous or its name too long."""
        if self.fixed is not None:
            return self.fixed
        model: str | None
        rename: Rename | None
        if self._model is not None:
            model = self._model.value(segments)
            rename = partial(_rename_in_path, prefix, segments, self._model, query)
        elif self._header:
            model = _single([value.decode("latin-1") for value in headers.all(self._header)])
            rename = partial(_rename_in_header, self._header)
        else:
            model, rename = self._read_query(prefix, segments, query)
        if model is None or len(model) > MAX_MODEL_LENGTH:
            return None
        row = self.row
        version = None
        if self._version is not None:
            version = self._version.value(segments)
        elif row.version_header:
            version = headers.text(row.version_header) or None
        return Operation(row.api, row.operation, model, version, row.stream, row.reader, rename, stateful=row.stateful)

    def _read_query(self, prefix: str, segments: Sequence[str], query: str) -> tuple[str | None, Rename | None]:
        name = self.row.query
        if query.count("&") >= _MAX_PARAMETERS or len(query) > _MAX_QUERY_LENGTH:
            return None, None
        found = [
            (spelled, value) for spelled, value in parse_qsl(query, keep_blank_values=True) if is_key(spelled, name)
        ]
        if not found:
            # Without the parameter the request names no model.
            return "", None
        if found[0][0] != name:
            return None, None  # ``Model``: only some servers match it
        return _single([value for _, value in found]), partial(_rename_in_query, prefix, segments, query, name)


class Match:
    """A row that matches a method and target. Immutable: shared by all requests with the same method and target."""

    __slots__ = ("_fixed", "_operation", "header")

    def __init__(self, pattern: Pattern, prefix: str, segments: Sequence[str], query: str) -> None:
        row = pattern.row
        self.header = row.header
        """The header that the request must have; empty: none."""
        self._operation = partial(pattern.operation, prefix, segments, query)
        self._fixed = None if row.header or row.version_header else (self._operation(Headers()),)

    def operation(self, headers: Headers) -> Operation | None:
        """See ``Pattern.operation``."""
        return self._operation(headers) if self._fixed is None else self._fixed[0]


def _single(values: Sequence[str]) -> str | None:
    return values[0] or None if len(values) == 1 else None


def _rename_in_header(name: str, model: str) -> tuple[str, str]:
    return name, safe_value(model)


def _rename_in_path(prefix: str, segments: Sequence[str], place: _Variable, query: str, model: str) -> tuple[str, str]:
    return ":path", prefix + "/".join(place.replaced(segments, model)) + ("?" + query if query else "")


def _rename_in_query(prefix: str, segments: Sequence[str], query: str, name: str, model: str) -> tuple[str, str]:
    parts = [
        f"{part.partition('=')[0]}={quote(model, safe='')}" if unquote_plus(part.partition("=")[0]) == name else part
        for part in query.split("&")
    ]
    return ":path", f"{prefix}{'/'.join(segments)}?{'&'.join(parts)}"
