"""gRPC on one HTTP/2 stream: messages to a handler, its replies, and a status.

Source: gRPC over HTTP/2 (grpc/grpc, doc/PROTOCOL-HTTP2.md). Only ``__call__`` and ``end`` may be called by another
thread than the engine's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from extproc.grpc_server.contract import (
    CLIENT_DOES_NOT_READ,
    HANDLER_FAILED,
    MAX_MESSAGE,
    MAX_PUSHED,
    UNKNOWN_METHOD,
    Factory,
    Handler,
    LoopLag,
    Metadata,
)
from extproc.grpc_server.metadata import custom_metadata
from extproc.grpc_server.status import OK_TRAILERS, Abort, StatusCode, literal_field, status_trailers
from extproc.http2.request_headers import RequestHead
from extproc.http2.stream import Stream

if TYPE_CHECKING:
    from extproc.http2.connection import Connection

log = logging.getLogger(__name__)

PREFIX_SIZE: Final = 5
"""Bytes before each message: whether it is compressed, and its length."""
_MESSAGE_WORK: Final = 8
"""What a message costs that did not come in a frame of its own, in units of ``ConnectionSender.work``."""
_BUFFER_EXCEEDED: Final = "too many bytes of unfinished messages"
_TABLE_SIZE_0: Final = b"\x20"
"""We use no dynamic table, and say so: a client that allows none, or a smaller one, waits for that (RFC 7541 §4.2)."""
_HEAD: Final = _TABLE_SIZE_0 + b"\x88" + literal_field(b"content-type", b"application/grpc")
"""``:status: 200`` is index 8 of the static table."""
_NOT_ALLOWED: Final = _TABLE_SIZE_0 + literal_field(b":status", b"405") + literal_field(b"allow", b"POST")
_NOT_GRPC: Final = _TABLE_SIZE_0 + literal_field(b":status", b"415")


class CallServices:
    """What all calls of an engine share: the factories by method path, and how to reach the engine's thread."""

    __slots__ = ("call_later", "factories", "loop_lag", "post")

    def __init__(
        self,
        factories: Mapping[bytes, Factory],
        loop_lag: LoopLag,
        post: Callable[[Call, bytes | Abort], None],
        call_later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        """``post(call, message)``: has the engine's thread call ``push``; may be called from any thread.
        ``call_later``: see ``Sender``.
        """
        self.factories = dict(factories)
        self.loop_lag, self.post, self.call_later = loop_lag, post, call_later

    def new_call(self, connection: Connection, number: int, head: RequestHead) -> Call:
        """The stream of a request, for ``Connection``."""
        return Call(connection, number, head, self)


class Call(Stream):
    """One call: messages of the client, replies of its handler, a status."""

    __slots__ = ("_buffer", "_counted", "_deferred", "_handler", "_head", "_headers_sent", "_services")

    def __init__(self, connection: Connection, number: int, head: RequestHead, services: CallServices) -> None:
        self.join(connection, number)
        self._head = head
        self._services = services
        self._handler: Handler | None = None  # until it has been made, and once it has been closed
        self._buffer = bytearray()
        self._headers_sent = False
        self._counted = 0  # bytes of the buffer that the connection has counted
        self._deferred = False  # some of the buffer is left for the next turn

    def __call__(self, message: bytes) -> None:
        """As a ``Sender``."""
        self._services.post(self, message)

    def end(self, abort: Abort) -> None:
        """As a ``Sender``."""
        self._services.post(self, abort)

    def reply(self, replies: Sequence[bytes], *, done: bool) -> None:
        """As a ``Sender``."""
        if self._handler is None:
            return
        if done:
            self._close_handler()
            self._send(replies, OK_TRAILERS)
        elif replies:
            self._send(replies)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """As a ``Sender``."""
        self._services.call_later(seconds, callback)

    @property
    def metadata(self) -> Metadata:
        """As a ``Sender``."""
        return custom_metadata(self._head.fields)

    @property
    def loop_lag(self) -> LoopLag:
        """As a ``Sender``."""
        return self._services.loop_lag

    def begin(self) -> None:
        """See ``Stream``."""
        head = self._head
        if head.method != b"POST" or not head.content_type.startswith(b"application/grpc"):
            self._headers_sent = True
            self.send(b"", b"", _NOT_ALLOWED if head.method != b"POST" else _NOT_GRPC)
            return
        factory = self._services.factories.get(head.path)
        if factory is None:
            self._end(StatusCode.UNIMPLEMENTED, UNKNOWN_METHOD)
            return
        try:
            self._handler = factory(self)
        except Abort as abort:
            self._end(abort.code, abort.details)
        except Exception:
            log.exception("no handler could be made for a stream")
            self._end(StatusCode.INTERNAL, HANDLER_FAILED)

    def data(self, piece: bytes) -> None:
        """See ``Stream``."""
        if self._handler is None:
            return
        # Most frames are one complete message: not compressed, and shorter than 64 KiB.
        size = len(piece)
        short = size >= PREFIX_SIZE and not (piece[0] or piece[1] or piece[2])
        if short and piece[3] << 8 | piece[4] == size - PREFIX_SIZE and not self._buffer and self.waiting is None:
            raw = piece  # a ``const char *`` where compiled: slices are cheaper
            self._handle(raw[PREFIX_SIZE:size])
        else:
            self._buffer += piece
            self._read_messages()
            self._count_buffer()

    def ended(self) -> None:
        """See ``Stream``."""
        if self._handler is None or self.waiting is not None or self._deferred:
            return  # it has been answered, or something goes first: ``drained`` comes back to it
        if self._buffer:
            self._end(StatusCode.INTERNAL, "the last message is cut off")
        else:
            self._end(StatusCode.OK)

    def drained(self) -> None:
        """See ``Stream``."""
        self._read_messages()
        self._count_buffer()
        if not self.open:
            self.ended()

    def lost(self) -> None:
        """See ``Stream``."""
        self._close_handler()

    def push(self, message: bytes | Abort) -> None:
        """Sends a message given to ``__call__``, or a status given to ``end``, on the engine's thread."""
        if self._handler is None:
            return
        if isinstance(message, Abort):
            self._end(message.code, message.details)
        elif self.waiting is not None and len(self.waiting) >= MAX_PUSHED:
            self._end(StatusCode.RESOURCE_EXHAUSTED, CLIENT_DOES_NOT_READ)
        else:
            self._send((message,))

    def shut_down(self) -> None:
        """Ends the call because the server stops."""
        if self._handler is not None:
            self._end(StatusCode.UNAVAILABLE, "the server is shutting down")

    def _read_messages(self) -> None:
        """Handles the complete messages of the buffer, until replies must wait or this turn's work is done."""
        buffer, connection = self._buffer, self.connection
        self._deferred = False
        while self._handler is not None and self.waiting is None and len(buffer) >= PREFIX_SIZE:
            if buffer[0]:
                self._end(StatusCode.UNIMPLEMENTED, "messages must not be compressed")
                return
            size = int.from_bytes(buffer[1:PREFIX_SIZE])
            if size > MAX_MESSAGE:
                self._end(StatusCode.RESOURCE_EXHAUSTED, f"a message of more than {MAX_MESSAGE} bytes")
                return
            if len(buffer) < PREFIX_SIZE + size:
                return
            if connection.work <= 0:
                self._deferred = True
                connection.defer(self)
                return
            connection.work -= _MESSAGE_WORK
            with memoryview(buffer) as snapshot:
                message = bytes(snapshot[PREFIX_SIZE : PREFIX_SIZE + size])
            del buffer[: PREFIX_SIZE + size]
            self._handle(message)

    def _count_buffer(self) -> None:
        """Counts the bytes of the buffer, whose windows have been given back; ends the call where they are too many."""
        connection, size = self.connection, 0 if self._handler is None else len(self._buffer)
        connection.count_buffered(size - self._counted)
        self._counted = size
        if size and connection.budget.exceeded(connection.buffered):
            self._end(StatusCode.RESOURCE_EXHAUSTED, _BUFFER_EXCEEDED)

    def _handle(self, message: bytes) -> None:
        handler = self._handler
        if handler is None:
            return
        self.requested = True
        try:
            replies = handler.receive(message)
        except Abort as abort:
            self._end(abort.code, abort.details)
        except Exception:  # which the handler has logged
            self._end(StatusCode.INTERNAL, HANDLER_FAILED)
        else:
            if handler.done:
                self._close_handler()
                self._send(replies, OK_TRAILERS)
            elif replies:
                self._send(replies)

    def _send(self, replies: Sequence[bytes], trailers: bytes = b"") -> None:
        head = b"" if self._headers_sent else _HEAD
        self._headers_sent = True
        if len(replies) == 1:
            self.send(len(replies[0]).to_bytes(PREFIX_SIZE) + replies[0], head, trailers)
        else:
            self.send(b"".join([len(reply).to_bytes(PREFIX_SIZE) + reply for reply in replies]), head, trailers)
        if self.waiting is not None and self.connection.budget.exceeded(self.connection.buffered):
            self._end(StatusCode.RESOURCE_EXHAUSTED, CLIENT_DOES_NOT_READ)

    def _end(self, code: StatusCode, details: str = "") -> None:
        """Ends the call with this status at once; replies that wait are dropped."""
        self._close_handler()
        status = OK_TRAILERS if code is StatusCode.OK else status_trailers(code, details)
        if self._headers_sent:
            self.abort(status)
        else:
            self._headers_sent = True
            self.send(b"", b"", _HEAD + status)

    def _close_handler(self) -> None:
        handler, self._handler = self._handler, None
        if self._counted:
            self.connection.count_buffered(-self._counted)
            self._counted = 0
            self._buffer.clear()
        if handler is not None:
            try:
                handler.close()
            except Exception:
                log.exception("a handler failed to close")
