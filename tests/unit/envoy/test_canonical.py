"""Messages read straight from the bytes: the same events as the generated code's, or none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy import canonical, codec
from extproc.envoy.canonical import REQUEST_BODY, REQUEST_HEADERS
from extproc.envoy.codec import Malformed
from extproc.envoy.events import Event, RequestHeaders
from extproc.headers import Headers
from tests.unit.envoy.broken_bytes import broken

names = st.text("abc-:x", min_size=1, max_size=4) | st.sampled_from(["x" * 127, "x" * 128, "é", "a" * 10, "z" * 26])
values = st.binary(max_size=3) | st.sampled_from([b"v" * n for n in (10, 26, 109, 120, 127, 128, 300, 20_000)])
headers = st.lists(st.tuples(names, values), max_size=4)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """As Envoy writes them, and in some ways in which it doesn't."""
    message = pb.ProcessingRequest(observability_mode=draw(st.booleans()))
    kind = draw(st.sampled_from(["request_headers", "response_headers", "request_body", "response_body", "none"]))
    end = draw(st.booleans())
    if kind.endswith("headers"):
        raw = draw(st.integers(0, 9)) > 0
        fields = [
            pb.HeaderValue(key=name, raw_value=value) if raw else pb.HeaderValue(key=name, value=value.hex())
            for name, value in draw(headers)
        ]
        getattr(message, kind).CopyFrom(pb.HttpHeaders(headers=pb.HeaderMap(headers=fields), end_of_stream=end))
    elif kind.endswith("body"):
        getattr(message, kind).CopyFrom(pb.HttpBody(body=draw(values), end_of_stream=end))
    if draw(st.booleans()):
        message.protocol_config.request_body_mode = pb.ProcessingMode.BUFFERED
    if draw(st.booleans()):
        message.metadata_context.SetInParent()
    if draw(st.booleans()):
        message.metadata_context.filter_metadata["aimesh"].fields["model"].string_value = draw(st.text(max_size=200))
    if draw(st.booleans()):
        message.attributes["a"].fields["connection.uri_san_peer_certificate"].string_value = "spiffe://a/b"
    return message.SerializeToString()


def outcome(decode: Any, data: bytes) -> Any:
    try:
        return decode(data)
    except Malformed:
        return Malformed


@given(messages(), messages(), st.booleans())
def test_no_other_event_than_the_generated_code_reads(data: bytes, more: bytes, both: bool) -> None:
    if both:
        data += more
    assert outcome(codec.decode, data) == outcome(codec._decode_any, data)


@given(messages(), st.data())
def test_nor_from_bytes_that_are_broken(data: bytes, draw: st.DataObject) -> None:
    damaged = broken(draw, data)
    wanted, found = (outcome(decode, damaged) for decode in (codec._decode_any, codec.decode))
    body = isinstance(found, tuple) and found[0].kind.endswith("body")
    assert found == wanted or (body and wanted is Malformed)  # metadata that comes with a body is not looked at


@given(st.binary(max_size=40))
def test_nor_from_any_bytes(data: bytes) -> None:
    canonical.parse(data)
    outcome(codec.decode, data)


@pytest.mark.parametrize("length", [0, 1, 10, 26, 108, 109, 127, 128, 16_383, 16_384])
def test_what_envoy_sends_is_read_here(length: int) -> None:
    pairs = {":path": b"/" * length, "cookie": b"c" * 300, "x" * 127: b"1"}
    fields = [pb.HeaderValue(key=name, raw_value=value) for name, value in pairs.items() if value]
    head = pb.HttpHeaders(headers=pb.HeaderMap(headers=fields))
    found = canonical.parse(pb.ProcessingRequest(request_headers=head).SerializeToString())
    wanted = Headers([(name, value) for name, value in pairs.items() if value])
    assert found == (REQUEST_HEADERS, wanted, False, b"", b"")
    body = pb.ProcessingRequest(
        request_body=pb.HttpBody(body=b"b" * length, end_of_stream=True), observability_mode=True
    )
    assert canonical.parse(body.SerializeToString()) == (REQUEST_BODY, b"b" * length, True, b"", b"\x50\x01")


def test_of_several_values_all_are_kept() -> None:
    fields = [pb.HeaderValue(key="a", raw_value=value) for value in (b"1", b"2")]
    head = pb.HttpHeaders(headers=pb.HeaderMap(headers=fields))
    event: Event
    event, _ = codec.decode(pb.ProcessingRequest(request_headers=head).SerializeToString())
    assert isinstance(event, RequestHeaders)
    assert event.headers.all("a") == [b"1", b"2"]
