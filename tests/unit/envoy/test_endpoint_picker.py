"""The Endpoint Picker Protocol's parts of messages: subsets that are read, picked endpoints that are written."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from extproc._pb import access_log_pb2 as log_pb
from extproc._pb import ext_proc_pb2 as pb
from extproc.envoy.actions import BodyReply, HeadersReply, Mutation
from extproc.envoy.codec import decode, encode
from extproc.envoy.endpoint_picker import MAX_SUBSET, picked_endpoints
from extproc.envoy.events import BodyMode, RequestHeaders

SUBSET, PICKED = "x-gateway-destination-endpoint-subset", "x-gateway-destination-endpoint"


def struct(**fields: Any) -> Struct:
    made = Struct()
    made.update({name.replace("_", "-"): value for name, value in fields.items()})
    return made


def subset(metadata: pb.Metadata, *, canonical: bool = True) -> tuple[str, ...] | None:
    """What is read of a message in Envoy's form, or in another one that is as good."""
    message = pb.ProcessingRequest(request_headers=pb.HttpHeaders(), metadata_context=metadata).SerializeToString()
    event, _ = decode(
        message if canonical else pb.ProcessingRequest(observability_mode=False).SerializeToString() + message
    )
    assert isinstance(event, RequestHeaders)
    return event.subset


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["10.0.0.1:80", "10.0.0.2:80"], ("10.0.0.1:80", "10.0.0.2:80")),
        ("10.0.0.1:80,10.0.0.2:80", ("10.0.0.1:80", "10.0.0.2:80")),
        (" 10.0.0.1:80 , 10.0.0.2 ,", ("10.0.0.1:80", "10.0.0.2")),
        (["[::1]:80", "::1"], ("[::1]:80", "::1")),
        ([], ()),
        ("", ()),
        (7, ()),
        (None, ()),
        ({"a": "10.0.0.1:80"}, ()),
        ([1, ["10.0.0.1:80"]], ()),
        (["1.1.1.1:1"] * (MAX_SUBSET + 1), ("1.1.1.1:1",) * MAX_SUBSET),
    ],
)
def test_a_subset_is_a_list_or_a_text(value: Any, expected: tuple[str, ...]) -> None:
    metadata = pb.Metadata(filter_metadata={"envoy.lb.subset_hint": struct(**{SUBSET: value})})
    assert subset(metadata) == subset(metadata, canonical=False) == expected


def test_without_the_key_there_is_no_subset() -> None:
    namespaces = {"envoy.lb": struct(**{SUBSET: "1.1.1.1:1"}), "aimesh": struct(body_model="m")}
    assert subset(pb.Metadata(filter_metadata=namespaces)) is None
    assert subset(pb.Metadata(filter_metadata={"envoy.lb.subset_hint": struct(other="1.1.1.1:1")})) is None
    assert subset(pb.Metadata(filter_metadata={"a": struct(text="envoy.lb.subset_hint")})) is None


@pytest.mark.parametrize("body_mode", [None, BodyMode.BUFFERED])
@given(endpoints=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_header_and_metadata_have_one_value(endpoints: str, body_mode: BodyMode | None) -> None:
    shared = Mutation((("x-model-name", "m"),), ("x-gpu-pool",), (("policy", "p"), ("model", "m")))
    own = Mutation(shared.set, shared.remove, shared.metadata, endpoints)
    replies: list[tuple[HeadersReply | BodyReply, HeadersReply | BodyReply]]
    replies = [(HeadersReply(own, body_mode), HeadersReply(shared, body_mode)), (BodyReply(own), BodyReply(shared))]
    replies.append((BodyReply(own, b"new"), BodyReply(shared, b"new")))
    for picked, plain in replies:
        found, rest = (pb.ProcessingResponse.FromString(encode(reply)) for reply in (picked, plain))
        common = (found.request_body if isinstance(picked, BodyReply) else found.request_headers).response
        assert common.clear_route_cache
        option = common.header_mutation.set_headers.pop()
        assert (option.header.key, option.header.raw_value) == (PICKED, endpoints.encode())
        assert option.append_action == pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
        assert found.dynamic_metadata.fields.pop("envoy.lb").struct_value.fields[PICKED].string_value == endpoints
        assert found == rest


def test_picked_endpoints_are_found_again_in_the_access_log() -> None:
    assert picked_endpoints(log_pb.Metadata(filter_metadata={"envoy.lb": struct(**{PICKED: "a:1,b:1"})})) == "a:1,b:1"
    assert picked_endpoints(log_pb.Metadata(filter_metadata={"envoy.lb": struct(other="x")})) == ""
    assert picked_endpoints(log_pb.Metadata()) == ""
