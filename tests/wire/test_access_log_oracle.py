"""Our pruned access_log.proto against the full Envoy API: same numbers, types and names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.data.accesslog import v3 as data
from envoy_data_plane.envoy.service.accesslog import v3 as service
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from extproc._pb import access_log_pb2 as pb
from extproc.envoy.access_log import STREAM


def upstream(message: Descriptor) -> Any:
    """Its message of a nested path's name, without regard to letters' case."""
    path = message.full_name.removeprefix(f"{pb.DESCRIPTOR.package}.").replace(".", "").lower()
    for home in (service, data, core):
        for name, found in vars(home).items():
            if name.lower() == path:
                return found
    return None


def messages(found: Iterator[Descriptor]) -> Iterator[Descriptor]:
    for message in found:
        if not message.GetOptions().map_entry:
            yield message
            yield from messages(iter(message.nested_types))


def shape(field: FieldDescriptor) -> tuple[int, str, bool]:
    """Number, type, and whether it is repeated."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return field.number, "map", False
    kind = FieldDescriptorProto.Type.Name(FieldDescriptorProto.Type.ValueType(field.type)).removeprefix("TYPE_").lower()
    return field.number, kind, field.is_repeated


def test_every_field_is_envoys() -> None:
    found = list(messages(iter(pb.DESCRIPTOR.message_types_by_name.values())))
    assert len(found) > 10
    for message in found:
        theirs = upstream(message)
        assert theirs is not None, message.full_name
        for field in message.fields:
            meta = theirs._betterproto.meta_by_field_name[field.name]
            assert shape(field) == (meta.number, meta.proto_type, bool(meta.repeated)), field.full_name
            group = field.containing_oneof.name if field.containing_oneof else None
            assert group == meta.group, field.full_name


def test_the_method_is_envoys() -> None:
    (path,) = service.AccessLogServiceBase().__mapping__()
    assert path == STREAM
