"""An HTTP server with a thread for each connection, and a bound on their number.

Where all places are taken, the connection whose last request is the oldest is closed for the new one. Where the process
has no file descriptor left, the server waits before it accepts again: the listening socket stays readable, and a loop
without a pause would keep a CPU busy.
"""

from __future__ import annotations

import errno
import http.client
import socket
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import BoundedSemaphore, Lock
from time import sleep
from typing import Any, BinaryIO

from extproc.admin import page

MAX_CONNECTIONS = 64
"""Connections at a time, each with a thread."""
MAX_HEAD_BYTES = 64 << 10
"""Bytes of a request's line and headers."""
_EVICTION_TIMEOUT = 1.0
"""Seconds that a new connection waits until the thread of the one that was closed for it has ended."""
_RETRY_INTERVAL = 0.1
"""Seconds until the next attempt to accept, where the process was out of file descriptors or memory."""
_SECURITY_HEADERS = (
    ("content-security-policy", page.POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)
"""Headers of every response: names of models and callers come from outside, and a browser must not run them."""
_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class BoundedServer(ThreadingHTTPServer):
    """At most ``MAX_CONNECTIONS`` connections. A connection that is ``exempt`` is never closed to make room."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self._places = BoundedSemaphore(MAX_CONNECTIONS)
        self._evictable: dict[socket.socket, None] = {}
        """Connections that may be closed to make room, the one with the oldest request first."""
        self._lock = Lock()
        super().__init__(*arguments)

    def server_bind(self) -> None:
        """Binds. ``HTTPServer`` would also look up the machine's name, for which a resolver may take seconds."""
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection. Raises ``OSError`` where that fails, after a pause where resources were lacking."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                self._evict_oldest()
                sleep(_RETRY_INTERVAL)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a thread for the connection; without a place for it, or a thread, the connection is closed."""
        if not self._places.acquire(blocking=False):
            self._evict_oldest()
            if not self._places.acquire(timeout=_EVICTION_TIMEOUT):
                self.shutdown_request(request)
                return
        self.mark_active(request)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._places.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Runs in the thread of a connection, until it ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection."""
        self.exempt(request)
        super().shutdown_request(request)

    def mark_active(self, connection: socket.socket) -> None:
        """``connection`` has had a request just now: others are closed before it."""
        with self._lock:
            self._evictable.pop(connection, None)
            self._evictable[connection] = None

    def exempt(self, connection: socket.socket) -> None:
        """``connection`` is not closed to make room."""
        with self._lock:
            self._evictable.pop(connection, None)

    def _evict_oldest(self) -> None:
        """Shuts down the connection with the oldest request; that wakes its thread, which ends."""
        with self._lock:
            if not self._evictable:
                return
            oldest = next(iter(self._evictable))
            del self._evictable[oldest]
            with suppress(OSError):  # it has ended by itself
                oldest.shutdown(socket.SHUT_RDWR)


class BoundedHandler(BaseHTTPRequestHandler):
    """A handler that reads request lines and headers of up to ``MAX_HEAD_BYTES``; more gets 431."""

    server: BoundedServer
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds that an idle connection may stay
    server_version = "extproc"
    sys_version = ""

    def setup(self) -> None:
        """Begins a connection."""
        super().setup()
        self._head_reader = _HeadReader(self.rfile)
        self.rfile: Any = self._head_reader

    def handle_one_request(self) -> None:
        """Handles a request."""
        self._head_reader.left = MAX_HEAD_BYTES
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Parses a head. Marked before the response is sent, a client that has it is not closed for the next one."""
        parsed = super().parse_request()
        if parsed:
            self.server.mark_active(self.connection)
        return parsed

    def send(self, status: int, content_type: str, body: bytes) -> None:
        """Sends a whole response; of one to HEAD the head."""
        self.send_head(status, content_type, ("content-length", str(len(body))))
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self, status: int, content_type: str, framing: tuple[str, str]) -> None:
        """Sends the head of a response. ``framing``: the header that tells where its body ends."""
        self.send_response(status)
        for name, value in (("content-type", content_type), framing, *_SECURITY_HEADERS):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Logs no request: scrapes and probes come all the time."""


class _HeadReader:
    """Reads the lines of request heads, up to ``left`` bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.left = MAX_HEAD_BYTES

    def readline(self, size: int) -> bytes:
        """The next line. Raises ``LineTooLong``, which the base class answers with 431, where ``left`` is used up."""
        if self.left <= 0:
            raise http.client.LineTooLong("head")
        line = self._file.readline(min(size, self.left))
        self.left -= len(line)
        return line

    def close(self) -> None:
        """Closes the file below, with the connection."""
        self._file.close()
