"""Clients of a running engine on plain sockets, and what they read."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.grpc.running import Running
from tests.http2.wire import Answers, frames


@contextmanager
def client(server: Running, said: bytes = b"") -> Iterator[socket.socket]:
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(said)
        yield sock


def heard(sock: socket.socket, enough: str = "") -> bytes:
    """Until the end, or until a frame of that name is whole."""
    answer = b""
    while piece := sock.recv(1 << 16):
        answer += piece
        try:
            found = frames(answer)
        except Exception:  # noqa: S112 - one that is cut off
            continue
        if enough and any(type(frame).__name__ == enough for frame in found):
            break
    return answer


def ended(sock: socket.socket) -> bytes:
    """All that comes until the server closes it."""
    answer = b""
    try:
        while piece := sock.recv(1 << 16):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def answered(sock: socket.socket, number: int) -> Answers:
    """Once the stream has ended."""
    answer = b""
    while True:
        piece = sock.recv(1 << 16)
        assert piece
        answer += piece
        try:
            found = Answers().read(answer)
        except Exception:  # noqa: S112 - cut off
            continue
        if number in found.ended:
            return found
