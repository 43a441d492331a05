"""A model server that takes its time: so many events, so long apart, or all at the end. Prints its port.

A process of its own. What a client sends is read to its end and forgotten, but for the header ``x-answer``.
"""

from __future__ import annotations

import asyncio
import sys

EVENTS, GAP = 20, 0.005
"""How many, and seconds from one to the next."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"token "}}]}\n\n'
_USAGE = f'data: {{"choices":[],"usage":{{"prompt_tokens":9,"completion_tokens":{EVENTS}}}}}\n\n'.encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_PIECE = _chunk(_EVENT)
_ANSWER = f'{{"choices":[{{}}],"usage":{{"prompt_tokens":9,"completion_tokens":{EVENTS}}}}}'.encode()
_WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_ANSWER), _ANSWER)
_LAST = _chunk(_USAGE) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection, one request after the other."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._request = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It may be asked."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        request = self._request = self._request + data
        head, found, body = request.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"\r\ncontent-length:")
        if found and len(body) >= int(length.partition(b"\r\n")[0] or 0):
            self._request = b""
            if b"\r\nx-answer: whole\r\n" in head + b"\r\n":
                asyncio.get_running_loop().call_later(EVENTS * GAP, self._write, _WHOLE)
                return
            self._left = EVENTS
            self._write(_HEAD)
            self._next()

    def _next(self) -> None:
        self._left -= 1
        if self._left < 0:
            self._write(_LAST)
        else:
            self._write(_PIECE)
            asyncio.get_running_loop().call_later(GAP, self._next)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(_serve())
    except KeyboardInterrupt:
        sys.exit(130)
