"""The requests that wait for an endpoint of one target: a bounded queue, in the order of their turns.

Those of the highest priority come first. Of one priority the fairness ids take turns, so that many requests of one
hold up no other's few; of one id the oldest comes first. Where there is no room, the queue drops of the least priority
the youngest request of the id that has most of them: longest queue drop (Suter, Lakshman, Stiliadis and Choudhury,
"Design considerations for supporting TCP with per-flow queueing", IEEE INFOCOM 1998).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class WaitingRequests(Generic[T]):
    """Used by one thread."""

    def __init__(self) -> None:
        self._places: dict[T, tuple[int, bytes]] = {}
        """Priority and fairness id, in the order in which they came."""
        self._levels: dict[int, dict[bytes, dict[T, None]]] = {}
        """By priority, then by fairness id in the order of their turns; none is empty."""

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[T]:
        """In the order in which they came."""
        return iter(self._places)

    def add(self, request: T, priority: int, fairness_id: bytes, most: int) -> T | None:
        """One more waits. Where more than ``most`` would, one of all does no longer, and is returned."""
        self._places[request] = priority, fairness_id
        self._levels.setdefault(priority, {}).setdefault(fairness_id, {})[request] = None
        return self.drop() if len(self._places) > most else None

    def remove(self, request: T) -> bool:
        """It waits no longer. Whether it did."""
        place = self._places.pop(request, None)
        if place is None:
            return False
        priority, fairness_id = place
        level = self._levels[priority]
        del level[fairness_id][request]
        if not level[fairness_id]:
            del level[fairness_id]
        if not level:
            del self._levels[priority]
        return True

    def take(self, may: Callable[[T], bool]) -> T | None:
        """Whose turn it is, of those for whom ``may`` holds; it waits no longer. None: for nobody."""
        for priority in sorted(self._levels, reverse=True):
            level = self._levels[priority]
            for fairness_id, requests in level.items():
                request = next(filter(may, requests), None)
                if request is not None:
                    self.remove(request)
                    if fairness_id in level:
                        level[fairness_id] = level.pop(fairness_id)
                    return request
        return None

    def drop(self) -> T:
        """One waits no longer, and is returned: of ids that have as many, of the one whose turn comes last."""
        level = self._levels[min(self._levels)]
        most = max(reversed(level.values()), key=len)
        request = next(reversed(most))
        self.remove(request)
        return request
