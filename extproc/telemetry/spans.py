"""Spans as OTLP has them, and the order in them: whose child a span is, who called whom.

Source: opentelemetry/proto/collector/trace/v1/trace_service.proto, of which ``protos/`` holds what is read here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeAlias

import msgspec
from google.protobuf.message import DecodeError

from extproc._pb import spans_pb2 as pb
from extproc.envoy.codec import Malformed

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
MAX_MESSAGE, MAX_SPANS = 1 << 20, 5_000
"""Bytes and spans of one message; SDKs send 512 spans at a time, some 300 KiB."""
_MAX_ATTRIBUTES = 128
"""Of a span, as OpenTelemetry's own limit is by default; more are left out."""

Value: TypeAlias = str | bool | int | float
_KINDS = {
    pb.Span.SPAN_KIND_SERVER: "server",
    pb.Span.SPAN_KIND_CLIENT: "client",
    pb.Span.SPAN_KIND_PRODUCER: "producer",
    pb.Span.SPAN_KIND_CONSUMER: "consumer",
}


class Span(msgspec.Struct, frozen=True):
    """One span."""

    trace: str
    """Its id in hexadecimal digits, as the other two."""
    id: str
    parent: str
    """Empty: it begins the trace."""
    service: str
    """``service.name`` of its resource."""
    name: str
    kind: str
    """``server``, ``client``, ``producer``, ``consumer``, else ``internal``."""
    start: int
    """Nanoseconds since the epoch, as the end."""
    end: int
    attributes: Mapping[str, Value] = {}
    """Those that are text, numbers or truth values."""
    failed: bool = False
    """Whether its status is ERROR, or Envoy's tag says so."""


Trace: TypeAlias = Sequence[Span]
"""Spans of one trace, in the order of their starts."""


def count_spans(data: bytes) -> int:
    """The number of spans in one ExportTraceServiceRequest. Raises ``Malformed``, also for more than is taken."""
    if len(data) > MAX_MESSAGE:
        raise Malformed("an ExportTraceServiceRequest that is too large")
    found = sum(len(scope.spans) for resource in _decode(data).resource_spans for scope in resource.scope_spans)
    if found > MAX_SPANS:
        raise Malformed("an ExportTraceServiceRequest of too many spans")
    return found


def decode_spans(data: bytes) -> list[Span]:
    """The spans of one ExportTraceServiceRequest, or of several, one after the other. Raises ``Malformed``."""
    return [
        _span(span, service)
        for resource in _decode(data).resource_spans
        for service in [str(_values(resource.resource.attributes).get("service.name", ""))]
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def traces(spans: Iterable[Span]) -> dict[str, Trace]:
    """Spans by their trace. A span that came twice counts once."""
    found: dict[str, dict[str, Span]] = defaultdict(dict)
    for span in spans:
        found[span.trace][span.id] = span
    return {id_: sorted(one.values(), key=lambda span: (span.start, -span.end)) for id_, one in found.items()}


def children(trace: Trace) -> dict[str, list[Span]]:
    """The children of each span by its id, in the order of their starts; under the empty id those without a parent in
    this trace.
    """
    known = {span.id for span in trace}
    found: dict[str, list[Span]] = defaultdict(list)
    for span in trace:
        found[span.parent if span.parent in known and span.parent != span.id else ""].append(span)
    return found


def _decode(data: bytes) -> pb.ExportTraceServiceRequest:
    try:
        return pb.ExportTraceServiceRequest.FromString(data)
    except DecodeError:
        raise Malformed("not an ExportTraceServiceRequest") from None


def _span(span: pb.Span, service: str) -> Span:
    attributes = _values(span.attributes)
    return Span(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        service,
        span.name,
        _KINDS.get(span.kind, "internal"),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        attributes,
        span.status.code == pb.Status.STATUS_CODE_ERROR or attributes.get("error") == "true",
    )


def _values(attributes: Iterable[pb.KeyValue]) -> dict[str, Value]:
    few = islice(attributes, _MAX_ATTRIBUTES)
    kinds = ((one.key, one.value, one.value.WhichOneof("value")) for one in few)
    return {key: getattr(value, kind) for key, value, kind in kinds if kind}
