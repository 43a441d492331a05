"""Traces as people look at them: a waterfall of spans, and who called whom. Names come from outside.

``build_document`` makes what the admin port serves as ``/traces``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated

import msgspec

from extproc.telemetry.spans import Span, Trace, Value, children, traces

MAX_BARS = 200
"""Spans of one trace that are shown."""
MAX_EDGES = 100
"""Pairs of services that are shown."""
_MAX_TEXT = 200
"""Characters of a text that comes from outside."""
_SHOWN = ("gen_ai.", "aimesh.", "http.response.", "http.status_code", "error.type", "grpc.status_code")
"""Beginnings of the names of attributes that are shown."""


class TracesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of ``/traces``."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    """The number of traces that are shown, the latest."""


class Bar(msgspec.Struct, frozen=True):
    """A span in a waterfall."""

    depth: int
    """How many spans it is below the root."""
    service: str
    title: str
    """What it calls, or its name; empty where it is what the service itself does."""
    start_ms: float
    """Since the trace began."""
    ms: float
    failed: bool
    attributes: Mapping[str, Value] = {}


class Hop(msgspec.Struct, frozen=True):
    """A call from one service to another, as both have seen it."""

    caller: str
    callee: str
    call: Span
    """The caller's span of it."""
    served: Span
    """The callee's; the call itself where the callee tells nothing."""

    @property
    def added(self) -> int:
        """Nanoseconds between the two: the network, and the proxies' own work."""
        return (self.call.end - self.call.start) - (self.served.end - self.served.start)


class Edge(msgspec.Struct, frozen=True):
    """All calls from one service to another. Times in milliseconds."""

    caller: str
    callee: str
    calls: int
    failed: int
    p50_ms: float
    p95_ms: float
    added_p50_ms: float | None
    """Between the caller's span and the callee's; None where the callee tells nothing."""


class ShownTrace(msgspec.Struct, frozen=True):
    """A trace and its waterfall."""

    id: str
    began: float
    """Seconds since the epoch."""
    ms: float
    spans: int
    failed: bool
    bars: Sequence[Bar]


class TracesDocument(msgspec.Struct, frozen=True):
    """What is known of the latest traces."""

    spans: int
    """All that there are."""
    edges: Sequence[Edge]
    """Of all of them, those with most calls first."""
    traces: Sequence[ShownTrace]
    """The latest first."""


def build_document(spans: Sequence[Span], query: TracesQuery) -> TracesDocument:
    """The traces of ``spans``."""
    found = traces(spans)
    latest = sorted(found.items(), key=lambda one: one[1][0].start, reverse=True)[: query.limit]
    known = sorted(edges(chain.from_iterable(map(hops, found.values()))), key=lambda edge: -edge.calls)
    return TracesDocument(len(spans), known[:MAX_EDGES], [show_trace(id_, trace) for id_, trace in latest])


def waterfall(trace: Trace) -> list[Bar]:
    """The spans from the root downwards, each followed by its children in the order of their starts."""
    by_parent = children(trace)
    found: list[Bar] = []
    waiting = [(span, 0) for span in reversed(by_parent[""])]
    while waiting and len(found) < MAX_BARS:
        span, depth = waiting.pop()
        found.append(_bar(span, depth, trace[0].start))
        waiting += [(child, depth + 1) for child in reversed(by_parent.get(span.id, ()))]
    return found


def hops(trace: Trace) -> Iterator[Hop]:
    """Every call from one service to another that serves it; what is told beside it, as a client's own view, serves
    nobody. A service that does not trace itself has the name of Envoy's cluster.
    """
    by_parent = children(trace)
    for call in trace:
        own = call.service
        for child in by_parent.get(call.id, ()):
            if child.service != own and child.kind != "client":
                yield Hop(_cut(own), _cut(child.service), call, child)
        cluster = str(call.attributes.get("upstream_cluster", ""))
        if not by_parent.get(call.id) and call.kind == "client" and cluster:
            yield Hop(_cut(own), _cut(cluster), call, call)


def edges(found: Iterable[Hop]) -> list[Edge]:
    """The hops by caller and callee, in the order in which their first came."""
    by_ends: dict[tuple[str, str], list[Hop]] = defaultdict(list)
    for hop in found:
        by_ends[hop.caller, hop.callee].append(hop)
    return [_edge(caller, callee, all_) for (caller, callee), all_ in by_ends.items()]


def show_trace(id_: str, trace: Trace) -> ShownTrace:
    """The trace of this id, which has at least one span."""
    end = max(span.end for span in trace)
    began = trace[0].start
    failed = any(span.failed for span in trace)
    return ShownTrace(id_, began / 1e9, _ms(end - began), len(trace), failed, waterfall(trace))


def _bar(span: Span, depth: int, began: int) -> Bar:
    shown = {_cut(key): _shown(value) for key, value in span.attributes.items() if key.startswith(_SHOWN)}
    start, length = _ms(span.start - began), _ms(span.end - span.start)
    return Bar(depth, _cut(span.service), _cut(_title(span)), start, length, span.failed, shown)


def _title(span: Span) -> str:
    """Without what Envoy writes into every name."""
    if span.kind == "client" and (cluster := str(span.attributes.get("upstream_cluster", ""))):
        return f"→ {cluster}"
    return "" if span.kind == "server" and span.name.startswith("ingress") else span.name


def _edge(caller: str, callee: str, found: Sequence[Hop]) -> Edge:
    served = sorted(hop.served.end - hop.served.start for hop in found)
    added = sorted(hop.added for hop in found if hop.served is not hop.call)
    failed = sum(hop.call.failed or hop.served.failed for hop in found)
    p50, p95 = (_ms(_quantile(served, q)) for q in (0.5, 0.95))
    return Edge(caller, callee, len(found), failed, p50, p95, _ms(_quantile(added, 0.5)) if added else None)


def _quantile(ordered: Sequence[int], q: float) -> int:
    """The least of ``ordered`` that so many are not above."""
    return ordered[max(0, -int(-q * len(ordered) // 1) - 1)]


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)


def _shown(value: Value) -> Value:
    return _cut(value) if isinstance(value, str) else value


def _cut(text: str) -> str:
    return text[:_MAX_TEXT]
