"""How often a client may send frames that cost work and bring none: rapid resets, pings, empty frames and others.

The rates are token buckets as in nghttp2: ``nghttp2_option_set_stream_reset_rate_limit`` (1,000 at once, 33 a second)
and ``nghttp2_option_set_glitch_rate_limit`` (10,000 and 330) end the connection beyond them. grpc-go's
``keepalive.EnforcementPolicy`` excuses pings of clients that are being served; Envoy's
``max_inbound_window_update_frames_per_data_frame_sent`` counts frames by what was sent. So some of the limits here also
grow with the streams that a client opens and the bytes that it is sent: see ``RateLimit.earns``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from extproc.http2.frames import ENHANCE_YOUR_CALM, Http2ConnectionError

MAX_LATE_RESETS: Final = 100
"""Resets of streams that have ended, beyond one for each that was opened."""


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


class FloodLimits:
    """What is left of all rate limits on a connection."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[RateLimit, TokenBucket] = {}

    def charge(self, limit: RateLimit, cost: int, now: float, streams: int, sent: int) -> None:
        """Counts a frame that is limited, as ``cost``. Raises ``Http2ConnectionError`` where there were too many.

        ``now``: seconds of a monotonic clock; ``streams`` that the client has opened, and bytes that it was ``sent``.
        """
        earned = PER_STREAM * streams + sent // PER_BYTES
        bucket = self._buckets.get(limit)
        if bucket is None:
            bucket = self._buckets[limit] = TokenBucket(limit, now, earned)
        if not bucket.consume(cost, now, earned):
            raise Http2ConnectionError(ENHANCE_YOUR_CALM, f"too many {limit.name}")
