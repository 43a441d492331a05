"""Protobuf bytes ↔ events and actions. Floor 4: may import floors 0 to 3, and alone uses the generated messages.

Source: envoy/service/ext_proc/v3/external_processor.proto, of which ``protos/`` holds what is read and written here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec
from google.protobuf.message import DecodeError

from extproc._pb import ext_proc_pb2 as pb
from extproc.actions import (
    BodyEcho,
    BodyReply,
    HeadersReply,
    Mutation,
    Reject,
    Reply,
    ResponseReply,
    TrailersReply,
)
from extproc.events import (
    PEER_ATTRIBUTES,
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
"""Of the dynamic metadata that we write and read."""
_GRPC_STATUS = {400: 3, 413: 8, 503: 14}
"""INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE (grpc/grpc, doc/statuscodes.md)."""
_UNKNOWN = 2
_OVERWRITE = pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
_PROTOCOLS = {(mode.value, waits): Protocol(mode, waits) for mode in BodyMode for waits in (False, True)}


class Malformed(Exception):  # noqa: N818
    """Bytes that are no ProcessingRequest: no Envoy sent them."""


def decode(data: bytes) -> tuple[Event, bool]:
    """(the event, whether the filter runs in observability mode). Raises ``Malformed``."""
    try:
        message = pb.ProcessingRequest.FromString(data)
    except DecodeError:
        raise Malformed("not a ProcessingRequest") from None
    kind = message.WhichOneof("request")
    return (_EVENTS[kind](message) if kind else Unknown()), message.observability_mode


def _request_headers(message: pb.ProcessingRequest) -> Event:
    head = message.request_headers
    protocol = None
    if message.HasField("protocol_config"):
        config = message.protocol_config
        # A mode of a newer Envoy is one that we can't work with, as GRPC is.
        protocol = _PROTOCOLS.get(
            (config.request_body_mode, config.send_body_without_waiting_for_header_response),
            Protocol(BodyMode.GRPC),
        )
    return RequestHeaders(_headers(head.headers), head.end_of_stream, protocol, _metadata(message), _peer(message))


def _response_headers(message: pb.ProcessingRequest) -> Event:
    head = message.response_headers
    return ResponseHeaders(_headers(head.headers), head.end_of_stream, _metadata(message))


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


def _headers(headers: pb.HeaderMap) -> Headers:
    # Envoy sends raw_value; other clients of the protocol may still send value.
    return Headers([(h.key, h.raw_value or h.value.encode()) for h in headers.headers])


def _metadata(message: pb.ProcessingRequest) -> Mapping[str, str]:
    if not message.HasField("metadata_context"):
        return {}
    namespaces = message.metadata_context.filter_metadata
    if NAMESPACE not in namespaces:
        return {}
    return {key: value.string_value for key, value in namespaces[NAMESPACE].fields.items()}


def _peer(message: pb.ProcessingRequest) -> str:
    for attributes in message.attributes.values():
        for name in PEER_ATTRIBUTES:
            if name in attributes.fields and (peer := attributes.fields[name].string_value):
                return peer
    return ""


def encode(reply: Reply) -> bytes:
    """One ProcessingResponse."""
    if type(reply) is HeadersReply:
        return _headers_reply(reply)
    response = pb.ProcessingResponse()
    match reply:
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
    return response.SerializeToString()


@lru_cache(maxsize=1024)
def _headers_reply(reply: HeadersReply) -> bytes:
    """Decisions repeat, and building one of these messages costs more than all the rest: so the bytes are kept."""
    response = pb.ProcessingResponse()
    _mutate(reply.mutation, response.request_headers.response, response)
    if reply.body_mode is not None:
        response.mode_override.CopyFrom(pb.ProcessingMode(request_body_mode=reply.body_mode.name))
    return response.SerializeToString()


def _mutate(mutation: Mutation, common: pb.CommonResponse, response: pb.ProcessingResponse) -> None:
    common.SetInParent()
    if mutation.clear_route_cache:
        common.clear_route_cache = True
        for name, value in mutation.set:
            option = common.header_mutation.set_headers.add(append_action=_OVERWRITE)
            option.header.key = name
            option.header.raw_value = value.encode()
        common.header_mutation.remove_headers.extend(mutation.remove)
    _put_metadata(mutation.metadata, response)


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
    immediate.details = f"aimesh_{reply.code}"
    _put_metadata(reply.metadata, response)
    if reply.grpc:
        # Envoy makes a trailers-only response of it, with the body as `grpc-message`.
        immediate.grpc_status.status = _GRPC_STATUS.get(reply.status, _UNKNOWN)
        immediate.body = reply.message.encode()
        return
    immediate.body = error_body(reply.status, reply.code, reply.message)
    option = immediate.headers.set_headers.add(append_action=_OVERWRITE)
    option.header.key = "content-type"
    option.header.raw_value = b"application/json"


def error_body(status: int, code: str, message: str) -> bytes:
    """The JSON that the client gets, in the shape of OpenAI's errors, which SDKs know how to show."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return msgspec.json.encode({"error": {"message": message, "type": kind, "code": code}})
