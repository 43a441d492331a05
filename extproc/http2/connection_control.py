"""What concerns an HTTP/2 connection as a whole: settings, windows, signs of life, farewells (RFC 9113 §6).

Sans-I/O, and the lower half of ``http2.Connection``: the bytes that go out gather here.
"""

from __future__ import annotations

from typing import Final

from extproc.http2 import flood_limits
from extproc.http2 import frames as f
from extproc.http2.flood_limits import Allowance, Ledger, Rate
from extproc.http2.hpack import MAX_BLOCK
from extproc.http2.stream import MAX_QUEUED, ConnectionOutput, Stream

STREAM_WINDOW: Final = 1 << 20
"""Bytes that a client may send on a stream before they have been looked at."""
WINDOW: Final = 1 << 24
"""The same for a connection."""
CREDIT_THRESHOLD: Final = STREAM_WINDOW // 2
"""Bytes of which nobody need give an account yet."""
MAX_STREAMS: Final = 4_096
"""Open on a connection at most. A client that needs more opens another connection, as Envoy does."""
RESETS: Final = 100
"""Resets of streams that have ended, beyond one for each that was opened."""
_OVER: Final = 100
"""Streams that the client has ended and that are remembered, so that more on them is an error. Of others that are no
more, frames may still be under way, however late: they are ignored.
"""
_PING: Final = b"are you?"


class ConnectionRefused(Exception):  # noqa: N818
    """The client breaks the protocol, or asks too much: the connection ends with this code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class ConnectionControl(ConnectionOutput):
    """A server's own state of a connection."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.now = 0.0
        """Seconds of a clock that only goes forward."""
        self.behind = False
        """There is more to do with what has come: in the next turn."""
        self.opened = 0
        """Streams that the client has opened or tried to."""
        self.resets = 0
        """Frames that reset one."""
        self.granted = f.WINDOW
        """Bytes that the client ever let us send."""
        self._over: dict[int, None] = {}
        self._allowances: dict[Rate, Allowance] = {}
        self._parked: dict[int, Stream] = {}
        self.streams: dict[int, Stream] = {}
        self.awaited = False
        """A ping has not been answered."""
        self.last = 0
        """The highest stream that the client has opened."""
        self.allowed = f.LAST
        """The highest that it may open."""
        self.owed = 0
        """Bytes looked at, for which the client has not got its window back."""
        self.kept = 0
        """Bytes that came on streams that wait."""
        ours = {f.MAX_STREAMS: MAX_STREAMS, f.INITIAL_WINDOW: STREAM_WINDOW, f.HEADER_LIST: MAX_BLOCK}
        self.put(f.settings(ours) + f.window_update(0, WINDOW - f.WINDOW))

    def take(self) -> bytes:
        """The bytes for the client. ``sent`` wants to know when they have gone."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def sent(self, size: int) -> None:
        """So many bytes have gone."""
        self.queued -= size
        if self.waiting:
            self._flush()

    def spend(self, rate: Rate, cost: int = 1) -> None:
        """The client does what it may do only so often. Raises ``Refused`` where that is too often."""
        earned = flood_limits.PER_STREAM * self.opened + (self.granted - self.window) // flood_limits.PER_BYTES
        allowance = self._allowances.get(rate)
        if allowance is None:
            allowance = self._allowances[rate] = Allowance(rate, self.now, earned)
        if not allowance.spend(cost, self.now, earned):
            raise ConnectionRefused(f.ENHANCE_YOUR_CALM, f"too many {rate.name}")

    def park(self, stream: Stream) -> None:
        """See ``Carrier``."""
        self._parked[stream.number] = stream
        self.behind = True

    def ping(self) -> None:
        """Asks for a sign of life: ``awaited`` until it comes."""
        self.awaited = True
        self.put(f.frame(f.PING, 0, 0, _PING))

    def leave(self, *, last: bool) -> None:
        """Tells the client to open no more streams. Those that it opens before it has heard of it are served, until it
        is told for the last time (§6.8).
        """
        if last:
            self.allowed = self.last
        self.put(f.goaway(self.allowed, f.NO_ERROR))

    def release(self, stream: Stream) -> None:
        """See ``Carrier``."""
        size, stream.kept = stream.kept, 0
        self.kept -= size
        self.credit(size, stream)

    def keep(self, size: int, stream: Stream) -> None:
        """Bytes came while the stream waits."""
        stream.kept += size
        self.kept += size
        self.credit(0)
        if self.kept + self.owed > WINDOW:
            raise ConnectionRefused(f.FLOW_CONTROL_ERROR, "more data than the connection's window")

    def credit(self, size: int, stream: Stream | None = None) -> None:
        """Gives windows back for bytes that have been looked at."""
        self.owed += size
        if self.owed > (WINDOW - self.kept) // 2:  # those who wait do not hold up the others
            self.put(f.window_update(0, self.owed))
            self.owed = 0
        if stream is not None and stream.open and stream.number in self.streams:
            stream.owed += size
            if stream.owed > STREAM_WINDOW // 2:
                self.put(f.window_update(stream.number, stream.owed))
                stream.owed = 0

    def break_off(self, stream: Stream, code: int) -> None:
        """Ends a stream for what the client did on it."""
        raise NotImplementedError

    def on_settings(self, number: int, flags: int, payload: bytes) -> None:
        """§6.5."""
        if number:
            raise ConnectionRefused(f.PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & f.ACK and payload):
            raise ConnectionRefused(f.FRAME_SIZE_ERROR, "settings of another size")
        self.spend(flood_limits.SETTINGS)
        if flags & f.ACK:
            return
        values = dict[int, int]()
        for at in range(0, len(payload), 6):
            name, value = f.read_setting(payload, at)
            self._check(name, value)
            values[name] = value  # the last word counts
        if f.INITIAL_WINDOW in values:
            self._resize(values[f.INITIAL_WINDOW])
        self.put(f.frame(f.SETTINGS, f.ACK, 0, b""))
        self._flush()

    def on_ping(self, number: int, flags: int, payload: bytes) -> None:
        """§6.7."""
        if number:
            raise ConnectionRefused(f.PROTOCOL_ERROR, "a ping of a stream")
        if len(payload) != 8:
            raise ConnectionRefused(f.FRAME_SIZE_ERROR, "a ping of another size")
        self.spend(flood_limits.PINGS)
        if not flags & f.ACK:
            self.put(f.frame(f.PING, f.ACK, 0, payload))
        elif payload == _PING:
            self.awaited = False

    def on_window_update(self, number: int, _: int, payload: bytes) -> None:
        """§6.9."""
        if len(payload) != 4:
            raise ConnectionRefused(f.FRAME_SIZE_ERROR, "a WINDOW_UPDATE of another size")
        self.spend(flood_limits.WINDOW_UPDATES)
        more = f.read_u32(payload)[0] & f.LAST
        if number == 0:
            self.window += more
            self.granted += more
            if not more or self.window > f.MAX_WINDOW:
                raise ConnectionRefused(
                    f.FLOW_CONTROL_ERROR if more else f.PROTOCOL_ERROR, "a window beyond its bounds"
                )
            self._flush()
            return
        self.check_opened(number)
        if (stream := self.streams.get(number)) is not None:
            stream.window += more
            if not more or stream.window > f.MAX_WINDOW:
                self.break_off(stream, f.FLOW_CONTROL_ERROR if more else f.PROTOCOL_ERROR)
            else:
                stream.flush()

    def on_priority(self, number: int, _: int, payload: bytes) -> None:
        """§5.3.2: of no effect any more."""
        if not number:
            raise ConnectionRefused(f.PROTOCOL_ERROR, "a priority of no stream")
        if len(payload) != 5:
            raise ConnectionRefused(f.FRAME_SIZE_ERROR, "a priority of another size")
        check_priority(number, payload)
        self.spend(flood_limits.PRIORITIES)

    def on_goaway(self, number: int, _: int, payload: bytes) -> None:
        """§6.8: it opens no more; those that are open go on."""
        if number:
            raise ConnectionRefused(f.PROTOCOL_ERROR, "a GOAWAY of a stream")
        if len(payload) < 8:
            raise ConnectionRefused(f.FRAME_SIZE_ERROR, "a GOAWAY is cut off")
        self.spend(flood_limits.GOAWAYS)

    def on_push(self, _: int, __: int, ___: bytes) -> None:
        """§8.4."""
        raise ConnectionRefused(f.PROTOCOL_ERROR, "clients do not push")

    def check_opened(self, number: int) -> None:
        """Raises ``Refused`` where the client has not come to that stream (§5.1.1)."""
        if number > self.last or number % 2 == 0:
            raise ConnectionRefused(f.PROTOCOL_ERROR, "a frame on a stream that was not opened")

    def _remember(self, number: int) -> None:
        """The client has ended it."""
        over = self._over
        over[number] = None
        if len(over) > _OVER:
            del over[next(iter(over))]

    def _after(self, number: int, flags: int) -> None:
        """A frame on a stream that is not open: in order where we left first."""
        self.check_opened(number)
        if number in self._over or number in self.streams:
            raise ConnectionRefused(f.STREAM_CLOSED, "a frame on a stream after its end")
        if flags & f.END_STREAM:
            self._remember(number)

    def _flush(self) -> None:
        """Each that is looked at gets something away, or need not be looked at again before its own window opens."""
        while self.waiting and self.window > 0 and self.queued < MAX_QUEUED:
            if self.work <= 0:
                self.behind = True
                return
            self.work -= 1
            next(iter(self.waiting.values())).flush()

    def _resume(self) -> None:
        """What was left of the turn before."""
        parked, self._parked = self._parked, {}
        for number, stream in parked.items():
            if self.streams.get(number) is stream:
                stream.drained()
        self._flush()

    def _resize(self, value: int) -> None:
        """A new initial window changes those of all streams, and may make them negative (§6.9.2)."""
        more, self.initial_window = value - self.initial_window, value
        if not more:
            return
        self.spend(flood_limits.SETTINGS, len(self.streams) // flood_limits.STREAMS_PER_SETTINGS)
        self.work -= len(self.streams) // 4
        for stream in self.streams.values():
            stream.window += more
            if stream.window > f.MAX_WINDOW:
                raise ConnectionRefused(f.FLOW_CONTROL_ERROR, "a window beyond its bounds")
            if stream.waiting is not None:
                if stream.window > 0:
                    self.waiting[stream.number] = stream
                else:
                    self.waiting.pop(stream.number, None)

    def _check(self, name: int, value: int) -> None:
        if name == f.INITIAL_WINDOW and value > f.MAX_WINDOW:
            raise ConnectionRefused(f.FLOW_CONTROL_ERROR, "an initial window that is too large")
        if (name == f.ENABLE_PUSH and value > 1) or (name == f.FRAME_SIZE and not f.MAX_FRAME <= value < 1 << 24):
            raise ConnectionRefused(f.PROTOCOL_ERROR, "a setting beyond its bounds")


def check_priority(number: int, priority: bytes) -> None:
    """Raises ``Refused`` where it is none."""
    if len(priority) < 5:
        raise ConnectionRefused(f.FRAME_SIZE_ERROR, "a priority is cut off")
    if f.read_u32(priority)[0] & f.LAST == number:
        raise ConnectionRefused(f.PROTOCOL_ERROR, "a stream that depends on itself")


def unpadded(payload: bytes, flags: int) -> bytes:
    """What a frame holds beside its padding (§6.1)."""
    if not flags & f.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionRefused(f.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]
