"""Decodes ProcessingRequests into events, and encodes actions as ProcessingResponses.

Source: envoy/service/ext_proc/v3/external_processor.proto, of which ``protos/`` holds what is read and written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

from google.protobuf.message import DecodeError

from extproc._pb import access_log_pb2 as log_pb
from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy.actions import (
    Answer,
    BodyEcho,
    BodyReply,
    HeadersReply,
    Mutation,
    Reject,
    Reply,
    ResponseReply,
    TrailersReply,
    grpc_status,
)
from extproc.envoy.canonical import REQUEST_BODY, REQUEST_HEADERS, RESPONSE_BODY
from extproc.envoy.canonical import parse as parse_canonical
from extproc.envoy.endpoint_picker import SUBSET_MARK, endpoints_by_body, endpoints_by_headers, subset_hint
from extproc.envoy.events import (
    PEER_ATTRIBUTES,
    SERVED_ATTRIBUTE,
    BodyMode,
    Event,
    Protocol,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Unknown,
)
from extproc.headers import Headers

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
PROCESS = f"/{SERVICE}/Process"
NAMESPACE = "aimesh"
"""The namespace of dynamic metadata that is read and written."""
OWN_DETAILS = "aimesh_"
"""What Envoy's response code details of our own errors begin with, before the error's code."""
_OVERWRITE = pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
_PROTOCOLS = {(mode.value, waits): Protocol(mode, waits) for mode in BodyMode for waits in (False, True)}
_NO_METADATA: Mapping[str, str] = MappingProxyType({})
_MAX_CACHED_FIELDS = 1024
"""Bytes of the fields after a message whose decoded form is cached."""


class Malformed(Exception):  # noqa: N818
    """The bytes are no ProcessingRequest."""


class _Filter:
    """The fields of a message about the filter that sent it, and the connection; immutable."""

    __slots__ = ("observing", "peer", "protocol", "served")

    def __init__(self, observing: bool, protocol: Protocol | None, peer: str, served: str) -> None:
        self.observing, self.protocol, self.peer, self.served = observing, protocol, peer, served


def decode(data: bytes) -> tuple[Event, bool]:
    """(the event, whether the filter runs in observability mode). Raises ``Malformed``."""
    found = parse_canonical(data)
    if found is not None:
        tag, content, end, metadata, fields = found
        filter_ = _cached_filter(fields) if len(fields) <= _MAX_CACHED_FIELDS else _filter_of(fields)
        if filter_ is not None:
            if tag == RESPONSE_BODY:
                return ResponseBody(content, end), filter_.observing
            if tag == REQUEST_BODY:
                return RequestBody(content, end), filter_.observing
            values = _metadata_of(metadata) if metadata else _NO_METADATA
            if tag == REQUEST_HEADERS:
                subset = _subset_of(metadata) if metadata else None
                return RequestHeaders(content, end, filter_.protocol, values, filter_.peer, subset), filter_.observing
            return ResponseHeaders(content, end, values, filter_.served), filter_.observing
    return _decode_any(data)


def _decode_any(data: bytes) -> tuple[Event, bool]:
    message = _parse(data)
    kind = message.WhichOneof("request")
    return (_EVENTS[kind](message) if kind else Unknown()), message.observability_mode


def _parse(data: bytes) -> pb.ProcessingRequest:
    try:
        return pb.ProcessingRequest.FromString(data)
    except DecodeError:
        raise Malformed("not a ProcessingRequest") from None


def _filter_of(fields: bytes) -> _Filter | None:
    """None where these fields need the generated code to read the whole message."""
    message = _parse(fields)
    if message.WhichOneof("request") or message.HasField("metadata_context"):
        return None
    served = _attribute(message, (SERVED_ATTRIBUTE,))
    return _Filter(message.observability_mode, _protocol(message), _peer(message), served)


_cached_filter = lru_cache(maxsize=1024)(_filter_of)
"""These fields are the same in all messages of a filter, but for the peer and the server."""


def _metadata_of(data: bytes) -> Mapping[str, str]:
    try:
        return own_metadata(pb.Metadata.FromString(data))
    except DecodeError:
        raise Malformed("not a Metadata") from None


def _subset_of(data: bytes) -> tuple[str, ...] | None:
    # Not `in`, which takes bytes for a number first.
    return subset_hint(pb.Metadata.FromString(data)) if data.find(SUBSET_MARK) >= 0 else None


def _request_headers(message: pb.ProcessingRequest) -> Event:
    head, metadata = message.request_headers, own_metadata(message.metadata_context)
    subset = subset_hint(message.metadata_context)
    found = _headers(head.headers), head.end_of_stream, _protocol(message), metadata, _peer(message), subset
    return RequestHeaders(*found)


def _response_headers(message: pb.ProcessingRequest) -> Event:
    head = message.response_headers
    served = _attribute(message, (SERVED_ATTRIBUTE,))
    return ResponseHeaders(_headers(head.headers), head.end_of_stream, own_metadata(message.metadata_context), served)


def _request_body(message: pb.ProcessingRequest) -> Event:
    return RequestBody(message.request_body.body, message.request_body.end_of_stream)


def _response_body(message: pb.ProcessingRequest) -> Event:
    piece = message.response_body
    return ResponseBody(piece.body, piece.end_of_stream)


_EVENTS: dict[str, Callable[[pb.ProcessingRequest], Event]] = {
    "request_headers": _request_headers,
    "request_body": _request_body,
    "request_trailers": lambda _: RequestTrailers(),
    "response_headers": _response_headers,
    "response_body": _response_body,
    "response_trailers": lambda message: ResponseTrailers(_headers(message.response_trailers.trailers)),
}


def _protocol(message: pb.ProcessingRequest) -> Protocol | None:
    if not message.HasField("protocol_config"):
        return None
    config = message.protocol_config
    # An unknown mode of a newer Envoy is treated as GRPC, which is not supported either.
    mode = config.request_body_mode, config.send_body_without_waiting_for_header_response
    return _PROTOCOLS.get(mode, Protocol(BodyMode.GRPC))


def _headers(headers: pb.HeaderMap) -> Headers:
    # Envoy sends raw_value; other clients of the protocol may still send value.
    return Headers([(h.key, h.raw_value or h.value.encode()) for h in headers.headers])


def own_metadata(metadata: pb.Metadata | log_pb.Metadata) -> Mapping[str, str]:
    """What dynamic metadata says in our namespace."""
    if NAMESPACE not in metadata.filter_metadata:
        return _NO_METADATA
    fields = metadata.filter_metadata[NAMESPACE].fields
    return {key: fields[key].string_value for key in fields}


def _peer(message: pb.ProcessingRequest) -> str:
    return _attribute(message, PEER_ATTRIBUTES)


def _attribute(message: pb.ProcessingRequest, names: Iterable[str]) -> str:
    """The first of these attributes that is there and not empty."""
    for attributes in message.attributes.values():
        for name in names:
            if name in attributes.fields and (text := attributes.fields[name].string_value):
                return text
    return ""


def encode(reply: Reply) -> bytes:
    """One ProcessingResponse."""
    # Decisions repeat, and building their messages is the largest part of the work: their bytes are cached.
    if type(reply) is HeadersReply:
        mutation = reply.mutation
        if not mutation.endpoints:
            return _cached_encoding(reply)
        rest = HeadersReply(_without_endpoints(mutation), reply.body_mode)
        return _cached_encoding(rest) + endpoints_by_headers(mutation.endpoints)
    if type(reply) is BodyReply:
        mutation = reply.mutation
        encoded = _cached_encoding if reply.body is None else _encoded
        if not mutation.endpoints:
            return encoded(reply)
        return encoded(BodyReply(_without_endpoints(mutation), reply.body)) + endpoints_by_body(mutation.endpoints)
    return _encoded(reply)


def _without_endpoints(mutation: Mutation) -> Mutation:
    return Mutation(mutation.set, mutation.remove, mutation.metadata)


def _encoded(reply: Reply) -> bytes:
    response = pb.ProcessingResponse()
    match reply:
        case HeadersReply():
            _mutate(reply.mutation, response.request_headers.response, response)
            if reply.body_mode is not None:
                response.mode_override.CopyFrom(pb.ProcessingMode(request_body_mode=reply.body_mode.name))
        case BodyReply():
            common = response.request_body.response
            _mutate(reply.mutation, common, response)
            if reply.body is not None:
                _put_body(reply.body, common.body_mutation)
        case BodyEcho():
            echo = response.request_body.response.body_mutation.streamed_response
            echo.body = reply.data
            echo.end_of_stream = reply.end_of_stream
        case TrailersReply():
            (response.request_trailers if reply.request else response.response_trailers).SetInParent()
        case ResponseReply():
            (response.response_body if reply.body else response.response_headers).SetInParent()
        case Reject():
            _reject(reply, response)
        case Answer():
            response.immediate_response.status.code = 200
            response.immediate_response.details = OWN_DETAILS + reply.name
            _put_metadata(reply.metadata, response)
            _put_immediate(reply.headers, reply.body, response.immediate_response)
    return response.SerializeToString()


_cached_encoding = lru_cache(maxsize=1024)(_encoded)


def _mutate(mutation: Mutation, common: pb.CommonResponse, response: pb.ProcessingResponse) -> None:
    common.SetInParent()
    if mutation.clear_route_cache:
        common.clear_route_cache = True
        for name, value in mutation.set:
            _put_header(name, value, common.header_mutation)
        common.header_mutation.remove_headers.extend(mutation.remove)
    _put_metadata(mutation.metadata, response)


def _put_header(name: str, value: str, mutation: pb.HeaderMutation) -> None:
    option = mutation.set_headers.add(append_action=_OVERWRITE)
    option.header.key = name
    option.header.raw_value = value.encode()


def _put_body(body: bytes, mutation: pb.BodyMutation) -> None:
    if body:
        mutation.body = body
    else:
        mutation.clear_body = True


def _put_metadata(metadata: tuple[tuple[str, str], ...], response: pb.ProcessingResponse) -> None:
    if metadata:
        fields = response.dynamic_metadata.fields[NAMESPACE].struct_value.fields
        for key, value in metadata:
            fields[key].string_value = value


def _reject(reply: Reject, response: pb.ProcessingResponse) -> None:
    immediate = response.immediate_response
    immediate.status.code = reply.status
    immediate.details = OWN_DETAILS + reply.code
    _put_metadata(reply.metadata, response)
    if reply.grpc:
        # Envoy makes it a trailers-only response with the body as `grpc-message`.
        immediate.grpc_status.status = grpc_status(reply.status)
    _put_immediate(reply.headers, reply.body, immediate)


def _put_immediate(headers: tuple[tuple[str, str], ...], body: bytes, immediate: pb.ImmediateResponse) -> None:
    immediate.body = body
    for name, value in headers:
        _put_header(name, value, immediate.headers)
