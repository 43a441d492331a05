"""What one worker does on the board: it wants endpoints, counts what it sends there, and reads how busy they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from extproc.picking.board import Board, Wanted
from extproc.picking.board_layout import (
    ADAPTERS_AT,
    ENDED,
    GPU_UNTIL,
    LOST,
    NOBODY,
    PICKED,
    PICKED_A_MINUTE_AGO,
    PICKED_AT_REPORT,
    REPORTED_AT,
)
from extproc.picking.endpoint_state import EndpointState
from extproc.picking.loads import AGE, GPU, IN_FLIGHT, ROWS, SENT_SINCE, STALE_AFTER, EndpointLoads

READING_INTERVAL = 0.02
"""Seconds for which a reading is good; what is sent meanwhile a picker adds itself."""
_Places: TypeAlias = NDArray[np.intp]


class _View:
    """What follows from who is on the board: made anew with each change of that."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        self.slots = slots
        self.readings: dict[int, _Reading] = {}
        """By the identity of a target's endpoints, which the reading keeps alive."""
        self.adapters: dict[int, tuple[float, frozenset[str]]] = {}

    def places(self, endpoints: tuple[str, ...]) -> _Places:
        return np.array([self.slots.get(endpoint, NOBODY) for endpoint in endpoints], np.intp)


class _Reading(NamedTuple):
    endpoints: tuple[str, ...]
    places: _Places
    at: float
    loads: EndpointLoads


class WorkerRow:
    """One worker's part. Used by one thread, but for ``want`` and ``describe``."""

    def __init__(self, board: Board, worker: int, clock: Callable[[], float]) -> None:
        """``worker``: its number, from 0. Its row goes on where the process before it with this number left it.
        ``clock``: that of reports.
        """
        self._board, self._worker, self._clock = board, worker, clock
        counts = board.counts[worker]
        self._picked, self._ended = counts[PICKED].data, counts[ENDED].data
        """By slot; numbers in them are changed faster than in arrays."""
        self._view = _View({})

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """These endpoints from now on, by ``host:port``, and no others."""
        self._view = _View(self._board.claim(self._worker, wanted))

    def begin(self, endpoint: str) -> None:
        """A request is sent there."""
        if place := self._view.slots.get(endpoint):
            self._picked[place] += 1.0

    def end(self, endpoint: str) -> None:
        """One that some worker has sent there has ended."""
        if place := self._view.slots.get(endpoint):
            self._ended[place] += 1.0

    def loads(self, endpoints: tuple[str, ...]) -> EndpointLoads:
        """The loads of a target's endpoints; the same object for ``READING_INTERVAL``."""
        view, now = self._view, self._clock()
        known = view.readings.get(id(endpoints))
        if known is not None and now - known.at < READING_INTERVAL:
            return known.loads
        places = known.places if known is not None else view.places(endpoints)
        for _ in self._board.consistent():
            reports = self._board.reports.take(places, axis=1)
            adapters = self._read_adapters(view, places, reports[ADAPTERS_AT])
        loads = EndpointLoads(self._table(places, reports, now), adapters, now)
        view.readings[id(endpoints)] = _Reading(endpoints, places, now, loads)
        return loads

    def follow(self) -> None:
        """The targets have changed, and with them the tuples of endpoints."""
        self._view.readings.clear()

    def describe(self, endpoints: tuple[str, ...]) -> list[EndpointState]:
        """The endpoints as they are, for people."""
        places, now = self._view.places(endpoints), self._clock()
        reports = self._board.reports.take(places, axis=1)
        table = self._table(places, reports, now)
        picks = self._board.picked().take(places) - self._board.losses[PICKED_A_MINUTE_AGO].take(places)
        table[:GPU, table[AGE] > STALE_AFTER] = np.nan
        table[GPU, reports[GPU_UNTIL] < now] = np.nan
        waiting, running, cache, _, gpu, age, in_flight, _ = (
            [number if isfinite(number) else None for number in row] for row in table.tolist()
        )
        names = [sorted(self._board.adapters(place)) for place in places.tolist()]
        rows = zip(endpoints, waiting, running, cache, gpu, age, in_flight, picks.tolist(), names, strict=True)
        return [EndpointState(*row) for row in rows]

    def _table(self, places: _Places, reports: NDArray[np.float64], now: float) -> NDArray[np.float64]:
        """As ``EndpointLoads`` has it."""
        counts = self._board.counts.take(places, axis=2).sum(axis=0)
        in_flight = np.maximum(counts[PICKED] - counts[ENDED] - self._board.losses[LOST].take(places), 0.0)
        table = np.empty((len(ROWS), len(places)))
        table[:AGE] = reports[:AGE]
        table[AGE] = now - reports[REPORTED_AT]
        table[IN_FLIGHT] = in_flight
        table[SENT_SINCE] = np.minimum(np.maximum(counts[PICKED] - reports[PICKED_AT_REPORT], 0.0), in_flight)
        return table

    def _read_adapters(self, view: _View, places: _Places, changes: NDArray[np.float64]) -> tuple[frozenset[str], ...]:
        """Of each endpoint; none where no server has told of any."""
        if not changes.any():
            return ()
        found = []
        for place, change in zip(places.tolist(), changes.tolist(), strict=True):
            known = view.adapters.get(place)
            if known is None or known[0] != change:
                known = view.adapters[place] = change, self._board.adapters(place)
            found.append(known[1])
        return tuple(found)
