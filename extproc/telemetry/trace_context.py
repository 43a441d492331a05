"""The parent of an inference's span: W3C trace contexts.

Where Envoy traces, its own context is in the metadata of the gRPC stream; else the request's header has the client's.
Source: W3C Trace Context, https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_HEX = frozenset("0123456789abcdef")
_MAX_LENGTH = 512
"""Characters of a ``traceparent`` and of a ``tracestate``; longer ones are ignored."""


class TraceContext(msgspec.Struct, frozen=True):
    """The values of ``traceparent`` and ``tracestate``, not validated."""

    parent: str = ""
    state: str = ""


class ParentSpan(msgspec.Struct, frozen=True):
    """The span that an inference's span is a child of."""

    trace_id: int
    span_id: int
    sampled: bool
    """The flag ``sampled``: the caller may have recorded its span."""


NO_CONTEXT = TraceContext()


def read_context(metadata: Iterable[tuple[str, str | bytes]], header: str = "") -> TraceContext:
    """The context in the gRPC ``metadata``, else that of the request's ``traceparent`` (``header``). Never raises."""
    parent = state = ""
    for key, value in metadata:
        if key == "traceparent" and isinstance(value, str):
            parent = value
        elif key == "tracestate" and isinstance(value, str):
            state = value
    if parent:
        return TraceContext(parent[: _MAX_LENGTH + 1], state if len(state) <= _MAX_LENGTH else "")
    return TraceContext(header[: _MAX_LENGTH + 1]) if header else NO_CONTEXT


def parse_traceparent(text: str) -> ParentSpan | None:
    """The span that a ``traceparent`` names; None where it is invalid, and a new trace begins (section 4.3)."""
    version, *parts = text.split("-") if len(text) <= _MAX_LENGTH else ("",)
    if len(parts) < 3 or (version == "00" and len(parts) > 3) or version == "ff":
        return None
    trace, span, flags = parts[:3]
    if not all(_is_hex(field, size) for field, size in ((version, 2), (trace, 32), (span, 16), (flags, 2))):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    return ParentSpan(trace_id, span_id, bool(int(flags, 16) & 1)) if trace_id and span_id else None


def _is_hex(text: str, size: int) -> bool:
    return len(text) == size and _HEX.issuperset(text)
