"""What one worker does on the board: it wants endpoints, counts what it sends there, and reads how busy they are."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from extproc.picking.board import (
    ADAPTERS_AT,
    ENDED,
    LOST,
    NOBODY,
    PICKED,
    PICKED_A_MINUTE_AGO,
    PICKED_AT_REPORT,
    REPORTED_AT,
    Board,
    Wanted,
)
from extproc.picking.loads import AGE, IN_FLIGHT, ROWS, SENT_SINCE, STALE_AFTER, EndpointLoads

_Places: TypeAlias = NDArray[np.intp]


class EndpointState(msgspec.Struct, frozen=True, array_like=True):
    """An endpoint for people; None: not known."""

    endpoint: str
    waiting: float | None
    running: float | None
    cache: float | None
    gpu: float | None
    age: float | None
    """Seconds since it was reported."""
    in_flight: float
    picks: float
    """Requests sent there in the last minute."""
    adapters: list[str]


class WorkerRow:
    """One worker's part. Used by one thread, but for ``describe``."""

    def __init__(self, board: Board, worker: int) -> None:
        """``worker``: its number, from 0. Its row goes on where the process before it with this number left it."""
        self._board, self._worker = board, worker
        self._counts = board.counts[worker]
        self._slots: dict[str, int] = {}
        self._places: dict[tuple[str, ...], _Places] = {}
        self._adapters: dict[int, tuple[float, frozenset[str]]] = {}

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """These endpoints from now on, by ``host:port``, and no others."""
        self._slots = self._board.claim(self._worker, wanted)
        self._places, self._adapters = {}, {}

    def picked(self, endpoint: str) -> None:
        """A request is sent to it."""
        if place := self._slots.get(endpoint):
            self._counts[PICKED, place] += 1.0

    def ended(self, endpoint: str) -> None:
        """A request that some worker has sent to it has ended."""
        if place := self._slots.get(endpoint):
            self._counts[ENDED, place] += 1.0

    def loads(self, endpoints: tuple[str, ...], now: float) -> EndpointLoads:
        """The loads of a target's endpoints. ``now``: of the clock of reports."""
        places = self._places.get(endpoints)
        if places is None:
            places = self._places[endpoints] = self._places_of(endpoints)
        for _ in self._board.consistent():
            reports = self._board.reports.take(places, axis=1)
            adapters = self._read_adapters(places, reports[ADAPTERS_AT])
        return EndpointLoads(self._table(places, reports, now), adapters)

    def describe(self, endpoints: tuple[str, ...], now: float) -> list[EndpointState]:
        """The endpoints as they are, for people."""
        places = self._places_of(endpoints)
        table = self._table(places, self._board.reports.take(places, axis=1), now)
        picks = self._board.picked().take(places) - self._board.losses[PICKED_A_MINUTE_AGO].take(places)
        table[:AGE, table[AGE] > STALE_AFTER] = np.nan
        waiting, running, cache, _, gpu, age, in_flight, _ = (
            [number if isfinite(number) else None for number in row] for row in table.tolist()
        )
        names = [sorted(self._board.adapters(place)) for place in places.tolist()]
        rows = zip(endpoints, waiting, running, cache, gpu, age, in_flight, picks.tolist(), names, strict=True)
        return [EndpointState(*row) for row in rows]

    def _places_of(self, endpoints: tuple[str, ...]) -> _Places:
        slots = self._slots
        return np.array([slots.get(endpoint, NOBODY) for endpoint in endpoints], np.intp)

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

    def _read_adapters(self, places: _Places, changes: NDArray[np.float64]) -> tuple[frozenset[str], ...]:
        """Of each endpoint; none where no server has told of any."""
        if not changes.any():
            return ()
        found = []
        for place, change in zip(places.tolist(), changes.tolist(), strict=True):
            known = self._adapters.get(place)
            if known is None or known[0] != change:
                known = self._adapters[place] = change, self._board.adapters(place)
            found.append(known[1])
        return tuple(found)
