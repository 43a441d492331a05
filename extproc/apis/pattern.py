"""A row of the table, ready to be matched: what a fitting request's head tells, how to name another model. Floor 2.

May import floors 0 and 1, ``row`` and ``jsonreader``. Source for paths and queries: RFC 3986 §2.1 and §3.3, and the
URL standard's ``application/x-www-form-urlencoded``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

from extproc.apis.row import Row
from extproc.headers import Headers, safe_value
from extproc.jsonreader import MAX_MODEL_LENGTH
from extproc.request import Operation

Key: TypeAlias = tuple[str, int, str, str]
"""Method, number of segments, the first segment, and the last one's fixed text: few rows share all four."""

Rename: TypeAlias = Callable[[str], tuple[str, str]]

_NAMED = re.compile(r"\{(.+)\}(.*)")


def keys(method: str, segments: Sequence[str]) -> tuple[Key, Key]:
    """The keys of the rows that a request may fit: those with fixed text in the last segment, those with none."""
    count, first = len(segments), segments[1] if len(segments) > 1 else ""
    return (method, count, first, segments[-1].rpartition(":")[2].lower()), (method, count, first, "")


class _Variable:
    """One segment of a path that varies, but for the ``suffix`` behind it."""

    __slots__ = ("at", "length", "suffix")

    def __init__(self, at: int, suffix: str) -> None:
        self.at = at
        self.suffix = suffix.lower()
        self.length = len(suffix)

    def fits(self, segment: str) -> bool:
        length = self.length
        return len(segment) > length and (not length or segment[-length:].lower() == self.suffix)

    def value(self, segments: Sequence[str]) -> str:
        segment = segments[self.at]
        return unquote(segment[: -self.length] if self.length else segment)

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
        self.key = keys(row.method, [text.rpartition("}")[2] for text in segments])[0]
        found = [_NAMED.fullmatch(text) for text in segments]
        self._literals = [(at, text) for at, text in enumerate(segments) if not found[at]]
        varying = [(m[1], _Variable(at, m[2])) for at, m in enumerate(found) if m]
        named = dict(varying)
        self._variables = [variable for _, variable in varying]
        self._model, self._version = named.get("model"), named.get("version")
        # One object serves all requests to a row of which the head tells nothing but the row itself.
        self.fixed = (
            Operation(
                row.api, row.operation, None if row.names else "", None, row.stream, row.reader, uploads=row.uploads
            )
            if row.names in ("", "body")
            else None
        )

    def fits(self, segments: Sequence[str], headers: Headers) -> bool:
        """Whether the row is the request's: its path has the ``segments``, as many as the row's."""
        for at, text in self._literals:
            if segments[at] != text:
                return False
        for variable in self._variables:
            if not variable.fits(segments[variable.at]):
                return False
        return not self._header or self._header in headers

    def operation(self, prefix: str, segments: Sequence[str], query: str, headers: Headers) -> Operation | None:
        """What a fitting request asks for; None where it can't be told without doubt which model is meant."""
        if self.fixed is not None:
            return self.fixed
        row = self.row
        model, rename = self._named(prefix, segments, query, headers)
        if model is None or len(model) > MAX_MODEL_LENGTH:
            return None
        version = None
        if self._version is not None:
            version = self._version.value(segments)
        elif row.version_header:
            version = headers.text(row.version_header) or None
        return Operation(row.api, row.operation, model, version, row.stream, row.reader, rename)

    def _named(
        self, prefix: str, segments: Sequence[str], query: str, headers: Headers
    ) -> tuple[str | None, Rename | None]:
        """The model, None where there are several or an empty one; and how to name another."""
        if name := self._header:
            values = [value.decode("latin-1") for value in headers.all(name)]
            return _only(values), partial(_named_in_header, name)
        if name := self.row.query:
            values = [value for key, value in parse_qsl(query, keep_blank_values=True) if key == name]
            # Without the parameter no model is named: the server has one, or learns of it later.
            return (_only(values), partial(_named_in_query, prefix, segments, query, name)) if values else ("", None)
        if self._model is None:
            return None, None
        return self._model.value(segments), partial(_named_in_path, prefix, segments, self._model, query)


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
