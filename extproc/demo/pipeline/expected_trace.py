"""What the trace of a request must look like, and what it tells: roles of spans, and times. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from extproc.demo.pipeline.stages import (
    CLIENT,
    FEATURES,
    GATEWAY,
    HOSTED,
    POSTPROCESS,
    PREPROCESS,
    PROCESSOR,
    ROUTER,
)
from extproc.telemetry.spans import Span, Trace, children

_EXT_PROC = "envoy.service.ext_proc"
ASKS = "asks"
"""The kind of the router's calls to the processor, beside ``server`` and ``client``."""

Role: TypeAlias = tuple[str, str]
"""Service and kind of a span."""
Path: TypeAlias = tuple[Role, ...]
"""Roles from the root to a span."""


def expected_paths(model_service: str) -> list[Path]:
    """The paths to all spans of a request that this service is to answer, sorted."""
    client: Path = ((CLIENT, "client"),)
    inside = (*client, (GATEWAY, "server"), (GATEWAY, "client"), (PREPROCESS, "server"))
    found = [client, inside[:2], inside[:3], inside]
    for service in (FEATURES, ROUTER, POSTPROCESS):
        call = (*inside, (PREPROCESS, "client"))
        found += [call, (*call, (service, "server"))]
    router = (*inside, (PREPROCESS, "client"), (ROUTER, "server"))
    asks = (*router, (ROUTER, ASKS))
    call = (*router, (ROUTER, "client"))
    found += [asks, asks, (*asks, (PROCESSOR, "client")), call]
    if model_service != HOSTED:
        found.append((*call, (model_service, "server")))
    return sorted(found)


def paths(trace: Trace) -> list[Path]:
    """The paths to all spans of a trace, sorted."""

    def below(span: Span, above: Path) -> Iterator[Path]:
        path = (*above, role(span))
        yield path
        for child in by_parent.get(span.id, ()):
            yield from below(child, path)

    by_parent = children(trace)
    return sorted(path for root in by_parent[""] for path in below(root, ()))


def role(span: Span) -> Role:
    """Its service and kind."""
    return span.service, ASKS if _EXT_PROC in span.name else span.kind


def beside(trace: Trace) -> set[str]:
    """Ids of spans that no answer waits for: the observer's call, and the processor's span below it.

    Where there is no such span, the observer's call is any but the first of the router's calls to the processor.
    """
    by_parent = children(trace)
    ours = {span.id for span in trace if span.service == PROCESSOR}
    if not ours:
        asks = sorted((span for span in trace if role(span)[1] == ASKS), key=lambda span: span.start)
        return {span.id for span in asks[1:]}
    return ours | {span.id for span in trace if any(child.id in ours for child in by_parent.get(span.id, ()))}


def on_the_way(trace: Trace) -> list[Span]:
    """All others: what a client waits for."""
    left_out = beside(trace)
    return [span for span in trace if span.id not in left_out]


def outside_of_parents(spans: Sequence[Span]) -> Iterator[tuple[Span, int]]:
    """Spans that are not within their parent's time, and by how many nanoseconds."""
    by_id = {span.id: span for span in spans}
    for span in spans:
        parent = by_id.get(span.parent)
        if parent is not None and (beyond := max(parent.start - span.start, span.end - parent.end)) > 0:
            yield span, beyond


def times_alone(spans: Sequence[Span]) -> Mapping[str, int]:
    """Nanoseconds for which each span, by its id, was the innermost that ran: where the time went. They add up to the
    time in which any ran. Of two that run at once and have neither the other in it, the one that began later counts.
    """
    depth = _depths(spans)
    moments = sorted({moment for span in spans for moment in (span.start, span.end)})
    found = dict.fromkeys((span.id for span in spans), 0)
    for begin, end in pairwise(moments):
        running = [span for span in spans if span.start <= begin and span.end >= end]
        if running:
            innermost = max(running, key=lambda span: (depth[span.id], span.start))
            found[innermost.id] += end - begin
    return found


def _depths(spans: Sequence[Span]) -> Mapping[str, int]:
    by_id = {span.id: span for span in spans}
    found: dict[str, int] = {}
    for span in spans:
        depth, above = 0, by_id.get(span.parent)
        while above is not None and depth <= len(spans):  # a loop among parents ends
            depth, above = depth + 1, by_id.get(above.parent)
        found[span.id] = depth
    return found
