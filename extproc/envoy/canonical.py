"""Reads the messages of Envoy's that every request brings, written as Envoy writes them.

Envoy's serializer leaves no choice: fields in ascending order, each once, defaults left out. Read straight from the
bytes, such a message takes two thirds of the generated code's time, and half of it where other work has filled the
caches meanwhile, as between two requests it has. Whatever is written in another way, well or badly, is not for us:
``None`` leaves it to the generated code.
Source: Protocol Buffers, "Encoding"; external_processor.proto (HttpHeaders, HttpBody) and base.proto (HeaderValue).
"""

from __future__ import annotations

from typing import Any, TypeAlias

from extproc.headers import Headers

REQUEST_HEADERS, RESPONSE_HEADERS, REQUEST_BODY, RESPONSE_BODY = 0x12, 0x1A, 0x22, 0x2A
"""Tags: fields 2 to 5 of ProcessingRequest, all of which have a length."""

Message: TypeAlias = tuple[int, Any, bool, bytes, bytes]
"""(tag, ``Headers`` or the body's bytes, ``end_of_stream``, ``metadata_context``, the fields behind it)."""

_FIRST, _RAW_VALUE = 0x0A, 0x1A
"""Field 1: of HttpHeaders the map, of the map a header, of a header its name, of HttpBody the body. Field 3 of a
header."""
_METADATA = 0x42
"""Field 8 of ProcessingRequest."""
_HEAD_ENDS, _BODY_ENDS = {b"": False, b"\x18\x01": True}, {b"": False, b"\x10\x01": True}
_ENDS = {
    REQUEST_HEADERS: _HEAD_ENDS,
    RESPONSE_HEADERS: _HEAD_ENDS,
    REQUEST_BODY: _BODY_ENDS,
    RESPONSE_BODY: _BODY_ENDS,
}
"""What may follow the headers or the body: ``end_of_stream``, where it is true."""


def message(data: bytes) -> Message | None:
    """The message, if it is one of the four kinds, the headers' names come once each, and all is as Envoy writes it."""
    try:
        tag, at, size = data[0], 2, data[1]
        if size > 0x7F:
            at, size = _length(data, 1)
        ends = _ENDS[tag]
        stop, end = at, at + size
        if at < end and data[at] == _FIRST:
            at, size = at + 2, data[at + 1]
            if size > 0x7F:
                at, size = _length(data, at - 1)
            stop = at + size
        last = ends[data[stop:end]]
        if not stop <= end <= len(data):
            return None
        content: Any = data[at:stop] if ends is _BODY_ENDS else _headers(data, at, stop)
        if content is None:
            return None
        metadata = b""
        if end < len(data) and data[end] == _METADATA:
            at, size = _length(data, end + 1)
            end = at + size
            metadata = data[at:end]
        return (tag, content, last, metadata, data[end:]) if end <= len(data) else None
    except (LookupError, ValueError):  # it is cut short, or something else stands there; a name is not UTF-8
        return None


def _headers(data: bytes, at: int, stop: int) -> Headers | None:
    """Those between ``at`` and ``stop``, which must be within ``data``."""
    raw = data  # compiled, where the bytes are: to slice them costs half as much
    first: dict[str, bytes] = {}
    count = 0
    while at < stop:
        header, size = data[at], data[at + 1]
        at += 2
        if size > 0x7F:
            at, size = _length(data, at - 1)
        following = at + size
        key, length = data[at], data[at + 1]
        name = at + 2
        value = name + length
        if header != _FIRST or key != _FIRST or length > 0x7F or value >= following or following > stop:
            return None
        at, size = value + 2, data[value + 1]
        if size > 0x7F:
            at, size = _length(data, value + 1)
        if data[value] != _RAW_VALUE or at + size != following:
            return None
        first[raw[name:value].decode()] = raw[at:following]
        at = following
        count += 1
    # More than one value for a name: rare, and their order counts.
    return Headers(first) if at == stop and len(first) == count else None


def _length(data: bytes, at: int) -> tuple[int, int]:
    """(where the next thing begins, the varint at ``at``). Raises IndexError where none is, or it has no end."""
    size = data[at] & 0x7F
    for shift in (7, 14, 21, 28):
        if data[at] <= 0x7F:
            return at + 1, size
        at += 1
        size |= (data[at] & 0x7F) << shift
    raise IndexError
