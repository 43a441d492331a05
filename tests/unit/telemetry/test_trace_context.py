"""Trace contexts: what counts as one, and which of two wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.telemetry.trace_context import NO_CONTEXT, Context, Parent, context, parent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_a_parent() -> None:
    assert parent(GOOD) == Parent(int(TRACE, 16), int(SPAN, 16), sampled=True)
    assert parent(f"00-{TRACE}-{SPAN}-00") == Parent(int(TRACE, 16), int(SPAN, 16), sampled=False)
    assert parent(f"00-{TRACE}-{SPAN}-03") == parent(GOOD)


def test_a_later_version_may_have_more_to_say() -> None:
    assert parent(f"01-{TRACE}-{SPAN}-01-what-ever") == parent(GOOD)


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
    assert parent(text) is None


@given(st.text(alphabet="0123456789abcdefF-", max_size=80) | st.text(max_size=600))
def test_never_raises_and_ids_are_in_range(text: str) -> None:
    found = parent(text)
    assert found is None or (0 < found.trace_id < 1 << 128 and 0 < found.span_id < 1 << 64)


@given(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.booleans())
def test_what_is_written_is_read(trace: int, span: int, sampled: bool) -> None:
    assert parent(f"00-{trace:032x}-{span:016x}-{sampled:02x}") == Parent(trace, span, sampled)


def test_envoys_own_context_wins_over_the_clients() -> None:
    metadata = (("x-forwarded-for", "10.0.0.1"), ("traceparent", GOOD), ("tracestate", "a=b"), ("x-bin", b"\x00"))
    assert context(metadata, "00-client") == Context(GOOD, "a=b")
    assert context(metadata[:1], "00-client") == Context("00-client")
    assert context(metadata[2:], "00-client") == Context("00-client")
    assert context((("traceparent-bin", b"1"),)) is NO_CONTEXT


def test_contexts_are_bounded() -> None:
    found = context((("traceparent", "0" * 10_000), ("tracestate", "a" * 10_000)))
    assert len(found.parent) == 513
    assert not found.state
    assert len(context((), "0" * 10_000).parent) == 513
    assert parent(found.parent) is None
