"""What Envoy said: the phases of one HTTP exchange.

Events are plain values without gRPC or protobuf; ``codec`` makes them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import ClassVar, TypeAlias

import msgspec

from extproc.headers import Headers

PEER_ATTRIBUTES = ("connection.uri_san_peer_certificate", "filter_state['io.istio.peer_principal']")
"""Envoy's names for the client's identity: of the certificate that the connection came with or, at a waypoint of
Istio's, its tunnel. Neither can be forged; a header like ``x-forwarded-client-cert`` can, where Envoy passes it on."""


class BodyMode(enum.IntEnum):
    """How Envoy shows us a body (``ProcessingMode.BodySendMode`` of ext_proc.proto)."""

    NONE = 0
    STREAMED = 1
    BUFFERED = 2
    BUFFERED_PARTIAL = 3
    FULL_DUPLEX_STREAMED = 4
    GRPC = 5


class Protocol(msgspec.Struct, frozen=True, gc=False):
    """What the filter's configuration says of bodies; Envoy tells it with the first message of a stream."""

    request_body: BodyMode = BodyMode.NONE
    send_body_without_waiting: bool = False
    """``send_body_without_waiting_for_header_response``: chunks come before we have answered the headers."""


class RequestHeaders(msgspec.Struct, frozen=True):
    """The head of the request, pseudo headers (``:method``, ``:path``) included."""

    kind: ClassVar[str] = "request_headers"

    headers: Headers
    end_of_stream: bool = False
    """There is no body."""
    protocol: Protocol | None = None
    """None where Envoy is too old to tell (before 1.33)."""
    metadata: Mapping[str, str] = {}
    """Dynamic metadata of the namespace ``aimesh``, where the filter forwards it."""
    peer: str = ""
    """Whose certificate the connection came with, as Envoy has verified it: a SPIFFE ID. Empty where it tells none."""


class RequestBody(msgspec.Struct, frozen=True, gc=False):
    """The whole body (BUFFERED) or the next piece of it, perhaps empty."""

    kind: ClassVar[str] = "request_body"

    data: bytes
    end_of_stream: bool = False


class RequestTrailers(msgspec.Struct, frozen=True):
    """The request's trailers: the body, if any, is complete."""

    kind: ClassVar[str] = "request_trailers"


class ResponseHeaders(msgspec.Struct, frozen=True):
    """The head of the response, ``:status`` included."""

    kind: ClassVar[str] = "response_headers"

    headers: Headers
    end_of_stream: bool = False
    metadata: Mapping[str, str] = {}


class ResponseBody(msgspec.Struct, frozen=True, gc=False):
    """The next piece of the response's body, perhaps empty."""

    kind: ClassVar[str] = "response_body"

    data: bytes
    end_of_stream: bool = False


class ResponseTrailers(msgspec.Struct, frozen=True):
    """The response's trailers: it is complete."""

    kind: ClassVar[str] = "response_trailers"

    headers: Headers = Headers()


class Unknown(msgspec.Struct, frozen=True):
    """A message of a kind that this version does not know, or an empty one."""

    kind: ClassVar[str] = "unknown"


class Closed(msgspec.Struct, frozen=True):
    """The stream is gone: Envoy half-closed or cancelled it, or the connection broke. Always the last event."""

    kind: ClassVar[str] = "closed"


Event: TypeAlias = (
    RequestHeaders
    | RequestBody
    | RequestTrailers
    | ResponseHeaders
    | ResponseBody
    | ResponseTrailers
    | Unknown
    | Closed
)

KINDS: tuple[type[Event], ...] = (
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
    Unknown,
    Closed,
)
"""Every kind of event, for tables and tests that must leave none out."""
