"""Custom metrics: what a policy's ``customMetrics`` count beyond the built-in metrics."""

from __future__ import annotations

import msgspec

LABELS = ("model_name", "model_version", "gpu_type", "gpu_pool", "policy", "api", "code")
"""Labels that a custom metric may have. Their values come from the policy or a closed set, never from a client."""
SERVER_LABELS = ("model_version", "gpu_type", "gpu_pool", "policy")
"""Those of them that tell of servers, whatever is asked of them."""
DEFAULT_WINDOW = 60.0
"""Seconds over which a gauge is computed, where the policy does not say."""


class Source(msgspec.Struct, frozen=True):
    """A number that each answered request has, or may have. Exactly one field is set."""

    word: str = ""
    """A key of ``SOURCES``, or that of ``SECONDS``."""
    header: str = ""
    """Name of a response header, in lower case."""
    body: tuple[str, ...] = ()
    """Tokens of a JSON Pointer (RFC 6901) into the response body, or each event of a stream: the last one counts."""


REQUESTS = Source("requests")
"""1 for each request."""
INPUT_TOKENS = Source("inputTokens")
OUTPUT_TOKENS = Source("outputTokens")
CACHED_TOKENS = Source("cachedTokens")
GPU_UTILIZATION = Source("gpuUtilization")
"""How busy the GPUs of picked endpoints are: no number of a request. Only as a gauge's ``source``, without more."""
SOURCES = {source.word: source for source in (REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS, CACHED_TOKENS, GPU_UTILIZATION)}
"""Sources by the word that names them in a policy."""
SECONDS = Source("second")
"""The time that passes; only as a gauge's ``per``."""


class CustomMetric(msgspec.Struct, frozen=True):
    """One custom metric.

    A counter or histogram takes ``source`` of each request. A gauge is the sum of ``source`` divided by the sum of
    ``per``, both over ``window``.
    """

    name: str
    type: str
    """``GAUGE``, ``COUNTER`` or ``HISTOGRAM``."""
    labels: tuple[str, ...] = ()
    """Some of ``LABELS``, in their order."""
    source: Source = REQUESTS
    per: Source = REQUESTS
    window: float = DEFAULT_WINDOW
    """Seconds."""
    buckets: tuple[float, ...] = ()
    """Inclusive upper bounds of a histogram's buckets, ascending."""
