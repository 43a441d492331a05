"""Bounds on the open streams of one process: on those that say nothing, that wait for a body, and that watch.

A stream that routes is short, except while its request's body is still arriving: a client that stops half-way holds the
stream for as long as Envoy waits for the rest. At most half of the streams may wait so; one more ends the one that has
waited longest with RESOURCE_EXHAUSTED, so that its request passes on unrouted, or is refused where Envoy fails closed.
A stream that watches lives as long as the answer. At most three quarters of the streams may watch, since a request that
is not watched is served all the same. The first message of a stream tells which of the two it is: an Envoy sends it at
once. Where too many are open that have sent none, the oldest of them makes room.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from extproc.grpc_server import Abort, StatusCode
from extproc.telemetry.metrics import Metrics

MAX_HELD_BYTES = 256 << 20
"""Bytes of bodies that the waiting streams may hold together."""


class EndableStream(Protocol):
    """A stream that can be ended."""

    def end(self, abort: Abort) -> None:
        """Ends the stream soon; ``OpenStreams.close`` has been called for it already."""


class OpenStreams:
    """The open streams, counted in ``metrics.streams``. Used by the gRPC server's thread alone.

    A stream that routes is answered at once or waits; so each stream that has sent a message either waits or watches.
    """

    __slots__ = (
        *("_held_bytes", "_metrics", "_max_streams", "_max_held_bytes", "_max_waiting", "_max_watching"),
        *("_open", "_silent", "_waiting", "_watching"),
    )

    def __init__(self, metrics: Metrics, max_streams: int, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        """``max_streams`` may wait or watch, and as many again be open without a message yet: several may open before
        the first of them sends one. Those that wait may hold ``max_held_bytes`` together; a single one any number.
        """
        self._metrics = metrics
        self._max_streams, self._max_held_bytes = max_streams, max_held_bytes
        self._max_waiting = max(1, max_streams // 2)
        self._max_watching = max_streams - max(1, max_streams // 4)
        self._waiting: dict[EndableStream, int] = {}
        """Bytes held for each; the first is the one that has waited longest."""
        self._silent: OrderedDict[EndableStream, None] = OrderedDict()
        """Those that have sent nothing, of the ones that were opened while ``max_streams`` were open: in quiet times
        none is put here.
        """
        self._open = self._watching = 0
        self._held_bytes = 0

    def open(self, stream: EndableStream) -> None:
        """Counts one more; where there is no room, another is ended."""
        if self._open >= self._max_streams:
            if self._open >= 2 * self._max_streams:
                self._evict_silent()
            self._silent[stream] = None
        self._open += 1
        self._metrics.streams = self._open

    def watch(self, stream: EndableStream) -> None:
        """``stream`` is one that watches. Raises ``Abort`` where only streams that route may still be added."""
        if self._silent:
            self._silent.pop(stream, None)
        if self._watching + len(self._waiting) >= self._max_watching:
            self._metrics.count_error("too_many_observers")
            raise Abort(StatusCode.RESOURCE_EXHAUSTED, "the streams that are left are for routing")
        self._watching += 1

    def wait(self, stream: EndableStream, size: int) -> None:
        """``stream`` waits for the rest of a body, of which ``size`` more bytes are held."""
        waiting = self._waiting
        if self._silent:
            self._silent.pop(stream, None)
        waiting[stream] = waiting.get(stream, 0) + size
        self._held_bytes += size
        if len(waiting) > self._max_waiting or len(waiting) + self._watching > self._max_streams:
            self._evict_oldest()
        while self._held_bytes > self._max_held_bytes and len(waiting) > 1:
            self._evict_oldest()

    def close(self, stream: EndableStream, watching: bool = False) -> None:
        """``stream`` has ended or is about to. ``watching``: ``watch`` was called for it."""
        self._open -= 1
        self._metrics.streams = self._open
        if self._silent:
            self._silent.pop(stream, None)
        if watching:
            self._watching -= 1
        else:
            self._held_bytes -= self._waiting.pop(stream, 0)

    def _evict_silent(self) -> None:
        """Ends the stream that has said nothing longest, of those that are known; else the one that waits longest: for
        only so many may watch.
        """
        if not self._silent:
            self._evict_oldest()
            return
        oldest = next(iter(self._silent))
        self.close(oldest)
        self._metrics.count_error("too_many_streams")
        oldest.end(Abort(StatusCode.RESOURCE_EXHAUSTED, "too many streams are open, and this one asked nothing"))

    def _evict_oldest(self) -> None:
        """Ends the stream that has waited longest, with RESOURCE_EXHAUSTED."""
        oldest = next(iter(self._waiting))
        self.close(oldest)
        self._metrics.count_error("too_many_bodies")
        oldest.end(Abort(StatusCode.RESOURCE_EXHAUSTED, "too many requests wait for their bodies, this one longest"))
