"""A row of the table, ready to be matched: what a fitting request's head tells, how to name another model.

Source for paths and queries: RFC 3986 §2.1 and
§3.3, and the URL standard's ``application/x-www-form-urlencoded``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, unquote, unquote_plus, unquote_to_bytes

from extproc.apis.row import Row
from extproc.bodies.json_reader import MAX_MODEL_LENGTH
from extproc.bodies.json_scan import is_key
from extproc.bodies.request import Operation
from extproc.headers import Headers, safe_value

Key: TypeAlias = tuple[str, int, str, str]
"""Method, number of segments, the first segment, and the last one's fixed text: few rows share all four."""

Rename: TypeAlias = Callable[[str], tuple[str, str]]

_ESCAPED = 12 * MAX_MODEL_LENGTH
"""Characters of a path's segment with the longest name, each of its characters four bytes that are escaped."""
_PARAMETERS = 100
"""Of one query."""
_QUERY = 8192
"""Characters of one query."""
_NAMED = re.compile(r"\{(.+)\}(.*)")


def key(method: str, segments: Sequence[str], last: str) -> Key:
    """The key of the rows for paths with as many ``segments``, whose last one has ``last`` as its fixed text."""
    return method, len(segments), segments[1] if len(segments) > 1 else "", last


def verb(segment: str) -> str:
    """What can be the fixed text of a path's last segment: all of it, or what follows the last colon."""
    return segment.rpartition(":")[2].lower()


class _Variable:
    """One segment of a path that varies, but for the ``suffix`` behind it."""

    __slots__ = ("at", "length", "suffix")

    def __init__(self, at: int, suffix: str) -> None:
        self.at = at
        self.suffix = suffix.lower()
        self.length = len(suffix)

    def value(self, segments: Sequence[str]) -> str:
        segment = segments[self.at]
        if self.length:
            segment = segment[: -self.length]
        if "%" not in segment or len(segment) > _ESCAPED:  # as it stands it is too long already
            return segment
        # Half as long as `unquote`, which is for text that has other characters than ASCII, too.
        return unquote_to_bytes(segment).decode("utf-8", "replace") if segment.isascii() else unquote(segment)

    def replaced(self, segments: Sequence[str], value: str) -> list[str]:
        changed = list(segments)
        changed[self.at] = quote(value, safe="") + (segments[self.at][-self.length :] if self.length else "")
        return changed


class Pattern:
    """A row, ready to be matched."""

    __slots__ = ("_header", "_literals", "_model", "_variables", "_version", "fixed", "key", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        self._header = row.header
        segments = row.path.split("/")
        self.key = key(row.method, segments, verb(segments[-1].rpartition("}")[2]))
        found = [_NAMED.fullmatch(text) for text in segments]
        # The first segments are in the key.
        self._literals = [(at, text) for at, text in enumerate(segments) if at > 1 and not found[at]]
        varying = [(m[1], _Variable(at, m[2])) for at, m in enumerate(found) if m]
        self._variables = [(variable.at, variable.length, variable.suffix) for _, variable in varying]
        self._model, self._version = dict(varying).get("model"), dict(varying).get("version")
        # One object serves all requests to a row of which the head tells nothing but the row itself.
        self.fixed = (
            Operation(
                row.api, row.operation, None if row.names else "", None, row.stream, row.reader, uploads=row.uploads
            )
            if row.names in ("", "body")
            else None
        )

    def fits(self, segments: Sequence[str]) -> bool:
        """Whether the row is that of a request, which has the row's key, if it has the row's header as well."""
        for at, text in self._literals:
            if segments[at] != text:
                return False
        for at, length, suffix in self._variables:
            segment = segments[at]
            if len(segment) <= length or (length and segment[-length:].lower() != suffix):
                return False
        return True

    def operation(self, prefix: str, segments: Sequence[str], query: str, headers: Headers) -> Operation | None:
        """What a fitting request asks for; None where it can't be told without doubt which model is meant."""
        if self.fixed is not None:
            return self.fixed
        model: str | None
        rename: Rename | None
        if self._model is not None:
            model = self._model.value(segments)
            rename = partial(_named_in_path, prefix, segments, self._model, query)
        elif self._header:
            model = _only([value.decode("latin-1") for value in headers.all(self._header)])
            rename = partial(_named_in_header, self._header)
        else:
            model, rename = self._asked_in_query(prefix, segments, query)
        if model is None or len(model) > MAX_MODEL_LENGTH:
            return None
        row = self.row
        version = None
        if self._version is not None:
            version = self._version.value(segments)
        elif row.version_header:
            version = headers.text(row.version_header) or None
        return Operation(row.api, row.operation, model, version, row.stream, row.reader, rename)

    def _asked_in_query(self, prefix: str, segments: Sequence[str], query: str) -> tuple[str | None, Rename | None]:
        name = self.row.query
        if query.count("&") >= _PARAMETERS or len(query) > _QUERY:
            return None, None
        found = [
            (spelled, value) for spelled, value in parse_qsl(query, keep_blank_values=True) if is_key(spelled, name)
        ]
        if not found:
            # Without the parameter no model is named: the server has one, or learns of it later.
            return "", None
        if found[0][0] != name:
            return None, None  # ``Model``: to some servers the parameter, to others none
        return _only([value for _, value in found]), partial(_named_in_query, prefix, segments, query, name)


class Fit:
    """A row that a request's method and target fit. Immutable: it serves every request that has the same ones."""

    __slots__ = ("_operation", "_told", "header")

    def __init__(self, pattern: Pattern, prefix: str, segments: Sequence[str], query: str) -> None:
        row = pattern.row
        self.header = row.header
        """What the request must have, too; empty: nothing more."""
        self._operation = partial(pattern.operation, prefix, segments, query)
        self._told = None if row.header or row.version_header else (self._operation(Headers()),)

    def operation(self, headers: Headers) -> Operation | None:
        """See ``Pattern.operation``."""
        return self._operation(headers) if self._told is None else self._told[0]


def _only(values: Sequence[str]) -> str | None:
    return values[0] or None if len(values) == 1 else None


def _named_in_header(name: str, model: str) -> tuple[str, str]:
    return name, safe_value(model)


def _named_in_path(prefix: str, segments: Sequence[str], place: _Variable, query: str, model: str) -> tuple[str, str]:
    return ":path", prefix + "/".join(place.replaced(segments, model)) + ("?" + query if query else "")


def _named_in_query(prefix: str, segments: Sequence[str], query: str, name: str, model: str) -> tuple[str, str]:
    parts = [
        f"{part.partition('=')[0]}={quote(model, safe='')}" if unquote_plus(part.partition("=")[0]) == name else part
        for part in query.split("&")
    ]
    return ":path", f"{prefix}{'/'.join(segments)}?{'&'.join(parts)}"
