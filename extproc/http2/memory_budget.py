"""Bytes that connections may buffer for their clients: incomplete messages, waiting answers, cached header blocks."""

from __future__ import annotations

from typing import Final

MAX_QUEUED: Final = 1 << 20
"""Bytes that a connection queues for a client that does not fetch them; beyond that streams wait."""
CONNECTION_BYTES: Final = (64 << 20) + 5
"""Of incomplete messages and of waiting answers, on a connection: one of the largest gRPC messages, and its prefix."""
PROCESS_BYTES: Final = 256 << 20
"""The same on all connections of a process."""
EXEMPT_BYTES: Final = 256 << 10
"""A connection that buffers no more than this is not refused because others buffer much."""
CACHED_HEADER_BYTES: Final = 16 << 20
"""Of header blocks that the connections of a process cache."""


class MemoryBudget:
    """Bytes that the connections of a process buffer for their clients, and how many they may."""

    __slots__ = ("buffered", "cached_headers", "per_connection", "per_process")

    def __init__(self, per_connection: int = CONNECTION_BYTES, per_process: int = PROCESS_BYTES) -> None:
        self.per_connection, self.per_process = per_connection, per_process
        self.buffered = 0
        """Of incomplete messages and of waiting answers."""
        self.cached_headers = 0
        """Of cached header blocks."""

    def exceeded(self, own: int) -> bool:
        """Whether a connection that buffers ``own`` bytes buffers too many, or all together do."""
        return own > self.per_connection or (self.buffered > self.per_process and own > EXEMPT_BYTES)
