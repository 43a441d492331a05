"""One HTTP/2 stream: what goes out on it when there is room, and how much has come in.

Flow control is RFC 9113 §5.2. What has no room waits, in order; a stream that waits is not
read from: the client does not get its window back before it has taken the answers to what it sent.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from extproc.http2.flood_limits import Ledger
from extproc.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_FRAME,
    NO_ERROR,
    WINDOW,
    frame,
    frame_head,
    rst_stream,
)

MAX_QUEUED: Final = 1 << 20
"""Bytes that a connection holds for a client that does not fetch them, beyond which streams wait."""


class ConnectionOutput:
    """What streams need of their connection; the bytes that go out gather here."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        """Of all connections."""
        self.held = 0
        """Bytes of unfinished messages and of answers that wait."""
        self.work = 0
        """What may still be done in this turn, in units of a frame that brings nothing: some microsecond."""
        self.initial_window = WINDOW
        """Bytes of data that the client takes on a new stream."""
        self.window = WINDOW
        """The same on all of them together."""
        self.queued = 0
        """Bytes for the client that have not gone."""
        self.waiting: OrderedDict[int, Stream] = OrderedDict()
        """Streams that have something to send and a window for it, but here is no room. Of a dict, to find the first
        would take as long as there were others before it.
        """
        self._out: list[bytes] = []

    def put(self, data: bytes) -> None:
        """Bytes for the client that no window holds back."""
        self._out.append(data)
        self.queued += len(data)

    def hold(self, size: int) -> None:
        """So many bytes more are held, or fewer."""
        self.held += size
        self.ledger.held += size

    def park(self, stream: Stream) -> None:
        """This turn's work is done, and some of the stream's is left: it is told that it is drained in the next."""
        raise NotImplementedError

    def release(self, stream: Stream) -> None:
        """What came while the stream waited has been looked at."""
        raise NotImplementedError

    def close(self, stream: Stream) -> None:
        """We have said our last word on it."""
        raise NotImplementedError


class Stream:
    """A request and its answer. Subclasses hear what the client does, by the methods that do nothing here."""

    __slots__ = ("_tail", "asked", "connection", "kept", "length", "number", "open", "owed", "waiting", "window")

    def __init__(self, connection: ConnectionOutput, number: int) -> None:
        self.connection = connection
        self.number = number
        self.window = self.connection.initial_window
        """Bytes of data that the client takes."""
        self.open = True
        """The client may say more."""
        self.asked = False
        """It has asked for something."""
        self.length: int | None = None
        """Bytes of the request that are still to come, where it told."""
        self.owed = 0
        """Bytes that were looked at, for which the client has not got its window back yet."""
        self.kept = 0
        """Bytes that came while we waited."""
        self.waiting: deque[memoryview] | None = None
        """What has no room yet; None where nothing waits."""
        self._tail = b""

    def begin(self) -> None:
        """It has been opened."""

    def data(self, piece: bytes) -> None:
        """The client has sent something."""

    def ended(self) -> None:
        """The client has said all."""

    def drained(self) -> None:
        """What waited has been sent."""

    def lost(self) -> None:
        """The client is gone, or wants no more: nothing can be sent."""

    def send(self, data: bytes, head: bytes = b"", tail: bytes = b"") -> None:
        """Data, after a block of headers and before one of trailers, which is the last word. All may be empty."""
        connection, size = self.connection, len(data)
        begin = frame_head(len(head) << 8 | HEADERS, END_HEADERS, self.number) + head if head else b""
        room = (
            size <= MAX_FRAME and size <= self.window and size <= connection.window and connection.queued < MAX_QUEUED
        )
        if self.waiting is None and (room or not data):
            if data:
                self.window -= size
                connection.window -= size
                begin += frame_head(size << 8, 0, self.number) + data
            if tail:
                begin += frame_head(len(tail) << 8 | HEADERS, END_HEADERS | END_STREAM, self.number) + tail
                if self.open:  # the client need not finish (§8.1)
                    begin += rst_stream(self.number, NO_ERROR)
                connection.close(self)
            connection.put(begin)
            return
        if head:
            connection.put(begin)
        self._tail = tail
        if self.waiting is None:
            self.waiting = deque((memoryview(data),))
            connection.hold(size)
            self._go()  # whoever sends is not told that it is drained: there may be more to come
            return
        if data:
            self.waiting.append(memoryview(data))
            connection.hold(size)
        self.flush()

    def abort(self, tail: bytes) -> None:
        """Trailers at once, before whatever waits: that is dropped."""
        self.drop()
        self.send(b"", b"", tail)

    def drop(self) -> None:
        """Nothing waits any more."""
        if self.waiting is not None:
            self.connection.hold(-sum(map(len, self.waiting)))
            self.connection.waiting.pop(self.number, None)
            self.waiting = None

    def flush(self) -> None:
        """Sends as much as there is room for."""
        waited = self.waiting is not None
        if waited and self._go():
            self.drained()
            if self.kept and self.waiting is None:
                self.connection.release(self)

    def _go(self) -> bool:
        """Whether nothing waits any more, and the stream goes on."""
        connection, waiting = self.connection, self.waiting
        while waiting:
            piece = waiting[0]
            room = min(self.window, connection.window, MAX_FRAME, MAX_QUEUED - connection.queued)
            if room <= 0:
                if self.window > 0:
                    connection.waiting[self.number] = self
                else:  # until its own window opens
                    connection.waiting.pop(self.number, None)
                return False
            if room < len(piece):
                waiting[0], piece = piece[room:], piece[:room]
            else:
                waiting.popleft()
            self.window -= len(piece)
            connection.window -= len(piece)
            connection.work -= 1
            connection.hold(-len(piece))
            connection.put(frame(DATA, 0, self.number, bytes(piece)))
        self.waiting = None
        connection.waiting.pop(self.number, None)
        if self._tail:
            self.send(b"", b"", self._tail)
            return False
        return True
