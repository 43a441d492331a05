"""How often a client may send what brings no work, and how many bytes unfinished messages may take.

Rates are token buckets as in nghttp2: ``nghttp2_option_set_stream_reset_rate_limit`` (1,000
at once, 33 a second) and ``nghttp2_option_set_glitch_rate_limit`` (10,000 and 330) end the connection beyond them.
grpc-go's ``keepalive.EnforcementPolicy`` excuses pings of clients that are being served; Envoy's
``max_inbound_window_update_frames_per_data_frame_sent`` counts frames by what was sent. So some of the rates here also
grow with the streams that a client opens and the bytes that it is sent: see ``Rate.earns``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CONNECTION_BYTES: Final = (64 << 20) + 5
"""Of unfinished messages and of answers that wait, on a connection: one of the largest gRPC messages, and its prefix."""
PROCESS_BYTES: Final = 256 << 20
"""The same on all connections of a process."""
SPARED_BYTES: Final = 256 << 10
"""A connection that holds no more than this is not refused because others hold much."""
REMEMBERED_BYTES: Final = 16 << 20
"""Of header blocks that the connections of a process remember."""


class Rate(NamedTuple):
    """How often something may come on a connection."""

    name: str
    burst: int
    """At once."""
    per_second: int
    earns: bool
    """What the client asks for and gets makes room for more: ``PER_STREAM``, and one for each ``PER_BYTES``."""


PER_STREAM: Final = 4
PER_BYTES: Final = 16

RESETS: Final = Rate("streams reset that asked for nothing or whose answer waits", 1_000, 33, earns=False)
"""The rapid reset (CVE-2023-44487). An Envoy resets streams at the rate of its requests, when they have been answered
or after it has asked: those are not counted.
"""
MISTAKES: Final = Rate("streams that we must reset", 1_000, 33, earns=False)
"""The same brought about by errors (CVE-2025-8671)."""
SETTINGS: Final = Rate("SETTINGS", 1_000, 33, earns=False)
"""One that changes the windows of streams costs one more for each ``STREAMS_PER_SETTINGS`` that are open."""
STREAMS_PER_SETTINGS: Final = 64
PINGS: Final = Rate("PINGs", 1_000, 33, earns=True)
WINDOW_UPDATES: Final = Rate("WINDOW_UPDATEs", 10_000, 330, earns=True)
PRIORITIES: Final = Rate("PRIORITYs", 1_000, 33, earns=True)
CONTINUATIONS: Final = Rate("CONTINUATIONs", 1_000, 33, earns=True)
EMPTY_DATA: Final = Rate("empty DATA frames", 1_000, 33, earns=True)
GOAWAYS: Final = Rate("GOAWAYs", 100, 1, earns=False)
UNKNOWN: Final = Rate("frames of unknown types", 1_000, 33, earns=True)
REFUSED: Final = Rate("streams beyond the limit", 10_000, 330, earns=False)
"""Before it has read our SETTINGS a client can't know the limit."""


class Allowance:
    """What is left of a rate."""

    __slots__ = ("_at", "_earned", "_left", "_rate")

    def __init__(self, rate: Rate, now: float, earned: int) -> None:
        self._rate = rate
        self._left = float(rate.burst)
        self._at, self._earned = now, earned

    def spend(self, cost: int, now: float, earned: int) -> bool:
        """Whether there was enough. ``now``: seconds of a clock that only goes forward; ``earned``: all until now."""
        rate = self._rate
        more = (now - self._at) * rate.per_second + (earned - self._earned if rate.earns else 0)
        self._at, self._earned = now, earned
        self._left = min(rate.burst, self._left + more) - cost
        return self._left >= 0


class Ledger:
    """Bytes that the connections of a process hold for their clients."""

    __slots__ = ("held", "per_connection", "per_process", "remembered")

    def __init__(self, per_connection: int = CONNECTION_BYTES, per_process: int = PROCESS_BYTES) -> None:
        self.per_connection, self.per_process = per_connection, per_process
        self.held = 0
        """Of unfinished messages and of answers that wait."""
        self.remembered = 0
        """Of header blocks."""

    def over(self, own: int) -> bool:
        """Whether a connection that holds ``own`` bytes holds too many, or all together do."""
        return own > self.per_connection or (self.held > self.per_process and own > SPARED_BYTES)
