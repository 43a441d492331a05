"""A model server that takes its time: so many events, so long apart, or all at the end. Prints its port.

A process of its own. What a client sends is read to its end and forgotten, but for the headers ``x-answer``,
``x-tokens`` (how many events) and ``x-gap`` (seconds from one to the next).
"""

from __future__ import annotations

import asyncio
import sys

EVENTS, GAP = 20, 0.005
"""How many, and seconds from one to the next, where the request does not say."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"token "}}]}\n\n'


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _whole(tokens: int) -> bytes:
    body = answer(tokens).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _last(tokens: int) -> bytes:
    usage = f'data: {{"choices":[],"usage":{{"prompt_tokens":9,"completion_tokens":{tokens}}}}}\n\n'
    return _chunk(usage.encode()) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def answer(tokens: int) -> str:
    """A whole answer of so many tokens."""
    choice = f'{{"index":0,"message":{{"role":"assistant","content":"{"token " * tokens}"}},"finish_reason":"stop"}}'
    return f'{{"choices":[{choice}],"usage":{{"prompt_tokens":9,"completion_tokens":{tokens}}}}}'


_PIECE = _chunk(_EVENT)


class Answering(asyncio.Protocol):
    """One connection, one request after the other."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._request = b""
        self._left = self._tokens = 0
        self._gap = 0.0

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
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
            self._left = self._tokens = int(fields.get(b"x-tokens", EVENTS))
            self._gap = float(fields.get(b"x-gap", GAP))
            if fields.get(b"x-answer") == b"whole":
                asyncio.get_running_loop().call_later(self._tokens * self._gap, self._write, _whole(self._tokens))
                return
            self._write(_HEAD)
            self._next()

    def _next(self) -> None:
        self._left -= 1
        if self._left < 0:
            self._write(_last(self._tokens))
        else:
            self._write(_PIECE)
            asyncio.get_running_loop().call_later(self._gap, self._next)

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
