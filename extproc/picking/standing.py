"""How the endpoints of a target stand: what each has to do, by the last reading and what was sent since.

Loops over the endpoints, and no numpy: compiled they take some nanoseconds an endpoint, while a call of numpy's takes
half a microsecond for however few.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from extproc.picking.candidates import Candidates
from extproc.picking.loads import AGE, CACHE, IN_FLIGHT, RUNNING, SENT_SINCE, STALE_AFTER, WAITING, EndpointLoads
from extproc.policy.picking import Picking

NEARLY = 0.2
"""Scores that differ by less than this share are as good as equal: reports are of the past, and other processors, which
pick by the same ones, would all pick the same endpoint. In the simulation (benchmarks.picking) one processor loses
nothing by it, and four pick better."""
READING_RATE = 80_000.0
"""Bytes of prompts that an endpoint is taken to read a second, some 20,000 tokens. A report does not tell of a prompt
that is being read, so what was sent counts for that long. Where it is too high (large models), only reports count."""
_LOTS = array("d", (1.0 + NEARLY * np.random.default_rng(0).random(1 << 16)).tobytes())
"""Factors by which one of several scores becomes the least. Where in the table they begin, is drawn; behind the last
comes the first.
"""
_LAST_LOT = len(_LOTS) - 1
BELIEVED = 8.0
"""Requests beyond twice what a fresh report tells up to which our own count of an endpoint's is believed. More are
counts that nobody took back. The bound rises with the report, so that endpoints then stand in the order of their
reports.
"""
_MOST_ADAPTERS = 4096
"""Names of adapters that are remembered."""
_INFINITE = float("inf")
_STALE_AFTER, _READING_RATE, _BELIEVED = STALE_AFTER, READING_RATE, BELIEVED  # as numbers of C's (standing.pxd)


class Standing:
    """Made anew from each reading."""

    def __init__(self, spec: Picking, candidates: Candidates, loads: EndpointLoads, prompt_bytes: float) -> None:
        """``prompt_bytes``: of a prompt that a server has to read, usually. Raises ``ValueError`` for loads of another
        number of endpoints.
        """
        size = len(candidates.addresses)
        if len(loads) != size:
            raise ValueError(f"loads of {len(loads)} endpoints, where there are {size}")
        self._size = size
        self.ready = candidates.ready or b"\1" * size
        """A byte for each endpoint, 1 where it may have requests."""
        self.places = [place for place in range(size) if self.ready[place]]
        """Of those that may."""
        self.batch = array("d", bytes(8 * size))
        """Requests that each endpoint works on."""
        self.unread = array("d", bytes(8 * size))
        """Bytes of prompts that wait there to be read, or are being read."""
        self._own = array("d", bytes(8 * size))
        """Of those, what was sent from here."""
        self.known = array("b", bytes(size))
        """Whether a fresh report tells of it."""
        self.saturated = array("b", bytes(size))
        """Whether it should get no more."""
        self.all_saturated = self._weigh(spec, loads, prompt_bytes)
        """Whether none that may have requests should get more."""
        self._alike = array("d", [1.0]) * size
        self._covered = array("d", bytes(8 * size))
        self._adapters, self._adapter_weight = loads.adapters, spec.adapter_weight
        self._adapter_names = frozenset().union(*loads.adapters) if spec.adapter_weight else frozenset()
        """Names that are known to be adapters': reports name those in use, and others may be asked for, too."""
        self._weights: dict[str, array[float]] = {}

    def _weigh(self, spec: Picking, loads: EndpointLoads, prompt_bytes: float) -> bool:
        numbers, batch, bounds, size = loads.numbers, self.batch, spec.saturation, self._size
        waiting_at, running_at, cache_at = WAITING * size, RUNNING * size, CACHE * size
        age_at, sent_at, in_flight_at = AGE * size, SENT_SINCE * size, IN_FLIGHT * size
        most_waiting, most_cache, stale = bounds.waiting, bounds.cache, bounds.stale
        known, total, all_saturated = 0, 0.0, True
        for place in range(size):
            waiting, running = numbers[waiting_at + place], numbers[running_at + place]
            sent = numbers[sent_at + place]
            fresh = numbers[age_at + place] <= _STALE_AFTER and (waiting >= 0 or running >= 0)
            working, over = 0.0, stale
            if fresh:
                # What was sent since the report is not in it.
                waiting = (waiting if waiting >= 0 else 0.0) + sent
                working = waiting + (running if running >= 0 else 0.0)
                over = waiting - sent > most_waiting or numbers[cache_at + place] > most_cache
                self.unread[place] = waiting * prompt_bytes
            # Nobody works on less than what we sent there, as far as that can be believed: of several processors one
            # may have sent a request, and another one be told of its end.
            in_flight = numbers[in_flight_at + place]
            if fresh and in_flight > 2.0 * working + _BELIEVED:
                in_flight = 2.0 * working + _BELIEVED
            batch[place] = max(working, in_flight)
            self.known[place] = fresh
            self.saturated[place] = over
            if self.ready[place]:
                all_saturated = all_saturated and over
                if fresh:
                    known += 1
                    total += batch[place]
        if known < size:
            # Unknown is not free: what others have on the average, or what we sent there, is there.
            mean = total / known if known else 0.0
            for place in range(size):
                if not self.known[place]:
                    batch[place] = max(batch[place], mean)
        return all_saturated

    def best(
        self,
        may: bytes,
        prompt_bytes: float,
        cached: Sequence[tuple[Sequence[int], int]],
        homes: Sequence[tuple[int, float]],
        adapter: str,
        lot: int,
    ) -> list[int]:
        """The three places with the least scores, the best first; fewer where fewer may. Of equal ones by ``lot``.

        ``may``: a byte for each endpoint, 1 where it may have the request. ``prompt_bytes``: 0 where it does not count
        what is read. ``cached``: who has how many of these bytes, groups of places that have nothing in common.
        ``homes``: at which place how many can be expected to be cached.
        """
        covered, weights = self._covered, self.weights_for(adapter)
        start = lot & _LAST_LOT
        first = second = third = -1
        least = less = little = _INFINITE
        for places, size in cached:
            for place in places:
                covered[place] = size
        for place, expected in homes:
            covered[place] = max(covered[place], expected)
        for place in range(self._size):
            if not may[place]:
                continue
            score = self.score(place, prompt_bytes, covered[place], weights[place]) * _LOTS[(start + place) & _LAST_LOT]
            if score >= little:
                continue
            if score >= less:
                third, little = place, score
                continue
            third, little = second, less
            if score >= least:
                second, less = place, score
                continue
            second, less, first, least = first, least, place, score
        for places, _ in cached:
            for place in places:
                covered[place] = 0.0
        for place, _ in homes:
            covered[place] = 0.0
        return [place for place in (first, second, third) if place >= 0]

    def score(self, place: int, prompt_bytes: float, cached: float, weight: float) -> float:
        """What an endpoint would work on with one request more, times what it would have to read before its answer."""
        load = weight * (self.batch[place] + 1.0)
        return load * (self.unread[place] + prompt_bytes - cached) if prompt_bytes else load

    def weights_for(self, adapter: str) -> array[float]:
        """By what a request with this adapter counts: where it is not loaded the more the more others are. An engine
        has places for some adapters only (vLLM's ``max_loras``), and requests for another one wait.
        """
        if not adapter or adapter not in self._adapter_names:
            return self._alike
        if adapter not in self._weights:
            more, adapters = self._adapter_weight, self._adapters
            weights = [1.0 if adapter in names else 1.0 + more * max(1, len(names)) for names in adapters]
            self._weights[adapter] = array("d", weights)
        return self._weights[adapter]

    def sent(self, place: int, prompt_bytes: float) -> None:
        """The endpoint got a request, of whose prompt it has to read so much."""
        self.batch[place] += 1.0
        self.unread[place] += prompt_bytes
        self._own[place] += prompt_bytes

    def follow(self, before: Standing, seconds: float) -> None:
        """So they stood so many seconds earlier: what was sent there, and can't have been read yet, counts. Adapters
        that were in use then are known still.
        """
        if not before._adapter_names <= self._adapter_names and len(before._adapter_names) < _MOST_ADAPTERS:
            self._adapter_names |= before._adapter_names
        for place in range(self._size):
            left = before._own[place] - _READING_RATE * seconds
            if left > 0.0:
                self._own[place] = left
                self.unread[place] = max(self.unread[place], left)
