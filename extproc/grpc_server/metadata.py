"""A gRPC call's custom metadata: the request's headers that are the caller's own (grpc/grpc, doc/PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from extproc.grpc_server.contract import Metadata
from extproc.http2.header_fields import Field

_RESERVED = frozenset((b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding"))
"""Headers of gRPC itself, which are no metadata."""


def custom_metadata(fields: Sequence[Field]) -> Metadata:
    """The fields without pseudo-headers and gRPC's own. Values of names that end in ``-bin`` are bytes; one that is not
    base64 is left out.
    """
    found: list[tuple[str, str | bytes]] = []
    for field in fields:
        name, value = field.name, field.value
        if name.startswith(b":") or name in _RESERVED:
            continue
        if name.endswith(b"-bin"):
            found += [(name.decode("latin-1"), one) for one in _binary_values(value)]
        else:
            found.append((name.decode("latin-1"), value.decode("latin-1")))
    return tuple(found)


def _binary_values(value: bytes) -> list[bytes]:
    # Several values may be joined by commas, and padding is optional (PROTOCOL-HTTP2.md, "Custom-Metadata").
    values: list[bytes] = []
    for part in value.split(b","):
        try:
            values.append(base64.b64decode(part + b"=" * (-len(part) % 4), validate=True))
        except binascii.Error:
            continue
    return values
