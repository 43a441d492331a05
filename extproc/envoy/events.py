"""Events: what Envoy sends during one HTTP exchange.

Plain values without gRPC or protobuf; ``codec`` makes them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import ClassVar, TypeAlias

import msgspec

from extproc.headers import Headers

TUNNEL_PEER = "io.istio.peer_principal"
"""Filter state of an Istio waypoint: the identity of the tunnel."""
PEER_NAME = "aimesh.peer"
"""Tag in Envoy's access log: the DNS name in the client's certificate. The log itself tells URIs only."""
DNS_NAME = "connection.dns_san_peer_certificate"
PEER_ATTRIBUTES = ("connection.uri_san_peer_certificate", DNS_NAME, f"filter_state['{TUNNEL_PEER}']")
"""Envoy's attributes for the client's identity, the first that is there: from the certificate of the connection or, at
an Istio waypoint, of its tunnel. A client can't forge them, unlike headers such as ``x-forwarded-client-cert``.
"""
SERVED_ATTRIBUTE = "upstream.address"
"""Envoy's attribute for the server that answered, ``ip:port``."""


class BodyMode(enum.IntEnum):
    """How Envoy sends a body (``ProcessingMode.BodySendMode`` of ext_proc.proto)."""

    NONE = 0
    STREAMED = 1
    BUFFERED = 2
    BUFFERED_PARTIAL = 3
    FULL_DUPLEX_STREAMED = 4
    GRPC = 5


class Protocol(msgspec.Struct, frozen=True, gc=False):
    """The filter's configuration for bodies; Envoy sends it with the first message of a stream."""

    request_body: BodyMode = BodyMode.NONE
    send_body_without_waiting: bool = False
    """``send_body_without_waiting_for_header_response``: chunks may come before the headers are answered."""


class RequestHeaders(msgspec.Struct, frozen=True):
    """The head of the request, pseudo headers (``:method``, ``:path``) included."""

    kind: ClassVar[str] = "request_headers"

    headers: Headers
    end_of_stream: bool = False
    """There is no body."""
    protocol: Protocol | None = None
    """None where Envoy does not send it (before 1.33)."""
    metadata: Mapping[str, str] = {}
    """Dynamic metadata of the namespace ``aimesh``, where the filter forwards it."""
    peer: str = ""
    """The client's name: the URI (SPIFFE ID) in its certificate, or else the DNS name, as verified by Envoy. Empty
    where Envoy sends none.
    """
    subset: tuple[str, ...] | None = None
    """Servers that the proxy allows (Endpoint Picker Protocol), ``host:port``, or ``host`` for any port; None: any."""


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
    served: str = ""
    """Who answered, ``ip:port``; empty where Envoy does not say, or did itself."""


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
    """An empty message, or one of a kind that this version does not know."""

    kind: ClassVar[str] = "unknown"


class Closed(msgspec.Struct, frozen=True):
    """The end of the stream: Envoy half-closed or cancelled it, or the connection broke. Always the last event."""

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
"""Every kind of event, for tables and tests that must be complete."""
