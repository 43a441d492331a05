"""One socket of a client's, in the clear or by TLS, and the HTTP/2 connection on it.

TLS is Python's ``ssl`` on memory buffers, so that both kinds are read and written alike. Nothing here ever blocks.
"""

from __future__ import annotations

import logging
import socket
import ssl
from select import EPOLLIN, EPOLLOUT
from typing import Final

from extproc.http2.connection import ALL, Connection
from extproc.http2.stream import MAX_QUEUED

log = logging.getLogger(__name__)

_PIECE: Final = 1 << 16
"""Bytes read at a time."""
_TAKEN: Final = memoryview(bytearray(_PIECE))
"""Where reads put them, one after the other: to have a new place for each would cost more than to copy what came."""


class ClientSocket:
    """Reads and writes as far as the socket does. ``closed`` once it is of no more use."""

    def __init__(self, sock: socket.socket, connection: Connection, tls: ssl.SSLContext | None, now: float) -> None:
        """``now``, here and below: seconds of a clock that only goes forward."""
        sock.setblocking(False)
        self.connection = connection
        self.closed = False
        self.number = sock.fileno()
        self.awaits = EPOLLIN
        """The events that the loop waits for."""
        self.parted: float | None = None
        """When it last had open streams after the client was told to leave."""
        self._proved = tls is None  # TLS, if any, is agreed upon
        self._heard = now
        self._asked = now
        self._socket = sock
        self._unsent = b""
        self._tls: _Tls | None = None if tls is None else _Tls(tls)

    def attend(self, events: int, now: float, share: int) -> bool:
        """Does what ``events`` allow, and of what has come as much as ``share`` (see ``Connection.receive``). Whether
        the loop must see to it: it is closed, waits for something else, or is behind.

        A failure of ours costs one connection, never the loop.
        """
        try:
            if events & ~EPOLLOUT:
                self.read(now, share)
            else:
                self.write()
        except Exception:
            log.exception("the engine failed on a connection")
            self.close()
        return self.closed or self.connection.behind or self.wants() != self.awaits

    def behind(self) -> bool:
        """Whether it must be attended to in the next turn, though nothing comes."""
        return self.connection.behind and self.connection.queued < MAX_QUEUED

    def wants(self) -> int:
        """The events to wait for: bytes, but not while the client does not fetch ours; and room for what is unsent."""
        connection = self.connection
        reads = connection.queued < MAX_QUEUED and not connection.failed
        return (EPOLLIN if reads else 0) | (EPOLLOUT if self._unsent else 0)

    def read(self, now: float, share: int = ALL) -> None:
        """Takes what has come, and answers it: first what is left of what came before."""
        if self.connection.behind:
            self.connection.receive(b"", now, share)
            self.write()
            return
        try:
            data = bytes(_TAKEN[: self._socket.recv_into(_TAKEN)])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._heard = now
        if self._tls is not None:
            try:
                data = self._tls.opened(data)
            except ssl.SSLError:  # no TLS, or a certificate that we don't take: the alert tells the client
                self._unsent += self._tls.take()
                self.write()
                self.close()
                return
            self._proved = self._tls.proved
        if data:
            self.connection.receive(data, now, share)
        self.write()

    def write(self) -> None:
        """Sends what there is, as far as the client takes it."""
        connection = self.connection
        while not self.closed:
            data = connection.take() if self._proved else b""
            if self._tls is not None:
                try:
                    sealed = self._tls.sealed(data)
                except ssl.SSLError:  # it has broken down before
                    self.close()
                    return
                connection.queued += len(sealed) - len(data)
                data = sealed
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
            self._unsent = data[sent:]
            connection.sent(sent)  # which may have more to send now
            if self._unsent:
                break
        if connection.failed and not self._unsent:
            self.close()

    def overdue(self, now: float, patience: float, answer: float) -> bool:
        """Whether the client must be taken for gone. One that was silent for ``patience`` seconds is asked for a sign
        of life, and has ``answer`` seconds to give it, as it has to begin with.
        """
        connection = self.connection
        if not connection.begun or connection.awaited:
            return now - self._asked > answer
        if now - self._heard >= patience:
            self._asked = now
            connection.ping()
        return False

    def close(self) -> None:
        """The socket, and every stream on it."""
        if not self.closed:
            self.closed = True
            self.connection.lose()
            self._socket.close()


class _Tls:
    """Bytes of the socket ↔ bytes of the connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side=True)
        self.proved = False

    def opened(self, data: bytes) -> bytes:
        """What the client said. Raises ``ssl.SSLError``."""
        self._in.write(data)
        found = []
        try:
            if not self.proved:
                self._object.do_handshake()
                self.proved = True
            while piece := self._object.read(_PIECE):
                found.append(piece)
        except ssl.SSLWantReadError:
            pass
        return b"".join(found)

    def sealed(self, data: bytes) -> bytes:
        """Bytes for the socket: ``data``, and what TLS itself has to say."""
        if data:
            self._object.write(data)
        return self.take()

    def take(self) -> bytes:
        """What TLS has to say."""
        return self._out.read()
