"""Waterfalls, hops and edges."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.telemetry.spans import Span, traces
from extproc.telemetry.trace_view import MAX_BARS, TracesQuery, build_document, edges, hops, show_trace, waterfall

MS = 1_000_000


def span(id_: str, parent: str, service: str, kind: str, start: int, end: int, name: str = "", **told: Any) -> Span:
    """Times in milliseconds."""
    return Span("t", id_, parent, service, name, kind, start * MS, end * MS, told)


TRACE = [
    span("1", "", "client", "client", 0, 100, "ask"),
    span("2", "1", "gateway", "server", 10, 90, "ingress"),
    span("3", "2", "gateway", "client", 12, 88, "router llm egress", upstream_cluster="llm"),
    span("4", "3", "llm", "server", 20, 80, "ingress", **{"gen_ai.request.model": "m", "node_id": "x"}),
    span("5", "2", "gateway", "client", 11, 12, "async Process egress", upstream_cluster="extproc"),
    span("6", "2", "gateway", "client", 12, 95, "async Process egress", upstream_cluster="extproc"),
    span("7", "6", "extproc", "client", 13, 94, "chat m"),
]


def test_a_waterfall_goes_down_each_branch() -> None:
    bars = waterfall(sorted(TRACE, key=lambda one: one.start))
    assert [(bar.depth, bar.service, bar.title) for bar in bars] == [
        (0, "client", "ask"),
        (1, "gateway", ""),
        (2, "gateway", "→ extproc"),
        (2, "gateway", "→ llm"),
        (3, "llm", ""),
        (2, "gateway", "→ extproc"),
        (3, "extproc", "chat m"),
    ]
    assert (bars[4].start_ms, bars[4].ms, bars[4].attributes) == (20.0, 60.0, {"gen_ai.request.model": "m"})


def test_hops_are_calls_that_are_served() -> None:
    found = [(hop.caller, hop.callee, hop.added // MS) for hop in hops(TRACE)]
    assert found == [("client", "gateway", 20), ("gateway", "llm", 16), ("gateway", "extproc", 0)]


def test_edges() -> None:
    slow = [msgspec.structs.replace(one, trace="u", end=one.end + 20 * MS, failed=one.id == "4") for one in TRACE]
    found = {edge.callee: edge for edge in edges(chain(hops(TRACE), hops(slow)))}
    assert found.keys() == {"gateway", "llm", "extproc"}
    llm = found["llm"]
    assert (llm.calls, llm.failed, llm.p50_ms, llm.p95_ms, llm.added_p50_ms) == (2, 1, 60.0, 80.0, 16.0)
    assert found["extproc"].added_p50_ms is None, "it tells nothing of the decision itself"


def test_a_trace_that_is_shown() -> None:
    shown = show_trace("t", sorted(TRACE, key=lambda one: one.start))
    assert (shown.ms, shown.spans, shown.failed, len(shown.bars)) == (100.0, 7, False, 7)


def test_the_latest_traces_come_first() -> None:
    later = [msgspec.structs.replace(one, trace="u", start=one.start + MS, end=one.end + MS) for one in TRACE]
    document = build_document([*TRACE, *later], TracesQuery(1))
    assert (document.spans, [trace.id for trace in document.traces]) == (14, ["u"])
    assert [edge.calls for edge in document.edges] == [2, 2, 2]
    assert json.loads(msgspec.json.encode(document))["traces"][0]["bars"][0]["title"] == "ask"


def test_nothing() -> None:
    assert msgspec.structs.asdict(build_document([], TracesQuery())) == {"spans": 0, "edges": [], "traces": []}


@pytest.mark.parametrize("limit", ["0", "101", "x"])
def test_a_limit_has_bounds(limit: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"limit": limit}, TracesQuery, strict=False)


def test_what_comes_from_outside_has_bounds() -> None:
    many = [span(str(i), str(i - 1) if i else "", "s" * 1000, "client", i, i + 1, "n" * 1000) for i in range(1000)]
    bars = waterfall(many)
    assert len(bars) == MAX_BARS
    assert {(len(bar.service), len(bar.title)) for bar in bars} == {(200, 200)}
    called = [span(str(i), "0" if i else "", f"s{i}", "server", i, i + 1) for i in range(1000)]
    assert len(build_document(called, TracesQuery()).edges) == 100


SPANS = st.builds(
    Span,
    st.sampled_from("tu"),
    st.sampled_from("123"),
    st.sampled_from(["", *"123"]),
    st.sampled_from("abc"),
    st.text(max_size=3),
    st.sampled_from(["server", "client", "internal"]),
    st.integers(0, 99),
    st.integers(0, 99),
)


@settings(max_examples=50)
@given(st.lists(SPANS, max_size=12))
def test_any_spans_can_be_shown(spans: list[Span]) -> None:
    document = build_document(spans, TracesQuery(100))
    assert len(document.traces) == len(traces(spans))
    msgspec.json.encode(document)
