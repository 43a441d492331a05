"""What a first token usually takes, and from when on one is late. Pure. All times are seconds."""

from __future__ import annotations

from math import inf

QUANTILE = 0.95
"""Of the times to first token: the usual one is this quantile."""
TOLERANCE = 1.25
"""A first token is late beyond so many times the usual one,"""
LEAST_DELAY = 0.02
"""and so many seconds after it: what is shorter is the processor's own delay."""
FIRST_BLOCK, BLOCK, SLOWEST_BLOCK = 40, 100, 50
"""Times from which the usual one is known at first, anew in normal operation, and anew at the least limit: what is left
there is no queue but what an answer takes."""
RISE = 0.05 / 60
"""The usual time rises by at most this share in a second: a queue that grows slowly must not become usual."""
FALL = 0.3
"""Of the way to a quantile that is lower it goes with each block."""


class UsualTime:
    """Follows the quantile of blocks of times."""

    __slots__ = ("_block", "_since", "late_after", "seconds")

    def __init__(self) -> None:
        self.seconds: float | None = None
        """None: not known yet."""
        self.late_after = inf
        self._block: list[float] = []
        self._since = 0.0

    def begin_block(self) -> None:
        """Times of until now are no longer like those that come."""
        self._block = []

    def learn(self, seconds: float, now: float, slowest: bool) -> None:
        """Takes a time. ``slowest``: it was measured at the least limit, so that it is usual however long it is."""
        times = self._block
        times.append(seconds)
        wanted = FIRST_BLOCK if self.seconds is None else SLOWEST_BLOCK if slowest else BLOCK
        if len(times) < wanted:
            return
        found = sorted(times)[int(QUANTILE * len(times))]
        usual = self.seconds
        if usual is None or slowest:
            usual = found
        elif found > usual:
            usual = min(found, usual * (1 + RISE * (now - self._since)))
        else:
            usual += FALL * (found - usual)
        self.seconds, self.late_after = usual, max(TOLERANCE * usual, usual + LEAST_DELAY)
        self._block, self._since = [], now
