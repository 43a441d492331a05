"""How long everybody else may still be without the API server, once it is there again. Pure.

Whoever watches it has tried again ever more rarely while it was away: processors after 10 s at the most
(``object_watch.LONGEST_PAUSE``); istiod and Linkerd's controllers, each of their watches by itself, as client-go does
(``tools/cache/reflector.go``, 0.36): after 0.8 s, twice as long each time up to 30 s, and up to twice that by chance;
from the beginning again after two minutes without a pause. The pauses before the last one fill the outage, so that none
is longer than all of it and the first. Until all are back, what was written is not known to have come anywhere.
"""

from __future__ import annotations

from math import inf

LONGEST = 60.0
"""Seconds after which everybody is back, however long the server was away."""
_BEFORE_FIRST = 0.4
"""Half of client-go's first pause, in seconds."""
_FORGOTTEN = 120.0
"""Seconds without an outage after which client-go begins with the first pause again."""


class Outage:
    """What one watcher has seen of the server's outages. ``now``: seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._over_at = -inf
        self._heard = False
        self._pause = _BEFORE_FIRST
        """The longest pause that others may have come to, in seconds, but for chance."""

    def failed(self, now: float) -> None:
        """The server did not answer, or said that it can't."""
        if self._since is None:
            self._since = now
            if now - self._over_at >= _FORGOTTEN:
                self._pause = _BEFORE_FIRST

    def heard(self, now: float) -> None:
        """The server has answered. Who has not heard it before can't tell how long it was away."""
        if self._since is not None:
            away = now - self._since if self._heard else LONGEST
            self._pause = min(2 * self._pause + away, LONGEST)
            self._over_at = now + min(2 * self._pause, LONGEST)
            self._since = None
        self._heard = True

    def rest(self, now: float) -> float:
        """Seconds until everybody is back; infinite while the server is away."""
        return inf if self._since is not None else max(0.0, self._over_at - now)
