"""The access log read straight from its bytes: what the generated code reads, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import example, given
from hypothesis import strategies as st

from extproc._pb import access_log_pb2 as pb
from extproc.envoy import access_log
from extproc.envoy.canonical_log import parse
from extproc.envoy.codec import Malformed
from extproc.envoy.events import PEER_NAME, TUNNEL_PEER
from extproc.envoy.logged_request import LoggedRequest
from extproc.headers import LINKERD_CLIENT
from tests.unit.envoy.broken_bytes import broken

MOST = access_log.MAX_ENTRIES
FLAGS = [field.name for field in pb.ResponseFlags.DESCRIPTOR.fields]

texts = st.text(max_size=5) | st.sampled_from(["é" * 60, "x" * 127, "x" * 128, "x" * 20_000])
numbers = st.integers(0, 2**31 - 1) | st.sampled_from([127, 128, 16_383, 16_384])
own = st.dictionaries(st.sampled_from(["policy", "version", "model", "x" * 200]), texts, max_size=4)


sometimes = st.booleans()
rarely = st.integers(0, 9).map(lambda drawn: not drawn)


def add_times_and_places(draw: st.DrawFn, common: pb.AccessLogCommon) -> None:
    if draw(sometimes):
        common.duration.seconds, common.duration.nanos = draw(numbers), draw(numbers)
    if draw(rarely):
        common.duration.nanos = -1
    if draw(sometimes):
        common.time_to_first_upstream_rx_byte.nanos = draw(numbers)
    if draw(sometimes):
        common.upstream_cluster = draw(texts)
    if draw(sometimes):
        address = common.upstream_remote_address.socket_address
        address.address, address.port_value = draw(st.sampled_from(["10.0.0.1", "::1", ""])), draw(numbers)
    for name in draw(st.lists(st.sampled_from(FLAGS), max_size=2)):
        setattr(common.response_flags, name, True)


def add_metadata(draw: st.DrawFn, metadata: pb.Metadata) -> None:
    for key, value in draw(own).items():
        metadata.filter_metadata["aimesh"].fields[key].string_value = value
    if draw(rarely):
        metadata.filter_metadata["aimesh"].fields["number"].number_value = 1
    if draw(sometimes):
        metadata.filter_metadata[draw(texts)].fields["x"].number_value = 1
    if draw(sometimes):
        metadata.filter_metadata["envoy.lb"].fields["x-gateway-destination-endpoint"].string_value = draw(texts)


def add_client(draw: st.DrawFn, entry: pb.HTTPAccessLogEntry) -> None:
    common = entry.common_properties
    if draw(sometimes):
        common.tls_properties.peer_certificate_properties.subject_alt_name.add(uri=draw(texts))
    if draw(sometimes):
        common.custom_tags[PEER_NAME] = draw(texts)
        common.custom_tags["other"] = draw(texts)
    if draw(sometimes):
        common.filter_state_objects[TUNNEL_PEER].Pack(StringValue(value=draw(texts)))
    if draw(sometimes):
        entry.request.request_headers[LINKERD_CLIENT] = draw(texts)


@st.composite
def entries(draw: st.DrawFn) -> pb.HTTPAccessLogEntry:
    """As Envoy writes them, and in some ways in which it doesn't."""
    entry = pb.HTTPAccessLogEntry()
    add_times_and_places(draw, entry.common_properties)
    add_metadata(draw, entry.common_properties.metadata)
    add_client(draw, entry)
    if draw(sometimes):
        entry.request.request_id = draw(texts)
    if draw(sometimes):
        entry.response.response_code.value = draw(numbers)
    if draw(sometimes):
        entry.response.response_code_details = draw(st.sampled_from(["aimesh_no_room", "aimesh_é", "via_upstream"]))
    return entry


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    found = pb.StreamAccessLogsMessage()
    found.http_logs.log_entry.extend(draw(st.lists(entries(), max_size=3)))
    # Fields that are not read here: the identifier, and some of those that Envoy writes besides.
    before = draw(st.sampled_from([b"", b"\x0a\x02\x12\x00", b"\x0a\x00", b"\x08\x01"]))
    return before + found.SerializeToString()


def outcome(data: bytes) -> Any:
    try:
        return access_log._decode_any(data)
    except Malformed:
        return Malformed


@given(messages(), messages(), st.booleans())
def test_no_other_entries_than_the_generated_code_reads(data: bytes, more: bytes, both: bool) -> None:
    if both:
        data += more
    assert parse(data, MOST) in (None, outcome(data))


@given(messages(), st.data())
def test_nor_from_bytes_that_are_broken(data: bytes, draw: st.DataObject) -> None:
    damaged = broken(draw, data)
    found, wanted = parse(damaged, MOST), outcome(damaged)
    assert found in (None, wanted) or wanted is Malformed  # what is not read is not looked at


@given(st.binary(max_size=60))
@example(b"\x12\x04\x0a\x02\x0a\x00")
@example(b"\x0a\xfa\xff\xff\xff\x0f")
def test_any_bytes_are_read_or_left(data: bytes) -> None:
    parse(data, MOST)


def _entry(**common: Any) -> pb.StreamAccessLogsMessage:
    found = pb.StreamAccessLogsMessage()
    found.http_logs.log_entry.add().common_properties.CopyFrom(pb.AccessLogCommon(**common))
    return found


def _only(data: bytes) -> LoggedRequest:
    found = parse(data, MOST)
    assert found is not None
    (read,) = found
    return read


def test_what_envoy_writes_is_read_here() -> None:
    """Not left to the generated code."""
    found = _entry(upstream_cluster="llama/v1", custom_tags={PEER_NAME: "a", "b": "c"})
    entry = found.http_logs.log_entry[0]
    entry.common_properties.metadata.filter_metadata["aimesh"].fields["policy"].string_value = "llama"
    entry.common_properties.metadata.filter_metadata["other"].fields["x"].number_value = 1
    entry.common_properties.duration.nanos = 999_999_999
    entry.common_properties.response_flags.upstream_overflow = True
    entry.request.request_headers["a"] = entry.request.request_headers["b"] = "c"
    entry.response.response_code.value = 503
    read = _only(found.SerializeToString())
    assert (read.code, read.seconds, read.cluster, read.caller) == (503, 0.999999999, "llama/v1", "a")
    assert read.metadata == {"policy": "llama"}


@pytest.mark.parametrize("most", [1, 2])
def test_more_entries_than_there_may_be_are_left(most: int) -> None:
    found = _entry()
    found.http_logs.log_entry.add()
    read = parse(found.SerializeToString(), most)
    assert read is None if most == 1 else len(read or ()) == 2


def test_fields_twice_are_left() -> None:
    entry = _entry(upstream_cluster="a").http_logs.log_entry[0]
    message = _message(entry.SerializeToString() * 2)
    assert parse(message, MOST) is None
    assert access_log.decode(message) == outcome(message)


def test_a_wrong_type_is_as_if_it_were_not_there() -> None:
    number = bytes((15 << 3, 7))  # upstream_cluster as a number
    message = _message(b"\x0a\x02" + number)
    read = _only(message)
    assert [read] == outcome(message)
    assert read.cluster == ""


def _message(entry: bytes) -> bytes:
    return b"\x12" + bytes((len(entry) + 2,)) + b"\x0a" + bytes((len(entry),)) + entry


def test_a_key_twice_is_left() -> None:
    """The last one counts, whatever the first was."""
    value = pb.Metadata()
    value.filter_metadata["x"].fields["policy"].string_value = "llama"
    struct = value.filter_metadata["x"].SerializeToString()
    keys = b"\x0a\x05other\x0a\x06aimesh\x12" + bytes((len(struct),)) + struct
    metadata = b"\x0a" + bytes((len(keys),)) + keys
    common = b"\x8a\x01" + bytes((len(metadata),)) + metadata
    message = _message(b"\x0a" + bytes((len(common),)) + common)
    assert parse(message, MOST) is None
    (found,) = access_log.decode(message)
    assert found.metadata == {"policy": "llama"}


def test_what_is_not_read_may_come_more_than_once() -> None:
    response = b"\x0a\x03\x08\xc8\x01" + b"\x22\x04\x0a\x00\x12\x00" * 2  # response_headers
    message = _message(b"\x22" + bytes((len(response),)) + response)
    assert parse(message, MOST) == outcome(message) != []
