"""Parses Envoy's most frequent messages straight from their bytes, in the form in which Envoy serializes them.

Envoy's serializer writes fields in ascending order, each once, without defaults. Messages in any other form, valid or
not, are left to the generated code (``parse`` returns None). Why: docs/decisions/0012-compiled.md.
Source: Protocol Buffers, "Encoding"; external_processor.proto (HttpHeaders, HttpBody) and base.proto (HeaderValue).
"""

from __future__ import annotations

from typing import Any, TypeAlias

from extproc.headers import Headers

REQUEST_HEADERS, RESPONSE_HEADERS, REQUEST_BODY, RESPONSE_BODY = 0x12, 0x1A, 0x22, 0x2A
"""Tags of fields 2 to 5 of ProcessingRequest, all of them length-delimited."""

Message: TypeAlias = tuple[int, Any, bool, bytes, bytes]
"""(tag, ``Headers`` or the body's bytes, ``end_of_stream``, ``metadata_context``, bytes of the fields after it)."""

_FIRST, _RAW_VALUE = 0x0A, 0x1A
"""Tags of field 1 (``headers`` of HttpHeaders and HeaderMap, ``key`` of HeaderValue, ``body`` of HttpBody) and of
field 3 of HeaderValue (``raw_value``).
"""
_METADATA = 0x42
"""Tag of field 8 of ProcessingRequest (``metadata_context``)."""
_HEADERS_END, _BODY_END = {b"": False, b"\x18\x01": True}, {b"": False, b"\x10\x01": True}
_ENDS = {
    REQUEST_HEADERS: _HEADERS_END,
    RESPONSE_HEADERS: _HEADERS_END,
    REQUEST_BODY: _BODY_END,
    RESPONSE_BODY: _BODY_END,
}
"""Bytes that may follow the headers or the body, and their meaning: ``end_of_stream``, written only where true."""


def parse(data: bytes) -> Message | None:
    """The message, if it is of the four kinds in Envoy's form and no header name occurs twice; None otherwise."""
    try:
        raw = data  # a ``const char *`` where compiled: slices are cheaper
        tag, at, size = data[0], 2, data[1]
        if size > 0x7F:
            at, size = read_varint(data, 1)
        ends = _ENDS[tag]
        stop, end = at, at + size
        if at < end and data[at] == _FIRST:
            at, size = at + 2, data[at + 1]
            if size > 0x7F:
                at, size = read_varint(data, at - 1)
            stop = at + size
        if not stop <= end <= len(data):
            return None
        last = ends[raw[stop:end]]
        content: Any = raw[at:stop] if ends is _BODY_END else _read_headers(data, at, stop)
        if content is None:
            return None
        metadata = b""
        if end < len(data) and data[end] == _METADATA:
            at, size = read_varint(data, end + 1)
            end = at + size
            if not at <= end <= len(data):
                return None
            metadata = raw[at:end]
        return tag, content, last, metadata, raw[end : len(data)]
    except (LookupError, ValueError):  # truncated, another form, or a name that is not UTF-8
        return None


def _read_headers(data: bytes, at: int, stop: int) -> Headers | None:
    """The headers between ``at`` and ``stop``, which must be within ``data``; None if not in Envoy's form."""
    raw = data
    first: dict[str, bytes] = {}
    count = 0
    while at < stop:
        header, size = data[at], data[at + 1]
        at += 2
        if size > 0x7F:
            at, size = read_varint(data, at - 1)
        following = at + size
        key, length = data[at], data[at + 1]
        name = at + 2
        value = name + length
        if header != _FIRST or key != _FIRST or length > 0x7F or value >= following or following > stop:
            return None
        at, size = value + 2, data[value + 1]
        if size > 0x7F:
            at, size = read_varint(data, value + 1)
        if data[value] != _RAW_VALUE or at + size != following:
            return None
        first[raw[name:value].decode("utf-8")] = raw[at:following]  # named, it is decoded without a search for it
        at = following
        count += 1
    # Repeated names are rare, and their order matters: left to the generated code.
    return Headers(first) if at == stop and len(first) == count else None


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(offset after the varint at ``at``, its value below 2**35). Raises IndexError if truncated or too long."""
    size = data[at] & 0x7F
    for shift in (7, 14, 21, 28):
        if data[at] <= 0x7F:
            return at + 1, size
        at += 1
        part = data[at] & 0x7F
        size |= part << shift
    if data[at] <= 0x7F:
        return at + 1, size
    raise IndexError
