"""Sends one request through the route stream, for the tests of API families, and gives what it was read as."""

from __future__ import annotations

import json
from typing import Any

from extproc import apis
from extproc.bodies.request import BodyFields, InferenceRequest, RequestFields
from extproc.envoy.events import BodyMode, Protocol, RequestBody, RequestHeaders
from extproc.exchange.notes import Unmatched
from extproc.exchange.route import RouteStream
from extproc.headers import Headers
from extproc.policy.snapshot import Policy, Snapshot

EVERYTHING = Snapshot((Policy("all", models=("*",)),))
STREAMED = Protocol(BodyMode.STREAMED, send_body_without_waiting=True)


def interpret(line: str, body: Any = b"", headers: dict[str, str] | None = None) -> InferenceRequest | str:
    """The request as it was read, or the reason why it is unmatched.

    ``line``: ``POST /path``; ``body``: bytes, or a value that is sent as JSON.
    """
    method, _, path = line.partition(" ")
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    stream = RouteStream(EVERYTHING, b"entropy")
    head = Headers.of([(":method", method), (":path", path), *(headers or {}).items()])
    actions = list(stream.receive(RequestHeaders(head, not raw, STREAMED)))
    if not actions:
        actions += stream.receive(RequestBody(raw, end_of_stream=True))
    unmatched = [action.reason for action in actions if isinstance(action, Unmatched)]
    return unmatched[0] if unmatched or stream.request is None else stream.request


def all_fields(fields: RequestFields) -> BodyFields:
    """All fields of a body, those that are decoded on access included."""
    return BodyFields(*(getattr(fields, name) for name in BodyFields.__struct_fields__))


def json_size(*values: Any) -> int:
    """Bytes of values in the JSON that ``interpret`` sends."""
    return sum(len(json.dumps(value)) for value in values)


def head_suffices(line: str, headers: dict[str, str] | None = None) -> bool:
    """Whether the request is read without its body."""
    method, _, path = line.partition(" ")
    found = apis.classify(method, path, Headers.of((headers or {}).items()))
    return found is not None and found.reader is None


def interpret_call(path: str, message: bytes) -> InferenceRequest | str:
    """``interpret`` of a gRPC call with this message."""
    return interpret("POST " + path, b"\0" + len(message).to_bytes(4) + message, {"content-type": "application/grpc"})


def field(number: int, value: bytes | str | int) -> bytes:
    """A field of a protobuf message; numbers and lengths below 128."""
    if isinstance(value, int):
        return bytes((number << 3, value))
    data = value if isinstance(value, bytes) else value.encode()
    return bytes((number << 3 | 2, len(data))) + data
