"""Which spans are kept, and for how long."""

from __future__ import annotations

import pytest

from extproc.demo.pipeline.collector import export_request
from extproc.envoy.codec import Malformed
from extproc.telemetry import received_spans
from extproc.telemetry.received_spans import ReceivedSpans
from extproc.telemetry.spans import Span, decode_spans


def spans(*ids: int) -> list[Span]:
    return [Span("ab" * 16, f"{i:016x}", "", "llm", "ingress", "server", 1, 2) for i in ids]


def test_what_came_is_kept_as_it_came() -> None:
    received = ReceivedSpans()
    assert (received.raw(), received.spans()) == (b"", [])
    received.take(export_request(spans(1, 2)))
    received.take(export_request(spans(3)))
    assert received.spans() == spans(1, 2, 3) == decode_spans(received.raw())


def test_what_came_first_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(export_request(spans(1)))
    monkeypatch.setattr(received_spans, "MAX_BYTES", 3 * size)
    received = ReceivedSpans()
    for i in range(10):
        received.take(export_request(spans(i)))
    assert received.spans() == spans(7, 8, 9)
    assert len(received.raw()) == 3 * size


def test_there_are_never_more_than_so_many_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received_spans, "MAX_SPANS", 5)
    received = ReceivedSpans()
    for ids in ((1, 2), (3, 4), (5, 6)):
        received.take(export_request(spans(*ids)))
    assert received.spans() == spans(3, 4, 5, 6)


def test_a_message_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    def decode(raw: bytes) -> list[Span]:
        decoded.append(raw)
        return decode_spans(raw)

    monkeypatch.setattr(received_spans, "decode_spans", decode)
    received = ReceivedSpans()
    received.take(export_request(spans(1)))
    assert not decoded, "nobody has looked"
    received.spans()
    received.take(export_request(spans(2)))
    received.spans()
    assert len(decoded) == 2


def test_what_is_no_message_is_not_kept() -> None:
    received = ReceivedSpans()
    with pytest.raises(Malformed):
        received.take(b"\xff\xff")
    assert received.raw() == b""
