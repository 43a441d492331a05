"""The load of a target's endpoints: a row of numbers for each quantity, a column for each endpoint."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

STALE_AFTER = 2.0
"""Seconds after which a report counts for nothing: what the load is by then is unknown."""
ROWS = ("waiting", "running", "cache", "block_size", "gpu", "age", "in_flight", "sent_since")
WAITING, RUNNING, CACHE, BLOCK_SIZE, GPU, AGE, IN_FLIGHT, SENT_SINCE = range(len(ROWS))
"""Rows of the table."""


class EndpointLoads:
    """As of one moment. NaN is what is not known; the age of what was never reported is infinite.

    Whoever reads loads makes a new object each time, every 10 to 50 ms while requests come. What is picked between two
    readings a picker adds by itself.
    """

    __slots__ = ("adapters", "at", "numbers", "table")

    def __init__(
        self, table: NDArray[np.float64], adapters: tuple[frozenset[str], ...] = (), at: float | None = None
    ) -> None:
        """``table``: C-contiguous, of shape (rows, endpoints), in the order of the target's endpoints. ``adapters``: of
        each endpoint, the names that it has loaded or is loading; empty where none has any. ``at``: when they were
        read, in seconds of a monotonic clock; None: not told. Raises ``ValueError``.
        """
        if table.ndim != 2 or len(table) != len(ROWS) or not table.flags.c_contiguous:
            raise ValueError(f"a table of loads is C-contiguous and has {len(ROWS)} rows, unlike {table.shape}")
        if adapters and len(adapters) != table.shape[1]:
            raise ValueError(f"adapters of {len(adapters)} endpoints, loads of {table.shape[1]}")
        self.table, self.adapters, self.at = table, adapters, at
        self.numbers: Any = table.reshape(-1).data
        """The same numbers, row after row; each is read faster than of an array."""

    def __len__(self) -> int:
        return int(self.table.shape[1])

    @property
    def waiting(self) -> NDArray[np.float64]:
        """Requests in the server's queue."""
        return self._row(WAITING)

    @property
    def running(self) -> NDArray[np.float64]:
        """Requests in its batch."""
        return self._row(RUNNING)

    @property
    def cache(self) -> NDArray[np.float64]:
        """Share of its KV cache in use, 0 to 1."""
        return self._row(CACHE)

    @property
    def block_size(self) -> NDArray[np.float64]:
        """Tokens of a block of its KV cache."""
        return self._row(BLOCK_SIZE)

    @property
    def gpu(self) -> NDArray[np.float64]:
        """Share of the time in which its GPUs are busy, 0 to 1: for people, no pick depends on it."""
        return self._row(GPU)

    @property
    def age(self) -> NDArray[np.float64]:
        """Seconds since it was reported."""
        return self._row(AGE)

    @property
    def in_flight(self) -> NDArray[np.float64]:
        """Requests that this replica, all of its workers, has sent there and that have not ended."""
        return self._row(IN_FLIGHT)

    @property
    def sent_since(self) -> NDArray[np.float64]:
        """Of those, the ones sent since the last report."""
        return self._row(SENT_SINCE)

    def _row(self, number: int) -> NDArray[np.float64]:
        row: NDArray[np.float64] = self.table[number]
        return row


def unknown_table(endpoints: int) -> NDArray[np.float64]:
    """A table of which nothing is known but that nothing was sent."""
    table = np.full((len(ROWS), endpoints), np.nan)
    table[AGE], table[IN_FLIGHT], table[SENT_SINCE] = np.inf, 0.0, 0.0
    return table


@lru_cache(maxsize=64)
def unknown(endpoints: int) -> EndpointLoads:
    """The loads of so many endpoints of which nothing is known. Not to be written to."""
    table = unknown_table(endpoints)
    table.flags.writeable = False
    return EndpointLoads(table)
