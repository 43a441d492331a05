"""Limits of a client: open streams, header blocks, how often it may send what brings no work, bytes buffered for it.

Rates are token buckets as in nghttp2: ``nghttp2_option_set_stream_reset_rate_limit`` (1,000 at once, 33 a second) and
``nghttp2_option_set_glitch_rate_limit`` (10,000 and 330) end the connection beyond them. grpc-go's
``keepalive.EnforcementPolicy`` excuses pings of clients that are being served; Envoy's
``max_inbound_window_update_frames_per_data_frame_sent`` counts frames by what was sent. So some of the limits here also
grow with the streams that a client opens and the bytes that it is sent: see ``RateLimit.earns``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_STREAMS: Final = 4_096
"""Open on a connection at most. A client that needs more opens another connection, as Envoy does."""
MAX_ENDED: Final = 100
"""Streams remembered as ended by the client, so that a further frame on them is an error. On any other closed stream
frames may still be under way, however late: they are ignored.
"""
MAX_LATE_RESETS: Final = 100
"""Resets of streams that have ended, beyond one for each that was opened."""
MAX_BLOCK: Final = 1 << 16
"""Bytes of a header block, encoded, and of its fields (SETTINGS_MAX_HEADER_LIST_SIZE)."""
MAX_TABLE_CHANGES: Final = 2
"""Changes of the table's size when a block begins (RFC 7541 §4.2): the smallest since the last block, and the final."""
MAX_LITERALS: Final = 128
"""Of a block: each costs some microseconds. An Envoy's streams have ten, and requests to Envoy 100 headers at most."""
MAX_QUEUED: Final = 1 << 20
"""Bytes that a connection queues for a client that does not fetch them; beyond that streams wait."""
CONNECTION_BYTES: Final = (64 << 20) + 5
"""Of incomplete messages and of waiting answers, on a connection: one of the largest gRPC messages, and its prefix."""
PROCESS_BYTES: Final = 256 << 20
"""The same on all connections of a process."""
EXEMPT_BYTES: Final = 256 << 10
"""A connection that buffers no more than this is not refused because others buffer much."""
CACHED_HEADER_BYTES: Final = 16 << 20
"""Of header blocks that the connections of a process cache."""


class RateLimit(NamedTuple):
    """How often something may come on a connection."""

    name: str
    burst: int
    """At once."""
    per_second: int
    earns: bool
    """Streams that the client opens and bytes that it is sent allow for more: ``PER_STREAM`` for each stream, and one
    for each ``PER_BYTES``.
    """


PER_STREAM: Final = 4
PER_BYTES: Final = 16

RESET_LIMIT: Final = RateLimit("streams reset that asked for nothing or whose answer waits", 1_000, 33, earns=False)
"""The rapid reset (CVE-2023-44487). An Envoy resets streams at the rate of its requests, when they have been answered
or after it has asked: those are not counted.
"""
FAULT_LIMIT: Final = RateLimit("streams that we must reset", 1_000, 33, earns=False)
"""The same brought about by errors (CVE-2025-8671)."""
SETTINGS_LIMIT: Final = RateLimit("SETTINGS", 1_000, 33, earns=False)
"""One that changes the windows of streams costs one more for each ``STREAMS_PER_SETTINGS`` that are open."""
STREAMS_PER_SETTINGS: Final = 64
PING_LIMIT: Final = RateLimit("PINGs", 1_000, 33, earns=True)
WINDOW_UPDATE_LIMIT: Final = RateLimit("WINDOW_UPDATEs", 10_000, 330, earns=True)
PRIORITY_LIMIT: Final = RateLimit("PRIORITYs", 1_000, 33, earns=True)
CONTINUATION_LIMIT: Final = RateLimit("CONTINUATIONs", 1_000, 33, earns=True)
EMPTY_DATA_LIMIT: Final = RateLimit("empty DATA frames", 1_000, 33, earns=True)
GOAWAY_LIMIT: Final = RateLimit("GOAWAYs", 100, 1, earns=False)
UNKNOWN_FRAME_LIMIT: Final = RateLimit("frames of unknown types", 1_000, 33, earns=True)
REFUSED_STREAM_LIMIT: Final = RateLimit("streams beyond the limit", 10_000, 330, earns=False)
"""Before it has read our SETTINGS a client can't know the limit."""


class TokenBucket:
    """What is left of a rate limit on a connection."""

    __slots__ = ("_earned", "_limit", "_tokens", "_updated")

    def __init__(self, limit: RateLimit, now: float, earned: int) -> None:
        """Full. ``now``: seconds of a monotonic clock; ``earned``: what the client has earned until now."""
        self._limit = limit
        self._tokens = float(limit.burst)
        self._updated, self._earned = now, earned

    def consume(self, cost: int, now: float, earned: int) -> bool:
        """Takes ``cost`` tokens; whether there were enough."""
        limit = self._limit
        new = (now - self._updated) * limit.per_second + (earned - self._earned if limit.earns else 0)
        self._updated, self._earned = now, earned
        self._tokens = min(limit.burst, self._tokens + new) - cost
        return self._tokens >= 0


class MemoryBudget:
    """Bytes that the connections of a process buffer for their clients, and how many they may."""

    __slots__ = ("buffered", "cached_headers", "per_connection", "per_process")

    def __init__(self, per_connection: int = CONNECTION_BYTES, per_process: int = PROCESS_BYTES) -> None:
        self.per_connection, self.per_process = per_connection, per_process
        self.buffered = 0
        """Of incomplete messages and of waiting answers."""
        self.cached_headers = 0
        """Of cached header blocks."""

    def exceeded(self, own: int) -> bool:
        """Whether a connection that buffers ``own`` bytes buffers too many, or all together do."""
        return own > self.per_connection or (self.buffered > self.per_process and own > EXEMPT_BYTES)
