"""The gRPC server: streams of bytes in, streams of bytes out. Floor 5; this package alone knows grpcio.

It knows nothing of messages. A service is a path and a factory of handlers, one handler per stream; unary calls are
streams of one message. Two engines do what ``contract`` says, see docs/decisions/0010-engine.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from extproc.engine.contract import (
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

Name: TypeAlias = Literal["queue", "aio"]
ENGINES: tuple[Name, ...] = ("queue", "aio")
"""``queue``: fast, on grpcio's internals. ``aio``: on its public API, at three to four times the cost."""

DEFAULTS = Settings()


def create(
    addresses: Sequence[str], services: Mapping[str, Factory], settings: Settings = DEFAULTS, name: Name = ENGINES[0]
) -> Engine:
    """The engine of that name. Raises ``SetupError`` where this grpcio does not have what it needs."""
    if name == "aio":
        from extproc.engine.aio import AioEngine

        return AioEngine(addresses, services, settings)
    from extproc.engine.queue import QueueEngine

    return QueueEngine(addresses, services, settings)
