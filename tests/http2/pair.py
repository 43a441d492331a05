"""The library ``h2`` as a client of the engine's connection, with no socket between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from extproc.http2.connection import Connection
from tests.http2.served import check
from tests.http2.wire import REQUEST, Fields

Cut = Callable[[bytes], Iterator[bytes]]


def uncut(data: bytes) -> Iterator[bytes]:
    yield data


def at_random(random: Random, most: int) -> Cut:
    """Pieces of 1 to ``most`` bytes."""

    def cut(data: bytes) -> Iterator[bytes]:
        while data:
            size = random.randint(1, most)
            yield data[:size]
            data = data[size:]

    return cut


class Got:
    """What came on one stream."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.data = bytearray()
        self.trailers: list[tuple[bytes, bytes]] = []
        self.ended = False
        self.reset: int | None = None


class Pair:
    """Client and server. ``reads``: the client gives windows back for what it gets."""

    def __init__(self, server: Connection, cut: Cut = uncut, *, reads: bool = True) -> None:
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.server = server
        self.reads = reads
        self.events: list[Event] = []
        self.got: dict[int, Got] = {}
        self._cut = cut
        self._unsent: dict[int, tuple[bytes, bool]] = {}
        self.client.initiate_connection()
        self.settle()

    def request(self, fields: Fields = REQUEST, body: bytes | None = None, *, ends: bool = True) -> int:
        """Opens a stream; ``body`` goes as windows allow."""
        number = self.client.get_next_available_stream_id()
        self.client.send_headers(number, fields, end_stream=ends and body is None)
        if body is not None:
            self.body(number, body, ends=ends)
        return number

    def body(self, number: int, body: bytes, *, ends: bool = True) -> None:
        self._unsent[number] = (self._unsent.get(number, (b"", False))[0] + body, ends)

    def settle(self) -> None:
        """Until neither has anything to say."""
        moved = True
        while moved:
            self._write()
            moved = False
            for piece in self._cut(self.client.data_to_send()):
                moved |= bool(piece)
                self.server.receive(piece)
                check(self.server)
            for piece in self._cut(answer := self.server.take()):
                if piece:
                    moved = True
                    self._receive(piece)
            self.server.sent(len(answer))
            check(self.server)

    def _write(self) -> None:
        for number, (rest, ends) in list(self._unsent.items()):
            if number in self.got and (self.got[number].reset is not None or self.got[number].ended):
                del self._unsent[number]
                continue
            while rest and (room := min(self.client.local_flow_control_window(number), 16_384)) > 0:
                self.client.send_data(number, rest[:room])
                rest = rest[room:]
            if rest:
                self._unsent[number] = (rest, ends)
                continue
            del self._unsent[number]
            if ends:
                self.client.end_stream(number)

    def _receive(self, piece: bytes) -> None:
        for event in self.client.receive_data(piece):
            self.events.append(event)
            if isinstance(event, ConnectionTerminated):
                continue
            number = getattr(event, "stream_id", None)
            if not number:
                continue
            got = self.got.setdefault(number, Got())
            if isinstance(event, ResponseReceived):
                got.headers = list(event.headers)
            elif isinstance(event, TrailersReceived):
                got.trailers = list(event.headers)
            elif isinstance(event, DataReceived):
                got.data += event.data
                if self.reads:
                    self.client.acknowledge_received_data(event.flow_controlled_length, number)
            elif isinstance(event, StreamEnded):
                got.ended = True
            elif isinstance(event, StreamReset):
                got.reset = int(event.error_code)
