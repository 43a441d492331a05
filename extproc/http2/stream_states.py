"""Which streams of a connection are open, which were ended, and what the client may still do (RFC 9113 §5.1)."""

from __future__ import annotations

from collections import deque

from extproc.http2 import frames as f
from extproc.http2.flood_limits import FloodLimits, RateLimit
from extproc.http2.frames import Http2ConnectionError
from extproc.http2.limits import MAX_ENDED
from extproc.http2.memory_budget import MemoryBudget
from extproc.http2.stream import ConnectionSender, Stream


class StreamStates(ConnectionSender):
    """The streams of a connection by their identifiers."""

    def __init__(self, budget: MemoryBudget) -> None:
        super().__init__(budget)
        self.now = 0.0
        """Seconds of a monotonic clock."""
        self.streams: dict[int, Stream] = {}
        """Those that are open or half-closed."""
        self.streams_opened = 0
        """Streams that the client has opened, refused ones too."""
        self.last_stream_id = 0
        """The highest that the client has opened."""
        self.window_granted = f.DEFAULT_WINDOW
        """Bytes that the client has ever let us send on the connection."""
        self._ended: set[int] = set()
        self._order_of_ends: deque[int] = deque()  # of the same: the first entry of a dict is found slowly
        self._floods = FloodLimits()

    def charge(self, limit: RateLimit, cost: int = 1) -> None:
        """Counts a frame that is limited, which is work. Raises ``Http2ConnectionError`` where there were too many."""
        self.work -= 1
        self._floods.charge(limit, cost, self.now, self.streams_opened, self.window_granted - self.window)

    def check_opened(self, number: int) -> None:
        """Raises ``Http2ConnectionError`` where the stream is idle, or one that only a server could open (§5.1.1)."""
        if number > self.last_stream_id or number % 2 == 0:
            raise Http2ConnectionError(f.PROTOCOL_ERROR, "a frame on a stream that was not opened")

    def remember_ended(self, number: int) -> None:
        """The client has ended or reset the stream."""
        ended, order = self._ended, self._order_of_ends
        if number in ended:
            return
        ended.add(number)
        order.append(number)
        if len(ended) > MAX_ENDED:
            ended.remove(order.popleft())

    def check_closed(self, number: int, flags: int) -> None:
        """For DATA or HEADERS on a stream that is not open on the client's side. Raises ``Http2ConnectionError`` unless
        we closed the stream first, and the client could not know yet.
        """
        self.check_opened(number)
        if number in self._ended or number in self.streams:
            raise Http2ConnectionError(f.STREAM_CLOSED, "a frame on a stream after its end")
        if flags & f.END_STREAM:
            self.remember_ended(number)
