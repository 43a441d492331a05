"""Trace contexts: what counts as one, and which of two wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.telemetry.trace_context import NO_CONTEXT, ParentSpan, TraceContext, parse_traceparent, read_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_a_parent() -> None:
    assert parse_traceparent(GOOD) == ParentSpan(int(TRACE, 16), int(SPAN, 16), sampled=True)
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-00") == ParentSpan(int(TRACE, 16), int(SPAN, 16), sampled=False)
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-03") == parse_traceparent(GOOD)


def test_a_later_version_may_have_more_to_say() -> None:
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01-what-ever") == parse_traceparent(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"{GOOD}-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f" {GOOD}",
        f"00-{TRACE[1:]}\u0661-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-{'x' * 600}",
    ],
)
def test_no_parent(text: str) -> None:
    assert parse_traceparent(text) is None


@given(st.text(alphabet="0123456789abcdefF-", max_size=80) | st.text(max_size=600))
def test_never_raises_and_ids_are_in_range(text: str) -> None:
    found = parse_traceparent(text)
    assert found is None or (0 < found.trace_id < 1 << 128 and 0 < found.span_id < 1 << 64)


@given(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.booleans())
def test_what_is_written_is_read(trace: int, span: int, sampled: bool) -> None:
    assert parse_traceparent(f"00-{trace:032x}-{span:016x}-{sampled:02x}") == ParentSpan(trace, span, sampled)


def test_envoys_own_context_wins_over_the_clients() -> None:
    metadata = (("x-forwarded-for", "10.0.0.1"), ("traceparent", GOOD), ("tracestate", "a=b"), ("x-bin", b"\x00"))
    assert read_context(metadata, "00-client") == TraceContext(GOOD, "a=b")
    assert read_context(metadata[:1], "00-client") == TraceContext("00-client")
    assert read_context(metadata[2:], "00-client") == TraceContext("00-client")
    assert read_context((("traceparent-bin", b"1"),)) is NO_CONTEXT


def test_contexts_are_bounded() -> None:
    found = read_context((("traceparent", "0" * 10_000), ("tracestate", "a" * 10_000)))
    assert len(found.parent) == 513
    assert not found.state
    assert len(read_context((), "0" * 10_000).parent) == 513
    assert parse_traceparent(found.parent) is None
