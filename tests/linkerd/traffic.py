"""Many requests at once over connections that stay open, and a server that tells what it was asked: bare asyncio."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sent:
    """A request of the client's."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def text(self) -> bytes:
        head = [f"POST {self.path} HTTP/1.1", "host: models", "content-type: application/json"]
        head += [f"{name}: {value}" for name, value in self.headers]
        head.append(f"content-length: {len(self.body)}")
        return "\r\n".join(head).encode() + b"\r\n\r\n" + self.body


@dataclass(frozen=True)
class Got:
    """What became of it: the status, the server that answered, and the headers with which it was asked."""

    status: int
    server: str
    headers: tuple[tuple[str, str], ...]


class Echo(asyncio.Protocol):
    """Answers each request with its own name and the routing headers that came with it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            lines = self._buffer[:end].decode("latin-1").split("\r\n")[1:]
            pairs = [tuple(line.split(": ", 1)) for line in lines]
            length = next(int(value) for name, value in pairs if name == "content-length")
            if len(self._buffer) < end + 4 + length:
                return
            del self._buffer[: end + 4 + length]
            answer = json.dumps([self._name, [pair for pair in pairs if pair[0].startswith("x-")]]).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(answer)}\r\n\r\n"
            self._transport.write(head.encode() + answer)


async def send_all(host: str, port: int, requests: Sequence[Sent], connections: int) -> list[Got]:
    """What became of each request, in their order."""
    found: list[Got | None] = [None] * len(requests)
    waiting = iter(range(len(requests)))

    async def one() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for number in waiting:
            writer.write(requests[number].text())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            length = next(int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:"))
            body = await reader.readexactly(length)
            status = int(head[0].split(" ")[1])
            server, pairs = json.loads(body) if status == 200 else (body.decode(), [])
            found[number] = Got(status, server, tuple((name, value) for name, value in pairs))
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return [got for got in found if got is not None]
