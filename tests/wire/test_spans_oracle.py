"""Our pruned spans.proto against OpenTelemetry's own: same numbers, types and names."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from extproc._pb import spans_pb2 as pb
from extproc.telemetry.spans import EXPORT

HOMES = (trace_service_pb2, trace_pb2, resource_pb2, common_pb2)


def upstream(message: Descriptor) -> Descriptor:
    known: list[dict[str, Descriptor]] = [home.DESCRIPTOR.message_types_by_name for home in HOMES]
    (found,) = [each[message.name] for each in known if message.name in each]
    return found


def shape(field: FieldDescriptor) -> tuple[Any, ...]:
    """Number, type, whether it is repeated, its oneof, and what it is a message of."""
    group = field.containing_oneof.name if field.containing_oneof else None
    return field.number, field.type, field.is_repeated, group, field.message_type and field.message_type.name


def numbers(values: EnumDescriptor) -> dict[str, int]:
    return {value.name: value.number for value in values.values}


def test_every_field_is_opentelemetrys() -> None:
    found = list(pb.DESCRIPTOR.message_types_by_name.values())
    assert len(found) == 8
    for message in found:
        theirs = upstream(message)
        for field in message.fields:
            assert shape(field) == shape(theirs.fields_by_name[field.name]), field.full_name
        for kind in message.enum_types:
            assert numbers(kind) == numbers(theirs.enum_types_by_name[kind.name])


def test_the_method_is_opentelemetrys() -> None:
    service = trace_service_pb2.DESCRIPTOR.services_by_name["TraceService"]
    assert f"/{service.full_name}/{service.methods_by_name['Export'].name}" == EXPORT
