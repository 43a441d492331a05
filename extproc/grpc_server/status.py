"""How a gRPC call ends: its status code, and the trailers that carry it (grpc/grpc, doc/PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import enum
from typing import Final
from urllib.parse import quote

MAX_DETAILS: Final = 1000
"""Characters of a status's message: a block of headers must fit into one frame."""


class StatusCode(enum.IntEnum):
    """Status codes of gRPC that we use (grpc/grpc, doc/statuscodes.md)."""

    OK = 0
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class Abort(Exception):  # noqa: N818
    """Ends a stream with another status than OK or INTERNAL."""

    def __init__(self, code: StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


def literal_field(name: bytes, value: bytes) -> bytes:
    """A literal header field without indexing (RFC 7541 §6.2.2)."""
    return b"\x00" + _string(name) + _string(value)


def _string(data: bytes) -> bytes:
    """A string literal without Huffman encoding (RFC 7541 §5.1, §5.2)."""
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, size = len(data) - 127, b"\x7f"
    while rest >= 128:
        size += bytes((rest % 128 | 128,))
        rest //= 128
    return size + bytes((rest,)) + data


def status_trailers(code: StatusCode, details: str) -> bytes:
    """A block of HPACK: ``grpc-status``, and ``grpc-message`` where there are details."""
    # Printable ASCII but for `%` goes as it is (PROTOCOL-HTTP2.md, "Status-Message").
    message = quote(details[:MAX_DETAILS], safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", errors="replace")
    status = literal_field(b"grpc-status", b"%d" % code)
    return status + literal_field(b"grpc-message", message.encode()) if message else status


OK_TRAILERS: Final = status_trailers(StatusCode.OK, "")
