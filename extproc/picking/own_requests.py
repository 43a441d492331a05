"""What a process knows of endpoints by itself: how many requests it has sent to each that have not ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from extproc.picking.loads import IN_FLIGHT, SENT_SINCE, EndpointLoads, unknown_table

LOST_AFTER = 600.0
"""Seconds after which a request counts no more though nobody has said that it ended: its account was lost."""
_LOOK_INTERVAL = 1.0
"""Seconds between two looks for such requests."""
READING_INTERVAL = 0.02
"""Seconds for which a reading is good; what is sent meanwhile a picker adds itself."""


class OwnRequests:
    """Of all targets; an endpoint of several counts once. Used by one thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: monotonic, seconds."""
        self._clock = clock
        self._sent: dict[str, deque[float]] = {}
        """By endpoint when those were sent that have not ended, the oldest first."""
        self._readings: dict[int, tuple[tuple[str, ...], float, EndpointLoads]] = {}
        """By the identity of the endpoints, which the tuple keeps alive: when it was made, and the reading."""
        self._look_at = 0.0

    def loads(self, endpoints: tuple[str, ...]) -> EndpointLoads:
        """The loads of the endpoints; the same object for ``READING_INTERVAL``."""
        now = self._clock()
        found = self._readings.get(id(endpoints))
        if found is not None and now - found[1] < READING_INTERVAL:
            return found[2]
        if now >= self._look_at:
            self._look_at = now + _LOOK_INTERVAL
            self._forget_lost(now - LOST_AFTER)
        table = unknown_table(len(endpoints))
        for column, endpoint in enumerate(endpoints):
            if sent := self._sent.get(endpoint):
                table[IN_FLIGHT, column] = table[SENT_SINCE, column] = len(sent)
        made = EndpointLoads(table)
        self._readings[id(endpoints)] = endpoints, now, made
        return made

    def begin(self, endpoint: str) -> None:
        """A request is sent to the endpoint."""
        self._sent.setdefault(endpoint, deque()).append(self._clock())

    def end(self, endpoint: str) -> None:
        """One that was sent there has ended: the oldest, whichever it was. One that is not known counts for nothing."""
        if sent := self._sent.get(endpoint):
            sent.popleft()

    def follow(self) -> None:
        """The targets have changed: what was kept of endpoints is let go."""
        self._readings.clear()

    def _forget_lost(self, before: float) -> None:
        for endpoint, sent in list(self._sent.items()):
            while sent and sent[0] <= before:
                sent.popleft()
            if not sent:
                del self._sent[endpoint]
