"""Protobuf bytes to events, actions to protobuf bytes. The wire itself is held against the full API in tests/wire."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
)
from extproc.envoy.codec import Malformed, decode, encode
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


def message(**fields: Any) -> bytes:
    return pb.ProcessingRequest(**fields).SerializeToString()


def header_map(**pairs: bytes) -> pb.HttpHeaders:
    headers = [pb.HeaderValue(key=name, raw_value=value) for name, value in pairs.items()]
    return pb.HttpHeaders(headers=pb.HeaderMap(headers=headers), end_of_stream=True)


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (message(request_headers=header_map(a=b"\xff")), RequestHeaders(Headers([("a", b"\xff")]), True)),
        (message(request_headers=pb.HttpHeaders()), RequestHeaders(Headers())),
        (message(request_body=pb.HttpBody(body=b"x", end_of_stream=True)), RequestBody(b"x", True)),
        (message(request_trailers=pb.HttpTrailers()), RequestTrailers()),
        (message(response_headers=header_map(a=b"1")), ResponseHeaders(Headers([("a", b"1")]), True)),
        (message(response_body=pb.HttpBody(body=b"y")), ResponseBody(b"y")),
        (message(response_trailers=pb.HttpTrailers()), ResponseTrailers()),
        (b"", Unknown()),
        (b"\xfa\x01\x03abc", Unknown()),
    ],
)
def test_decode(data: bytes, event: Event) -> None:
    assert decode(data) == (event, False)


def test_values_that_come_as_text_count_too() -> None:
    headers = pb.HeaderMap(headers=[pb.HeaderValue(key="a", value="é")])
    event, _ = decode(message(request_headers=pb.HttpHeaders(headers=headers)))
    assert isinstance(event, RequestHeaders)
    assert event.headers.get("a") == "é".encode()


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("mode", BodyMode)
def test_the_protocol_is_told_with_the_headers(mode: BodyMode, waits: bool) -> None:
    config = pb.ProtocolConfiguration(request_body_mode=mode.name, send_body_without_waiting_for_header_response=waits)
    event, _ = decode(message(request_headers=pb.HttpHeaders(), protocol_config=config))
    assert event == RequestHeaders(Headers(), protocol=Protocol(mode, waits))


def test_a_body_mode_of_the_future_is_one_we_can_not_work_with() -> None:
    # protocol_config (11) with request_body_mode (1) = 99
    event, _ = decode(message(request_headers=pb.HttpHeaders()) + b"\x5a\x02\x08\x63")
    assert isinstance(event, RequestHeaders)
    assert event.protocol == Protocol(BodyMode.GRPC)


def test_metadata_of_our_namespace_only_and_the_observer() -> None:
    metadata = pb.Metadata()
    metadata.filter_metadata["aimesh"].update({"model": "m", "count": 3})
    metadata.filter_metadata["other"].update({"secret": "s"})
    data = message(response_headers=pb.HttpHeaders(), metadata_context=metadata, observability_mode=True)
    assert decode(data) == (ResponseHeaders(Headers(), metadata={"model": "m", "count": ""}), True)


def test_whose_certificate_the_connection_came_with() -> None:
    data = message(request_headers=pb.HttpHeaders())
    for name, peer in (("xds.route_name", "r"), (PEER_ATTRIBUTES[1], "spiffe://b"), (PEER_ATTRIBUTES[0], "spiffe://a")):
        attributes = pb.ProcessingRequest()
        attributes.attributes["envoy.filters.http.ext_proc"].update({name: peer})
        event, _ = decode(data + attributes.SerializeToString())
        assert isinstance(event, RequestHeaders)
        assert event.peer == (peer if name in PEER_ATTRIBUTES else "")


@pytest.mark.parametrize("canonical", [True, False])
def test_who_answered(canonical: bool) -> None:
    attributes = pb.ProcessingRequest()
    attributes.attributes["envoy.filters.http.ext_proc"].update({SERVED_ATTRIBUTE: "10.0.0.1:80"})
    parts = message(response_headers=pb.HttpHeaders()), attributes.SerializeToString()
    event, _ = decode(b"".join(parts if canonical else parts[::-1]))
    assert event == ResponseHeaders(Headers(), served="10.0.0.1:80")


@pytest.mark.parametrize("data", [b"\xff", b"\x12\xff\xff", b"\x0a"])
def test_what_is_no_message_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_an_event_or_malformed(data: bytes) -> None:
    try:
        event, _ = decode(data)
    except Malformed:
        return
    assert event.kind


MUTATION = Mutation((("x-model-version", "v1"),), ("x-gpu-pool",), (("model", "m"),))


def mutated(common: pb.CommonResponse) -> None:
    (option,) = common.header_mutation.set_headers
    assert (option.header.key, option.header.raw_value) == ("x-model-version", b"v1")
    assert option.append_action == pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    assert list(common.header_mutation.remove_headers) == ["x-gpu-pool"]
    assert common.clear_route_cache


def sent(reply: Reply) -> pb.ProcessingResponse:
    return pb.ProcessingResponse.FromString(encode(reply))


def test_headers_reply() -> None:
    response = sent(HeadersReply(MUTATION))
    mutated(response.request_headers.response)
    assert response.dynamic_metadata["aimesh"]["model"] == "m"  # type: ignore[index]
    assert not response.HasField("mode_override")
    assert sent(HeadersReply(body_mode=BodyMode.BUFFERED)).mode_override.request_body_mode == pb.ProcessingMode.BUFFERED


def test_a_reply_without_change_clears_no_route() -> None:
    response = sent(HeadersReply())
    assert response.WhichOneof("response") == "request_headers"
    assert not response.request_headers.response.clear_route_cache
    assert not response.HasField("dynamic_metadata")


def test_body_replies() -> None:
    response = sent(BodyReply(MUTATION, b"new"))
    mutated(response.request_body.response)
    assert response.request_body.response.body_mutation.body == b"new"
    assert sent(BodyReply(body=b"")).request_body.response.body_mutation.clear_body
    assert not sent(BodyReply()).request_body.response.HasField("body_mutation")
    echo = sent(BodyEcho(b"x", end_of_stream=True)).request_body.response.body_mutation.streamed_response
    assert (echo.body, echo.end_of_stream) == (b"x", True)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (HeadersReply(), "request_headers"),
        (BodyReply(), "request_body"),
        (TrailersReply(), "request_trailers"),
        (TrailersReply(request=False), "response_trailers"),
        (ResponseReply(), "response_headers"),
        (ResponseReply(body=True), "response_body"),
        (Reject(400, "c", "m"), "immediate_response"),
        (Answer("models", (), b"{}"), "immediate_response"),
    ],
)
def test_every_reply_is_of_the_kind_that_envoy_waits_for(reply: Reply, kind: str) -> None:
    assert sent(reply).WhichOneof("response") == kind


def test_an_answer_has_its_headers_and_body() -> None:
    immediate = sent(Answer("models", (("content-type", "application/json"),), b"{}", (("api", "openai"),)))
    assert immediate.immediate_response.status.code == 200
    assert immediate.immediate_response.details == "aimesh_models"
    (option,) = immediate.immediate_response.headers.set_headers
    assert (option.header.key, option.header.raw_value) == ("content-type", b"application/json")
    assert immediate.immediate_response.body == b"{}"
    assert immediate.dynamic_metadata["aimesh"]["api"] == "openai"  # type: ignore[index]


def test_a_refusal_has_its_headers_and_body() -> None:
    headers = (("content-type", "application/json"), ("x-amzn-errortype", "ValidationException"))
    reply = Reject(413, "request_too_large", "m", (("api", "openai"),), headers=headers, body=b"{}")
    immediate = sent(reply)
    assert immediate.immediate_response.status.code == 413
    assert immediate.immediate_response.details == "aimesh_request_too_large"
    options = immediate.immediate_response.headers.set_headers
    assert [(option.header.key, option.header.raw_value.decode()) for option in options] == list(headers)
    assert immediate.immediate_response.body == b"{}"
    assert immediate.dynamic_metadata["aimesh"]["api"] == "openai"  # type: ignore[index]


@pytest.mark.parametrize(("status", "expected"), [(400, 3), (404, 5), (413, 8), (429, 8), (503, 14), (418, 2)])
def test_reject_speaks_grpc_where_the_client_does(status: int, expected: int) -> None:
    details = ("grpc-status-details-bin", "CAM")
    immediate = sent(Reject(status, "c", "m", (("api", "oip"),), grpc=True, headers=(details,), body=b"what is wrong"))
    assert immediate.immediate_response.grpc_status.status == expected
    assert immediate.immediate_response.body == b"what is wrong"
    (option,) = immediate.immediate_response.headers.set_headers
    assert (option.header.key, option.header.raw_value.decode()) == details
    assert immediate.dynamic_metadata["aimesh"]["api"] == "oip"  # type: ignore[index]


def test_the_cache_of_replies_confuses_none() -> None:
    replies = [HeadersReply(Mutation((("a", str(n)),), metadata=(("b", "c"),))) for n in range(3000)]
    values = [sent(r).request_headers.response.header_mutation.set_headers[0].header.raw_value for r in replies * 2]
    assert values == [str(n).encode() for n in range(3000)] * 2
