"""What goes with a gRPC status: ``google.rpc.Status`` with details, which clients read as ``grpcio-status`` does.

Sources: googleapis/googleapis, google/rpc/status.proto and error_details.proto; gRPC over HTTP/2 (PROTOCOL-HTTP2.md),
"Custom-Metadata", of names that end with ``-bin``.
"""

from __future__ import annotations

from base64 import b64encode

DETAILS = "grpc-status-details-bin"
"""The trailer."""
DOMAIN = "aimesh"
"""Whose error it is (``ErrorInfo.domain``)."""
RETRY_SECONDS = 1
"""When a client may ask again (``RetryInfo``), where that is of use."""

_INVALID_ARGUMENT = 3
_TYPE_URL = b"type.googleapis.com/google.rpc."


def status_details(status: int, code: str, message: str, *, retry: bool) -> str:
    """The trailer's value: ``ErrorInfo`` with our ``code`` in upper case as the reason; ``BadRequest`` where the name
    of the model is what is wrong; ``RetryInfo`` where ``retry`` says that asking again may help.

    ``status`` and ``message`` must be those of the gRPC status itself: clients compare them.
    """
    details = [_any(b"ErrorInfo", _text(1, code.upper()) + _text(2, DOMAIN))]
    if status == _INVALID_ARGUMENT and code.endswith("_model"):
        details.append(_any(b"BadRequest", _field(1, _text(1, "model") + _text(2, message))))
    if retry:
        details.append(_any(b"RetryInfo", _field(1, _number(1, RETRY_SECONDS))))
    encoded = _number(1, status) + _text(2, message) + b"".join(_field(3, detail) for detail in details)
    return b64encode(encoded).decode()


def _any(name: bytes, message: bytes) -> bytes:
    """``google.protobuf.Any``."""
    return _field(1, _TYPE_URL + name) + _field(2, message)


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3]) + _varint(value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
