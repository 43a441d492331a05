"""The gRPC server: streams of bytes in, streams of bytes out.

It knows nothing of what messages mean. A service is a path and a factory of handlers, one handler per stream; unary
calls are streams of one message. Two engines do what ``contract`` says (docs/decisions/0010-engine.md): ``loop``, on
sockets of its own (``link`` is a socket, ``http2`` a connection, ``heads`` its headers, ``flow`` a stream, ``call``
gRPC on it), and ``aio``, on grpcio's server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from extproc.grpc_server.contract import (
    MAX_MESSAGE,
    Abort,
    Engine,
    Factory,
    Handler,
    Metadata,
    Pulse,
    Sender,
    Settings,
    StatusCode,
)

__all__ = [
    "DEFAULTS",
    "ENGINES",
    "MAX_MESSAGE",
    "Abort",
    "Engine",
    "Factory",
    "Handler",
    "Metadata",
    "Name",
    "Pulse",
    "Sender",
    "Settings",
    "StatusCode",
    "create",
]

Name: TypeAlias = Literal["http2", "aio"]
ENGINES: tuple[Name, ...] = ("http2", "aio")
"""``http2``: ours. ``aio``: grpcio's asyncio server, at several times the cost."""

DEFAULTS = Settings()


def create(
    addresses: Sequence[str], services: Mapping[str, Factory], settings: Settings = DEFAULTS, name: Name = ENGINES[0]
) -> Engine:
    """The engine of that name."""
    if name == "aio":
        from extproc.grpc_server.grpcio_server import AioEngine

        return AioEngine(addresses, services, settings)
    from extproc.grpc_server.event_loop import Http2Engine

    return Http2Engine(addresses, services, settings)
