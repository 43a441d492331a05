"""AWS event streams that carry another stream, or events of another API.

Source: the API references of Amazon Bedrock ("PayloadPart") and of Amazon SageMaker's runtime ("PayloadPart").
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

import msgspec

from extproc.answers.wire.aws_event_stream import AwsEventStream
from extproc.answers.wire.decoder import ERROR, Event
from extproc.answers.wire.documents import SniffingDecoder


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
            if event[0] != ERROR:
                payloads.append(event[1])
                continue
            found += (*self._inner.feed(b"".join(payloads)), event)
            payloads.clear()
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
        return [event if event[0] == ERROR else _unwrapped(event) for event in self._outer.feed(data)]

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return ()


_payload = msgspec.json.Decoder(_Payload).decode


def _unwrapped(event: Event) -> Event:
    try:
        return "", binascii.a2b_base64(_payload(event[1]).bytes), event[2]
    except (msgspec.DecodeError, binascii.Error, UnicodeError):
        return "", b"", True
