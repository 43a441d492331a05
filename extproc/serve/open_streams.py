"""The open streams of one process: how many there may be, wait for a body, or watch answers.

A stream that routes is short, but for one whose request's body is still under way: a client that stops half-way holds
it for as long as Envoy waits for the rest. Such streams have a bound of their own, half of all, and the one that has
waited longest makes room for others: it ends with RESOURCE_EXHAUSTED, so its request alone passes on unrouted, or is
refused where Envoy fails closed. Streams that watch live as long as answers: a quarter of the room is never theirs,
since a request that is not watched is served all the same. Which of the two a stream is, its first message tells.
"""

from __future__ import annotations

from typing import Protocol

from extproc.grpc_server import Abort, StatusCode
from extproc.telemetry.metrics import Metrics

HELD = 256 << 20
"""Bytes of bodies that the waiting streams hold together."""


class Ending(Protocol):
    """A stream that can be ended."""

    def end(self, abort: Abort) -> None:
        """Ends it soon; ``Streams.close`` has been called for it."""


class Streams:
    """Counts in ``metrics``, which is also shown. Used by the engine's thread alone.

    A stream that routes is answered at once or waits, so those that wait and those that watch are all that have spoken.
    """

    __slots__ = (
        *("_bytes", "_metrics", "_most", "_most_held", "_most_waiting", "_most_watched"),
        *("_waiting", "_watching"),
    )

    def __init__(self, metrics: Metrics, most: int, most_held: int = HELD) -> None:
        """``most`` streams may wait or watch, and as many be open that have said nothing yet: several open at once,
        before the first of them speaks. Those that wait hold ``most_held`` bytes.
        """
        self._metrics = metrics
        self._most, self._most_held = most, most_held
        self._most_waiting = max(1, most // 2)
        self._most_watched = most - max(1, most // 4)
        self._waiting: dict[Ending, int] = {}  # with the bytes of each; the one that has waited longest is the first
        self._watching = 0
        self._bytes = 0

    def open(self) -> None:
        """One more. Raises ``Abort`` where there is no room."""
        if self._metrics.streams >= 2 * self._most:
            self._metrics.count_error("too_many_streams")
            raise Abort(StatusCode.RESOURCE_EXHAUSTED, f"{2 * self._most} streams are open, and no more are allowed")
        self._metrics.streams += 1

    def watch(self) -> None:
        """One of those that are open is there to watch. Raises ``Abort`` where the room that is left is for routing."""
        if self._watching + len(self._waiting) >= self._most_watched:
            self._metrics.count_error("too_many_observers")
            raise Abort(StatusCode.RESOURCE_EXHAUSTED, "the streams that are left are for routing")
        self._watching += 1

    def wait(self, stream: Ending, size: int) -> None:
        """It waits for more of a body, of which ``size`` bytes have just come."""
        waiting = self._waiting
        waiting[stream] = waiting.get(stream, 0) + size
        self._bytes += size
        if len(waiting) > self._most_waiting or len(waiting) + self._watching > self._most:
            self._let_go()
        while self._bytes > self._most_held and len(waiting) > 1:
            self._let_go()

    def close(self, stream: Ending, *, watched: bool = False) -> None:
        """It has ended, or is about to. ``watched``: ``watch`` has taken it."""
        self._metrics.streams -= 1
        if watched:
            self._watching -= 1
        else:
            self._bytes -= self._waiting.pop(stream, 0)

    def _let_go(self) -> None:
        """Ends the stream that has waited longest."""
        oldest = next(iter(self._waiting))
        self.close(oldest)
        self._metrics.count_error("too_many_bodies")
        oldest.end(Abort(StatusCode.RESOURCE_EXHAUSTED, "too many requests wait for their bodies, this one longest"))
