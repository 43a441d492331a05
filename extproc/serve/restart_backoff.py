"""When a process that ended is started again, and how that is told.

One that left in peace is back at once. One that failed waits, twice as long after each failure as after the one
before: what fails at once would otherwise take the machine's time for its starts alone.
"""

from __future__ import annotations

import signal

_FIRST, _LONGEST = 0.5, 30.0
"""Seconds that it waits after a failure: the first, and at the most."""
_STEADY = 60.0
"""Seconds that it must have run for its failure to count as the first again."""


def ending(status: int) -> str:
    """How a process ended, by its ``status`` as ``subprocess`` has it."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:  # most of the real-time signals have no name
        return f"signal {-status}"


class Restarts:
    """Of one process. ``now``: seconds of a clock that only goes forward."""

    def __init__(self) -> None:
        self._started = self._again = 0.0
        self._failures = 0

    def started(self, now: float) -> None:
        """It has begun."""
        self._started = now

    def ended(self, status: int, now: float) -> str:
        """It has ended with ``status``, as ``subprocess`` has it. What to tell: how it ended, and what follows."""
        if status == 0 or now - self._started > _STEADY:
            self._failures = 0
        return f"ended with {ending(status)}; {self._wait(now, failed=status != 0)}"

    def not_started(self, why: str, now: float) -> str:
        """It could not be started. What to tell."""
        return f"{why}; {self._wait(now, failed=True)}"

    def due(self, now: float) -> bool:
        """Whether it is time to start it again."""
        return now >= self._again

    def _wait(self, now: float, *, failed: bool) -> str:
        wait = min(_FIRST * 2.0**self._failures, _LONGEST) if failed else 0.0
        self._failures = min(self._failures + failed, 16)  # 2.0**1024 is beyond a float
        self._again = now + wait
        return f"starting it again in {wait:g} s" if wait else "starting it again"
