"""Exponential backoff: when a process that ended is started again, and what the log says about it.

A process that ended with status 0 is started again at once. After a failure there is a wait, which doubles with each
failure: a process that fails at its start would otherwise occupy the machine with starts alone.
"""

from __future__ import annotations

import signal

_MIN_WAIT, _MAX_WAIT = 0.5, 30.0
"""Seconds of the wait after the first failure, and of the longest wait."""
_RESET_AFTER = 60.0
"""Seconds of running after which a failure counts as the first again."""


def describe_exit(status: int) -> str:
    """How a process ended; ``status`` is its ``Popen.returncode`` (negative: a signal)."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:  # most of the real-time signals have no name
        return f"signal {-status}"


class RestartBackoff:
    """The backoff of one process. ``now``: seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._started_at = self._due_at = 0.0
        self._failures = 0

    def record_start(self, now: float) -> None:
        """The process has started."""
        self._started_at = now

    def record_exit(self, status: int, now: float) -> str:
        """The process has ended with ``status``. Returns text for the log: how it ended, and when it is restarted."""
        if status == 0 or now - self._started_at > _RESET_AFTER:
            self._failures = 0
        return f"ended with {describe_exit(status)}; {self._back_off(now, failed=status != 0)}"

    def record_failed_start(self, why: str, now: float) -> str:
        """The process could not be started, because of ``why``. Returns text for the log."""
        return f"{why}; {self._back_off(now, failed=True)}"

    def is_due(self, now: float) -> bool:
        """Whether it is time to start the process again."""
        return now >= self._due_at

    def _back_off(self, now: float, *, failed: bool) -> str:
        wait = min(_MIN_WAIT * 2.0**self._failures, _MAX_WAIT) if failed else 0.0
        self._failures = min(self._failures + failed, 16)  # 2.0**1024 is beyond a float
        self._due_at = now + wait
        return f"starting it again in {wait:g} s" if wait else "starting it again"
