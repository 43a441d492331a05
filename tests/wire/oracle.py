"""The full Envoy API as `envoy-data-plane` has it, and how our pruned description is held against it.

`differences` walks a description of ours and says what upstream sees otherwise: an empty list is agreement.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as ext_proc_filter
from envoy_data_plane.envoy.service.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.type import v3 as envoy_type
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

# One package of ours stands for several of Envoy's.
_HOMES: dict[str, Any] = {
    "HeaderMap": core,
    "HeaderValue": core,
    "HeaderValueOption": core,
    "Metadata": core,
    "HttpStatus": envoy_type,
    "ProcessingMode": ext_proc_filter,
}
# Types of the same encoding: an enum travels as an int32.
_SAME_ON_THE_WIRE = {("HttpStatus", "code"): ("int32", "enum")}


def upstream(path: tuple[str, ...]) -> Any:
    """Upstream's class for a message or enum of ours, or None; a nested one has the path (outer, inner)."""
    return getattr(_HOMES.get(path[0], ext_proc), "".join(path), None)


def differences(file: FileDescriptorProto) -> list[str]:
    """Everything in ``file`` that upstream does not have, or has otherwise."""
    return [
        difference
        for message in file.message_type
        for difference in _message(message, (message.name,), f".{file.package}.")
    ]


def _message(message: DescriptorProto, path: tuple[str, ...], package: str) -> Iterator[str]:
    theirs = upstream(path)
    if theirs is None:
        yield f"{'.'.join(path)}: no such message upstream"
        return
    entries = {f"{package}{'.'.join(path)}.{n.name}": n for n in message.nested_type if n.options.map_entry}
    oneofs = [oneof.name for oneof in message.oneof_decl]
    for field in message.field:
        name = f"{'.'.join(path)}.{field.name}"
        meta = theirs._betterproto.meta_by_field_name.get(field.name)
        if meta is None:
            yield f"{name}: no such field upstream"
            continue
        group = oneofs[field.oneof_index] if field.HasField("oneof_index") else None
        classes = theirs._betterproto.cls_by_field
        if entry := entries.get(field.type_name):
            kinds = (_kind(entry.field[0]), _kind(entry.field[1]))
            if meta.proto_type != "map" or kinds != tuple(m.proto_type for m in meta.map_meta):
                yield f"{name}: a map of {kinds}, upstream {meta.proto_type} of {meta.map_meta}"
            yield from _referred(name, entry.field[1], classes.get(f"{field.name}.value"), package)
        else:
            yield from _shape(name, (path[-1], field.name), field, meta)
            yield from _referred(name, field, classes.get(field.name), package)
        if field.number != meta.number:
            yield f"{name}: number {field.number}, upstream {meta.number}"
        if group != meta.group:
            yield f"{name}: in oneof {group}, upstream {meta.group}"
    for enum in message.enum_type:
        yield from _enum(enum, (*path, enum.name))
    for nested in message.nested_type:
        if not nested.options.map_entry:
            yield from _message(nested, (*path, nested.name), package)


def _kind(field: FieldDescriptorProto) -> str:
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _shape(name: str, key: tuple[str, str], field: FieldDescriptorProto, meta: Any) -> Iterator[str]:
    ours, theirs = _kind(field), meta.proto_type
    if ours != theirs and _SAME_ON_THE_WIRE.get(key) != (ours, theirs):
        yield f"{name}: type {ours}, upstream {theirs}"
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    if repeated != meta.repeated:
        yield f"{name}: repeated {repeated}, upstream {meta.repeated}"


def _referred(name: str, field: FieldDescriptorProto, theirs: Any, package: str) -> Iterator[str]:
    """The type that a field names is the one that upstream's field names."""
    if not field.type_name:
        return
    if field.type_name.startswith(package):
        ours = upstream(tuple(field.type_name.removeprefix(package).split(".")))
        same = ours is not None and ours is theirs
    else:
        same = theirs is not None and field.type_name == f".google.protobuf.{theirs.__name__}"
    if not same:
        yield f"{name}: is a {field.type_name}, upstream {theirs}"


def _enum(enum: EnumDescriptorProto, path: tuple[str, ...]) -> Iterator[str]:
    theirs = upstream(path)
    ours = {value.name: value.number for value in enum.value}
    if theirs is None or {member.name: member.value for member in theirs} != ours:
        yield f"{'.'.join(path)}: {ours}, upstream {theirs and list(theirs)}"
