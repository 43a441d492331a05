"""Spans as OTLP has them, from OpenTelemetry's own messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb

from extproc.envoy.codec import Malformed
from extproc.telemetry.spans import MAX_MESSAGE, MAX_SPANS, Span, children, count_spans, decode_spans, traces


def message(**fields: object) -> pb.ExportTraceServiceRequest:
    """Of one span with these fields."""
    made = pb.ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "llm"
    span = {"trace_id": b"\xab" * 16, "span_id": b"\x01" * 8, "name": "ingress", "kind": 2} | fields
    resource.scope_spans.add().spans.add(**span)
    return made


def only(made: pb.ExportTraceServiceRequest) -> Span:
    (span,) = decode_spans(made.SerializeToString())
    return span


def test_a_span() -> None:
    times = {"start_time_unix_nano": 5, "end_time_unix_nano": 9}
    found = only(message(parent_span_id=b"\x02" * 8, trace_state="a=b", dropped_events_count=3, **times))
    assert found == Span("ab" * 16, "01" * 8, "02" * 8, "llm", "ingress", "server", 5, 9)


def test_attributes_that_are_text_numbers_or_truth_values() -> None:
    made = message()
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="text").value.string_value = "x"
    span.attributes.add(key="number").value.int_value = 3
    span.attributes.add(key="share").value.double_value = 0.5
    span.attributes.add(key="truth").value.bool_value = False
    span.attributes.add(key="list").value.array_value.values.add(string_value="y")
    span.attributes.add(key="nothing")
    assert only(made).attributes == {"text": "x", "number": 3, "share": 0.5, "truth": False}


@pytest.mark.parametrize(
    ("number", "kind"),
    [(0, "internal"), (1, "internal"), (2, "server"), (3, "client"), (5, "consumer"), (9, "internal")],
)
def test_kinds(number: int, kind: str) -> None:
    assert only(message(kind=number)).kind == kind


def test_failures_by_status_or_by_envoys_tag() -> None:
    assert not only(message(status={"code": 1})).failed
    assert only(message(status={"code": 2})).failed
    tagged = message()
    tagged.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="error").value.string_value = "true"
    assert only(tagged).failed


def test_several_messages_are_one() -> None:
    raw = message().SerializeToString() + message(span_id=b"\x03" * 8).SerializeToString()
    assert [span.id for span in decode_spans(raw)] == ["01" * 8, "03" * 8]
    assert decode_spans(b"") == []


@given(st.binary(max_size=200))
def test_any_bytes_are_spans_or_malformed(raw: bytes) -> None:
    try:
        count = count_spans(raw)
    except Malformed:
        with pytest.raises(Malformed):
            decode_spans(raw)
    else:
        assert len(decode_spans(raw)) == count


def test_a_message_has_bounds() -> None:
    made = message()
    scope = made.resource_spans[0].scope_spans[0]
    scope.spans.extend(scope.spans[0] for _ in range(MAX_SPANS - 1))
    assert count_spans(made.SerializeToString()) == MAX_SPANS
    scope.spans.add()
    with pytest.raises(Malformed, match="too many spans"):
        count_spans(made.SerializeToString())
    with pytest.raises(Malformed, match="too large"):
        count_spans(message(name="n" * MAX_MESSAGE).SerializeToString())


def test_attributes_have_bounds() -> None:
    made = message()
    for i in range(1000):
        made.resource_spans[0].scope_spans[0].spans[0].attributes.add(key=str(i)).value.int_value = i
    assert len(only(made).attributes) == 128


def span(id_: str, parent: str = "", trace: str = "t", start: int = 0) -> Span:
    return Span(trace, id_, parent, "s", "", "server", start, start + 1)


def test_spans_by_trace_in_the_order_of_their_starts() -> None:
    late, early, other = span("2", "1", start=5), span("1", start=1), span("1", trace="u")
    assert traces([late, early, other, early]) == {"t": [early, late], "u": [other]}


def test_children_and_those_of_nobody() -> None:
    root, child, orphan, own = span("1"), span("2", "1"), span("3", "gone"), span("4", "4")
    found = children([root, child, orphan, own])
    assert found[""] == [root, orphan, own]
    assert found["1"] == [child]
