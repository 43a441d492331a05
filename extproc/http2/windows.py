"""Flow control of a connection and its streams, in both directions (RFC 9113 §5.2, §6.9).

Sending: bytes that have no room in the client's windows wait, and go when it enlarges them. Receiving: a client gets
its windows back for bytes that were processed; for bytes of a stream whose answers wait it gets nothing until those
have gone.
"""

from __future__ import annotations

from typing import Final

from extproc.http2 import flood_limits
from extproc.http2 import frames as f
from extproc.http2.frames import Http2ConnectionError
from extproc.http2.memory_budget import MAX_QUEUED, MemoryBudget
from extproc.http2.settings import STREAM_WINDOW
from extproc.http2.stream import Stream
from extproc.http2.stream_states import StreamStates

CONNECTION_WINDOW: Final = 1 << 24
"""Bytes that a client may send on a connection before they have been processed."""
CREDIT_THRESHOLD: Final = STREAM_WINDOW // 2
"""Bytes that may be processed before the client gets its windows back."""


class FlowControl(StreamStates):
    """The windows of a connection."""

    def __init__(self, budget: MemoryBudget) -> None:
        super().__init__(budget)
        self.unfinished = False
        """Some of what was received is left for the next turn."""
        self.uncredited = 0
        """Bytes processed for which the client has not got the connection's window back."""
        self.withheld = 0
        """Bytes received on streams whose answers wait."""
        self._deferred: dict[int, Stream] = {}

    def reset_stream(self, stream: Stream, code: int) -> None:
        """Ends a stream for an error of the client's on it (§5.4.2)."""
        raise NotImplementedError

    def sent(self, size: int) -> None:
        """So many of the bytes from ``take`` have gone."""
        self.queued -= size
        if self.waiting:
            self.flush_waiting()

    def defer(self, stream: Stream) -> None:
        """See ``ConnectionSender``."""
        self._deferred[stream.number] = stream
        self.unfinished = True

    def resume_deferred(self) -> None:
        """Continues with what was left for this turn."""
        deferred, self._deferred = self._deferred, {}
        for number, stream in deferred.items():
            if self.streams.get(number) is stream:
                stream.drained()
        self.flush_waiting()

    def flush_waiting(self) -> None:
        """Sends what waits for room. Each stream that is tried sends something, or waits for its own window next."""
        while self.waiting and self.window > 0 and self.queued < MAX_QUEUED:
            if self.work <= 0:
                self.unfinished = True
                return
            self.work -= 1
            next(iter(self.waiting.values())).flush()

    def withhold(self, size: int, stream: Stream) -> None:
        """Bytes were received on a stream whose answers wait. Raises ``Http2ConnectionError`` for more than the
        connection's window.
        """
        stream.withheld += size
        self.withheld += size
        self.credit(0)  # which leaves no more uncredited than the window still has
        if self.withheld > CONNECTION_WINDOW:
            raise Http2ConnectionError(f.FLOW_CONTROL_ERROR, "more data than the connection's window")

    def release(self, stream: Stream) -> None:
        """See ``ConnectionSender``."""
        size, stream.withheld = stream.withheld, 0
        self.withheld -= size
        self.credit(size, stream)

    def credit(self, size: int, stream: Stream | None = None) -> None:
        """Gives windows back for bytes that were processed, once they are many enough for a frame."""
        self.uncredited += size
        if self.uncredited > (CONNECTION_WINDOW - self.withheld) // 2:  # streams that wait do not hold up the others
            self.put(f.window_update(0, self.uncredited))
            self.uncredited = 0
        if stream is not None and stream.open and stream.number in self.streams:
            stream.uncredited += size
            if stream.uncredited > CREDIT_THRESHOLD:
                self.put(f.window_update(stream.number, stream.uncredited))
                stream.uncredited = 0

    def on_window_update(self, number: int, _: int, payload: bytes) -> None:
        """§6.9."""
        if len(payload) != 4:
            raise Http2ConnectionError(f.FRAME_SIZE_ERROR, "a WINDOW_UPDATE of another size")
        self.charge(flood_limits.WINDOW_UPDATE_LIMIT)
        increment = f.read_u32(payload)[0] & f.MAX_WINDOW
        if number == 0:
            self.window += increment
            self.window_granted += increment
            if not increment or self.window > f.MAX_WINDOW:
                code = f.FLOW_CONTROL_ERROR if increment else f.PROTOCOL_ERROR
                raise Http2ConnectionError(code, "a window beyond its bounds")
            self.flush_waiting()
            return
        self.check_opened(number)
        if (stream := self.streams.get(number)) is not None:
            stream.window += increment
            if not increment or stream.window > f.MAX_WINDOW:
                self.reset_stream(stream, f.FLOW_CONTROL_ERROR if increment else f.PROTOCOL_ERROR)
            else:
                stream.flush()

    def change_initial_window(self, size: int) -> None:
        """A new initial window changes those of all streams, and may make them negative (§6.9.2)."""
        change, self.initial_window = size - self.initial_window, size
        if not change:
            return
        self.charge(flood_limits.SETTINGS_LIMIT, len(self.streams) // flood_limits.STREAMS_PER_SETTINGS)
        self.work -= len(self.streams) // 4
        for stream in self.streams.values():
            stream.window += change
            if stream.window > f.MAX_WINDOW:
                raise Http2ConnectionError(f.FLOW_CONTROL_ERROR, "a window beyond its bounds")
            if stream.waiting is not None:
                if stream.window > 0:
                    self.waiting[stream.number] = stream
                else:
                    self.waiting.pop(stream.number, None)
