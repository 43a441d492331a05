"""How busy GPU pools are: an average of what their servers reported lately.

A report counts for a few seconds only. A pool without one is taken to be free.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from extproc.policy.target import NOTHING_DOWN

FULL_QUEUE = 5.0
"""Waiting requests at which a server counts as full: the default of the Gateway API's reference endpoint picker."""
MIN_FREE_SHARE = 0.05
"""Free share of a full pool. It still gets some requests, so that a later report can say that it is free again."""
MAX_AGE = 5.0
"""Seconds for which a report counts."""
HALF_LIFE = 1.0
"""Seconds after which the previous average and a new report weigh the same."""


class ServerLoad(msgspec.Struct, frozen=True):
    """One server's report; None: it does not say."""

    waiting: float | None = None
    """Requests that wait for a place in a batch."""
    cache: float | None = None
    """Share of the KV cache that is in use, 0 to 1."""
    gpu: float | None = None
    """Share of the time in which its GPUs were busy, 0 to 1. For people only: a busy GPU may well take more."""

    @property
    def free_share(self) -> float:
        """From ``MIN_FREE_SHARE`` to 1, by the scarcer of queue and cache."""
        return min(1.0, max(MIN_FREE_SHARE, 1 - max((self.waiting or 0.0) / FULL_QUEUE, self.cache or 0.0)))

    @property
    def numbers(self) -> dict[str, float]:
        """What it says, by name; ``free`` unless it only says of its GPUs."""
        free = None if self.gpu is not None and self.waiting is None and self.cache is None else self.free_share
        told = {"free": free, "waiting": self.waiting, "cache": self.cache, "gpu": self.gpu}
        return {name: value for name, value in told.items() if value is not None}


NO_REPORTS: Mapping[str, float] = MappingProxyType({})
"""Free shares by pool where no pool has reported."""


class PoolLoads:
    """Free shares of the pools, and what is down. Any thread may call ``note``; of two at once one may be lost."""

    def __init__(self) -> None:
        self.down = NOTHING_DOWN
        """Clusters of targets of which no server can be reached."""
        self.unreachable: frozenset[str] = frozenset()
        """Servers (``host:port``) that can't be reached, of policies that pick endpoints."""
        self._reports: dict[str, dict[str, tuple[float, float]]] = {}
        """By pool and name of the number: (average, time of the last report)."""
        self._current = NO_REPORTS
        self._expires_at = 0.0
        self._stale = False  # whether a report came after _current was computed

    def note(self, pool: str, load: ServerLoad, now: float) -> None:
        """Averages one server's report into its pool's. ``now``: seconds of any one clock, as below."""
        averages = dict(self._reports.get(pool, {}))
        for name, value in load.numbers.items():
            previous = averages.get(name)
            average = value
            if previous is not None and now - previous[1] < MAX_AGE:
                weight = max(0.1, 1 - 0.5 ** ((now - previous[1]) / HALF_LIFE))
                average = previous[0] + (value - previous[0]) * weight
            averages[name] = (average, now)
        self._reports[pool] = averages
        self._stale = True

    def free_shares(self, now: float) -> Mapping[str, float]:
        """The free share of each pool by name, without pools that have not reported within ``MAX_AGE``."""
        if not self._reports:
            return NO_REPORTS
        if self._stale or now >= self._expires_at:
            self._renew(now)
        return self._current

    def _renew(self, now: float) -> None:
        self._stale = False
        free = [(pool, numbers["free"]) for pool, numbers in list(self._reports.items()) if "free" in numbers]
        fresh = {pool: report for pool, report in free if now - report[1] < MAX_AGE}
        self._expires_at = min((reported_at for _, reported_at in fresh.values()), default=now) + MAX_AGE
        shares = {pool: free_share for pool, (free_share, _) in fresh.items()}
        self._current = MappingProxyType(shares) if shares else NO_REPORTS
        self._forget(now)

    def numbers(self, now: float) -> dict[str, dict[str, float]]:
        """By pool what its servers say on the average, by name (``ServerLoad.numbers``), and within ``MAX_AGE``."""
        found = {
            pool: {name: value for name, (value, reported_at) in known.items() if now - reported_at < MAX_AGE}
            for pool, known in list(self._reports.items())
        }
        return {pool: known for pool, known in found.items() if known}

    def _forget(self, now: float) -> None:
        """Pools that tell nothing any more, as those that no policy has."""
        for pool, known in list(self._reports.items()):
            if all(now - reported_at >= MAX_AGE for _, reported_at in known.values()):
                self._reports.pop(pool, None)  # another thread may have removed it

    def describe(self, now: float) -> dict[str, Any]:
        """The free shares for people, rounded."""
        return {pool: round(free_share, 3) for pool, free_share in sorted(self.free_shares(now).items())}
