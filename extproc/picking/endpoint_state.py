"""What is told to people of an endpoint."""

from __future__ import annotations

import msgspec


class EndpointState(msgspec.Struct, frozen=True, array_like=True):
    """An endpoint; None: not known."""

    endpoint: str
    waiting: float | None = None
    running: float | None = None
    cache: float | None = None
    gpu: float | None = None
    age: float | None = None
    """Seconds since it was reported."""
    in_flight: float = 0.0
    picks: float = 0.0
    """Requests sent there in the last minute."""
    adapters: list[str] = []
