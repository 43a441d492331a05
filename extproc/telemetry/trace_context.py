"""Whose child the span of an inference is: W3C trace contexts.

Envoy tells its own context in the metadata of the gRPC stream, where it traces; else the request's header is the
client's. Source: W3C Trace Context, https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_HEX = frozenset("0123456789abcdef")
_LONGEST = 512
"""Characters of a context and of its state; what is longer counts as none."""


class Context(msgspec.Struct, frozen=True):
    """As it came, unchecked: the values of ``traceparent`` and ``tracestate``."""

    parent: str = ""
    state: str = ""


class Parent(msgspec.Struct, frozen=True):
    """The span that ours is a child of."""

    trace_id: int
    span_id: int
    sampled: bool
    """Whoever made it records it."""


NO_CONTEXT = Context()


def context(metadata: Iterable[tuple[str, str | bytes]], header: str = "") -> Context:
    """What the gRPC ``metadata`` tells, else the request's header ``traceparent``. Never raises."""
    parent = state = ""
    for key, value in metadata:
        if key == "traceparent" and isinstance(value, str):
            parent = value
        elif key == "tracestate" and isinstance(value, str):
            state = value
    if parent:
        return Context(parent[: _LONGEST + 1], state if len(state) <= _LONGEST else "")
    return Context(header[: _LONGEST + 1]) if header else NO_CONTEXT


def parent(text: str) -> Parent | None:
    """What a ``traceparent`` names; None where it is none: then a trace begins anew, as the standard says."""
    version, *parts = text.split("-") if len(text) <= _LONGEST else ("",)
    if len(parts) < 3 or (version == "00" and len(parts) > 3) or version == "ff":
        return None
    trace, span, flags = parts[:3]
    if not all(_is_hex(text, size) for text, size in ((version, 2), (trace, 32), (span, 16), (flags, 2))):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    return Parent(trace_id, span_id, bool(int(flags, 16) & 1)) if trace_id and span_id else None


def _is_hex(text: str, size: int) -> bool:
    return len(text) == size and _HEX.issuperset(text)
