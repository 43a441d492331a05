"""An HTTP server on the engine's connection, socket and loop: it answers each request once it has ended, with its body.

gRPC's own streams are no subject for h2spec: they refuse a GET at once, where its cases wait for an answer to the end.
"""

from __future__ import annotations

from extproc.grpc_server.contract import Settings
from extproc.grpc_server.event_loop import Http2Engine
from extproc.http2.connection import Connection
from extproc.http2.request_headers import RequestHead
from extproc.http2.stream import Stream

OK = b"\x88"
"""`:status: 200`, the eighth of HPACK's own table."""
BODY = b"hello"
"""For a request without one: cases of flow control want to see some data."""


class EchoStream(Stream):
    """Its answer is one block of headers, data, and a block of trailers."""

    __slots__ = ("body",)

    def __init__(self, connection: Connection, number: int, _: RequestHead) -> None:
        super().__init__(connection, number)
        self.body = bytearray()

    def data(self, piece: bytes) -> None:
        self.body += piece

    def ended(self) -> None:
        self.send(bytes(self.body) or BODY, OK, b"\x00\x03end\x03yes")


class EchoEngine(Http2Engine):
    """On a free port."""

    def __init__(self) -> None:
        super().__init__(["127.0.0.1:0"], {}, Settings())
        self.new_stream = EchoStream
