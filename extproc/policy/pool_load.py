"""How busy GPU pools are, as they tell.

What was told is forgotten soon: a pool of which nobody knows anything is taken for free, as without all this.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

FULL_QUEUE = 5.0
"""Requests that wait before a server of a pool is full, as the Gateway API's reference endpoint picker has it."""
MIN_FREE_SHARE = 0.05
"""Of a pool that is full: it still gets some requests, so that it can tell when it is free again."""
MAX_AGE = 5.0
"""Seconds for which a word counts."""
HALF_LIFE = 1.0
"""Seconds after which the old word and the new one weigh the same."""


class ServerLoad(msgspec.Struct, frozen=True):
    """Of one server of a pool; None: not told."""

    waiting: float | None = None
    """Requests that wait for a place in a batch."""
    cache: float | None = None
    """Share of the KV cache that is in use, 0 to 1."""

    @property
    def free(self) -> float:
        """The share that is free, ``LEAST`` at least."""
        return min(1.0, max(MIN_FREE_SHARE, 1 - max((self.waiting or 0.0) / FULL_QUEUE, self.cache or 0.0)))


NO_LOADS: Mapping[str, float] = MappingProxyType({})
"""Nobody knows anything."""


class PoolLoads:
    """What the pools have told of late. One thread or several may note: a word that is lost is followed by the next."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, float]] = {}  # free share, when
        self._snapshot = NO_LOADS
        self._until = 0.0
        self._stale = False

    def note(self, pool: str, load: ServerLoad, now: float) -> None:
        """``now``: seconds of any one clock. Servers of a pool tell one after the other: their words are averaged."""
        free = load.free
        before = self._told.get(pool)
        if before is not None and now - before[1] < MAX_AGE:
            weight = max(0.1, 1 - 0.5 ** ((now - before[1]) / HALF_LIFE))
            free = before[0] + (free - before[0]) * weight
        self._told[pool] = (free, now)
        self._stale = True

    def free(self, now: float) -> Mapping[str, float]:
        """The share of each pool that is free, by its name; without those that have not told anything of late."""
        if not self._told:
            return NO_LOADS
        if self._stale or now >= self._until:
            self._stale = False
            fresh = {pool: told for pool, told in list(self._told.items()) if now - told[1] < MAX_AGE}
            self._until = min((at for _, at in fresh.values()), default=now) + MAX_AGE
            self._snapshot = MappingProxyType({pool: free for pool, (free, _) in fresh.items()}) if fresh else NO_LOADS
            for pool in self._told.keys() - fresh.keys():
                self._told.pop(pool, None)  # another thread may have done so
        return self._snapshot

    def describe(self, now: float) -> dict[str, Any]:
        """For people."""
        return {pool: round(free, 3) for pool, free in sorted(self.free(now).items())}
