"""What an event loop is to call later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

log = logging.getLogger(__name__)


class Timers:
    """Callbacks by when they are due. Used by the loop's thread alone; ``now``: as its clock says."""

    __slots__ = ("_clock", "_numbers", "pending")

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: seconds."""
        self._clock = clock
        self.pending: list[tuple[float, int, Callable[[], None]]] = []
        """A heap: the first is due first."""
        self._numbers = count()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """``callback`` is due in so many seconds. Of those that are due together the one that was added first comes
        first.
        """
        heappush(self.pending, (self._clock() + seconds, next(self._numbers), callback))

    def wait(self, now: float, most: float) -> float:
        """Seconds until the first is due, ``most`` at most."""
        return min(most, max(0.0, self.pending[0][0] - now)) if self.pending else most

    def run(self, now: float) -> bool:
        """Calls what is due, but for what is added meanwhile. Whether anything was."""
        due = []
        while self.pending and self.pending[0][0] <= now:
            due.append(heappop(self.pending)[2])
        for callback in due:
            try:
                callback()
            except Exception:
                log.exception("what was to be done later failed")
        return bool(due)
