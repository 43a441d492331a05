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

    @property
    def free_share(self) -> float:
        """From ``MIN_FREE_SHARE`` to 1, by the scarcer of queue and cache."""
        return min(1.0, max(MIN_FREE_SHARE, 1 - max((self.waiting or 0.0) / FULL_QUEUE, self.cache or 0.0)))


NO_REPORTS: Mapping[str, float] = MappingProxyType({})
"""Free shares by pool where no pool has reported."""


class PoolLoads:
    """Free shares of the pools, and what is down. Any thread may call ``note``; of two at once one may be lost."""

    def __init__(self) -> None:
        self.down = NOTHING_DOWN
        """Clusters of targets of which no server can be reached."""
        self._reports: dict[str, tuple[float, float]] = {}  # pool: (average free share, time of the last report)
        self._current = NO_REPORTS
        self._expires_at = 0.0
        self._stale = False  # whether a report came after _current was computed

    def note(self, pool: str, load: ServerLoad, now: float) -> None:
        """Averages one server's report into its pool's. ``now``: seconds of any one clock, as below."""
        free_share = load.free_share
        previous = self._reports.get(pool)
        if previous is not None and now - previous[1] < MAX_AGE:
            weight = max(0.1, 1 - 0.5 ** ((now - previous[1]) / HALF_LIFE))
            free_share = previous[0] + (free_share - previous[0]) * weight
        self._reports[pool] = (free_share, now)
        self._stale = True

    def free_shares(self, now: float) -> Mapping[str, float]:
        """The free share of each pool by name, without pools that have not reported within ``MAX_AGE``."""
        if not self._reports:
            return NO_REPORTS
        if self._stale or now >= self._expires_at:
            self._stale = False
            fresh = {pool: report for pool, report in list(self._reports.items()) if now - report[1] < MAX_AGE}
            self._expires_at = min((reported_at for _, reported_at in fresh.values()), default=now) + MAX_AGE
            shares = {pool: free_share for pool, (free_share, _) in fresh.items()}
            self._current = MappingProxyType(shares) if shares else NO_REPORTS
            for pool in self._reports.keys() - fresh.keys():
                self._reports.pop(pool, None)  # another thread may have removed it
        return self._current

    def describe(self, now: float) -> dict[str, Any]:
        """The free shares for people, rounded."""
        return {pool: round(free_share, 3) for pool, free_share in sorted(self.free_shares(now).items())}
