"""gRPC on one HTTP/2 stream: messages to a handler, its replies, and a status.

Source: gRPC over HTTP/2 (grpc/grpc, doc/PROTOCOL-HTTP2.md). Only ``__call__`` and ``end`` may be called by another
thread than the engine's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from extproc.grpc_server.contract import (
    BACKLOG,
    BEHIND,
    FAILED,
    MAX_MESSAGE,
    UNKNOWN,
    Abort,
    Factory,
    Handler,
    Metadata,
    Pulse,
    StatusCode,
)
from extproc.grpc_server.metadata import custom_metadata
from extproc.http2.request_headers import RequestHead
from extproc.http2.stream import Stream

if TYPE_CHECKING:
    from extproc.http2.connection import Connection

log = logging.getLogger(__name__)

_PREFIX: Final = 5
"""Bytes before each message: whether it is compressed, and its length."""
_BUSY: Final = 8
"""What a message costs that did not come in a frame of its own, in units of ``Carrier.work``."""
_UNFINISHED: Final = "too many bytes of unfinished messages"
_DETAILS: Final = 1000
"""Characters of a status's message: a block of headers must fit into one frame."""


class Service:
    """What every call of an engine's needs: the factories by method path, and how to reach the engine's thread."""

    __slots__ = ("factories", "post", "pulse")

    def __init__(
        self, factories: Mapping[bytes, Factory], pulse: Pulse, post: Callable[[Call, bytes | Abort], None]
    ) -> None:
        """``post(call, message)``: has the engine's thread call ``pushed``, from whatever thread."""
        self.factories, self.pulse, self.post = factories, pulse, post


class Call(Stream):
    """A stream of messages, and one of replies."""

    __slots__ = ("_begun", "_buffer", "_handler", "_head", "_held", "_parked", "_service")

    def __init__(self, connection: Connection, number: int, head: RequestHead, service: Service) -> None:
        Stream.__init__(self, connection, number)  # a third of what super() costs
        self._head = head
        self._service = service
        self._handler: Handler | None = None  # None before its time, and after
        self._buffer = bytearray()
        self._begun = False  # our headers are out
        self._held = 0  # bytes of the buffer that the connection knows of
        self._parked = False  # some of it waits for the next turn

    def __call__(self, message: bytes) -> None:
        """As a ``Sender``."""
        self._service.post(self, message)

    def end(self, abort: Abort) -> None:
        """As a ``Sender``."""
        self._service.post(self, abort)

    @property
    def metadata(self) -> Metadata:
        """As a ``Sender``."""
        return custom_metadata(self._head.fields)

    @property
    def pulse(self) -> Pulse:
        """As a ``Sender``."""
        return self._service.pulse

    def begin(self) -> None:
        """See ``Stream``."""
        head = self._head
        if head.method != b"POST" or not head.type.startswith(b"application/grpc"):
            self._begun = True
            self.send(b"", b"", _NOT_ALLOWED if head.method != b"POST" else _NOT_GRPC)
            return
        factory = self._service.factories.get(head.path)
        if factory is None:
            self._end(StatusCode.UNIMPLEMENTED, UNKNOWN)
            return
        try:
            self._handler = factory(self)
        except Abort as abort:
            self._end(abort.code, abort.details)
        except Exception:
            log.exception("no handler could be made for a stream")
            self._end(StatusCode.INTERNAL, FAILED)

    def data(self, piece: bytes) -> None:
        """See ``Stream``."""
        if self._handler is None:
            return
        # One message, as most are: not compressed, and as long as a frame can be.
        whole = len(piece) >= _PREFIX and not (piece[0] or piece[1] or piece[2])
        if whole and piece[3] << 8 | piece[4] == len(piece) - _PREFIX and not self._buffer and self.waiting is None:
            self._take(piece[_PREFIX:])
        else:
            self._buffer += piece
            self._read()
            self._weigh()

    def ended(self) -> None:
        """See ``Stream``."""
        if self._handler is None or self.waiting is not None or self._parked:
            return  # it has ended; or what waits goes first
        if self._buffer:
            self._end(StatusCode.INTERNAL, "the last message is cut off")
        else:
            self._end(StatusCode.OK)

    def drained(self) -> None:
        """See ``Stream``."""
        self._read()
        self._weigh()
        if not self.open:
            self.ended()

    def lost(self) -> None:
        """See ``Stream``."""
        self._close()

    def pushed(self, message: bytes | Abort) -> None:
        """A message that was sent by calling this, or a status given to ``end``, has come to the engine's thread."""
        if self._handler is None:
            return
        if isinstance(message, Abort):
            self._end(message.code, message.details)
        elif self.waiting is not None and len(self.waiting) >= BACKLOG:
            self._end(StatusCode.RESOURCE_EXHAUSTED, BEHIND)
        else:
            self._send((message,))

    def cut(self) -> None:
        """The server leaves."""
        if self._handler is not None:
            self._end(StatusCode.UNAVAILABLE, "the server is shutting down")

    def _read(self) -> None:
        """Takes what messages are whole, until replies must wait."""
        buffer, connection = self._buffer, self.connection
        self._parked = False
        while self._handler is not None and self.waiting is None and len(buffer) >= _PREFIX:
            if buffer[0]:
                self._end(StatusCode.UNIMPLEMENTED, "messages must not be compressed")
                return
            size = int.from_bytes(buffer[1:_PREFIX])
            if size > MAX_MESSAGE:
                self._end(StatusCode.RESOURCE_EXHAUSTED, f"a message of more than {MAX_MESSAGE} bytes")
                return
            if len(buffer) < _PREFIX + size:
                return
            if connection.work <= 0:
                self._parked = True
                connection.park(self)
                return
            connection.work -= _BUSY
            with memoryview(buffer) as snapshot:
                message = bytes(snapshot[_PREFIX : _PREFIX + size])
            del buffer[: _PREFIX + size]
            self._take(message)

    def _weigh(self) -> None:
        """Bytes that are no whole message yet, or that wait, count: their windows have been given back."""
        connection, held = self.connection, 0 if self._handler is None else len(self._buffer)
        connection.hold(held - self._held)
        self._held = held
        if held and connection.ledger.over(connection.held):
            self._end(StatusCode.RESOURCE_EXHAUSTED, _UNFINISHED)

    def _take(self, message: bytes) -> None:
        handler = self._handler
        if handler is None:
            return
        self.asked = True
        try:
            replies = handler.receive(message)
        except Abort as abort:
            self._end(abort.code, abort.details)
        except Exception:  # the handler tells what it was
            self._end(StatusCode.INTERNAL, FAILED)
        else:
            if handler.done:
                self._close()
                self._send(replies, _OK)
            elif replies:
                self._send(replies)

    def _send(self, replies: Sequence[bytes], tail: bytes = b"") -> None:
        head = b"" if self._begun else _HEAD
        self._begun = True
        if len(replies) == 1:
            self.send(len(replies[0]).to_bytes(_PREFIX) + replies[0], head, tail)
        else:
            self.send(b"".join([len(reply).to_bytes(_PREFIX) + reply for reply in replies]), head, tail)
        if self.waiting is not None and self.connection.ledger.over(self.connection.held):
            self._end(StatusCode.RESOURCE_EXHAUSTED, BEHIND)

    def _end(self, code: StatusCode, details: str = "") -> None:
        """The status, now."""
        self._close()
        status = _OK if code is StatusCode.OK else _status(code, details)
        if self._begun:
            self.abort(status)
        else:
            self._begun = True
            self.send(b"", b"", _HEAD + status)

    def _close(self) -> None:
        handler, self._handler = self._handler, None
        if self._held:
            self.connection.hold(-self._held)
            self._held = 0
            self._buffer.clear()
        if handler is not None:
            try:
                handler.close()
            except Exception:
                log.exception("a handler failed to close")


def _field(name: bytes, value: bytes) -> bytes:
    """A header for a block: as it is, and for no table (RFC 7541 §6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def _text(data: bytes) -> bytes:
    """RFC 7541 §5.1 and §5.2, without Huffman's code."""
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, size = len(data) - 127, b"\x7f"
    while rest >= 128:
        size += bytes((rest % 128 | 128,))
        rest //= 128
    return size + bytes((rest,)) + data


def _status(code: StatusCode, details: str) -> bytes:
    # Printable ASCII but for `%` goes as it is (PROTOCOL-HTTP2.md, "Status-Message").
    message = quote(details[:_DETAILS], safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", errors="replace")
    return _field(b"grpc-status", b"%d" % code) + (_field(b"grpc-message", message.encode()) if message else b"")


_NO_TABLE: Final = b"\x20"
"""We keep no table, and say so: a client that allows none, or a smaller one, waits for that (RFC 7541 §4.2)."""
_HEAD: Final = _NO_TABLE + b"\x88" + _field(b"content-type", b"application/grpc")
"""`:status: 200` is the eighth of HPACK's own table."""
_OK: Final = _status(StatusCode.OK, "")
_NOT_ALLOWED: Final = _NO_TABLE + _field(b":status", b"405") + _field(b"allow", b"POST")
_NOT_GRPC: Final = _NO_TABLE + _field(b":status", b"415")
