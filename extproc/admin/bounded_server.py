"""An HTTP server with a thread for each connection, and a bound on both: whoever is quiet longest makes room.

A client that is slow, or says nothing, holds one place and nothing else. Where the process has no file descriptor
left, accepting waits: the listening socket stays readable, and a loop that tries again at once does nothing else.
"""

from __future__ import annotations

import errno
import http.client
import socket
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock
from time import sleep as pause
from typing import Any, BinaryIO

MOST = 64
"""Connections at a time, and so threads."""
LARGEST_HEAD = 64 << 10
"""Bytes of a request's line and headers."""
_FREED = 1.0
"""Seconds that a new connection waits for the place of one that was let go, whose thread may be at work."""
_PAUSE = 0.1
"""Seconds until accepting is tried again without room for a connection."""
_NO_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class BoundedServer(ThreadingHTTPServer):
    """At most ``MOST`` connections. Those that were ``spare``d are never let go."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self._places = BoundedSemaphore(MOST)
        self._quiet: dict[socket.socket, None] = {}
        """Those that may be let go; the one that asked last is the last."""
        self._lock = Lock()
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Raises ``OSError`` where there is none, after a pause where there was no room for it."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._let_go()
                pause(_PAUSE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Has a thread answer, once there is a place for it; without one the connection is closed."""
        if not self._places.acquire(blocking=False):
            self._let_go()
            if not self._places.acquire(timeout=_FREED):
                self.shutdown_request(request)
                return
        self.renew(request)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._places.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The whole life of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def shutdown_request(self, request: Any) -> None:
        """It has ended."""
        self.spare(request)
        super().shutdown_request(request)

    def renew(self, connection: socket.socket) -> None:
        """It has asked, and is the last to be let go."""
        with self._lock:
            self._quiet.pop(connection, None)
            self._quiet[connection] = None

    def spare(self, connection: socket.socket) -> None:
        """It is not to be let go."""
        with self._lock:
            self._quiet.pop(connection, None)

    def _let_go(self) -> None:
        """Wakes the thread of the one that is quiet for longest, which ends with its connection."""
        with self._lock:
            if not self._quiet:
                return
            oldest = next(iter(self._quiet))
            del self._quiet[oldest]
            with suppress(OSError):  # it has gone by itself
                oldest.shutdown(socket.SHUT_RDWR)


class BoundedHandler(BaseHTTPRequestHandler):
    """Reads heads of up to ``LARGEST_HEAD`` bytes; a larger one gets 431."""

    server: BoundedServer

    def setup(self) -> None:
        """Once for each connection."""
        super().setup()
        self._bounded = _Head(self.rfile)
        self.rfile: Any = self._bounded

    def handle_one_request(self) -> None:
        """Once for each request."""
        self._bounded.left = LARGEST_HEAD
        super().handle_one_request()
        if not self.close_connection:
            self.server.renew(self.connection)


class _Head:
    """Lines of a connection, as far as a head may go."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.left = LARGEST_HEAD

    def readline(self, size: int) -> bytes:
        """Raises ``LineTooLong``, which the base class answers, where all of a head's bytes have been read."""
        if self.left <= 0:
            raise http.client.LineTooLong("head")
        line = self._file.readline(min(size, self.left))
        self.left -= len(line)
        return line

    def close(self) -> None:
        """With the connection."""
        self._file.close()
