"""Requests whose end no worker was told of: those would count as in flight for ever.

An end is lost with an entry of Envoy's access log: where the stream of entries breaks, as with a worker that ends.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from extproc.picking.board import Board, Floats
from extproc.picking.board_layout import ENDED, LOST, PICKED, PICKED_A_MINUTE_AGO, REPORTED_AT, RUNNING, SLOTS, WAITING
from extproc.picking.loads import STALE_AFTER

IDLE_FOR = 2.0
"""Seconds for which nothing was sent to a server that tells that it has no request, before all of its requests have
ended. Entries of the access log come within one second."""
_STEP = 5.0
"""Seconds between two of the counts that are kept."""
_MINUTE = 60.0
MAX_TIMEOUT = 900.0
"""Seconds after which a request has ended where the policy has no earlier ``timeout``."""


class LostEnds:
    """Finds them. One thread of one process of a replica calls ``find``, about once a second."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._picked: Floats = np.zeros(SLOTS)
        self._picked_at: Floats = np.zeros(SLOTS)
        self._timeouts: Floats = np.full(SLOTS, MAX_TIMEOUT)
        self._generation = -1
        self._tenancies: dict[int, int] = {}
        self._past: deque[tuple[float, Floats]] = deque(maxlen=int(MAX_TIMEOUT / _STEP) + 1)

    def find(self, now: float) -> None:
        """All that are in flight to an endpoint where the server says that it is idle, and nothing was sent there
        since; and those that were sent before the policy's timeout. ``now``: of the clock of reports.
        """
        board = self._board
        if board.generation != self._generation:
            self._follow(now)
        counts = board.counts.sum(axis=0)
        picked, ended = counts[PICKED], counts[ENDED]
        self._picked_at[picked != self._picked] = now
        self._picked = picked
        reports = board.reports
        idle = (reports[WAITING] == 0) & (reports[RUNNING] == 0) & (now - reports[REPORTED_AT] < STALE_AFTER)
        idle &= reports[REPORTED_AT] - self._picked_at >= IDLE_FOR
        if not self._past or now - self._past[-1][0] >= _STEP:
            self._past.append((now, picked))
        present = picked - ended
        # What ended although it was lost already makes fewer than nothing of what is in flight.
        lost = np.minimum(board.losses[LOST], present)
        lost = np.maximum(lost, present - (picked - self._before(now, self._timeouts)))
        board.losses[LOST] = np.where(idle, present, lost)
        board.losses[PICKED_A_MINUTE_AGO] = self._before(now, np.full(SLOTS, _MINUTE))

    def _follow(self, now: float) -> None:
        """Who is on the board now: what a former endpoint of the same slot was sent is forgotten."""
        self._generation = self._board.generation
        for slot in self._board.slots():
            self._timeouts[slot.number] = min(slot.wanted.timeout, MAX_TIMEOUT)
            if self._tenancies.get(slot.number) != slot.tenancy:
                self._tenancies[slot.number] = slot.tenancy
                self._picked_at[slot.number] = now
                for _, picked in self._past:
                    picked[slot.number] = 0.0

    def _before(self, now: float, seconds: Floats) -> Floats:
        """What had been sent so long ago, or a step longer; before the first look that was nothing."""
        times = np.array([at for at, _ in self._past])
        found = np.zeros(SLOTS)
        for each in np.unique(seconds):
            if known := int(np.searchsorted(times, now - each, side="right")):
                found = np.where(seconds == each, self._past[known - 1][1], found)
        return found
