"""How many requests the endpoints of a target can take before they are saturated, for those that wait."""

from __future__ import annotations

from math import floor, inf

from extproc.picking.loads import AGE, CACHE, RUNNING, SENT_SINCE, STALE_AFTER, WAITING, EndpointLoads
from extproc.policy.picking import Saturation


class Room:
    """By one reading of the loads, and what those that waited have got since.

    A request that comes while none waits may go to any endpoint that a report says is not saturated. Those that waited
    come all at once when a report says so: what was sent since counts then as if it waited there.
    """

    def __init__(self, bounds: Saturation, loads: EndpointLoads) -> None:
        size, numbers = len(loads), loads.numbers
        self._left = [_left(bounds, numbers[place::size]) for place in range(size)]

    def marks(self, ready: bytes) -> bytes:
        """A byte for each endpoint: 1 where one more request has room, of those marked in ``ready`` (empty: all)."""
        left = self._left
        return bytes([left[place] > 0 and (not ready or ready[place] != 0) for place in range(len(left))])

    def sent(self, place: int) -> None:
        """An endpoint got one of those that waited."""
        self._left[place] -= 1


def _left(bounds: Saturation, numbers: memoryview[float]) -> float:
    """Requests, of an endpoint with these numbers. Where nothing is known, and that does not count as saturated, there
    is always room.
    """
    waiting, running, sent = numbers[WAITING], numbers[RUNNING], numbers[SENT_SINCE]
    if not (numbers[AGE] <= STALE_AFTER and (waiting >= 0 or running >= 0)):
        return 0 if bounds.stale else inf
    if numbers[CACHE] > bounds.cache:
        return 0
    return floor(bounds.waiting - (waiting if waiting >= 0 else 0.0) - sent) + 1
