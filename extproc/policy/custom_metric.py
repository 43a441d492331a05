"""Metrics that a policy asks for beyond ours: what they are made of."""

from __future__ import annotations

import msgspec

LABELS = ("model_name", "model_version", "gpu_type", "gpu_pool", "policy", "api", "code")
"""What such a metric may be told apart by. Values are the policy's texts, or of a small set: no client makes up one."""
WINDOW = 60.0
"""Seconds over which a gauge is computed, where the policy does not say."""


class Source(msgspec.Struct, frozen=True):
    """A number that each answered request has, or may have; exactly one is set."""

    word: str = ""
    """One of ``WORDS``."""
    header: str = ""
    """Of the response, in lower case."""
    body: tuple[str, ...] = ()
    """Tokens of a JSON Pointer (RFC 6901) into the response's body, or into the events of a stream: the last counts."""


REQUESTS = Source("requests")
"""1."""
INPUT, OUTPUT, CACHED = Source("inputTokens"), Source("outputTokens"), Source("cachedTokens")
WORDS = {source.word: source for source in (REQUESTS, INPUT, OUTPUT, CACHED)}
SECONDS = Source("second")
"""Of a gauge's ``per`` only: the time that passes."""


class CustomMetric(msgspec.Struct, frozen=True):
    """One of them. A gauge is ``source`` over ``per``, both summed up over the window; the others take ``source``."""

    name: str
    type: str
    """``GAUGE``, ``COUNTER`` or ``HISTOGRAM``."""
    labels: tuple[str, ...] = ()
    """Some of ``LABELS``."""
    source: Source = REQUESTS
    per: Source = REQUESTS
    window: float = WINDOW
    """Seconds."""
    buckets: tuple[float, ...] = ()
    """Of a histogram: inclusive upper bounds in ascending order."""
