"""AWS event streams, and messages of gRPC, that carry the model's own stream."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable

import pytest

from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.decoder import CLIENT_ERROR, ERROR, Decoder, MalformedAnswer
from extproc.answers.wire.documents import SniffingDecoder
from extproc.answers.wire.nested_streams import Base64Payloads, HttpBodies, RawPayloads
from extproc.answers.wire.sse import SseEvents
from tests.unit.answers.wire.framing import aws, bytewise, read

EXCEPTION = aws(b"slow down", message_type="exception")


def payload(event: bytes) -> bytes:
    return aws(b'{"bytes":"' + base64.b64encode(event) + b'","p":"abc"}', event_type="chunk")


def test_one_event_in_each_payload() -> None:
    text = payload(b'{"a":1}') + EXCEPTION + payload(b"")
    wanted = [("", b'{"a":1}', True), (ERROR, b"slow down", True), ("", b"", True)]
    assert read(Base64Payloads, text) == read(Base64Payloads, *bytewise(text)) == wanted


@pytest.mark.parametrize("text", [b"no", b"{}", b'{"bytes":7}', b'{"bytes":"a"}', b'{"bytes":"\xff"}', b""])
def test_payloads_of_another_form_are_events_without_data(text: bytes) -> None:
    assert read(Base64Payloads, aws(text) + payload(b"x")) == [("", b"", True), ("", b"x", True)]


def test_payloads_are_pieces_of_one_stream() -> None:
    text = aws(b"data: o") + aws(b"ne\n") + aws(b"\ndata: two\n\n") + EXCEPTION + aws(b"data: three")
    wanted = [("", b"one", True), ("", b"two", True), (ERROR, b"slow down", True), ("", b"three", True)]
    assert read(RawPayloads, text) == read(RawPayloads, *bytewise(text)) == wanted


def test_what_comes_before_an_exception_is_read_before_it() -> None:
    assert RawPayloads().feed(aws(b"data: a\n\n") + EXCEPTION) == [("", b"a", True), (ERROR, b"slow down", True)]


@pytest.mark.parametrize("decoder", [Base64Payloads, RawPayloads])
def test_an_exception_that_is_the_clients_is_no_payload(decoder: Callable[[], Decoder]) -> None:
    said = aws(b"no such model", message_type="exception", exception_type="validationException")
    assert read(decoder, said) == [(CLIENT_ERROR, b"no such model", True)]


def test_an_event_that_is_too_long_has_no_data() -> None:
    assert read(Base64Payloads, aws(bytes(MAX_WHOLE + 1)))[0][1] == b""


def http_body(data: bytes, *, packed: bool = False) -> bytes:
    """A message of gRPC with ``google.api.HttpBody``: content type, data, and an extension that is empty."""
    fields = ((1, b"text/event-stream"), (2, data), (3, b""))
    message = b"".join(bytes((number << 3 | 2, len(text))) + text for number, text in fields)
    message = gzip.compress(message) if packed else message
    return bytes((packed,)) + len(message).to_bytes(4) + message


def test_the_data_of_http_bodies_is_one_body() -> None:
    pieces = (b"data: o", b"", b"ne\n\nda", b"ta: two\n\n")
    wanted = [("", b"one", True), ("", b"two", True)]
    text = b"".join(http_body(piece) for piece in pieces)
    assert read(HttpBodies, text) == read(HttpBodies, *bytewise(text)) == wanted
    packed = HttpBodies("gzip")
    assert [event for piece in pieces for event in packed.feed(http_body(piece, packed=True))] == wanted
    assert packed.expanded == sum(len(http_body(piece)) - 5 for piece in pieces)


def test_the_body_of_http_bodies_is_read_by_the_decoder_of_its_format() -> None:
    bodies, kinds = HttpBodies(), []
    for data in (b"", b"data: one\n"):
        bodies.feed(http_body(data))
        kinds.append(type(bodies.body))
    assert kinds == [SniffingDecoder, SseEvents]


def test_a_content_type_is_no_data() -> None:
    bodies = HttpBodies()
    for message in (b"\x0a\5data:", b"\x10\7", b""):
        assert bodies.feed(b"\0" + len(message).to_bytes(4) + message) == ()
    assert bodies.feed(http_body(b"event: a\ndata: one\n\n")) == [("a", b"one", True)]


def test_16_fields_of_an_http_body() -> None:
    bodies = HttpBodies()
    message = b"\x1a\0" * 15 + b"\x12\x0bdata: one\n\n"
    assert bodies.feed(b"\0" + len(message).to_bytes(4) + message) == [("", b"one", True)]
    message = b"\x1a\0" + message
    with pytest.raises(MalformedAnswer):
        bodies.feed(b"\0" + len(message).to_bytes(4) + message)


def test_what_is_no_http_body() -> None:
    for message in (b"\xff", b"\x0a\x09abc", b"\x1a\0" * 20, b"\x12\0" + bytes(MAX_WHOLE)):
        with pytest.raises(MalformedAnswer):
            HttpBodies().feed(b"\0" + len(message).to_bytes(4) + message)
