"""Frames that concern a connection as a whole: SETTINGS, PING, GOAWAY, and those without effect (RFC 9113 §6)."""

from __future__ import annotations

from typing import Final

from extproc.http2 import flood_limits
from extproc.http2 import frames as f
from extproc.http2.frames import Http2ConnectionError
from extproc.http2.memory_budget import MemoryBudget
from extproc.http2.settings import SERVER_SETTINGS, SETTINGS_ACK, read_settings
from extproc.http2.windows import CONNECTION_WINDOW, FlowControl

_PING_PAYLOAD: Final = b"are you?"
_SETTINGS_WORK: Final = 2
"""What SETTINGS cost more than other frames that are limited, in units of ``ConnectionSender.work``."""


class ControlFrames(FlowControl):
    """Settings, pings, and the end of a connection that is announced."""

    def __init__(self, budget: MemoryBudget) -> None:
        super().__init__(budget)
        self.ping_pending = False
        """A ping of ours has not been answered."""
        self.max_stream_id = f.MAX_STREAM_ID
        """The highest stream that the client may open."""
        self.put(SERVER_SETTINGS + f.window_update(0, CONNECTION_WINDOW - f.DEFAULT_WINDOW))

    def ping(self) -> None:
        """Sends a PING: ``ping_pending`` until it is answered."""
        self.ping_pending = True
        self.put(f.frame(f.PING, 0, 0, _PING_PAYLOAD))

    def go_away(self, *, final: bool) -> None:
        """Tells the client to open no more streams. Those that it opens before it has heard of it are served, until the
        final GOAWAY (§6.8).
        """
        if final:
            self.max_stream_id = self.last_stream_id
        self.put(f.goaway(self.max_stream_id, f.NO_ERROR))

    def on_settings(self, number: int, flags: int, payload: bytes) -> None:
        """§6.5."""
        if number:
            raise Http2ConnectionError(f.PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & f.ACK and payload):
            raise Http2ConnectionError(f.FRAME_SIZE_ERROR, "settings of another size")
        self.charge(flood_limits.SETTINGS_LIMIT)
        if flags & f.ACK:
            return
        self.work -= _SETTINGS_WORK
        values = read_settings(payload)
        if f.INITIAL_WINDOW_SIZE in values:
            self.change_initial_window(values[f.INITIAL_WINDOW_SIZE])
        self.put(SETTINGS_ACK)
        self.flush_waiting()

    def on_ping(self, number: int, flags: int, payload: bytes) -> None:
        """§6.7."""
        if number:
            raise Http2ConnectionError(f.PROTOCOL_ERROR, "a ping of a stream")
        if len(payload) != 8:
            raise Http2ConnectionError(f.FRAME_SIZE_ERROR, "a ping of another size")
        self.charge(flood_limits.PING_LIMIT)
        if not flags & f.ACK:
            self.put(f.frame(f.PING, f.ACK, 0, payload))
        elif payload == _PING_PAYLOAD:
            self.ping_pending = False

    def on_goaway(self, number: int, _: int, payload: bytes) -> None:
        """§6.8: the client opens no more streams; open ones go on."""
        if number:
            raise Http2ConnectionError(f.PROTOCOL_ERROR, "a GOAWAY of a stream")
        if len(payload) < 8:
            raise Http2ConnectionError(f.FRAME_SIZE_ERROR, "a GOAWAY is cut off")
        self.charge(flood_limits.GOAWAY_LIMIT)

    def on_priority(self, number: int, _: int, payload: bytes) -> None:
        """§5.3.2: checked, and without effect."""
        if not number:
            raise Http2ConnectionError(f.PROTOCOL_ERROR, "a priority of no stream")
        if len(payload) != 5:
            raise Http2ConnectionError(f.FRAME_SIZE_ERROR, "a priority of another size")
        f.check_priority(number, payload)
        self.charge(flood_limits.PRIORITY_LIMIT)

    def on_push_promise(self, _: int, __: int, ___: bytes) -> None:
        """§8.4: an error from a client."""
        raise Http2ConnectionError(f.PROTOCOL_ERROR, "clients do not push")
