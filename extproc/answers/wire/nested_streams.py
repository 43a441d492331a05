"""Streams that carry another stream, or events of another API: in AWS event streams, and in gRPC messages.

Source: the API references of Amazon Bedrock ("PayloadPart") and of Amazon SageMaker's runtime ("PayloadPart");
google/api/httpbody.proto.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

import msgspec

from extproc.answers.wire.aws_event_stream import AwsEventStream
from extproc.answers.wire.decoder import FAILED, Decoder, Event, MalformedAnswer
from extproc.answers.wire.documents import ObjectOrLines, SniffingDecoder
from extproc.answers.wire.grpc_messages import GrpcMessages
from extproc.bodies.grpc_message import fields_of
from extproc.errors import Unreadable

_MAX_FIELDS = 16
"""Fields of an ``HttpBody``, which has three; the last may be repeated."""
_DATA = 2


class RawPayloads:
    """See ``Decoder``. Payloads are pieces of the model's own stream, in whichever format (SageMaker)."""

    __slots__ = ("_inner", "_outer")

    def __init__(self) -> None:
        self._outer = AwsEventStream()
        self._inner = SniffingDecoder()

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        found: list[Event] = []
        payloads: list[bytes] = []
        for event in self._outer.feed(data):
            if event[0] not in FAILED:
                payloads.append(event[1])
                continue
            if payloads:
                found += self._inner.feed(b"".join(payloads))
                payloads.clear()
            found.append(event)
        return [*found, *self._inner.feed(b"".join(payloads))] if payloads else found

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return self._inner.end()


class _Payload(msgspec.Struct):
    bytes: str = ""


class Base64Payloads:
    """See ``Decoder``. A payload is a JSON object with one event of the model's, in base64 at ``/bytes`` (Bedrock)."""

    __slots__ = ("_outer",)

    def __init__(self) -> None:
        self._outer = AwsEventStream()

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        return [event if event[0] in FAILED else _unwrapped(event) for event in self._outer.feed(data)]

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return ()


class HttpBodies:
    """See ``Decoder``. gRPC messages of the type ``google.api.HttpBody``: together they are the body that the same
    method has over HTTP (Vertex AI).
    """

    __slots__ = ("_inner", "_messages")

    def __init__(self, coding: str = "") -> None:
        """``coding``: the value of ``grpc-encoding``."""
        self._messages = GrpcMessages(coding)
        self._inner = SniffingDecoder(ObjectOrLines)

    @property
    def body(self) -> Decoder:
        """The decoder of the body: the one for its format, once its first bytes have told it."""
        return self._inner.chosen or self._inner

    @property
    def expanded(self) -> int:
        """See ``GrpcMessages``."""
        return self._messages.expanded

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        body = b"".join([_data_of(message, whole) for _, message, whole in self._messages.feed(data)])
        return self._inner.feed(body) if body else ()

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return self._inner.end()


def _data_of(message: bytes, whole: bool) -> bytes:
    found = b""
    try:
        for count, (number, wire, _, value, end) in enumerate(fields_of(message, 0, len(message))):
            if count == _MAX_FIELDS:
                raise MalformedAnswer("an HttpBody of too many fields")
            if (number, wire) == (_DATA, 2):
                found = message[value:end]
    except Unreadable:
        raise MalformedAnswer("not an HttpBody") from None
    if not whole:
        raise MalformedAnswer("a message that is too long to be kept")
    return found


_payload = msgspec.json.Decoder(_Payload).decode


def _unwrapped(event: Event) -> Event:
    try:
        return "", binascii.a2b_base64(_payload(event[1]).bytes), event[2]
    except (msgspec.DecodeError, binascii.Error, UnicodeError):
        return "", b"", True
