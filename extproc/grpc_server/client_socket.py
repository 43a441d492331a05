"""A client's socket, in the clear or with TLS, and the HTTP/2 connection on it.

TLS is Python's ``ssl`` on memory buffers, so that both kinds are read and written alike. Nothing here blocks.
"""

from __future__ import annotations

import logging
import socket
import ssl
from select import EPOLLIN, EPOLLOUT
from typing import Final

from extproc.http2.connection import UNLIMITED, Connection
from extproc.http2.memory_budget import MAX_QUEUED

log = logging.getLogger(__name__)

RECEIVE_SIZE: Final = 1 << 16
"""Bytes read at a time."""


class ClientSocket:
    """Reads and writes as far as the socket does. ``closed`` once it is of no more use."""

    def __init__(
        self,
        sock: socket.socket,
        connection: Connection,
        tls: ssl.SSLContext | None,
        receive_buffer: memoryview,
        now: float,
    ) -> None:
        """``receive_buffer``: ``RECEIVE_SIZE`` bytes, used within ``read`` only, so that the sockets of a thread can
        share one. ``now``, here and below: seconds of a monotonic clock.
        """
        sock.setblocking(False)
        self.connection = connection
        self.closed = False
        self.fd = sock.fileno()
        self.registered_events = EPOLLIN
        """The events that the loop waits for."""
        self.last_active: float | None = None
        """When it was last seen with open streams after the final GOAWAY."""
        self._handshake_done = tls is None
        self._last_received = now
        self._last_ping = now
        self._socket = sock
        self._receive_buffer = receive_buffer
        self._unsent = b""
        self._tls: _Tls | None = None if tls is None else _Tls(tls)

    def handle(self, events: int, now: float, share: int) -> bool:
        """Reads and writes as ``events`` allow; processes as much as ``share`` (see ``Connection.receive``). Whether
        something has changed for the loop: it is closed, waits for other events, or has a backlog.

        An unexpected exception closes this connection; it never reaches the loop.
        """
        try:
            if events & ~EPOLLOUT:
                self.read(now, share)
            else:
                self.write()
        except Exception:
            log.exception("the engine failed on a connection")
            self.close()
        return self.closed or self.connection.unfinished or self.wanted_events() != self.registered_events

    def has_backlog(self) -> bool:
        """Whether it must be handled in the next turn even without an event."""
        return self.connection.unfinished and self.connection.queued < MAX_QUEUED

    def wanted_events(self) -> int:
        """The events to wait for: bytes, except while the client does not read ours; and room for what is unsent."""
        connection = self.connection
        reads = connection.queued < MAX_QUEUED and not connection.failed
        return (EPOLLIN if reads else 0) | (EPOLLOUT if self._unsent else 0)

    def read(self, now: float, share: int = UNLIMITED) -> None:
        """Receives and processes what has come, or what is left of it from the last turn, and sends the answers."""
        if self.connection.unfinished:
            self.connection.receive(b"", now, share)
            self.write()
            return
        try:
            data = self._receive_buffer[: self._socket.recv_into(self._receive_buffer)].tobytes()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._last_received = now
        if self._tls is not None:
            try:
                data = self._tls.decrypt(data)
            except ssl.SSLError:  # no TLS, or a client certificate that is refused: send the alert
                self._unsent += self._tls.take()
                self.write()
                self.close()
                return
            self._handshake_done = self._tls.handshake_done
        if data:
            self.connection.receive(data, now, share)
        self.write()

    def write(self) -> None:
        """Sends what is queued, as far as the socket takes it."""
        connection = self.connection
        while not self.closed:
            data = connection.take() if self._handshake_done else b""
            if self._tls is not None:
                try:
                    encrypted = self._tls.encrypt(data)
                except ssl.SSLError:  # it has failed before
                    self.close()
                    return
                connection.queued += len(encrypted) - len(data)
                data = encrypted
            data = self._unsent + data if self._unsent else data
            if not data:
                break
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self.close()
                return
            self._unsent = data[sent:] if sent < len(data) else b""
            connection.sent(sent)  # which may queue more
            if self._unsent:
                break
        if connection.failed and not self._unsent:
            self.close()

    def timed_out(self, now: float, keepalive: float, timeout: float) -> bool:
        """Whether the client counts as gone. After ``keepalive`` seconds of silence it is sent a PING, and has
        ``timeout`` seconds to answer it, as it has for its preface.
        """
        connection = self.connection
        if not connection.started or connection.ping_pending:
            return now - self._last_ping > timeout
        if now - self._last_received >= keepalive:
            self._last_ping = now
            connection.ping()
        return False

    def close(self) -> None:
        """Closes the socket, and every stream on it."""
        if not self.closed:
            self.closed = True
            self.connection.terminate()
            self._socket.close()


class _Tls:
    """TLS of one socket: its bytes to those of the connection, and back."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side=True)
        self.handshake_done = False

    def decrypt(self, data: bytes) -> bytes:
        """What the client sent. Raises ``ssl.SSLError``."""
        self._in.write(data)
        pieces = []
        try:
            if not self.handshake_done:
                self._object.do_handshake()
                self.handshake_done = True
            while piece := self._object.read(RECEIVE_SIZE):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        return b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        """Bytes for the socket: ``data``, and records of TLS itself. Raises ``ssl.SSLError``."""
        if data:
            self._object.write(data)
        return self.take()

    def take(self) -> bytes:
        """Bytes for the socket that are left, such as an alert."""
        return self._out.read()
