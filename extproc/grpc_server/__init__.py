"""The gRPC server: streams of bytes in, streams of bytes out.

It knows nothing of what messages mean. A service is a path and a factory of handlers, one handler per stream; unary
calls are streams of one message. Two engines implement ``contract.Engine`` (docs/decisions/0010-engine.md):
``event_loop``, on sockets of its own (``client_socket``), HTTP/2 by the package ``http2`` and gRPC by ``call``; and
``grpcio_server``, on grpcio's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from extproc.grpc_server.contract import (
    MAX_MESSAGE,
    Engine,
    Factory,
    Handler,
    LoopLag,
    Metadata,
    Sender,
    Settings,
)
from extproc.grpc_server.status import Abort, StatusCode

__all__ = [
    "DEFAULTS",
    "ENGINES",
    "MAX_MESSAGE",
    "Abort",
    "Engine",
    "Factory",
    "Handler",
    "LoopLag",
    "Metadata",
    "Name",
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
