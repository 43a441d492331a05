"""A server that answers as badly as it is told: by pieces of bytes, over real sockets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from itertools import repeat
from threading import Event, Thread
from types import TracebackType
from typing import Self

OK = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
DRIP_INTERVAL = 0.02
"""Seconds between two pieces of a server that drips."""


class HostileServer:
    """Sends to everybody who asks the pieces it was given, then ends the connection."""

    def __init__(
        self, pieces: Callable[[], Iterable[bytes]], *, drip: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self._pieces, self._drip, self._tls = pieces, drip, tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.url = f"http{'s' * (tls is not None)}://{self.address}"
        self.asked = 0
        self.sent = 0
        """Bytes, of all connections."""
        self.open = 0
        """Connections."""
        self._stopping = Event()

    def __enter__(self) -> Self:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closed
                return
            self.open += 1
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                connection.recv(65536)
                self.asked += 1
                for piece in self._pieces():
                    if self._stopping.wait(DRIP_INTERVAL) if self._drip else self._stopping.is_set():
                        break
                    connection.sendall(piece)
                    self.sent += len(piece)
                connection.close()
            except OSError:
                pass
            finally:
                self.open -= 1


def dripping(head: bytes = OK) -> HostileServer:
    """Its answer never ends, and never stops for long."""
    return HostileServer(lambda: (piece for piece in (head, *repeat(b"x", 100_000))), drip=True)


def flooding(head: bytes, piece: bytes) -> HostileServer:
    """Its answer never ends, and comes as fast as it is read."""

    def pieces() -> Iterable[bytes]:
        yield head
        yield from repeat(piece)

    return HostileServer(pieces)
