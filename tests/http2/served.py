"""Connections under test, and what must hold of them at any time."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.grpc_server.call import CallServices
from extproc.grpc_server.contract import Handler, LoopLag, Sender
from extproc.grpc_server.status import Abort, StatusCode
from extproc.http2 import frames as f
from extproc.http2.connection import Connection
from extproc.http2.limits import MAX_BLOCK
from extproc.http2.memory_budget import MemoryBudget
from extproc.http2.request_headers import RequestHead
from extproc.http2.settings import STREAM_WINDOW
from extproc.http2.stream import Stream
from extproc.http2.windows import CONNECTION_WINDOW
from tests.http2.wire import PATH

OK = b"\x88"
TAIL = b"\x00\x03end\x03yes"


class Noted:
    """A handler that says what it is told, and is watched."""

    def __init__(self, send: Sender) -> None:
        self.done = False
        self.closed = 0
        self.heard: list[bytes] = []
        self.metadata = send.metadata

    def receive(self, message: bytes) -> Sequence[bytes]:
        assert not self.closed
        self.heard.append(message)
        match message[:4]:
            case b"end:":
                self.done = True
                return [message]
            case b"two:":
                return [message, message]
            case b"say:":
                raise Abort(StatusCode.NOT_FOUND, message[4:].decode())
            case b"bad:":
                raise ValueError("secret")
            case b"none":
                return []
            case b"much":
                return [bytes((n,)) * 100_000 for n in range(3)]
        return [message]

    def close(self) -> None:
        self.closed += 1


class Served:
    """A connection with gRPC's calls on it."""

    def __init__(self, budget: MemoryBudget | None = None) -> None:
        self.handlers: list[Noted] = []
        self.service = service = CallServices({PATH.encode(): self._handler}, LoopLag(), _ignore, _ignore)
        self.connection = Connection(service.new_call, budget)

    def _handler(self, send: Sender) -> Handler:
        handler = Noted(send)
        self.handlers.append(handler)
        return handler

    def say(self, data: bytes) -> bytes:
        """What the client says, and gets, as if the socket took all."""
        self.connection.receive(data)
        return fetched(self.connection)

    def check(self) -> None:
        """What must hold of calls too: a handler is closed once, when its stream is over."""
        check(self.connection)
        assert all(handler.closed <= 1 for handler in self.handlers)
        live = sum(1 for stream in self.connection.streams.values() if stream._handler is not None)  # type: ignore[attr-defined,misc]
        assert live == sum(1 for handler in self.handlers if not handler.closed)


class Whole(Stream):
    """Answers a request when it has ended, by its own bytes; or at once, by ``answer``."""

    def __init__(self, connection: Connection, number: int, head: RequestHead, answer: bytes | None = None) -> None:
        super().__init__(connection, number)
        self.head = head
        self.body = bytearray()
        self.answer = answer
        self.losses = 0

    def begin(self) -> None:
        if self.answer is not None:
            self.send(self.answer, OK)

    def data(self, piece: bytes) -> None:
        assert not self.losses
        self.body += piece

    def ended(self) -> None:
        if self.answer is None:
            self.send(bytes(self.body), OK, TAIL)

    def lost(self) -> None:
        self.losses += 1


def _ignore(*_: object) -> None:
    """Nothing is posted, or called later."""


def whole(answer: bytes | None = None) -> tuple[Connection, list[Whole]]:
    """A connection of such streams, and all that were ever opened."""
    opened: list[Whole] = []

    def accept(connection: Connection, number: int, head: RequestHead) -> Stream:
        opened.append(Whole(connection, number, head, answer))
        return opened[-1]

    return Connection(accept), opened


def fetched(connection: Connection) -> bytes:
    """All that the client gets until nothing more comes."""
    found = []
    while piece := connection.take():
        found.append(piece)
        connection.sent(len(piece))
    return b"".join(found)


def sizes(connection: Connection) -> int:
    """Bytes that it holds in buffers, handlers apart."""
    block = connection._block
    return len(connection._buffer) + (len(block[2]) if block else 0) + sum(map(len, connection._out))


def check(connection: Connection) -> None:
    """Its books are right, and nothing has outgrown its bounds."""
    streams, waiting = connection.streams, connection.waiting
    assert all(
        stream.number == number and number % 2 and number <= connection.last_stream_id
        for number, stream in streams.items()
    )
    for number, stream in waiting.items():
        assert streams.get(number) is stream
        assert stream.waiting
    for stream in streams.values():
        assert stream.waiting is None or stream.waiting
        assert not stream.waiting or stream.window <= 0 or stream.number in waiting, "it would wait for ever"
        assert stream.waiting is not None or not stream.withheld
        assert 0 <= stream.uncredited <= STREAM_WINDOW // 2
        assert stream.uncredited + stream.withheld <= STREAM_WINDOW
        assert stream.window <= f.MAX_WINDOW
    assert connection.withheld == sum(stream.withheld for stream in streams.values()) or connection.failed
    assert connection.uncredited <= CONNECTION_WINDOW // 2
    assert 0 <= connection.withheld + connection.uncredited <= CONNECTION_WINDOW
    waits = sum(sum(map(len, stream.waiting or ())) for stream in streams.values())
    assert connection.buffered == waits + sum(getattr(stream, "_counted", 0) for stream in streams.values())
    assert connection.buffered <= connection.budget.buffered
    assert connection._header_reader._cached_bytes <= connection.budget.cached_headers
    assert connection.unfinished or len(connection._buffer) < f.MAX_FRAME_SIZE + f.HEADER_SIZE
    assert connection.failed or connection._block is None or len(connection._block[2]) <= MAX_BLOCK
    assert connection.queued >= sum(map(len, connection._out))
    assert not connection.failed or not (streams or waiting)
