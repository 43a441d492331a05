"""Our pruned ext_proc.proto against the full Envoy API: same numbers, types and names; nothing is lost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.service.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.google.protobuf import Any as AnyMessage
from envoy_data_plane.google.protobuf import Struct, Value
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct as OurStruct
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc._pb import ext_proc_pb2, health_pb2
from tests.wire.oracle import differences, upstream

ENDS: list[Any] = [ext_proc_pb2.ProcessingRequest, ext_proc_pb2.ProcessingResponse]


def _description() -> FileDescriptorProto:
    file = FileDescriptorProto()
    ext_proc_pb2.DESCRIPTOR.CopyToProto(file)
    return file


def test_every_message_field_oneof_and_enum_is_envoys() -> None:
    assert differences(_description()) == []


def test_the_method_is_envoys() -> None:
    service = ext_proc_pb2.DESCRIPTOR.services_by_name["ExternalProcessor"]
    (path,) = ext_proc.ExternalProcessorBase().__mapping__()
    assert [f"/{service.full_name}/{method.name}" for method in service.methods] == [path]


# A mistake in the description is seen.


def _field(file: FileDescriptorProto, message: str, field: str) -> FieldDescriptorProto:
    fields = next(m for m in file.message_type if m.name == message).field
    return next(f for f in fields if f.name == field)


def _renumber(file: FileDescriptorProto) -> None:
    _field(file, "CommonResponse", "clear_route_cache").number = 4


def _renumber_map(file: FileDescriptorProto) -> None:
    _field(file, "Metadata", "filter_metadata").number = 2


def _retype(file: FileDescriptorProto) -> None:
    _field(file, "HeaderValue", "raw_value").type = FieldDescriptorProto.TYPE_STRING


def _refer_elsewhere(file: FileDescriptorProto) -> None:
    field = _field(file, "ProcessingRequest", "request_body")
    field.type_name = ".envoy.service.ext_proc.v3.HttpTrailers"


def _repeat(file: FileDescriptorProto) -> None:
    _field(file, "HttpHeaders", "headers").label = FieldDescriptorProto.LABEL_REPEATED


def _leave_oneof(file: FileDescriptorProto) -> None:
    _field(file, "BodyMutation", "clear_body").ClearField("oneof_index")


def _rename(file: FileDescriptorProto) -> None:
    _field(file, "ImmediateResponse", "details").name = "detail"


def _map_value(file: FileDescriptorProto) -> None:
    metadata = next(m for m in file.message_type if m.name == "Metadata")
    metadata.nested_type[0].field[1].type_name = ".google.protobuf.Value"


def _renumber_enum_value(file: FileDescriptorProto) -> None:
    mode = next(m for m in file.message_type if m.name == "ProcessingMode")
    next(e for e in mode.enum_type if e.name == "BodySendMode").value[5].number = 6


def _invent(file: FileDescriptorProto) -> None:
    file.message_type.add(name="HttpTrailer")


@pytest.mark.parametrize(
    ("mistake", "place"),
    [
        (_renumber, "CommonResponse.clear_route_cache"),
        (_renumber_map, "Metadata.filter_metadata"),
        (_retype, "HeaderValue.raw_value"),
        (_refer_elsewhere, "ProcessingRequest.request_body"),
        (_repeat, "HttpHeaders.headers"),
        (_leave_oneof, "BodyMutation.clear_body"),
        (_rename, "ImmediateResponse.detail"),
        (_map_value, "Metadata.filter_metadata"),
        (_renumber_enum_value, "ProcessingMode.BodySendMode"),
        (_invent, "HttpTrailer"),
    ],
)
def test_a_mistake_is_seen(mistake: Callable[[FileDescriptorProto], None], place: str) -> None:
    file = _description()
    mistake(file)
    assert [d.split(":")[0] for d in differences(file)] == [place]


@pytest.mark.parametrize(
    ("message", "field"),
    [(m.name, f.name) for m in _description().message_type for f in m.field],
)
def test_any_field_with_another_number_is_seen(message: str, field: str) -> None:
    file = _description()
    _field(file, message, field).number += 100
    assert [d.split(":")[0] for d in differences(file)] == [f"{message}.{field}"]


# What one side writes, the other reads.

_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=40),
    FieldDescriptor.TYPE_INT32: st.sampled_from([code.value for code in envoy_type.StatusCode]),
    FieldDescriptor.TYPE_STRING: st.text(max_size=20),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 16),
}
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
_STRUCTS = st.dictionaries(st.text(max_size=10), _JSON, max_size=3)


@st.composite
def _messages(draw: st.DrawFn, of: type[Message], phase: str) -> Message:
    """Any message of ours of one kind: ``phase`` is the field set of its oneof."""
    message = of()
    _fill(draw, message, of.DESCRIPTOR, phase)
    return message


def _fill(draw: st.DrawFn, message: Any, descriptor: Any, phase: str | None = None) -> None:
    message.SetInParent()
    if isinstance(message, OurStruct):
        message.update(draw(_STRUCTS))
        return
    # What is left out is drawn, not what is set: so that most examples reach the depth.
    names = [f.name for f in descriptor.fields if f.containing_oneof is None]
    left_out = draw(st.sets(st.sampled_from(names))) if names else set()
    names = [name for name in names if name not in left_out]
    for oneof in descriptor.oneofs:
        names.append(phase or draw(st.sampled_from([f.name for f in oneof.fields])))
    for name in names:
        field = descriptor.fields_by_name[name]
        if field.message_type is None:
            _set(message, field, lambda f: draw(_scalar(f)), draw(st.integers(1, 3)))
        elif field.message_type.GetOptions().map_entry:
            for key in draw(st.sets(st.text(max_size=5), min_size=1, max_size=2)):
                _fill(draw, getattr(message, name)[key], field.message_type.fields_by_name["value"].message_type)
        elif field.is_repeated:
            for _ in range(draw(st.integers(1, 3))):
                _fill(draw, getattr(message, name).add(), field.message_type)
        else:
            _fill(draw, getattr(message, name), field.message_type)


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    return st.sampled_from(sorted(field.enum_type.values_by_number)) if field.enum_type else _SCALARS[field.type]


def _set(message: Any, field: FieldDescriptor, value: Callable[[FieldDescriptor], Any], count: int) -> None:
    if field.is_repeated:
        getattr(message, field.name).extend(value(field) for _ in range(count))
    else:
        setattr(message, field.name, value(field))


def _ours(message: Message) -> dict[str, Any]:
    """A message of ours as plain values: only what is set."""

    def plain(value: Any) -> Any:
        return _ours(value) if isinstance(value, Message) else value

    fields: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            fields[field.name] = {k: plain(value[k]) for k in value}
        else:
            fields[field.name] = [plain(v) for v in value] if field.is_repeated else plain(value)
    return fields


def _theirs(message: Any) -> dict[str, Any]:
    """A message of the oracle as plain values: only what is set."""

    def plain(value: Any) -> Any:
        return _theirs(value) if hasattr(value, "_betterproto") else value

    fields: dict[str, Any] = {}
    for name, meta in message._betterproto.meta_by_field_name.items():
        value = getattr(message, name)
        if value is None or (not meta.optional and not value):
            continue
        if meta.proto_type == "map":
            fields[name] = {k: plain(v) for k, v in value.items()}
        else:
            fields[name] = [plain(v) for v in value] if meta.repeated else plain(value)
    return fields


@pytest.mark.parametrize(("end", "phase"), [(end, f.name) for end in ENDS for f in end.DESCRIPTOR.oneofs[0].fields])
@settings(max_examples=40)
@given(data=st.data())
def test_what_we_write_envoy_reads_and_back(end: type[Message], phase: str, data: st.DataObject) -> None:
    message = data.draw(_messages(end, phase))
    theirs = upstream((end.DESCRIPTOR.name,)).parse(message.SerializeToString())
    assert _theirs(theirs) == _ours(message)
    assert theirs._unknown_fields == b""
    assert end.FromString(bytes(theirs)) == message


_ATTRIBUTES = {"xds": Struct(fields={"cluster": Value(string_value="llama"), "try": Value(number_value=2.0)})}
_HEADERS = core.HeaderMap(headers=[core.HeaderValue(key="x-a", raw_value=b"\xff")])
_RICHER_THAN_OURS = [
    ext_proc.ProcessingRequest(
        request_headers=ext_proc.HttpHeaders(headers=_HEADERS, end_of_stream=True),
        attributes=_ATTRIBUTES,
        metadata_context=core.Metadata(
            filter_metadata={"aimesh": Struct(fields={"model": Value(string_value="m")})},
            typed_filter_metadata={"other": AnyMessage(type_url="type.googleapis.com/x", value=b"x")},
        ),
    ),
    ext_proc.ProcessingRequest(
        request_body=ext_proc.HttpBody(body=b"{}", end_of_stream_without_message=True, grpc_message_compressed=True)
    ),
    ext_proc.ProcessingResponse(
        request_headers=ext_proc.HeadersResponse(
            response=ext_proc.CommonResponse(trailers=_HEADERS, clear_route_cache=True)
        ),
        request_drain=True,
        override_message_timeout=dt.timedelta(milliseconds=200),
    ),
    ext_proc.ProcessingResponse(
        immediate_response=ext_proc.ImmediateResponse(
            status=envoy_type.HttpStatus(code=envoy_type.StatusCode.ServiceUnavailable),
            headers=ext_proc.HeaderMutation(
                set_headers=[core.HeaderValueOption(header=core.HeaderValue(key="retry-after"), keep_empty_value=True)]
            ),
            body=b"{}",
            grpc_status=ext_proc.GrpcStatus(status=14),
            details="no GPU",
        )
    ),
]


@pytest.mark.parametrize("theirs", _RICHER_THAN_OURS, ids=lambda m: type(m).__name__)
def test_what_we_do_not_know_survives(theirs: Any) -> None:
    ours: Message = getattr(ext_proc_pb2, type(theirs).__name__).FromString(bytes(theirs))
    assert _ours(ours) != _theirs(theirs), "the example has a field that ours lacks"
    assert _theirs(type(theirs).parse(ours.SerializeToString())) == _theirs(theirs)


def test_health_is_the_protocol_of_grpc() -> None:
    """As github.com/grpc/grpc, doc/health-checking.md, has it."""
    file = health_pb2.DESCRIPTOR
    (service,) = file.services_by_name.values()
    assert [f"/{service.full_name}/{method.name}" for method in service.methods] == [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    ]
    assert [method.server_streaming for method in service.methods] == [False, True]
    assert health_pb2.HealthCheckRequest(service="s").SerializeToString() == b"\x0a\x01s"
    assert health_pb2.HealthCheckResponse(status="NOT_SERVING").SerializeToString() == b"\x08\x02"
    assert dict(health_pb2.HealthCheckResponse.ServingStatus.items()) == {
        "UNKNOWN": 0,
        "SERVING": 1,
        "NOT_SERVING": 2,
        "SERVICE_UNKNOWN": 3,
    }
