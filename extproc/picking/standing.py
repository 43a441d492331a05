"""How the endpoints of a target stand: what each has to do, by the last reading and what was sent since."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from extproc.picking.candidates import Candidates
from extproc.picking.loads import AGE, CACHE, IN_FLIGHT, RUNNING, SENT_SINCE, STALE_AFTER, WAITING, EndpointLoads
from extproc.policy.picking import Picking

SPARE = 8
"""Endpoints among which those to try after the picked one are looked for."""
_LOTS = 1.0 + 1e-9 * np.random.default_rng(0).random(1 << 16)


class Standing:
    """Made anew from each reading. Who may have no request is infinitely loaded."""

    def __init__(
        self, spec: Picking, candidates: Candidates, loads: EndpointLoads, zone: str, prompt_bytes: float
    ) -> None:
        """``zone``: the proxy's. ``prompt_bytes``: of a prompt that a server has to read, usually. Raises
        ``ValueError`` for loads of another number of endpoints.
        """
        size, table = len(candidates.addresses), loads.table
        if len(loads) != size:
            raise ValueError(f"loads of {len(loads)} endpoints, where there are {size}")
        self.open = flags(candidates.ready) if candidates.ready else np.ones(size, bool)
        self.open_places: list[int] = self.open.nonzero()[0].tolist()
        fresh, sent, in_flight = table[AGE] <= STALE_AFTER, table[SENT_SINCE], table[IN_FLIGHT]
        says_waiting, says_running = fresh & (table[WAITING] >= 0), fresh & (table[RUNNING] >= 0)
        self.known = says_waiting | says_running
        """Of which endpoints a fresh report tells."""
        waiting = np.where(says_waiting, table[WAITING], 0.0)
        # What was sent since the report is not in it; and nobody works on less than what we sent there.
        batch = np.maximum(waiting + np.where(says_running, table[RUNNING], 0.0) + sent, in_flight)
        told = batch[self.known & self.open]
        # Unknown is not free: what others have on the average, or what we sent there, is there.
        self.batch = np.where(self.known, batch, np.maximum(in_flight, told.mean() if len(told) else 0.0))
        """Requests that each endpoint works on."""
        self.unread = (waiting + sent) * prompt_bytes
        """Bytes of prompts that wait there to be read."""
        bounds = spec.saturation
        over = (waiting > bounds.waiting) | (table[CACHE] > bounds.cache)
        self.saturated = np.where(self.known, over, bounds.stale)
        """Which endpoints should get no more."""
        self._weight = np.ones(size)
        if zone and candidates.zones and spec.zone_weight:
            self._weight += [0.0 if each == zone else spec.zone_weight for each in candidates.zones]
        self.load = np.where(self.open, (self.batch + 1.0) * self._weight, np.inf)
        """The requests that each would work on; in another zone they weigh more."""
        self._adapters, self._adapter_weight = loads.adapters, spec.adapter_weight
        self._without: dict[str, NDArray[np.float64]] = {}
        self._spare: list[int] = []

    @cached_property
    def all_saturated(self) -> bool:
        """Whether none that may have requests should get more."""
        return bool(self.saturated[self.open].all())

    def spare(self, lot: int) -> list[int]:
        """The least loaded places, the best first, as they were when it was first asked; of equal ones by ``lot``."""
        if not self._spare:
            load = self.load * lots(lot, len(self.load))
            self._spare = load.argsort()[: min(SPARE, len(self.open_places))].tolist()
        return self._spare

    @cached_property
    def _loaded_adapters(self) -> frozenset[str]:
        return frozenset().union(*self._adapters) if self._adapter_weight else frozenset()

    def without_adapter(self, adapter: str) -> NDArray[np.float64] | None:
        """The factors on the load for a request with this adapter; None where it makes no difference."""
        if adapter not in self._loaded_adapters:
            return None
        if adapter not in self._without:
            has = [adapter in names for names in self._adapters]
            self._without[adapter] = np.where(has, 1.0, 1.0 + self._adapter_weight)
        return self._without[adapter]

    def sent(self, place: int, prompt_bytes: float) -> None:
        """The endpoint got a request, of whose prompt it has to read so much."""
        self.batch[place] += 1.0
        self.load[place] += self._weight[place]
        self.unread[place] += prompt_bytes


def lots(lot: int, size: int) -> NDArray[np.float64]:
    """Factors by which one of several equal scores becomes the least: by ``lot``, a random number."""
    start = lot % (len(_LOTS) - size)
    return _LOTS[start : start + size]


def flags(marks: bytes) -> NDArray[np.bool_]:
    """A mark for each endpoint, as ``Candidates.ready`` has them."""
    return np.not_equal(np.frombuffer(marks, np.uint8), 0)
